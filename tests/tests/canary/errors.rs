//! Errors and refusals: sets that hold no text by their type, and the SDK's errors, each provoked with a patient's name in
//! its hand.

use std::{collections::BTreeSet, net::SocketAddr};

use feldakte_certs::{key, pem::PemError, renewal::RenewalError};
use feldakte_client_sdk::{
    Client, ClientOptions, Identity, SdkError, SignIn, Transports,
    enrol::{self, EnrolError, EnrolOptions, Trust},
    environment::Environment,
    key::{DatabaseKey, KeyError, KeyProvider},
    pin::WeakPin,
    store::{LocalStoreError, SharedLocalStore, sqlcipher::SqlCipherStore},
    transport::LinkError,
};
use feldakte_core::{
    access::{BreakGlassReason, Role, Subject},
    admission,
    audit::{self, Act},
    case::{Edit, Path, schema::CaseKind, vitals::VitalsError},
    change::ChangeError,
    code::CodeError,
    crdt::{CrdtError, Value},
    ids::{CaseId, IdError, Part},
    limits,
    live::LiveError,
    log::QuarantineReason,
};
use feldakte_gateway::{
    audit::AuditError,
    store::registry::{OperatorRole, RevocationReason},
    users,
};
use feldakte_proto::{
    Answer, Close, CloseCode, DecodeError, FrameError, Outcome, Reason, SignInRefusal, SignedIn, enrolment,
};
use feldakte_tests::harness::{
    crew,
    local::Site,
    new_document, new_epoch,
    pki::{Enrolled, GATEWAY_NAME},
    tablet::{Tablet, fact, memory_store},
};

use super::search::{LOGIN, NAME, assert_unnamed};

/// What can be copied bit by bit owns no text, and nothing here borrows any that a user has typed: a new variant that
/// holds some does not compile.
const fn holds_no_text<T: Copy + 'static>() {}

const _: () = {
    holds_no_text::<Reason>();
    holds_no_text::<CloseCode>();
    holds_no_text::<Close>();
    holds_no_text::<Outcome>();
    holds_no_text::<Answer>();
    holds_no_text::<SignInRefusal>();
    holds_no_text::<DecodeError>();
    holds_no_text::<VitalsError>();
    holds_no_text::<LiveError>();
    holds_no_text::<feldakte_core::call::Refusal>();
    holds_no_text::<FrameError>();
    holds_no_text::<enrolment::EnrolmentError>();
    holds_no_text::<users::Refusal>();
    holds_no_text::<admission::Refusal>();
    holds_no_text::<ChangeError>();
    holds_no_text::<CrdtError>();
    holds_no_text::<CodeError>();
    holds_no_text::<IdError>();
    holds_no_text::<QuarantineReason>();
    holds_no_text::<Act>();
    holds_no_text::<audit::Reason>();
    holds_no_text::<AuditError>();
    holds_no_text::<BreakGlassReason>();
    holds_no_text::<RevocationReason>();
    holds_no_text::<OperatorRole>();
    holds_no_text::<Role>();
    holds_no_text::<PemError>();
    holds_no_text::<RenewalError>();
    holds_no_text::<key::KeyError>();
    holds_no_text::<WeakPin>();
};

/// An error as an app or an operator may print it, with everything that caused it.
pub fn printed(error: impl std::error::Error + Send + Sync + 'static) -> String {
    let plain = format!("{error}\n{error:?}\n{error:#?}");
    let chain = anyhow::Error::new(error);
    format!("{plain}\n{chain:#}\n{chain:?}")
}

/// The variants that hold something that is not known when this is compiled. A new one has to be placed, and provoked.
fn holds_something(error: &SdkError) -> Option<&'static str> {
    match error {
        SdkError::Store(_) => Some("store"),
        SdkError::Schema(_) => Some("schema"),
        SdkError::Identity(_) => Some("identity"),
        SdkError::Network(_) => Some("network"),
        // A `&'static str`: our own words.
        SdkError::Edit(_) => Some("edit"),
        SdkError::WrongKey
        | SdkError::NewerStore
        | SdkError::StoreInUse
        | SdkError::StorageFull
        | SdkError::UnknownCase
        | SdkError::AccessEnded
        | SdkError::AppTooOld
        | SdkError::NotConnected
        | SdkError::NotPermitted
        | SdkError::Unavailable
        | SdkError::TextTooLong
        | SdkError::InSession
        | SdkError::TooOften
        | SdkError::Wiped
        | SdkError::WrongPin
        | SdkError::PinLocked { .. }
        | SdkError::WeakPin(_)
        | SdkError::BadToken
        | SdkError::SignInRefused(_)
        | SdkError::Offline
        | SdkError::MonitorNotBound
        | SdkError::TooMany
        | SdkError::Vitals(_)
        | SdkError::Live(_)
        | SdkError::CallRefused(_)
        | SdkError::NotAPhone
        | SdkError::SignalTooLong
        | SdkError::ShutDown => None,
    }
}

#[derive(Default)]
struct Provoked {
    printed: String,
    variants: BTreeSet<&'static str>,
}

impl Provoked {
    fn take<T>(&mut self, result: Result<T, SdkError>) {
        let Err(error) = result else { panic!("that was to fail") };
        self.variants.extend(holds_something(&error));
        self.printed.push_str(&printed(error));
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_error_of_the_sdk_names_the_patient_whose_case_it_is_about() {
    let site = Site::new();
    let enrolled = site.pki.enrol(&crew("rtw-1"));
    let nobody: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let tablet = Tablet::open(enrolled.identity(), nobody, memory_store()).await;
    let mut provoked = Provoked::default();
    edits(&tablet.client, &mut provoked).await;
    schemas(&tablet.client, &mut provoked).await;
    requests(&tablet.client, &mut provoked).await;
    sign_ins(&tablet.client, &mut provoked).await;
    identities(&enrolled, &mut provoked);
    stores(&mut provoked).await;
    provoked.take::<()>(Err(SdkError::Network(std::io::ErrorKind::PermissionDenied.into())));
    tablet.client.shutdown().await;
    provoked.take(tablet.client.create_case(vec![fact(Part::Identity, "family_name", NAME)]).await);

    assert_unnamed("the SDK's errors", &provoked.printed);
    let all = ["edit", "identity", "network", "schema", "store"];
    assert_eq!(provoked.variants.into_iter().collect::<Vec<_>>(), all, "each of them was provoked");
}

async fn sign_ins(client: &Client, provoked: &mut Provoked) {
    let pin = |pin: &str| SignIn::Pin { login: LOGIN.into(), pin: pin.into() };
    provoked.take(client.sign_in(pin(NAME)).await);
    provoked.take(client.set_pin(LOGIN.into(), None, "1".into()).await);
    client.set_pin(LOGIN.into(), None, NAME.into()).await.unwrap();
    for _ in 0..7 {
        provoked.take(client.sign_in(pin(LOGIN)).await);
    }
    provoked.take(client.set_pin(LOGIN.into(), Some(LOGIN.into()), NAME.into()).await);
    for token in [LOGIN.to_owned(), format!("{LOGIN}.{LOGIN}.{LOGIN}")] {
        provoked.take(client.sign_in(SignIn::Token(token)).await);
    }
}

async fn edits(client: &Client, provoked: &mut Provoked) {
    let case = client.create_case(vec![fact(Part::Identity, "family_name", NAME)]).await.unwrap();
    let set = |name: &str, value| Edit::SetFact { part: Part::Clinical, name: name.to_owned(), value };
    let inner = Value::Record(vec![(NAME.into(), text(NAME))]);
    for value in [
        Value::Decimal(f64::NAN),
        Value::Record(vec![(NAME.into(), inner)]),
        Value::Record(vec![(NAME.into(), Value::Decimal(f64::INFINITY))]),
        text(&NAME.repeat(20_000)),
    ] {
        provoked.take(client.edit(case, vec![set(NAME, value)]).await);
    }
    let path = Path::Other(NAME.into());
    let resolve = Edit::Resolve { part: Part::Clinical, path, value: text(NAME), among: vec![] };
    provoked.take(client.edit(case, vec![resolve]).await);
    provoked.take(client.edit(CaseId(uuid::Uuid::nil()), vec![set(NAME, text(NAME))]).await);
    let newer = Edit::RaiseSchema { part: Part::Clinical, min_schema: 1_000 };
    client.edit(case, vec![newer]).await.unwrap();
    provoked.take(client.edit(case, vec![set(NAME, text(NAME))]).await);
}

/// Every fact and every kind of entry of both catalogues, with a value that is none of theirs.
async fn schemas(client: &Client, provoked: &mut Provoked) {
    use feldakte_core::case::schema::{entry_kinds, fields};
    let wrong = || Value::Record(vec![(NAME.into(), Value::Bytes(NAME.into()))]);
    for kind in [CaseKind::Mission, CaseKind::Visit] {
        for field in fields(kind) {
            let edit = Edit::SetFact { part: field.part, name: field.name.to_owned(), value: wrong() };
            if let Err(error) = client.create(kind, vec![edit]).await {
                provoked.take::<()>(Err(error));
            }
        }
        for entry in entry_kinds(kind) {
            let fields = entry.fields.iter().map(|field| (field.name.to_owned(), wrong()));
            let fields: Vec<_> = fields.chain([(NAME.to_owned(), text(NAME))]).collect();
            for fields in [fields, vec![(NAME.to_owned(), text(NAME))]] {
                let (part, id, kind_of) = (entry.part, client.new_entry_id(), entry.kind.to_owned());
                if let Err(error) = client.create(kind, vec![Edit::AddEntry { part, id, kind: kind_of, fields }]).await
                {
                    provoked.take::<()>(Err(error));
                }
            }
        }
    }
    provoked.take(client.create(CaseKind::Mission, vec![fact(Part::Clinical, "family_name", NAME)]).await);
}

async fn requests(client: &Client, provoked: &mut Provoked) {
    let case = client.create_case(vec![fact(Part::Clinical, NAME, NAME)]).await.unwrap();
    provoked.take(client.break_glass(case, BreakGlassReason::Other, NAME.into()).await);
    let (nowhere, long) = (new_document().case, NAME.repeat(limits::BREAK_GLASS_TEXT_MAX));
    for text in [NAME.to_owned(), String::new(), long] {
        provoked.take(client.break_glass_offline(nowhere, BreakGlassReason::Other, text).await);
    }
    let user = Subject::User(feldakte_tests::harness::issuer::user(LOGIN));
    provoked.take(client.share(case, vec![Part::Clinical], user, None, None).await);
}

fn identities(enrolled: &Enrolled, provoked: &mut Provoked) {
    let directory = tempfile::tempdir().unwrap();
    enrolled.write(directory.path());
    let read = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
    let (root, certificate, key) = (read("root.pem"), read("device.pem"), read("device.key"));
    let pem = |kind: &str, body: &str| format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n");
    for text in [NAME.to_owned(), pem("CERTIFICATE", NAME), pem("PRIVATE KEY", NAME), String::new()] {
        provoked.take(Identity::from_pem(text.as_bytes(), &certificate, &key));
        provoked.take(Identity::from_pem(&root, text.as_bytes(), &key));
        provoked.take(Identity::from_pem(&root, &certificate, text.as_bytes()));
    }
}

/// A key that is the same each time.
struct FixedKey(u8);

impl KeyProvider for FixedKey {
    fn database_key(&self) -> Result<DatabaseKey, KeyError> {
        DatabaseKey::from_bytes(vec![self.0; 32])
    }
}

/// A device's database with a case in it, opened with a wrong key, twice at once, and damaged in every page.
async fn stores(provoked: &mut Provoked) {
    let site = Site::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("case.db");
    let store = SqlCipherStore::open(&path, &FixedKey(1), new_epoch()).await.unwrap();
    let nobody: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let tablet = Tablet::open(site.pki.enrol(&crew("rtw-1")).identity(), nobody, store).await;
    tablet.client.create_case(vec![fact(Part::Identity, NAME, &NAME.repeat(1_000))]).await.unwrap();
    let sdk = |error: LocalStoreError| Err::<(), _>(SdkError::from(error));
    provoked.take(sdk(SqlCipherStore::open(&path, &FixedKey(1), new_epoch()).await.err().unwrap()));
    tablet.shutdown().await;
    provoked.take(sdk(SqlCipherStore::open(&path, &FixedKey(2), new_epoch()).await.err().unwrap()));
    let whole = std::fs::read(&path).unwrap();
    for page in 1..whole.len() / 4096 {
        let mut damaged = whole.clone();
        damaged[page * 4096..][..64].iter_mut().for_each(|byte| *byte ^= 0x55);
        std::fs::write(&path, damaged).unwrap();
        let opened = SqlCipherStore::open(&path, &FixedKey(1), new_epoch()).await;
        let error = match opened {
            Err(error) => Some(error),
            Ok(store) => {
                if let Err(error) = read_all(site.pki.enrol(&crew("rtw-1")).identity(), store).await {
                    provoked.take::<()>(Err(error));
                }
                None
            }
        };
        error.into_iter().for_each(|error| provoked.take(sdk(error)));
    }
    let missing = SqlCipherStore::open(&directory.path().join(NAME).join("case.db"), &FixedKey(1), new_epoch()).await;
    // Where an app puts its files is not what stands in them; the error says nothing of it all the same.
    provoked.take(sdk(missing.err().unwrap()));
}

/// Reads every case that is in the store.
async fn read_all(identity: Identity, store: SharedLocalStore) -> Result<(), SdkError> {
    let options = ClientOptions {
        identity,
        gateway: "127.0.0.1:9".to_owned(),
        server_name: GATEWAY_NAME.to_owned(),
        transports: Transports::default(),
        renewal: None,
        store: store.clone(),
        log: None,
        purge_after: None,
        environment: Environment::system(),
    };
    let read = async || {
        let client = Client::open(options).await?;
        for case in client.list().await? {
            client.read(case.case).await?;
        }
        client.shutdown().await;
        Ok(())
    };
    let outcome = read().await;
    store.close().await;
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn no_error_of_enrolment_quotes_what_was_typed() {
    let nobody = "127.0.0.1:9".to_owned();
    let mut all = String::new();
    for (code, trust) in [
        (NAME, Trust::Roots(NAME.into())),
        (LOGIN, Trust::Roots(String::new())),
        ("0000-0000-0000-0000", Trust::Roots(format!("-----BEGIN CERTIFICATE-----\n{NAME}\n"))),
    ] {
        let (gateway, server_name) = (nobody.clone(), "localhost".to_owned());
        let options =
            EnrolOptions { gateway, server_name, code: code.into(), trust, key: Some(NAME.to_owned().into()) };
        all.push_str(&printed(enrol::enrol(options).await.err().unwrap()));
    }
    for error in [EnrolError::Untrusted, EnrolError::Unreachable, EnrolError::Unreadable] {
        all.push_str(&printed(error));
    }
    for error in [LinkError::Unreachable, LinkError::Refused, LinkError::Silent, LinkError::Unexpected] {
        all.push_str(&printed(error));
    }
    let believed = SignedIn::As {
        user: feldakte_tests::harness::issuer::user(LOGIN),
        role: Role::Auditor,
        until_ms: None,
        ticket: NAME.into(),
    };
    all.push_str(&format!("{believed:?}"));
    assert_unnamed("errors of enrolment", &all);
}

//! Gateway and tablets in one process that logs everything at every level, driven through everything that can go wrong
//! while a case is at hand: refused changes, broken frames, refused users, damaged rows, full disks, panics.
//!
//! The process is this test binary, started again; what it has said on standard error is searched.

use std::{
    fs,
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use feldakte_client_sdk::{SdkError, view};
use feldakte_core::{
    access::{Access, BreakGlassReason, Role, Subject},
    case::Edit,
    change::{
        Change,
        craft::{CHUNK_COMPRESSED, Draft, chunk},
    },
    ids::{ActorId, ChangeHash, DocumentId, Part},
    limits,
};
use feldakte_gateway::{
    panics,
    store::{StoreError, sqlite::SqliteStore},
};
use feldakte_proto::{BreakGlass, ClientMessage, Credential, Hello, OpenedOffline, Reason, Receipts, Renew, Share};
use feldakte_tests::harness::{
    again,
    author::Author,
    crew, device,
    faulty_store::{Act, Call, FaultyStore},
    issuer::{Issuer, user},
    local::{Clock, LocalGateway, Site},
    new_document, new_epoch,
    raw::RawClient,
    tablet::{Tablet, fact, memory_store},
    until, within,
};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};

use super::{
    errors::printed,
    search::{Canary, LOGIN, NAME, assert_unnamed},
};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_goes_wrong_names_patient_or_user_at_any_log_level() {
    let site = Site::new();
    let mut command = again::command("whole::child_goes_through_all_of_it", site.dir());
    let log = site.dir().join("child.log");
    let mut child = command.stderr(Stdio::from(fs::File::create(&log).unwrap())).spawn().unwrap();
    let mut words = again::Words::of(&mut child);
    // A word for each of its stations.
    let mut said = None;
    while let Some(word) = within("the child goes on", words.next()).await {
        said = Some(word);
    }
    within("the child ends", child.wait()).await.unwrap();
    let log = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
    let end: String = log.lines().rev().take(20).collect::<Vec<_>>().join("\n");
    assert_eq!(said.as_deref(), Some("all of it"), "{end}");
    let panics = log.matches("feldakte: panic at").count();
    assert_eq!(panics, PANICS, "each is reported, by its place");
    for level in ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"] {
        assert!(log.contains(level), "nothing is logged at {level}");
    }
    for from in ["quinn", "sqlx", "feldakte_gateway", "feldakte_client_sdk"] {
        assert!(log.contains(from), "{from} is not heard");
    }
    assert_unnamed("the log", &log);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs as a child of nothing_that_goes_wrong_names_patient_or_user_at_any_log_level"]
async fn child_goes_through_all_of_it() {
    if again::directory().is_none() {
        return;
    }
    panics::tell_the_place_alone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let reasons = refused_changes().await;
    assert_eq!(reasons, provokable(), "each reason that a device is told was provoked");
    again::say("changes");
    users_and_requests().await;
    again::say("users");
    broken_frames().await;
    again::say("frames");
    damaged_rows().await;
    again::say("rows");
    failing_disks().await;
    again::say("disks");
    tablets().await;
    again::say("all of it");
}

/// How often something panics below.
const PANICS: usize = 3;

/// Whether a reason is provoked below. All of them hold no text by their type (see `errors`); a new one has to be placed.
fn is_provoked(reason: Reason) -> bool {
    match reason {
        Reason::Malformed
        | Reason::TooLarge
        | Reason::Checksum
        | Reason::Compressed
        | Reason::TooManyOperations
        | Reason::CounterRange
        | Reason::NotPermitted
        | Reason::ForeignActor
        | Reason::SequenceGap
        | Reason::SequenceReused
        | Reason::UnknownDependency
        | Reason::DependencyRefused
        | Reason::StartOp
        | Reason::NotGenesis
        | Reason::Quarantined => true,
        // Below, on rows that are damaged.
        Reason::DocumentDamaged => false,
        // They take hundreds of actors, a full document, two operators: `attacks` and `e2e` do, at the same lines of code.
        Reason::TooManyActors | Reason::DocumentFull | Reason::Shredded => false,
    }
}

fn provokable() -> Vec<u32> {
    let all = (1..100).filter_map(Reason::from_number);
    all.filter(|reason| is_provoked(*reason)).map(|reason| reason as u32).collect()
}

/// Changes that are refused, each with the patient's name in it. The reasons, ascending.
async fn refused_changes() -> Vec<u32> {
    let site = Site::new();
    let gateway = site.start().await;
    let enrolled = site.pki.enrol(&crew("rtw-1"));
    let (mut client, _) = RawClient::session(&enrolled, gateway.address, None).await;
    let mut author = Author::new(&enrolled.principal, new_document());
    let mut honest = author.begin(1);
    honest.push(author.set(NAME, NAME).bytes);
    assert_eq!(client.push_and_wait(author.document, honest.clone()).await.refused, []);
    let mut reasons = Vec::new();
    let refused = client.push_and_wait(author.document, crafted(&author, &honest)).await.refused;
    reasons.extend(refused.iter().map(|refused| refused.reason as u32));
    // Somebody else's case, and one that has ended for the device.
    let stranger = site.pki.enrol(&device("dortmund", "rtw-2", Role::AmbulanceCrew));
    let (mut other, _) = RawClient::session(&stranger, gateway.address, None).await;
    let refused = other.push_and_wait(author.document, honest).await.refused;
    reasons.extend(refused.iter().map(|refused| refused.reason as u32));
    let unit = Subject::Unit(enrolled.principal.unit.clone());
    gateway.gateway.revoke(author.document, vec![unit]).await.unwrap();
    let late = author.set(NAME, LOGIN).bytes;
    let refused = client.push_and_wait(author.document, vec![late]).await.refused;
    reasons.extend(refused.iter().map(|refused| refused.reason as u32));
    finish(gateway).await;
    reasons.sort_unstable();
    reasons.dedup();
    reasons
}

fn crafted(author: &Author, honest: &[Bytes]) -> Vec<Bytes> {
    let last = Change::parse(honest.last().unwrap().clone()).unwrap();
    let genesis = Change::parse(honest[0].clone()).unwrap();
    let next = || Draft::new(author.actor).at([last.hash], last.seq + 1, last.max_op() + 1).with_text(NAME, NAME);
    let fresh =
        |actor| Draft::new(ActorId([actor; 16])).at([genesis.hash], 1, genesis.max_op() + 1).with_text(NAME, NAME);
    let mut flipped = next().chunk().to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let root = fresh(0x52).at([], 1, 1).chunk();
    let on_root = Change::parse(root.clone()).unwrap().hash;
    vec![
        Bytes::from(NAME),
        flipped.into(),
        Bytes::from(NAME.repeat(limits::CHANGE_LEN_MAX / NAME.len() + 1)),
        chunk(CHUNK_COMPRESSED, &next().body()),
        next().with_puts(NAME, 4_000_000).chunk(),
        Draft { start_op: u64::from(u32::MAX) - 1, ..next() }.chunk(),
        Draft { actor: vec![0; 16], ..fresh(1) }.chunk(),
        Draft { seq: last.seq + 6, ..next() }.chunk(),
        Draft { seq: last.seq, ..next() }.chunk(),
        Draft { deps: vec![ChangeHash([7; 32])], ..next() }.chunk(),
        Draft { start_op: 1, ..next() }.chunk(),
        root,
        fresh(0x53).at([on_root], 1, 2).chunk(),
    ]
}

/// Ends a gateway and reads what it counted.
async fn finish(gateway: LocalGateway) {
    assert_unnamed("metrics", &gateway.metrics().render());
    gateway.stop().await;
}

async fn users_and_requests() {
    let (site, issuer, clock) = (Site::new(), Issuer::new("a"), Clock::default());
    let mut config = issuer.config(&site);
    config.required_roles = vec![Role::TelePhysician];
    let gateway = site.start_believing(&clock, &config).await;
    let enrolled = site.pki.enrol(&crew("rtw-1"));
    let now = SystemTime::now();
    let good = issuer.token(LOGIN, Role::AmbulanceCrew, now, HOUR);
    let mut author = Author::of_user(&enrolled.principal, user(LOGIN), new_document());
    let mut changes = author.begin(1);
    changes.push(author.set(NAME, NAME).bytes);
    for credential in [
        good.clone(),
        Issuer::new("a").token(LOGIN, Role::AmbulanceCrew, now, HOUR),
        Issuer::new("b").token(LOGIN, Role::AmbulanceCrew, now, HOUR),
        issuer.token(LOGIN, Role::AmbulanceCrew, now - 3 * HOUR, HOUR),
        issuer.token(LOGIN, Role::AmbulanceCrew, now + 3 * HOUR, HOUR),
        issuer.token(&LOGIN.repeat(100), Role::AmbulanceCrew, now, HOUR),
        Credential::Token(LOGIN.into()),
        Credential::Ticket(LOGIN.into()),
        Credential::Local(user(LOGIN)),
    ] {
        let (mut client, _) =
            RawClient::signed_in(&enrolled, gateway.address, Some(credential), vec![good.clone()]).await;
        client.push_of_and_wait(Some(user(LOGIN)), author.document, changes.clone()).await;
    }
    let (mut client, _) = RawClient::signed_in(&enrolled, gateway.address, Some(good), vec![]).await;
    for request in requests(author.document) {
        client.ask(request).await;
    }
    // His time is over: the session ends, and says of whom not a word.
    clock.advance(2 * HOUR);
    within("his session ends", client.quic().connection.closed()).await;
    gateway.deny.revoke([enrolled.principal.device]);
    assert!(RawClient::try_session(enrolled.quic(), gateway.address, None).await.is_none());
    finish(gateway).await;
}

fn requests(document: DocumentId) -> Vec<ClientMessage> {
    let DocumentId { case, part } = document;
    let (text, reason) = (format!("{NAME}, {LOGIN}"), BreakGlassReason::LifeInDanger);
    let emergency = |case, text: &str| BreakGlass { request: 1, case, reason, text: text.into() };
    let (parts, subject) = (vec![part], Subject::User(user(LOGIN)));
    let share = Share { request: 1, case, parts, subject, access: Some(Access::Read), until_ms: None };
    let opened = OpenedOffline { case, user: Some(user(LOGIN)), reason, text: text.clone(), at_ms: 1 };
    let mut all = vec![
        ClientMessage::Share(share),
        ClientMessage::Receipts(Receipts { request: 1, opened: vec![opened], ..Receipts::default() }),
        ClientMessage::Renew(Renew { request: 1, csr: NAME.into() }),
        ClientMessage::BreakGlass(emergency(new_document().case, &text)),
    ];
    // More of them than are allowed within an hour.
    all.extend((0..=limits::BREAK_GLASS_PER_HOUR).map(|_| ClientMessage::BreakGlass(emergency(case, &text))));
    all
}

async fn broken_frames() {
    let site = Site::new();
    let gateway = site.start().await;
    let enrolled = site.pki.enrol(&crew("rtw-1"));
    let framed = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat();
    let hello =
        |versions: Vec<u32>| ClientMessage::Hello(Hello { versions, build: NAME.into(), ..Hello::default() }).encode();
    let first = [
        hello(vec![99]),
        framed(NAME.as_bytes()).into(),
        Bytes::from([&u32::MAX.to_be_bytes()[..], NAME.as_bytes()].concat()),
        Bytes::from(NAME),
        hello(vec![feldakte_proto::VERSION]),
    ];
    for bytes in first {
        let endpoint = feldakte_tests::harness::raw::endpoint();
        let mut client = RawClient::connect(&endpoint, enrolled.quic(), gateway.address).await.unwrap();
        client.send_bytes(bytes).await;
        // A second message that is none, for whoever was let in.
        client.send_bytes(framed(&[NAME.as_bytes(), LOGIN.as_bytes()].concat()).into()).await;
        let _ = client.quic().out.finish();
        while client.next().await.is_ok() {}
    }
    finish(gateway).await;
}

/// The rows of a document are damaged, in every column that is text or bytes; then it is written, read and fetched.
async fn damaged_rows() {
    let site = Site::new();
    let enrolled = site.pki.enrol(&crew("rtw-1"));
    for sql in [
        "update snapshot set chunks = zeroblob(length(chunks))",
        "update entry set payload = zeroblob(length(payload))",
        "update entry set payload = cast(? as blob)",
        "update entry set payload = substr(payload, 1, length(payload) - 1)",
    ] {
        let gateway = site.start().await;
        let (mut client, _) = RawClient::session(&enrolled, gateway.address, None).await;
        let mut author = Author::new(&enrolled.principal, new_document());
        let mut changes = author.begin(100);
        changes.push(author.set(NAME, NAME).bytes);
        client.push_and_wait(author.document, changes).await;
        let metrics = gateway.metrics();
        until("the snapshot is written", || metrics.snapshots_written.get() >= 1).await;
        gateway.stop().await;
        let mut store = SqliteConnectOptions::new().filename(site.store_path()).connect().await.unwrap();
        let query = sqlx::query(sqlx::AssertSqlSafe(sql));
        let query = if sql.contains('?') { query.bind(NAME) } else { query };
        query.execute(&mut store).await.unwrap();
        store.close().await.unwrap();
        let gateway = site.start().await;
        let (mut client, _) = RawClient::session(&enrolled, gateway.address, None).await;
        client.fetch(&[author.document]).await;
        let next = author.set(NAME, LOGIN).bytes;
        client.push_and_wait(author.document, vec![next]).await;
        finish(gateway).await;
    }
}

/// No room, a disk that fails, and a store that panics with the patient's name in its hand.
async fn failing_disks() {
    for kind in 0..4 {
        let site = Site::new();
        let inner = SqliteStore::open(&site.store_path(), new_epoch()).await.unwrap();
        let calls = AtomicUsize::new(0);
        let store = FaultyStore::new(inner, move |call| match (call, kind) {
            (Call::Append(_), 0) if calls.fetch_add(1, Ordering::SeqCst) < 2 => Act::Fail(StoreError::Full),
            (Call::Append(_), 1) => {
                Act::Fail(StoreError::Failed(std::io::Error::from(std::io::ErrorKind::StorageFull).into()))
            }
            (Call::Append(entries), 2) => panic!("{NAME} stands in {:?} of {LOGIN}", entries[0].entry.changes),
            (Call::PutSnapshot(_), 3) if calls.fetch_add(1, Ordering::SeqCst) == 0 => panic!("{NAME} of {LOGIN}"),
            _ => Act::Pass,
        });
        let (gateway, address) = site.start_on(store).await;
        let enrolled = site.pki.enrol(&crew("rtw-1"));
        let (mut client, _) = RawClient::session(&enrolled, address, None).await;
        let mut author = Author::new(&enrolled.principal, new_document());
        let mut changes = author.begin(200);
        changes.push(author.set(NAME, NAME).bytes);
        client.push(author.document, changes).await;
        match kind {
            1..=3 => within("the gateway gives up", gateway.failed()).await,
            _ => until("it is durable in the end", || gateway.metrics().changes_durable.get() > 0).await,
        }
        assert_unnamed("metrics", &gateway.metrics().render());
        within("the gateway ends", gateway.drain()).await;
    }
}

/// An app whose own code panics when it is told of the patient.
struct Clumsy;

impl view::Observer for Clumsy {
    fn on_event(&self, event: view::Event) {
        if let view::Event::CaseChanged(..) = event {
            panic!("{NAME} in {event:?}");
        }
    }
}

async fn tablets() {
    let site = Site::new();
    let gateway = site.start().await;
    let enrolled = site.pki.enrol(&crew("rtw-1"));
    let tablet = Tablet::open(enrolled.identity(), gateway.address, memory_store()).await;
    let facts = vec![fact(Part::Identity, "family_name", NAME), fact(Part::Clinical, NAME, NAME)];
    let case = tablet.client.create_case(facts).await.unwrap();
    tablet.go_online().await;
    tablet.wait_durable(case).await;
    let note = Edit::Narrate { part: Part::Clinical, at: None, delete: 0, insert: NAME.into() };
    tablet.client.edit(case, vec![note]).await.unwrap();
    tablet.client.finalise(case).await.unwrap();
    tablet.wait_all_safe().await;
    let empty = tablet.client.break_glass(new_document().case, BreakGlassReason::Other, NAME.into()).await;
    log(empty.unwrap_err());
    // The grant ends: the device removes the case, and says so.
    let unit = Subject::Unit(enrolled.principal.unit.clone());
    for part in Part::ALL {
        let _ = gateway.gateway.revoke(DocumentId { case, part }, vec![unit.clone()]).await;
    }
    tablet.until("it is removed", async |_| tablet.removed() == [case]).await;
    tablet.client.observe(Arc::new(Clumsy));
    tablet.client.create_case(vec![fact(Part::Identity, "family_name", NAME)]).await.unwrap();
    let nobody: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let lost = Tablet::open(enrolled.identity(), nobody, memory_store()).await;
    lost.client.go_online();
    log(lost.client.read(case).await.unwrap_err());
    lost.shutdown().await;
    tablet.shutdown().await;
    finish(gateway).await;
}

/// As an app would.
fn log(error: SdkError) {
    tracing::error!(error = &error as &dyn std::error::Error, ?error, "an app's line");
    eprintln!("{}", printed(error));
}

#[test]
fn the_default_hook_of_a_panic_would_have_been_seen() {
    let said = format!("thread 'main' panicked at x.rs:1:1:\n{NAME}");
    assert!(!Canary::name().found_in(&said).is_empty());
}

//! From an invitation to a session, and from there to the end of a device, its certificate or its gateway's root.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use feldakte_certs::authority::Authority;
use feldakte_client_sdk::{
    Client, ClientOptions, Transports,
    enrol::{self, EnrolError, Enrolled},
    environment::Environment,
    renewal::{IdentityStore, Renewal},
    transport::DialConfig,
    view::LinkState,
};
use feldakte_gateway::{
    control::devices::{DeviceEntry, Revoke, RevokedDevice},
    store::registry::{OperatorRole, RevocationReason},
};
use feldakte_proto::{CloseCode, enrolment::EnrolmentError};
use feldakte_tests::harness::{
    control::{accept, invite, operator},
    local::Site,
    pki::{DAY, GATEWAY_NAME},
    process::ChildGateway,
    raw::{RawClient, endpoint},
    tablet::memory_store,
    until, until_answered, within,
};
use quinn::ConnectionError;

fn config(enrolled: &Enrolled) -> quinn::ClientConfig {
    DialConfig::new(&enrolled.identity().unwrap()).unwrap().quic
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invited_device_has_a_session_until_it_is_revoked_and_never_again() {
    let site = Site::new();
    let gateway = site.spawn().await;
    let anna = operator(&site, "anna", OperatorRole::Operator, None).await;
    let invited = invite(&anna, "dortmund").await.unwrap();
    let enrolled = enrol::enrol(accept(&invited, &gateway)).await.unwrap();
    assert_eq!(enrolled.principal.tenant.as_str(), "dortmund");
    let (mut client, _) = RawClient::session_with(config(&enrolled), gateway.quic, None).await;
    let id = enrolled.principal.device;
    let path = format!("/devices/{id}");
    let device: DeviceEntry = anna.get(&path).await.unwrap();
    assert!(device.is_connected && device.last_seen_ms.is_some());

    let asked = Instant::now();
    let revoke = Revoke { reason: RevocationReason::Stolen, unwiped: true };
    let revoked: RevokedDevice = anna.post(&format!("{path}/revoke"), &revoke).await.unwrap();
    assert_eq!(revoked.closed, 1);
    let end = within("the session ends", client.quic().connection.closed()).await;
    assert!(asked.elapsed() <= Duration::from_secs(1), "{:?}", asked.elapsed());
    let not_permitted = u64::from(CloseCode::NotPermitted as u32);
    assert!(matches!(&end, ConnectionError::ApplicationClosed(close) if u64::from(close.error_code) == not_permitted));

    // Over a restart, too.
    drop(anna);
    gateway.terminate();
    gateway.ended().await;
    let gateway = site.spawn().await;
    assert!(RawClient::try_session(config(&enrolled), gateway.quic, None).await.is_none());
    let renewal = gateway.enrol.unwrap().to_string();
    let refused = enrol::renew(&renewal, GATEWAY_NAME, &enrolled.identity().unwrap(), None).await;
    assert_refused(refused, EnrolmentError::CertificateRefused);
}

fn assert_refused(result: Result<Enrolled, EnrolError>, expected: EnrolmentError) {
    match result {
        Err(EnrolError::Refused(refused)) => assert_eq!(refused.error, expected),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_has_made_the_device_or_left_the_code_good() {
    let site = Site::new();
    let gateway = site.spawn().await;
    let anna = operator(&site, "anna", OperatorRole::Operator, None).await;
    let invited = invite(&anna, "dortmund").await.unwrap();
    let mut options = accept(&invited, &gateway);
    let key = feldakte_certs::request::DeviceKey::generate().unwrap().to_pem();
    options.key = Some(key.clone());
    // The answer never arrives: the gateway dies at some moment of the request, early or late.
    let asking = tokio::spawn(enrol::enrol(options));
    tokio::task::yield_now().await;
    gateway.kill().await;
    let first = asking.await.unwrap();
    let gateway = site.spawn().await;
    let mut options = accept(&invited, &gateway);
    options.key = Some(key);
    let second = enrol::enrol(options).await.unwrap();
    if let Ok(first) = first {
        assert_eq!(first.principal, second.principal);
    }
    RawClient::session_with(config(&second), gateway.quic, None).await;
    let anna = operator(&site, "bert", OperatorRole::Operator, None).await;
    let devices: Vec<DeviceEntry> = anna.get("/devices").await.unwrap();
    assert_eq!(devices.len(), 1, "one code, one device");
}

/// Counts what it is given to keep.
#[derive(Default)]
struct Kept(Mutex<Vec<Enrolled>>);

impl IdentityStore for Kept {
    fn keep(&self, renewed: &Enrolled) -> std::io::Result<()> {
        self.0.lock().unwrap().push(renewed.clone());
        Ok(())
    }
}

impl Kept {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

async fn client(enrolled: &Enrolled, gateway: &ChildGateway, port: &str, kept: &Arc<Kept>) -> Client {
    let renewal = Renewal { gateway: port.to_owned(), store: kept.clone(), renew_at_ms: Some(enrolled.renew_at_ms) };
    let options = ClientOptions {
        identity: enrolled.identity().unwrap(),
        gateway: gateway.quic.to_string(),
        server_name: GATEWAY_NAME.to_owned(),
        transports: Transports::default(),
        renewal: Some(renewal),
        store: memory_store(),
        log: None,
        purge_after: None,
        environment: Environment::system(),
    };
    Client::open(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_in_sessions_and_after_their_end() {
    let site = Site::new();
    let terms = "[ca]\nlifetime = \"4s\"\nrenew_from = \"2s\"\noverlap = \"1h\"";
    let gateway = site.spawn_with(terms).await;
    let anna = operator(&site, "anna", OperatorRole::Operator, None).await;
    let invited = invite(&anna, "dortmund").await.unwrap();
    let enrolled = enrol::enrol(accept(&invited, &gateway)).await.unwrap();
    let kept = Arc::<Kept>::default();
    let client = client(&enrolled, &gateway, &gateway.enrol.unwrap().to_string(), &kept).await;
    client.go_online();
    within("the first session", client.caught_up()).await;
    until("two renewals in sessions", || kept.count() >= 2).await;

    // Out of reach until the certificate at hand has ended.
    client.go_offline();
    let last = kept.0.lock().unwrap().last().unwrap().identity().unwrap();
    let is_refused =
        async || RawClient::try_session(DialConfig::new(&last).unwrap().quic, gateway.quic, None).await.is_none();
    until_answered("the certificate has ended", is_refused).await;
    let before = kept.count();
    client.go_online();
    let is_connected = async || client.status().await.unwrap().link == LinkState::Connected;
    until_answered("a session again", is_connected).await;
    assert!(kept.count() > before, "renewed before it dialled");
    client.shutdown().await;
}

/// The sessions' way is the only one there is: for several lives of a certificate, each shown in a session of its own.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_in_sessions_while_the_enrolment_port_is_closed() {
    let site = Site::new();
    let gateway = site.spawn_with("[ca]\nlifetime = \"6s\"\nrenew_from = \"5s\"\noverlap = \"1s\"").await;
    let anna = operator(&site, "anna", OperatorRole::Operator, None).await;
    let invited = invite(&anna, "dortmund").await.unwrap();
    let enrolled = enrol::enrol(accept(&invited, &gateway)).await.unwrap();
    let kept = Arc::<Kept>::default();
    let client = client(&enrolled, &gateway, "127.0.0.1:9", &kept).await;
    client.go_online();
    within("the first session", client.caught_up()).await;
    // Longer than the first certificate lives: the session that began with it has ended, and others have begun.
    until("five renewals", || kept.count() >= 5).await;
    let first = DialConfig::new(&enrolled.identity().unwrap()).unwrap().quic;
    let has_ended = async || RawClient::try_session(first.clone(), gateway.quic, None).await.is_none();
    until_answered("the first certificate has ended", has_ended).await;
    let before = kept.count();
    until("another renewal", || kept.count() > before).await;
    let last = kept.0.lock().unwrap().last().unwrap().clone();
    assert_eq!((last.principal.clone(), last.key.clone()), (enrolled.principal.clone(), enrolled.key.clone()));
    assert!(last.renew_at_ms > enrolled.renew_at_ms, "the gateway says from when");
    client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_the_next_root_is_believed_and_one_of_a_third_is_not() {
    let site = Site::new();
    let [root, certificate, key] = site.pki.files();
    let (next, third) = (authority("next"), authority("third"));
    let pins = site.dir().join("pins.pem");
    fs::write(&pins, fs::read_to_string(&root).unwrap() + next.certificate_pem()).unwrap();
    let settings = format!("[ca]\ngateway_roots = {pins:?}");
    let gateway = site.spawn_with(&settings).await;
    let anna = operator(&site, "anna", OperatorRole::Operator, None).await;
    let invited = invite(&anna, "dortmund").await.unwrap();
    let enrolled = enrol::enrol(accept(&invited, &gateway)).await.unwrap();
    RawClient::session_with(config(&enrolled), gateway.quic, None).await;

    let mut gateway = gateway;
    for (authority, is_believed) in [(&next, true), (&third, false)] {
        gateway.terminate();
        gateway.ended().await;
        let names = [GATEWAY_NAME.to_owned(), "127.0.0.1".to_owned()];
        let issued = authority.issue_gateway(&names, DAY, std::time::SystemTime::now()).unwrap();
        fs::write(&certificate, &issued.certificate.certificate_pem).unwrap();
        fs::write(&key, issued.key_pem.as_bytes()).unwrap();
        gateway = site.spawn_with(&settings).await;
        let dialled = RawClient::connect(&endpoint(), config(&enrolled), gateway.quic).await;
        assert_eq!(dialled.is_ok(), is_believed);
        let renewal = gateway.enrol.unwrap().to_string();
        let renewed = enrol::renew(&renewal, GATEWAY_NAME, &enrolled.identity().unwrap(), None).await;
        match is_believed {
            true => assert!(renewed.is_ok(), "{renewed:?}"),
            false => assert!(matches!(renewed, Err(EnrolError::Untrusted)), "{renewed:?}"),
        }
    }
}

fn authority(name: &str) -> Authority {
    Authority::generate(name, 2 * DAY, std::time::SystemTime::now()).unwrap()
}

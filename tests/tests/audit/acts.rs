//! What sessions leave in the log.

use feldakte_certs::policy;
use feldakte_core::{
    access::{Access, Grant, Role, Subject},
    audit::{Act, Actor, Chain, Reason, Record},
    case::Edit,
    ids::{Cursor, Part},
};
use feldakte_tests::{
    harness::{
        author::Author,
        crew, device, files_with,
        local::Site,
        new_document,
        pki::{Enrolled, quic},
        raw::{RawClient, Seen},
        tablet::{Tablet, fact, memory_store},
        until,
    },
    memory_audit_store::MemoryAuditStore,
};

use super::{acts, dortmund, public_key, records, verify};

fn read_for(enrolled: &Enrolled) -> Grant {
    Grant::new(Subject::Device(enrolled.principal.device), Access::Read)
}

fn of(act: Act, records: &[Record]) -> Vec<Record> {
    records.iter().filter(|record| record.act == act).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_leaves_its_beginning_its_writes_and_its_end() {
    let site = Site::new();
    let gateway = site.start().await;
    let crew = site.pki.enrol(&crew("rtw-1"));
    let (mut writer, welcome) = RawClient::session(&crew, gateway.address, None).await;
    let mut author = Author::new(&crew.principal, new_document());
    writer.push_and_wait(author.document, author.begin(3)).await;
    let last = writer.push_and_wait(author.document, vec![author.set("gcs", "15").bytes]).await;
    writer.push_and_wait(author.document, vec![bytes::Bytes::from_static(b"no change")]).await;
    drop(writer);
    let registry = || gateway.gateway.connections() == 0;
    until("the session is over", registry).await;
    gateway.stop().await;

    let log = records(&site.audit_path(), &dortmund()).await;
    let expected = [Act::SessionBegan, Act::GrantBegan, Act::Wrote, Act::Refused, Act::SessionEnded];
    assert_eq!(acts(&log), expected);
    let who = Actor::Device { device: crew.principal.device, user: None };
    assert!(log.iter().all(|record| record.who == who && record.about.session == Some(welcome.session)));
    let wrote = &log[2];
    // Genesis is a change as well.
    assert_eq!((wrote.count, wrote.about.document), (5, Some(author.document)));
    assert_eq!(wrote.positions.unwrap().last, last.position);
    assert_eq!((log[3].reason, log[3].about.document), (Some(Reason::Malformed), Some(author.document)));
    assert_eq!(log[4].reason, Some(Reason::Gone));
    let own = records(&site.audit_path(), &Chain::Gateway).await;
    assert_eq!(acts(&own), [Act::GatewayStarted, Act::GatewayStopped]);
    for chain in [dortmund(), Chain::Gateway] {
        let whole = verify(&site.audit_path(), &chain, &public_key(&site)).await.unwrap();
        assert_eq!(whole.rows, whole.signed_up_to, "signed when the gateway stops");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_reads_and_fetches_without_permit_are_recorded() {
    let site = Site::new();
    let gateway = site.start().await;
    let crew = site.pki.enrol(&crew("rtw-1"));
    let physician = site.pki.enrol(&device("dortmund", "tna-1", Role::TelePhysician));
    let (mut writer, _) = RawClient::session(&crew, gateway.address, None).await;
    let mut author = Author::new(&crew.principal, new_document());
    writer.push_and_wait(author.document, author.begin(3)).await;
    let hidden = new_document();
    gateway.gateway.grant(author.document, vec![read_for(&physician)]).await.unwrap();
    let (mut reader, _) = RawClient::session(&physician, gateway.address, None).await;
    let mut seen = Seen::default();
    reader.read_until(&mut seen, |seen| seen.caught_up).await;
    assert_eq!(reader.fetch(&[author.document, hidden]).await.unavailable, [hidden]);
    let live = writer.push_and_wait(author.document, vec![author.set("gcs", "15").bytes]).await.position;
    reader.read_until(&mut seen, |seen| seen.entries.iter().any(|(at, _)| *at == live.0)).await;
    let subject = Subject::Device(physician.principal.device);
    gateway.gateway.revoke(author.document, vec![subject]).await.unwrap();
    drop((reader, writer));
    until("the sessions are over", || gateway.gateway.connections() == 0).await;
    gateway.stop().await;

    let log = records(&site.audit_path(), &dortmund()).await;
    let began = of(Act::GrantBegan, &log);
    let mut granted: Vec<_> = began.iter().map(|record| record.about.device).collect();
    // What is noted may stand behind what was recorded within the same second.
    granted.sort_unstable();
    assert_eq!(granted, [None, Some(physician.principal.device)]);
    let ended = of(Act::GrantEnded, &log);
    assert_eq!((ended.len(), ended[0].about.device), (1, Some(physician.principal.device)));
    let reads = of(Act::Read, &log);
    let by_physician = Actor::Device { device: physician.principal.device, user: None };
    assert!(reads.iter().all(|read| read.who == by_physician && read.about.document == Some(author.document)));
    assert!(reads.iter().any(|read| read.positions.is_some_and(|span| span.first <= live && live <= span.last)));
    let refused = of(Act::Refused, &log);
    assert_eq!((refused.len(), refused[0].about.document), (1, Some(hidden)));
}

#[tokio::test(flavor = "multi_thread")]
async fn not_a_byte_of_a_document_leaves_before_its_reading_is_on_the_disk() {
    let site = Site::new();
    let audit = MemoryAuditStore::new();
    let gateway = site.start_audited(audit.clone()).await;
    let crew = site.pki.enrol(&crew("rtw-1"));
    let physician = site.pki.enrol(&device("dortmund", "tna-1", Role::TelePhysician));
    let (mut writer, _) = RawClient::session(&crew, gateway.address, None).await;
    let [mut tail, mut fetched] = [0, 1].map(|_| Author::new(&crew.principal, new_document()));
    for author in [&mut tail, &mut fetched] {
        writer.push_and_wait(author.document, author.begin(3)).await;
        gateway.gateway.grant(author.document, vec![read_for(&physician)]).await.unwrap();
    }

    audit.held.send_replace(Some(Act::Read));
    let (mut reader, welcome) = RawClient::session(&physician, gateway.address, None).await;
    assert!(!welcome.caught_up);
    let early = tokio::time::timeout(HELD_FOR, reader.next()).await;
    assert!(early.is_err(), "changes left unrecorded");
    audit.held.send_replace(None);
    let mut seen = Seen::default();
    reader.read_until(&mut seen, |seen| seen.caught_up).await;
    let read = of(Act::Read, &audit.records(&dortmund()));
    let documents: Vec<_> = read.iter().map(|record| record.about.document).collect();
    assert_eq!(documents, seen.entries.iter().map(|(_, entry)| Some(entry.document)).step_by(2).collect::<Vec<_>>());

    // In a session that has read nothing.
    let cursor = Cursor { epoch: gateway.gateway.epoch(), position: welcome.head };
    let (mut again, welcome) = RawClient::session(&physician, gateway.address, Some(cursor)).await;
    assert!(welcome.caught_up);
    audit.held.send_replace(Some(Act::Read));
    let documents = [tail.document, fetched.document];
    let answer = again.fetch(&documents);
    tokio::pin!(answer);
    assert!(tokio::time::timeout(HELD_FOR, &mut answer).await.is_err(), "a snapshot left unrecorded");
    let before = audit.commits();
    audit.held.send_replace(None);
    assert_eq!(answer.await.snapshots.len(), 2);
    assert_eq!(of(Act::Read, &audit.records(&dortmund())).len(), read.len() + 2);
    assert_eq!(audit.commits(), before + 1, "one commit for a bundle");
    gateway.gateway.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_have_chains_of_their_own() {
    let site = Site::new();
    let gateway = site.start().await;
    for tenant in ["dortmund", "hagen"] {
        let crew = site.pki.enrol(&device(tenant, "rtw-1", Role::AmbulanceCrew));
        let (mut writer, _) = RawClient::session(&crew, gateway.address, None).await;
        let mut author = Author::new(&crew.principal, new_document());
        writer.push_and_wait(author.document, author.begin(1)).await;
    }
    until("the sessions are over", || gateway.gateway.connections() == 0).await;
    gateway.stop().await;
    let key = public_key(&site);
    let hagen = Chain::Tenant("hagen".parse().unwrap());
    let [one, other] = [dortmund(), hagen.clone()].map(|chain| async { records(&site.audit_path(), &{ chain }).await });
    let (one, other) = (one.await, other.await);
    assert_eq!(acts(&one), acts(&other));
    assert!(other.iter().all(|record| record.chain == hagen));
    for chain in [dortmund(), hagen] {
        verify(&site.audit_path(), &chain, &key).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_content_that_pass_through_a_session_stand_nowhere_in_the_audit_file() {
    let site = Site::new();
    let gateway = site.start().await;
    let enrolled = site.pki.enrol(&crew("rtw-1"));
    let tablet = Tablet::open(enrolled.identity(), gateway.address, memory_store()).await;
    tablet.go_online().await;
    let note = Edit::Narrate { part: Part::Clinical, at: None, delete: 0, insert: CANARY.into() };
    let facts = vec![fact(Part::Identity, "family_name", CANARY), fact(Part::Clinical, CANARY, CANARY), note];
    let case = tablet.client.create_case(facts).await.unwrap();
    tablet.wait_durable(case).await;
    tablet.shutdown().await;
    gateway.stop().await;
    let log = records(&site.audit_path(), &dortmund()).await;
    assert!(log.iter().any(|record| record.act == Act::Wrote && record.about.case == Some(case)));
    assert_eq!(files_with(site.dir(), CANARY.as_bytes()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_taken_is_recorded_as_a_strangers() {
    let site = Site::new();
    let gateway = site.start().await;
    let other = Site::new();
    let stranger = other.pki.enrol(&crew("rtw-1"));
    let certificate = vec![stranger.certificate.clone()];
    let config = policy::client_config(site.pki.roots(), certificate, stranger.private_key()).unwrap();
    let refused = RawClient::try_session(quic(config), gateway.address, None).await;
    assert!(refused.is_none());
    gateway.stop().await;
    let log = records(&site.audit_path(), &Chain::Gateway).await;
    let knock = of(Act::SessionRefused, &log);
    assert_eq!(
        knock.iter().map(|record| (record.who.clone(), record.reason)).collect::<Vec<_>>(),
        [(Actor::Unknown, Some(Reason::CertificateIssuer))]
    );
}

/// Occurs nowhere by accident.
const CANARY: &str = "Kanarienvogel-Müller-4711";

/// Long enough for what is not held back to arrive.
const HELD_FOR: std::time::Duration = std::time::Duration::from_millis(300);

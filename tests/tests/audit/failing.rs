//! While the audit log cannot be written, no document leaves and no grant begins; what devices push is taken.

use std::sync::atomic::Ordering;

use feldakte_core::{
    access::{Access, BreakGlassReason, Grant, Role, Subject},
    audit::{Act, Record},
};
use feldakte_gateway::gateway::AuthorityError;
use feldakte_proto::{ClientMessage, OpenedOffline, Outcome, Receipts};
use feldakte_tests::{
    harness::{
        author::Author,
        crew, device,
        local::{LocalGateway, Site},
        new_document,
        raw::{RawClient, Seen},
        until,
    },
    memory_audit_store::MemoryAuditStore,
};

use super::dortmund;

fn wrote(records: &[Record]) -> u64 {
    records.iter().filter(|record| record.act == Act::Wrote).map(|record| record.count).sum()
}

async fn until_it_fails(gateway: &LocalGateway) {
    let audit = gateway.gateway.audit().clone();
    until("the gateway notices", move || !audit.is_available()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_audit_log_pushes_are_taken_and_nothing_is_read_or_granted() {
    let site = Site::new();
    let audit = MemoryAuditStore::new();
    let gateway = site.start_audited(audit.clone()).await;
    let crew = site.pki.enrol(&crew("rtw-1"));
    let physician = site.pki.enrol(&device("dortmund", "tna-1", Role::TelePhysician));
    let grant = Grant::new(Subject::Device(physician.principal.device), Access::Read);
    let (mut writer, _) = RawClient::session(&crew, gateway.address, None).await;
    let mut author = Author::new(&crew.principal, new_document());
    writer.push_and_wait(author.document, author.begin(2)).await;
    gateway.gateway.grant(author.document, vec![grant.clone()]).await.unwrap();
    let (mut reader, _) = RawClient::session(&physician, gateway.address, None).await;
    let mut seen = Seen::default();
    reader.read_until(&mut seen, |seen| seen.caught_up).await;

    audit.full.store(true, Ordering::Relaxed);
    until_it_fails(&gateway).await;
    assert!(!gateway.gateway.is_ready().await);
    // In sessions that were open, and in new ones.
    let change = author.set("gcs", "15").bytes;
    writer.push_and_wait(author.document, vec![change]).await;
    let (mut second, welcome) = RawClient::session(&crew, gateway.address, None).await;
    assert!(!welcome.caught_up);
    let change = author.set("gcs", "14").bytes;
    let last = second.push_and_wait(author.document, vec![change]).await;
    assert_eq!((last.refused.len(), last.cursor), (0, None));
    let refused = gateway.gateway.grant(author.document, vec![grant]).await;
    assert!(matches!(refused, Err(AuthorityError::Audit(_))), "{refused:?}");
    // Ends of grants may not wait: they only take access away.
    let other = Subject::Unit("tna-9".parse().unwrap());
    gateway.gateway.revoke(author.document, vec![other]).await.unwrap();
    let nothing = tokio::time::timeout(HELD_FOR, reader.next()).await;
    assert!(nothing.is_err(), "left unrecorded: {nothing:?}");

    audit.full.store(false, Ordering::Relaxed);
    reader.read_until(&mut seen, |seen| seen.entries.iter().any(|(at, _)| *at == last.position.0)).await;
    assert!(gateway.gateway.is_ready().await);
    let mut of_second = Seen::default();
    second.read_until(&mut of_second, |seen| seen.caught_up).await;
    gateway.gateway.drain().await;
    assert_eq!(wrote(&audit.records(&dortmund())), 5, "what was pushed meanwhile is recorded afterwards");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_outcome_was_lost_is_not_written_twice() {
    let site = Site::new();
    let audit = MemoryAuditStore::new();
    let gateway = site.start_audited(audit.clone()).await;
    let crew = site.pki.enrol(&crew("rtw-1"));
    let (mut writer, _) = RawClient::session(&crew, gateway.address, None).await;
    let mut author = Author::new(&crew.principal, new_document());
    audit.lose_next_outcome.store(true, Ordering::Relaxed);
    writer.push_and_wait(author.document, author.begin(2)).await;
    until("the loss has happened", || !audit.lose_next_outcome.load(Ordering::Relaxed)).await;
    let handle = gateway.gateway.audit().clone();
    until("the log is written again", move || handle.is_available()).await;
    writer.push_and_wait(author.document, vec![author.set("gcs", "15").bytes]).await;
    gateway.gateway.drain().await;
    assert_eq!(wrote(&audit.records(&dortmund())), 4);
}

/// A supervisor decides on what the audit log has never heard of, and nothing tells who told it.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_breaks_off_amid_emergencies_leaves_no_review_without_its_record() {
    let site = Site::new();
    let audit = MemoryAuditStore::new();
    let gateway = site.start_audited(audit.clone()).await;
    let crew = site.pki.enrol(&crew("rtw-1"));
    let opened = |at_ms| {
        let (case, reason, text) = (new_document().case, BreakGlassReason::TakenOver, "Ablösung".to_owned());
        OpenedOffline { case, user: None, reason, text, at_ms }
    };
    let receipts = Receipts { request: 1, opened: (1..=3).map(opened).collect(), ..Receipts::default() };
    let receipts = ClientMessage::Receipts(receipts);
    let waiting = async || gateway.gateway.shared().matters.waiting(None, 9).await.unwrap().len();
    let recorded = || audit.records(&dortmund()).iter().filter(|record| record.act == Act::BreakGlass).count();

    audit.held.send_replace(Some(Act::BreakGlass));
    let (mut told, _) = RawClient::session(&crew, gateway.address, None).await;
    assert!(tokio::time::timeout(HELD_FOR, told.ask(receipts.clone())).await.is_err(), "it was held up");
    drop(told);
    until("the session is over", || gateway.gateway.connections() == 0).await;
    assert_eq!(waiting().await, 0, "a review stands where no record does");
    audit.held.send_replace(None);
    until("what was under way is written", || recorded() == 1).await;

    // Told again, each has both.
    let (mut again, _) = RawClient::session(&crew, gateway.address, None).await;
    assert_eq!(again.ask(receipts).await, Outcome::Done);
    assert_eq!((waiting().await, recorded()), (3, 4));
    gateway.gateway.drain().await;
}

/// Long enough for what is not held back to arrive.
const HELD_FOR: std::time::Duration = std::time::Duration::from_millis(300);

//! A grant that ends: deliver, destroy, confirm. Nothing that somebody has written is lost on the way.

use feldakte_client_sdk::{SdkError, view::CaseSync};
use feldakte_core::ids::{DocumentId, Part};
use feldakte_proto::{ChangesFrame, ClientMessage, Outcome, Reason, ServerMessage};
use feldakte_tests::harness::tablet::{Tablet, fact, memory_store};

use super::World;

#[tokio::test(flavor = "multi_thread")]
async fn unsent_work_is_delivered_before_anything_is_destroyed() {
    for reason in [Reason::Quarantined, Reason::Shredded] {
        deliver_then_destroy(reason).await;
    }
}

/// A part that nobody had sent yet, of a case whose end the device was never told.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_because_the_case_was_shredded_is_destroyed() {
    let world = World::new();
    let tablet = world.tablet(memory_store()).await;
    let mut gateway = world.session().await;
    let case = tablet.create("Brustschmerz").await;
    let document = DocumentId { case, part: Part::Clinical };
    let push = gateway.next_push().await;
    gateway.refuse(&push, Reason::Shredded).await;
    let receipts = gateway.next_receipts().await;
    assert_eq!(receipts.purged, [document]);
    assert!(matches!(tablet.client.read(case).await, Err(SdkError::UnknownCase)));
}

async fn deliver_then_destroy(reason: Reason) {
    let world = World::new();
    let store = memory_store();
    let tablet = world.tablet(store.clone()).await;
    let mut gateway = world.session().await;
    let case = tablet.create("Brustschmerz").await;
    let document = DocumentId { case, part: Part::Clinical };
    let push = gateway.next_push().await;
    gateway.take(&push, 2).await;
    tablet.wait_durable(case).await;
    tablet.set(case, "gcs", "15").await;
    let late = gateway.next_push().await;
    gateway.end(&[document]).await;
    tablet.until("it knows", async |client| client.case_sync(case).await.is_ok_and(|sync| sync.revoked)).await;
    assert!(matches!(
        tablet.client.edit(case, vec![fact(Part::Clinical, "gcs", "3")]).await,
        Err(SdkError::AccessEnded)
    ));
    assert_eq!(tablet.sync(case).await, CaseSync { sent: 1, durable: 2, revoked: true, ..CaseSync::default() });

    gateway.refuse(&late, reason).await;
    let receipts = gateway.next_receipts().await;
    assert_eq!(receipts.purged, [document]);
    assert!(matches!(tablet.client.read(case).await, Err(SdkError::UnknownCase)));
    assert_eq!(tablet.client.list().await.unwrap(), []);
    assert!(tablet.client.status().await.unwrap().all_safe, "a supervisor has it");
    tablet.until("its app is told", async |_| tablet.removed() == [case]).await;
    gateway.answer(receipts.request, Outcome::Done).await;

    // Another case shows that nothing is owed any more.
    let other = tablet.create("Sturz").await;
    assert_eq!(gateway.next_push().await.document.case, other);
}

/// What stands on a change that is kept is evidence like it, however much of it there is.
#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_long_chain_is_delivered_as_evidence() {
    let world = World::new();
    let tablet = Tablet::open(world.enrolled.identity(), world.endpoint.local_addr().unwrap(), memory_store()).await;
    let case = tablet.create("Brustschmerz").await;
    for round in 0..40 {
        tablet.set(case, "bericht", &format!("{round} {}", "lang ".repeat(4_000))).await;
    }
    tablet.client.go_online();
    let mut gateway = world.session().await;
    let mut delivered = 0;
    let document = DocumentId { case, part: Part::Clinical };
    let mut ended = false;
    loop {
        match gateway.next().await {
            ClientMessage::Push(push) => {
                delivered += push.changes.len();
                gateway.refuse(&push, Reason::Quarantined).await;
                if !std::mem::replace(&mut ended, true) {
                    let frame = ChangesFrame { bootstrap: vec![document], ..ChangesFrame::default() };
                    gateway.send(ServerMessage::Changes(frame)).await;
                }
            }
            ClientMessage::Fetch(fetch) => gateway.deny(&fetch.documents).await,
            ClientMessage::Receipts(receipts) => {
                assert_eq!(receipts.purged, [document]);
                break;
            }
            _ => panic!("neither work nor receipt"),
        }
    }
    assert_eq!(delivered, 42, "with the first change of every document, and the keyword");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_for_another_reason_waits_for_its_author() {
    let world = World::new();
    let tablet = world.tablet(memory_store()).await;
    let mut gateway = world.session().await;
    let case = tablet.create("Brustschmerz").await;
    let document = DocumentId { case, part: Part::Clinical };
    let push = gateway.next_push().await;
    gateway.end(&[document]).await;
    gateway.refuse(&push, Reason::NotPermitted).await;
    tablet.until("it is parked", async |client| client.case_sync(case).await.unwrap().refused == 2).await;
    let other = tablet.create("Sturz").await;
    assert_eq!(gateway.next_push().await.document.case, other, "no receipt comes before it");
    assert_eq!(tablet.client.parked(case).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_repeated_over_sessions_and_restarts_until_it_is_taken() {
    let world = World::new();
    let store = memory_store();
    let tablet = world.tablet(store.clone()).await;
    let mut gateway = world.session().await;
    let case = tablet.create("Brustschmerz").await;
    let document = DocumentId { case, part: Part::Clinical };
    let push = gateway.next_push().await;
    gateway.take(&push, 2).await;
    gateway.end(&[document]).await;
    assert_eq!(gateway.next_receipts().await.purged, [document]);
    gateway.connection.close(0_u32.into(), b"");
    let mut gateway = world.session().await;
    let receipts = gateway.next_receipts().await;
    assert_eq!(receipts.purged, [document], "in the next session");
    gateway.answer(receipts.request, Outcome::Unavailable).await;
    tablet.shutdown().await;
    store.crash();

    let store = store.reopen().unwrap();
    let tablet = world.tablet(store).await;
    let mut gateway = world.session().await;
    let receipts = gateway.next_receipts().await;
    assert_eq!(receipts.purged, [document], "after a restart");
    gateway.answer(receipts.request, Outcome::Done).await;
    // What comes later on the same stream has been taken in: so has the answer.
    let later = tablet.create("Übelkeit").await;
    let push = gateway.next_push().await;
    gateway.take(&push, 3).await;
    tablet.wait_durable(later).await;
    tablet.go_offline().await;
    tablet.client.go_online();
    let mut gateway = world.session().await;
    let other = tablet.create("Sturz").await;
    assert_eq!(gateway.next_push().await.document.case, other, "not any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_between_delivery_and_destruction_only_delays_it() {
    let world = World::new();
    let store = memory_store();
    let tablet = world.tablet(store.clone()).await;
    let mut gateway = world.session().await;
    let case = tablet.create("Brustschmerz").await;
    let document = DocumentId { case, part: Part::Clinical };
    let push = gateway.next_push().await;
    gateway.take(&push, 2).await;
    tablet.wait_durable(case).await;
    tablet.shutdown().await;
    let store = store.reopen().unwrap();
    let ended = feldakte_client_sdk::store::ReceivedEntry {
        revoked: Some(feldakte_client_sdk::store::Revoked::Device),
        ..feldakte_tests::local_store_conformance::entry(document, 3, &[])
    };
    let received = feldakte_client_sdk::store::Received { entries: vec![ended], ..Default::default() };
    feldakte_client_sdk::store::LocalStore::save_received(&*store, &received).await.unwrap();
    let tablet = world.tablet(store).await;
    let mut gateway = world.session().await;
    assert_eq!(gateway.next_receipts().await.purged, [document]);
    assert_eq!(tablet.client.list().await.unwrap(), []);
}

/// The gateway has taken a change although the device took its grant for ended: it asks again and destroys nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_the_gateway_still_honours_is_not_taken_for_ended() {
    let world = World::new();
    let tablet = world.tablet(memory_store()).await;
    let mut gateway = world.session().await;
    let case = tablet.create("Brustschmerz").await;
    let document = DocumentId { case, part: Part::Clinical };
    let push = gateway.next_push().await;
    gateway.end(&[document]).await;
    tablet.until("it knows", async |client| client.case_sync(case).await.is_ok_and(|sync| sync.revoked)).await;
    gateway.take(&push, 2).await;
    assert_eq!(gateway.next_fetch().await, [document]);
    assert!(!tablet.sync(case).await.revoked);
    assert_eq!(tablet.client.read(case).await.unwrap().documents.len(), 1);
}

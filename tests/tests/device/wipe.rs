//! A lost device, and one that nobody has heard of for long.

use std::time::Duration;

use feldakte_client_sdk::{
    SdkError,
    store::LocalStore,
    view::{Event, WipeStage},
};
use feldakte_core::{case::Edit, ids::Part};
use feldakte_proto::{ClientMessage, Outcome, Reason};
use feldakte_tests::harness::{
    local::Clock,
    tablet::{Tablet, fact, memory_store},
};

use super::World;

const ORDER: [u8; 16] = [7; 16];
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn edits() -> Vec<Edit> {
    vec![fact(Part::Clinical, "gcs", "15")]
}

async fn wait_wipe(tablet: &Tablet, stage: WipeStage) {
    let has_come = async |client: &feldakte_client_sdk::Client| client.status().await.unwrap().wipe == Some(stage);
    tablet.until(&format!("the wipe is {stage:?}"), has_come).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_device_delivers_destroys_and_confirms() {
    let world = World::new();
    let store = memory_store();
    let tablet = world.tablet(store.clone()).await;
    let mut gateway = world.session().await;
    let case = tablet.create("Brustschmerz").await;
    let push = gateway.next_push().await;
    gateway.order_wipe(ORDER).await;
    wait_wipe(&tablet, WipeStage::Ordered).await;
    assert!(matches!(tablet.client.read(case).await, Err(SdkError::Wiped)));
    assert!(matches!(tablet.client.create_case(edits()).await, Err(SdkError::Wiped)), "it takes no edits");
    assert_eq!(store.documents().await.unwrap()[0].local, 2, "nothing is destroyed before it is delivered");
    gateway.take(&push, 2).await;
    let receipts = gateway.next_receipts().await;
    assert_eq!(receipts.wiped, Some(ORDER));
    assert_eq!(store.documents().await.unwrap(), []);
    tablet.until("its app is told", async |_| tablet.losses().contains(&Event::Wiped)).await;
    gateway.answer(receipts.request, Outcome::Done).await;
    wait_wipe(&tablet, WipeStage::Confirmed).await;

    tablet.shutdown().await;
    let tablet = world.tablet(store.reopen().unwrap()).await;
    let mut gateway = world.session().await;
    assert!(matches!(tablet.client.list().await, Err(SdkError::Wiped)), "for good");
    gateway.order_wipe(ORDER).await;
    assert_eq!(gateway.next_receipts().await.wiped, Some(ORDER), "a gateway that does not know it is told again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_after_the_order_only_delays_it() {
    let world = World::new();
    let store = memory_store();
    let tablet = world.tablet(store.clone()).await;
    let mut gateway = world.session().await;
    tablet.create("Brustschmerz").await;
    gateway.next_push().await;
    gateway.order_wipe(ORDER).await;
    wait_wipe(&tablet, WipeStage::Ordered).await;
    store.crash();
    tablet.shutdown().await;
    gateway.connection.close(0_u32.into(), b"");

    let store = store.reopen().unwrap();
    let tablet = world.tablet(store.clone()).await;
    assert!(matches!(tablet.client.list().await, Err(SdkError::Wiped)), "also before the gateway is reached");
    let mut gateway = world.session().await;
    let push = gateway.next_push().await;
    gateway.refuse(&push, Reason::Quarantined).await;
    let receipts = gateway.next_receipts().await;
    assert_eq!(receipts.wiped, Some(ORDER));
    assert_eq!(store.documents().await.unwrap(), []);
    store.crash();
    tablet.shutdown().await;

    let tablet = world.tablet(store.reopen().unwrap()).await;
    let mut gateway = world.session().await;
    assert_eq!(gateway.next_receipts().await.wiped, Some(ORDER), "the receipt is repeated until it is taken");
    tablet.shutdown().await;
}

/// Whoever has stolen the device lets it hear the order, and nothing else ever after.
#[tokio::test(flavor = "multi_thread")]
async fn a_thief_who_breaks_every_session_cannot_keep_the_content() {
    let world = World::new();
    let store = memory_store();
    let tablet = world.tablet(store.clone()).await;
    let mut gateway = world.session().await;
    tablet.create("Brustschmerz").await;
    gateway.next_push().await;
    gateway.order_wipe(ORDER).await;
    wait_wipe(&tablet, WipeStage::Ordered).await;
    let mut sessions = 1;
    while !store.documents().await.unwrap().is_empty() {
        gateway.connection.close(0_u32.into(), b"");
        tablet.client.network_changed();
        gateway = world.session().await;
        sessions += 1;
        assert!(sessions < 12, "it gives up on delivery");
        let _ = gateway.next().await;
    }
    assert!(sessions > 4, "not before it has tried: {sessions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_alone_for_too_long_keeps_only_what_is_unsent() {
    let world = World::new();
    let (store, clock) = (memory_store(), Clock::default());
    let who = (world.enrolled.identity(), world.endpoint.local_addr().unwrap());
    let tablet = Tablet::open_for(who, store.clone(), &clock, DAY).await;
    tablet.client.go_online();
    let mut gateway = world.session().await;
    let case = tablet.create("Brustschmerz").await;
    let push = gateway.next_push().await;
    gateway.take(&push, 2).await;
    tablet.wait_durable(case).await;
    tablet.go_offline().await;
    tablet.set(case, "gcs", "15").await;
    clock.advance(DAY - HOUR);
    assert_eq!(tablet.sync(case).await.durable, 2, "not yet");
    clock.advance(2 * HOUR);
    let sync = tablet.sync(case).await;
    assert_eq!((sync.local, sync.durable, sync.incomplete), (1, 0, true), "unsent work is kept");
    tablet.until("its app is told", async |_| tablet.losses() == [Event::ContentExpired]).await;
    tablet.sync(case).await;
    assert_eq!(tablet.losses(), [Event::ContentExpired], "once");

    tablet.client.go_online();
    let mut gateway = world.session().await;
    let next = [gateway.next().await, gateway.next().await];
    let delivers = |message: &_| matches!(message, ClientMessage::Push(push) if push.changes.len() == 1);
    let fetches = |message: &_| matches!(message, ClientMessage::Fetch(_));
    assert!(next.iter().any(delivers) && next.iter().any(fetches), "the next contact delivers, and brings it back");
}

/// Off, back on with the clock turned back, and so on: time never goes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_rolled_back_by_24_hours_does_not_keep_content_alive() {
    let world = World::new();
    let (store, clock) = (memory_store(), Clock::default());
    let who = || (world.enrolled.identity(), world.endpoint.local_addr().unwrap());
    let tablet = Tablet::open_for(who(), store.clone(), &clock, DAY).await;
    tablet.client.go_online();
    let mut gateway = world.session().await;
    let case = tablet.create("Brustschmerz").await;
    let push = gateway.next_push().await;
    gateway.take(&push, 2).await;
    tablet.wait_durable(case).await;
    tablet.go_offline().await;
    clock.advance(DAY - HOUR);
    assert_eq!(tablet.sync(case).await.durable, 2);
    clock.set_back(DAY);
    assert_eq!(tablet.sync(case).await.durable, 2);
    tablet.shutdown().await;
    let tablet = Tablet::open_for(who(), store.reopen().unwrap(), &clock, DAY).await;
    assert_eq!(tablet.sync(case).await.durable, 2, "nothing was gained, nothing was lost");
    clock.advance(DAY + 2 * HOUR);
    assert_eq!(tablet.sync(case).await.durable, 0);
}

/// What a wrong clock costs is a fetch: nothing that is only here.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_rolled_forward_by_24_hours_loses_no_unsent_work() {
    let world = World::new();
    let clock = Clock::default();
    let who = (world.enrolled.identity(), world.endpoint.local_addr().unwrap());
    let tablet = Tablet::open_for(who, memory_store(), &clock, DAY).await;
    tablet.client.go_online();
    let gateway = world.session().await;
    gateway.connection.close(0_u32.into(), b"");
    tablet.go_offline().await;
    let case = tablet.create("Brustschmerz").await;
    clock.advance(DAY);
    assert_eq!(tablet.sync(case).await.local, 2);
    clock.set_back(DAY);
    assert_eq!(tablet.sync(case).await.local, 2);
    assert_eq!(tablet.losses(), []);
    assert_eq!(tablet.client.read(case).await.unwrap().documents.len(), 1);
}

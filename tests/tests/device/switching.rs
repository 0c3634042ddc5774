//! What is left of a user on the device when the next one uses it.

use std::sync::{Arc, Mutex};

use feldakte_client_sdk::{
    SdkError, SignIn,
    store::LocalStore,
    view::{Event, Observer},
};
use feldakte_core::ids::{CaseId, UserId};
use feldakte_proto::Reason;
use feldakte_tests::harness::{
    tablet::{Tablet, memory_store},
    within,
};

use super::{
    World,
    users::{pin, token},
};

/// All that an app is told.
#[derive(Default)]
struct App(Mutex<Vec<Event>>);

impl Observer for App {
    fn on_event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl App {
    fn heard_of(&self, case: CaseId) -> bool {
        self.0.lock().unwrap().iter().any(|event| match event {
            Event::CaseChanged(of, _) | Event::SyncChanged(of) | Event::CaseRemoved(of) => *of == case,
            _ => false,
        })
    }
}

/// A tablet that knows Weber and Meyer.
async fn shared(
    world: &World,
    store: Arc<feldakte_tests::memory_local_store::MemoryLocalStore>,
) -> (Tablet, [UserId; 2]) {
    let address = world.endpoint.local_addr().unwrap();
    let tablet = Tablet::open(world.enrolled.identity(), address, store).await;
    let weber = tablet.client.set_pin("weber".into(), None, "493817".into()).await.unwrap();
    let meyer = tablet.client.set_pin("meyer".into(), None, "271828".into()).await.unwrap();
    tablet.client.sign_in(pin("weber", "493817")).await.unwrap();
    (tablet, [weber, meyer])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_user_hears_nothing_of_work_that_is_sent_and_refused_behind_his_back() {
    let world = World::new();
    let (tablet, both) = shared(&world, memory_store()).await;
    tablet.client.go_online();
    let mut first = world.session_believing(&both).await;
    let case = tablet.create("Brustschmerz").await;
    let _in_flight = first.next_push().await;
    tablet.client.sign_in(pin("meyer", "271828")).await.unwrap();
    tablet.until("the app is told", async |_| tablet.losses().contains(&Event::UserChanged)).await;
    let app = Arc::<App>::default();
    tablet.client.observe(app.clone());

    let mut second = world.session_believing(&both).await;
    let pushes = [second.next_push().await, second.next_push().await];
    assert_eq!(pushes.each_ref().map(|push| push.user), [Some(both[1]), Some(both[0])], "the same, once more");
    second.take(&pushes[0], 2).await;
    second.refuse(&pushes[1], Reason::Malformed).await;
    let own = tablet.create("Sturz").await;
    tablet.until("his own is told", async |_| app.heard_of(own)).await;
    // What comes later on the same stream has been taken in: so has the refusal.
    let later = second.next_push().await;
    second.take(&later, 3).await;
    tablet.wait_durable(own).await;
    assert!(!app.heard_of(case), "{:?}", app.0.lock().unwrap());
    assert_eq!(tablet.client.parked(case).await.unwrap(), []);
    assert!(matches!(tablet.client.read(case).await, Err(SdkError::UnknownCase)));
    assert!(!tablet.client.status().await.unwrap().all_safe, "but it is counted");

    tablet.client.sign_in(pin("weber", "493817")).await.unwrap();
    let parked = tablet.client.parked(case).await.unwrap();
    assert_eq!(parked.len(), 1, "it waits for its author");
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_of_two_users_within_a_minute_are_not_passed_off_as_one_persons() {
    let world = World::new();
    let store = memory_store();
    let (tablet, both) = shared(&world, store.clone()).await;
    tablet.client.go_online();
    let mut gateway = world.session_believing(&both).await;
    let case = tablet.create("Brustschmerz").await;
    let push = gateway.next_push().await;
    gateway.take(&push, 2).await;
    tablet.wait_durable(case).await;
    tablet.go_offline().await;
    tablet.client.read(case).await.unwrap();
    tablet.client.sign_in(pin("meyer", "271828")).await.unwrap();
    tablet.client.read(case).await.unwrap();
    tablet.client.sign_out().await.unwrap();
    let mut readers: Vec<_> = store.receipts().await.unwrap().reads.into_iter().map(|seen| seen.user).collect();
    readers.sort();
    let mut expected = both.map(Some);
    expected.sort();
    assert_eq!(readers, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_believed_no_more_closes_what_it_opened() {
    let world = World::new();
    let tablet = world.tablet(memory_store()).await;
    let _nobody = world.session_believing(&[]).await;
    let user = UserId(uuid::Uuid::from_u128(7));
    let client = tablet.client.clone();
    let signing_in = tokio::spawn(async move { client.sign_in(SignIn::Token(token("weber"))).await });
    let mut gateway = world.session_believing(&[user]).await;
    assert_eq!(signing_in.await.unwrap().unwrap(), user);
    let case = tablet.create("Brustschmerz").await;
    let push = gateway.next_push().await;
    gateway.take(&push, 2).await;
    tablet.wait_durable(case).await;
    tablet.client.network_changed();
    drop(gateway);
    let _refusing = world.session_believing(&[]).await;
    tablet.until("the app is told", async |_| tablet.losses().contains(&Event::SignInEnded)).await;
    assert!(matches!(tablet.client.read(case).await, Err(SdkError::UnknownCase)));
    assert_eq!(tablet.client.status().await.unwrap().user, Some(user), "his work is still his");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_was_overtaken_by_a_sign_out_signs_nobody_in() {
    let world = World::new();
    let tablet = world.tablet(memory_store()).await;
    let _first = world.session_believing(&[]).await;
    let asked = SignIn::Token(token("weber"));
    let both = async { tokio::join!(tablet.client.sign_in(asked), tablet.client.sign_out()) };
    let (signed_in, signed_out) = within("both are answered", both).await;
    assert!(matches!(signed_in, Err(SdkError::Offline)), "nobody has judged it: {signed_in:?}");
    signed_out.unwrap();
    assert_eq!(tablet.client.status().await.unwrap().user, None);
}

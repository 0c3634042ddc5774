//! Users on one device: who signs in how, what each sees, and in whose name work is delivered.

use bytes::Bytes;
use feldakte_client_sdk::{SdkError, SignIn, view::Event};
use feldakte_core::{
    access::Role,
    ids::{Cursor, Position, UserId},
};
use feldakte_proto::{ChangesFrame, Credential, Hello, ServerMessage, SignInRefusal, SignedIn, Welcome};
use feldakte_tests::harness::{
    scripted::{self, Session},
    tablet::{Tablet, memory_store},
};

use super::World;

/// A token of that subject, which only the scripted gateway believes.
pub(super) fn token(subject: &str) -> String {
    let claims = format!(r#"{{"iss":"https://sso.example","sub":"{subject}"}}"#);
    format!("e30.{}.c2ln", base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims))
}

pub(super) fn pin(login: &str, pin: &str) -> SignIn {
    SignIn::Pin { login: login.into(), pin: pin.into() }
}

/// Believes those.
pub(super) fn believed(users: &[UserId]) -> impl Fn(&Credential) -> SignedIn {
    let users = users.to_vec();
    move |credential| {
        let named = match credential {
            Credential::Local(user) => Some(*user),
            Credential::Ticket(ticket) => users.iter().find(|user| user.as_bytes().as_slice() == ticket).copied(),
            Credential::Token(_) => users.first().copied(),
        };
        match named.filter(|user| users.contains(user)) {
            None => SignedIn::Refused(SignInRefusal::NotTrusted),
            Some(user) => {
                let ticket = Bytes::copy_from_slice(user.as_bytes());
                SignedIn::As { user, role: Role::AmbulanceCrew, until_ms: None, ticket }
            }
        }
    }
}

impl World {
    pub(super) async fn session_believing(&self, users: &[UserId]) -> Session {
        let judge = believed(users);
        let welcome = |hello: &Hello| Welcome {
            active: hello.active.as_ref().map(&judge),
            delivers: hello.delivers.iter().map(&judge).collect(),
            ..scripted::welcome(self.epoch)
        };
        Session::accept_with(&self.endpoint, welcome, &[]).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_user_sees_nothing_unsent_and_it_is_delivered_while_he_works() {
    let world = World::new();
    let store = memory_store();
    let tablet = Tablet::open(world.enrolled.identity(), world.endpoint.local_addr().unwrap(), store.clone()).await;
    let early = tablet.client.set_pin("weber".into(), None, "493817".into()).await.unwrap();
    let late = tablet.client.set_pin("meyer".into(), None, "271828".into()).await.unwrap();
    assert_eq!(tablet.client.sign_in(pin("weber", "493817")).await.unwrap(), early, "without a network");
    let case = tablet.create("Brustschmerz").await;
    tablet.client.sign_in(pin("meyer", "271828")).await.unwrap();
    tablet.until("the app is told", async |_| tablet.losses().contains(&Event::UserChanged)).await;
    assert_eq!(tablet.client.list().await.unwrap(), []);
    assert!(matches!(tablet.client.read(case).await, Err(SdkError::UnknownCase)));
    let written = vec![feldakte_tests::harness::tablet::fact(feldakte_core::ids::Part::Clinical, "gcs", "3")];
    assert!(matches!(tablet.client.edit(case, written).await, Err(SdkError::UnknownCase)), "nor built upon");
    let status = tablet.client.status().await.unwrap();
    assert_eq!((status.all_safe, status.others, status.user), (false, 2, Some(late)));

    tablet.client.go_online();
    let mut gateway = world.session_believing(&[early, late]).await;
    assert_eq!(gateway.hello.active, Some(Credential::Local(late)));
    assert_eq!(gateway.hello.delivers, [Credential::Local(early)]);
    // The first change of a document has no author; the rest is his.
    let pushes = [gateway.next_push().await, gateway.next_push().await];
    assert_eq!(pushes.each_ref().map(|push| push.user), [Some(late), Some(early)]);
    for (position, push) in (2..).zip(&pushes) {
        gateway.take(push, position).await;
    }
    let document = pushes[0].document;
    assert_eq!(gateway.next_fetch().await, [document], "whether he may see it only the gateway knows");
    assert_eq!(tablet.client.list().await.unwrap(), []);
    let may = ChangesFrame { bootstrap: vec![document], ..ChangesFrame::default() };
    gateway.send(ServerMessage::Changes(may)).await;
    tablet.until("it is there for all", async |client| client.read(case).await.is_ok()).await;
    assert!(tablet.client.status().await.unwrap().all_safe);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_of_a_user_whom_the_gateway_does_not_believe_waits_for_him() {
    let world = World::new();
    let tablet = Tablet::open(world.enrolled.identity(), world.endpoint.local_addr().unwrap(), memory_store()).await;
    let user = tablet.client.set_pin("weber".into(), None, "493817".into()).await.unwrap();
    tablet.client.sign_in(pin("weber", "493817")).await.unwrap();
    let his = tablet.create("Brustschmerz").await;
    tablet.client.sign_out().await.unwrap();
    let own = tablet.create("Sturz").await;
    tablet.client.go_online();
    let mut gateway = world.session_believing(&[]).await;
    assert_eq!((gateway.hello.active.clone(), gateway.hello.delivers.len()), (None, 1));
    let mut pushes = [gateway.next_push().await, gateway.next_push().await];
    pushes.sort_by_key(|push| push.changes.len());
    assert!(pushes.iter().all(|push| push.user.is_none()), "nothing is passed off as somebody else's");
    assert_eq!((pushes[0].document.case, pushes[1].document.case), (his, own), "a first change has no author");
    for push in &pushes {
        gateway.take(push, 2).await;
    }
    tablet.wait_durable(own).await;
    let users = tablet.client.users().await.unwrap();
    assert_eq!(users.iter().map(|known| (known.user, known.unsent)).collect::<Vec<_>>(), [(user, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_a_token_has_a_session_and_a_cursor_of_his_own() {
    let world = World::new();
    let tablet = world.tablet(memory_store()).await;
    let first = world.session_believing(&[]).await;
    assert_eq!(first.hello.active, None);
    tablet.client.caught_up().await;
    let user = UserId(uuid::Uuid::from_u128(7));
    let client = tablet.client.clone();
    let signing_in = tokio::spawn(async move { client.sign_in(SignIn::Token(token("weber"))).await });
    let mut gateway = world.session_believing(&[user]).await;
    assert_eq!(gateway.hello.cursor, None, "he is sent what the device was not");
    assert_eq!(signing_in.await.unwrap().unwrap(), user);
    let case = tablet.create("Brustschmerz").await;
    let push = gateway.next_push().await;
    assert_eq!(push.user, Some(user));
    tablet.client.sign_out().await.unwrap();
    assert!(matches!(tablet.client.read(case).await, Err(SdkError::UnknownCase)));

    // His ticket delivers what he has left behind.
    let mut gateway = world.session_believing(&[user]).await;
    assert_eq!(gateway.hello.active, None);
    assert_eq!(gateway.hello.delivers, [Credential::Ticket(Bytes::copy_from_slice(user.as_bytes()))]);
    assert_eq!(gateway.hello.cursor, Some(Cursor { epoch: world.epoch, position: Position(1) }), "the device's own");
    let pushes = [gateway.next_push().await, gateway.next_push().await];
    assert_eq!(pushes.map(|push| push.user), [None, Some(user)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_believed_changes_nothing() {
    let world = World::new();
    let tablet = world.tablet(memory_store()).await;
    let _first = world.session_believing(&[]).await;
    let case = tablet.create("Brustschmerz").await;
    let client = tablet.client.clone();
    let signing_in = tokio::spawn(async move { client.sign_in(SignIn::Token(token("weber"))).await });
    let _refusing = world.session_believing(&[]).await;
    let refused = signing_in.await.unwrap();
    assert!(matches!(refused, Err(SdkError::SignInRefused(SignInRefusal::NotTrusted))), "{refused:?}");
    let mut gateway = world.session_believing(&[]).await;
    assert_eq!(gateway.hello.active, None);
    assert_eq!(gateway.next_push().await.document.case, case);
    assert!(tablet.client.read(case).await.is_ok());
    assert!(matches!(tablet.client.sign_in(SignIn::Token("kein Token".into())).await, Err(SdkError::BadToken)));
    tablet.go_offline().await;
    let offline = tablet.client.sign_in(SignIn::Token(token("weber"))).await;
    assert!(matches!(offline, Err(SdkError::Offline)), "nobody is there to judge it");
}

/// Neither a restart nor any clock gives another try.
#[tokio::test(flavor = "multi_thread")]
async fn guessing_pins_is_slow_whatever_is_done_to_the_device() {
    let world = World::new();
    let store = memory_store();
    let clock = feldakte_tests::harness::local::Clock::default();
    let open = async |store| {
        Tablet::open_at(world.enrolled.identity(), world.endpoint.local_addr().unwrap(), store, &clock).await
    };
    let tablet = open(store.clone()).await;
    tablet.client.set_pin("weber".into(), None, "493817".into()).await.unwrap();
    for guess in 0..5 {
        let wrong = tablet.client.sign_in(pin("weber", &format!("12345{guess}"))).await;
        assert!(matches!(wrong, Err(SdkError::WrongPin)), "{wrong:?}");
    }
    let is_locked = async |tablet: &Tablet| {
        let right = tablet.client.sign_in(pin("weber", "493817")).await;
        assert!(matches!(right, Err(SdkError::PinLocked { .. })), "{right:?}");
    };
    is_locked(&tablet).await;
    let new = tablet.client.set_pin("weber".into(), Some("000001".into()), "888881".into()).await;
    assert!(matches!(new, Err(SdkError::PinLocked { .. })), "nor by way of a new PIN: {new:?}");
    for day in [1, 2] {
        clock.advance(std::time::Duration::from_secs(day * 86_400));
        is_locked(&tablet).await;
    }
    tablet.shutdown().await;
    store.crash();
    let tablet = open(store.reopen().unwrap()).await;
    clock.set_back(std::time::Duration::from_secs(86_400));
    is_locked(&tablet).await;
    let nobody = tablet.client.sign_in(pin("niemand", "493817")).await;
    assert!(matches!(nobody, Err(SdkError::WrongPin)), "who exists is not told");
    let easy = tablet.client.set_pin("meyer".into(), None, "1234".into()).await;
    assert!(matches!(easy, Err(SdkError::WeakPin(_))));
}

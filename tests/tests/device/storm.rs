//! A gateway without room, as a device meets it: it says when to come back, and is believed.

use std::time::Duration;

use feldakte_core::access::Role;
use feldakte_proto::Close;
use feldakte_tests::harness::{
    device,
    scripted::Session,
    tablet::{Tablet, memory_store},
};
use tokio::time::Instant;

use super::World;

/// Short enough to be waited for, and far longer than a dial takes.
const AWAY: Duration = Duration::from_millis(800);
/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_brings_back_a_device_sooner_than_the_gateway_said() {
    let world = World::new();
    let tablet = world.tablet(memory_store()).await;
    let session = Session::introduced(&world.endpoint).await;
    let sent_away = Instant::now();
    session.close(Close::busy(AWAY));

    let back = Session::introduced(&world.endpoint);
    tokio::pin!(back);
    let mut tick = tokio::time::interval(AWAY / 20);
    let back = loop {
        tokio::select! {
            back = &mut back => break back,
            _ = tick.tick() => {
                tablet.client.network_changed();
                tablet.client.go_offline();
                tablet.client.go_online();
            }
        }
    };
    assert!(sent_away.elapsed() >= AWAY, "{:?}", sent_away.elapsed());
    assert!(!back.hello.on_mission);
    tablet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crew_that_is_sent_on_a_mission_does_not_wait_for_its_turn() {
    let world = World::new();
    let tablet = world.tablet(memory_store()).await;
    let session = Session::introduced(&world.endpoint).await;
    assert!(!session.hello.on_mission);
    session.close(Close::busy(LONG));
    tablet.client.set_on_mission(true);
    let session = Session::introduced(&world.endpoint).await;
    assert!(session.hello.on_mission);

    // A gateway that has no room for missions either is left alone as well, whatever the app says of new ones.
    let sent_away = Instant::now();
    session.close(Close::busy(AWAY));
    let back = Session::introduced(&world.endpoint);
    tokio::pin!(back);
    let mut tick = tokio::time::interval(AWAY / 20);
    loop {
        tokio::select! {
            _ = &mut back => break,
            _ = tick.tick() => {
                tablet.client.set_on_mission(false);
                tablet.client.set_on_mission(true);
            }
        }
    }
    assert!(sent_away.elapsed() >= AWAY, "{:?}", sent_away.elapsed());
    tablet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_a_role_that_goes_on_no_missions_does_not_claim_one() {
    let mut world = World::new();
    world.enrolled = world.site.pki.enrol(&device("dortmund", "unit-1", Role::FieldStaff));
    let tablet = Tablet::open(world.enrolled.identity(), world.endpoint.local_addr().unwrap(), memory_store()).await;
    tablet.client.set_on_mission(true);
    tablet.client.go_online();
    assert!(!Session::introduced(&world.endpoint).await.hello.on_mission);
    tablet.shutdown().await;
}

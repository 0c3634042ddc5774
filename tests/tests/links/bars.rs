//! What a device may take to find another way, measured in real time. `cargo test -p feldakte-tests --test links bars --
//! --ignored --nocapture` prints the figures; `FELDAKTE_MINUTES` sets how long addresses change.

use std::time::{Duration, Instant};

use feldakte_client_sdk::{
    Transports,
    view::{LinkState, Transport},
};
use feldakte_core::ids::CaseId;
use feldakte_tests::{
    harness::tablet::{Tablet, memory_store},
    netns::profile::Profile,
};

use super::{
    behaviours::{add_pain, assert_all_in_log, entries},
    world::{World, link},
};

/// With UDP, whatever the profile says.
async fn world() -> Option<World> {
    World::under(Profile { passes_udp: true, ..Profile::URBAN }, Transports::Both).await
}

async fn is_over(tablet: &Tablet, wanted: Transport) {
    let what = format!("the session goes over {wanted:?}");
    let is_it =
        async |client: &feldakte_client_sdk::Client| client.link().await.is_some_and(|facts| facts.transport == wanted);
    tablet.until(&what, is_it).await;
}

/// From the wish to a session.
async fn time_to_session(world: &World, passes_udp: bool) -> Duration {
    let tablet = Tablet::open(world.enrol().identity(), world.gateway.address, memory_store()).await;
    link(&tablet).change(|conditions| conditions.passes_udp = passes_udp);
    let since = Instant::now();
    tablet.client.go_online();
    tablet.wait_link(LinkState::Connected).await;
    since.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a bar in real time: on a quiet machine"]
async fn without_udp_a_session_comes_half_a_second_later_at_most() {
    let Some(world) = world().await else { return };
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        for (times, passes_udp) in times.iter_mut().zip([true, false]) {
            times.push(time_to_session(&world, passes_udp).await);
        }
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    let [with, without] = times.each_ref().map(|times| times[RUNS / 2]);
    println!(
        "session after {with:?} with UDP, {without:?} without (median of {RUNS}; slowest {:?})",
        times[1][RUNS - 1]
    );
    assert!(without <= with + Duration::from_millis(500));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a bar in real time: on a quiet machine"]
async fn udp_that_ceases_is_left_within_five_seconds_and_found_again() {
    let Some(world) = world().await else { return };
    let (tablet, other) = tokio::join!(world.tablet(), world.tablet());
    let case = tablet.create("Sturz").await;
    tablet.wait_durable(case).await;
    is_over(&tablet, Transport::Quic).await;

    link(&tablet).change(|conditions| conditions.passes_udp = false);
    let since = Instant::now();
    add_pain(&tablet, case, 1).await;
    tablet.wait_durable(case).await;
    let moved = since.elapsed();
    is_over(&tablet, Transport::Grpc).await;

    link(&tablet).change(|conditions| conditions.passes_udp = true);
    let since = Instant::now();
    add_pain(&tablet, case, 2).await;
    is_over(&tablet, Transport::Quic).await;
    println!("moved to TCP after {moved:?}, back on QUIC after {:?}", since.elapsed());
    add_pain(&tablet, case, 3).await;
    tablet.wait_all_safe().await;
    other.wait_equal(&tablet, case).await;
    assert_eq!(entries(&other, case).await, 3, "nothing is lost, nothing is there twice");
    assert_all_in_log(&tablet);
    assert!(moved <= Duration::from_secs(5), "{moved:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a bar in real time: on a quiet machine"]
async fn another_address_every_20_seconds_stalls_no_edit_for_more_than_three() {
    let Some(world) = world().await else { return };
    let (tablet, other) = tokio::join!(world.tablet(), world.tablet());
    let case = tablet.create("Sturz").await;
    let (written, longest) = edit_amid_changes(&tablet, case).await;
    println!("{written} edits, the longest stall {longest:?}");
    tablet.wait_all_safe().await;
    other.wait_equal(&tablet, case).await;
    assert_eq!(entries(&other, case).await, written, "nothing is lost, nothing is there twice");
    assert_all_in_log(&tablet);
    assert!(longest <= Duration::from_secs(3), "{longest:?}");
}

/// How many edits, and how long the slowest took to be durable.
async fn edit_amid_changes(tablet: &Tablet, case: CaseId) -> (usize, Duration) {
    let minutes = std::env::var("FELDAKTE_MINUTES").map_or(2, |minutes| minutes.parse().expect("a number"));
    let (end, mut longest, mut written) = (Instant::now() + MINUTE * minutes, Duration::ZERO, 0);
    let mut change = Instant::now() + CHANGE_EVERY;
    let mut beat = tokio::time::interval(Duration::from_millis(200));
    while Instant::now() < end {
        beat.tick().await;
        if Instant::now() >= change {
            link(tablet).change_address();
            change += CHANGE_EVERY;
        }
        let since = Instant::now();
        add_pain(tablet, case, (written % 10) as i64).await;
        tablet.wait_durable(case).await;
        (written, longest) = (written + 1, longest.max(since.elapsed()));
    }
    (written, longest)
}

const RUNS: usize = 9;
const MINUTE: Duration = Duration::from_secs(60);
const CHANGE_EVERY: Duration = Duration::from_secs(20);

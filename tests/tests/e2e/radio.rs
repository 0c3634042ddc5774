//! What a session costs the radio: bytes on the wire with all headers, and round trips. The runtime's clock is paused: hours
//! pass as fast as nothing happens in them.

use std::time::{Duration, SystemTime};

use feldakte_client_sdk::view::LinkState;
use feldakte_core::{access::Role, limits};
use feldakte_gateway::gateway::Gateway;
use feldakte_tests::harness::{
    address::{Address, Transport},
    crew, device,
    local::Site,
    mission::{self, Mission, Saved},
    tablet::{Tablet, texts},
    wire::{Carried, Path, Wire},
};
use tokio::time::{Instant, sleep, sleep_until};

/// A gateway, and a radio path to it that takes no packets as large as a cable does.
struct World {
    site: Site,
    gateway: Gateway,
    direct: Address,
    wire: Wire,
}

impl World {
    async fn over(over: Transport) -> Self {
        let site = Site::on_loopback(over);
        let (gateway, direct) = site.start_in_memory().await;
        let wire = Wire::to(direct, Path { one_way: ONE_WAY, mtu: 1_400 }).await;
        Self { site, gateway, direct, wire }
    }

    /// Of the crew's, over the radio.
    async fn tablet(&self) -> Tablet {
        Tablet::online(&self.site.pki.enrol(&crew("rtw-1")), self.wire.address).await
    }
}

/// What an idle device sends and receives in that time.
async fn idle(over: Transport, span: Duration) -> Carried {
    let world = World::over(over).await;
    let tablet = world.tablet().await;
    let case = tablet.create("Sturz").await;
    tablet.wait_durable(case).await;
    // What belongs to the beginning is over by then, such as a second connection that was needed.
    sleep(limits::TCP_KEEP_ALIVE / 2).await;
    let before = world.wire.carried();
    sleep(span).await;
    let carried = world.wire.carried() - before;
    assert_eq!(tablet.links().last(), Some(&LinkState::Connected));
    assert_eq!(world.gateway.metrics().sessions.get(), 1);
    tablet.set(case, "gcs", "9").await;
    tablet.wait_durable(case).await;
    carried
}

async fn an_idle_hour_costs_20_kilobytes_at_most(over: Transport) {
    let Carried { packets, bytes } = idle(over, HOUR).await;
    println!("{over:?}: {bytes} bytes in {packets} packets in an idle hour");
    assert!(bytes <= 20_000, "{bytes} bytes in {packets} packets");
}

async fn what_an_idle_device_costs_in_real_time(over: Transport) {
    let span = 2 * limits::TCP_KEEP_ALIVE;
    let Carried { packets, bytes } = idle(over, span).await;
    let an_hour = bytes * HOUR.as_secs() / span.as_secs();
    println!("{over:?}: {bytes} bytes in {packets} packets in {span:?}: {an_hour} bytes an hour");
    // By chance one more keep-alive than the span has.
    assert!(packets > 0 && an_hour <= 22_000, "{an_hour} bytes an hour in {packets} packets");
}

/// Of a device that comes back, until it shows what was written while it was away. There are no tickets and there is no 0-RTT:
/// it proves itself anew, and whether it may is judged anew (attacks::tls::resumption, attacks::lapse).
async fn round_trips_until_caught_up(over: Transport) -> f64 {
    let world = World::over(over).await;
    let other = Tablet::online(&world.site.pki.enrol(&crew("rtw-1")), world.direct).await;
    let tablet = world.tablet().await;
    let first = world.wire.carried();
    let case = tablet.create("Sturz").await;
    tablet.wait_durable(case).await;
    other.wait_equal(&tablet, case).await;
    tablet.go_offline().await;
    other.set(case, "gcs", "9").await;
    other.wait_durable(case).await;
    let (before, since) = (world.wire.carried(), Instant::now());
    tablet.client.go_online();
    tablet.wait_case(case, "what was written meanwhile", |view| texts(view, "gcs").contains("9")).await;
    let round_trips = since.elapsed().as_secs_f64() / (2 * ONE_WAY).as_secs_f64();
    let again = world.wire.carried() - before;
    println!("{over:?}: {round_trips:.1} round trips, {} bytes", again.bytes);
    assert!(again.bytes > first.bytes * 9 / 10, "both ends show their certificates each time: {first:?}, {again:?}");
    round_trips
}

/// A crew's device, from the first packet on; the address changes every five minutes, and each time it dials again.
async fn a_mission_of_45_minutes_costs_300_kilobytes_at_most(over: Transport) {
    let world = World::over(over).await;
    let physician = device("dortmund", "rtw-1", Role::TelePhysician);
    let physician = Tablet::online(&world.site.pki.enrol(&physician), world.direct).await;
    let tablet = world.tablet().await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut mission = Mission::new(i64::try_from(now.as_millis()).unwrap());
    let case = tablet.client.create_case(mission.opening()).await.unwrap();
    tablet.wait_durable(case).await;
    physician.wait_equal(&tablet, case).await;
    let begun = Instant::now();
    for second in 1..=mission::SECONDS {
        sleep_until(begun + Duration::from_secs(second as u64)).await;
        for Saved { by_physician, edits } in mission.second(second) {
            let who = if by_physician { &physician } else { &tablet };
            who.client.edit(case, edits).await.unwrap();
        }
        if second % PATH_LASTS == 0 {
            tablet.go_offline().await;
            tablet.client.go_online();
        }
    }
    tablet.wait_all_safe().await;
    physician.wait_equal(&tablet, case).await;
    let Carried { packets, bytes } = world.wire.carried();
    let changes = tablet.told_in_log().len();
    println!("{over:?}: {bytes} bytes in {packets} packets for {changes} changes in 45 minutes");
    assert!(changes > 300 && bytes <= 300_000, "{bytes} bytes for {changes} changes");
}

/// The same mission, written without a link: what is alike in its changes is packed.
#[tokio::test(start_paused = true)]
async fn a_mission_without_a_link_is_delivered_in_half_the_bytes() {
    let world = World::over(Transport::Quic).await;
    let tablet = world.tablet().await;
    tablet.go_offline().await;
    let mut mission = Mission::new(1_790_000_000_000);
    let case = tablet.client.create_case(mission.opening()).await.unwrap();
    for saved in (1..=mission::SECONDS).flat_map(|second| mission.second(second)) {
        tablet.client.edit(case, saved.edits).await.unwrap();
    }
    let before = world.wire.carried();
    tablet.client.go_online();
    tablet.wait_durable(case).await;
    let Carried { packets, bytes } = world.wire.carried() - before;
    let changes = tablet.told_durable().len();
    println!("{bytes} bytes in {packets} packets for {changes} changes written without a link");
    assert!(changes > 300 && bytes <= 50_000, "{bytes} bytes for {changes} changes");
}

#[tokio::test(start_paused = true)]
async fn a_mission_over_quic() {
    a_mission_of_45_minutes_costs_300_kilobytes_at_most(Transport::Quic).await;
}

#[tokio::test(start_paused = true)]
async fn a_mission_over_grpc() {
    a_mission_of_45_minutes_costs_300_kilobytes_at_most(Transport::Grpc).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_hour_over_quic() {
    an_idle_hour_costs_20_kilobytes_at_most(Transport::Quic).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_hour_over_grpc() {
    an_idle_hour_costs_20_kilobytes_at_most(Transport::Grpc).await;
}

/// The handshake's, with which the hello rides, and the answer's.
#[tokio::test(start_paused = true)]
async fn a_device_that_comes_back_over_quic_is_caught_up_after_two_round_trips() {
    let round_trips = round_trips_until_caught_up(Transport::Quic).await;
    assert!(round_trips < 2.1, "{round_trips} round trips");
}

/// TCP has one of its own before them.
#[tokio::test(start_paused = true)]
async fn a_device_that_comes_back_over_grpc_is_caught_up_after_three_round_trips() {
    let round_trips = round_trips_until_caught_up(Transport::Grpc).await;
    assert!(round_trips < 3.1, "{round_trips} round trips");
}

#[tokio::test]
#[ignore = "in real time: five minutes"]
async fn a_device_idle_in_real_time_over_quic() {
    what_an_idle_device_costs_in_real_time(Transport::Quic).await;
}

#[tokio::test]
#[ignore = "in real time: five minutes"]
async fn a_device_idle_in_real_time_over_grpc() {
    what_an_idle_device_costs_in_real_time(Transport::Grpc).await;
}

const ONE_WAY: Duration = Duration::from_millis(50);
/// As in profile M.
const PATH_LASTS: i64 = 300;
const HOUR: Duration = Duration::from_secs(3_600);

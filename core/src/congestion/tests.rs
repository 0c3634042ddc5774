//! The window against a model of a bottleneck: what of the link is used, and how long packets wait in its queue.
//!
//! The bars are for the algorithm, not for this seed: each is measured with three. That they can be missed is shown with the
//! neighbour's own algorithm.

mod cubic;
mod edges;
mod flow;
mod link;
mod rivals;
mod world;

use std::time::Duration;

use cubic::Cubic;
use flow::{MTU, Window};
use link::{Jitter, Spec};
use world::{OVERHEAD, World};

use super::{Acked, Copa, Lost};

impl Window for Copa {
    fn on_sent(&mut self, now: Duration) {
        Copa::on_sent(self, now);
    }

    fn on_ack(&mut self, now: Duration, sent: Duration, bytes: u64, app_limited: bool) {
        Copa::on_ack(self, Acked { now, sent, bytes, app_limited });
    }

    fn on_loss(&mut self, now: Duration, sent: Duration, bytes: u64) {
        Copa::on_loss(self, Lost { now, sent, bytes, persistent: false });
    }

    fn bytes(&self) -> u64 {
        self.window()
    }
}

const SEEDS: [u64; 3] = [1, 2, 3];

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A link with a tenth of a second of queue at 10 Mbit/s.
fn link(mbit: f64, round_trip: Duration) -> Spec {
    Spec {
        rate: mbit * 1e6 / 8.0,
        queue: 128.0 * 1024.0,
        delay: round_trip / 2,
        jitter: Jitter::None,
        polices: false,
        loss: 0.0,
    }
}

/// What one flow alone makes of a link, from the third second on.
#[derive(Debug)]
struct Seen {
    /// Of what the link carries without loss, headers taken off.
    used: f64,
    p50: Duration,
    p95: Duration,
}

fn alone(window: impl Window + 'static, spec: Spec, seed: u64) -> Seen {
    let mut world = World::new(spec, seed);
    let flow = world.add(window);
    world.run(seconds(2));
    let used = share(&mut world, flow, seconds(30));
    Seen { used, p50: world.wait(flow, 0.5, seconds(2)), p95: world.wait(flow, 0.95, seconds(2)) }
}

/// The share of the link that a flow gets within that time.
fn share(world: &mut World, flow: usize, time: Duration) -> f64 {
    let before = world.flows[flow].delivered;
    world.run(time);
    let bytes = (world.flows[flow].delivered - before) as f64 * (MTU + OVERHEAD) as f64 / MTU as f64;
    bytes / time.as_secs_f64() / world.up.spec.rate
}

fn copa() -> Copa {
    Copa::new(MTU as u16)
}

#[test]
fn a_link_that_loses_packets_is_used_and_its_queue_stays_short() {
    for loss in [0.0, 0.01, 0.03, 0.05] {
        for seed in SEEDS {
            let seen = alone(copa(), Spec { loss, ..link(10.0, ms(60)) }, seed);
            assert!(seen.used > 0.92 * (1.0 - loss), "{loss}, seed {seed}: {seen:?}");
            assert!(seen.p50 < ms(10) && seen.p95 < ms(25), "{loss}, seed {seed}: {seen:?}");
        }
    }
}

#[test]
fn these_bars_can_be_missed() {
    let full = alone(Cubic::new(), link(10.0, ms(60)), 1);
    assert!(full.used > 0.95 && full.p50 > ms(50), "CUBIC fills the queue: {full:?}");
    let lossy = alone(Cubic::new(), Spec { loss: 0.03, ..link(10.0, ms(60)) }, 1);
    assert!(lossy.used < 0.3, "CUBIC takes every loss for a full queue: {lossy:?}");
}

#[test]
fn a_slow_links_queue_is_a_few_packets() {
    for loss in [0.0, 0.01] {
        for seed in SEEDS {
            // One packet takes 39 ms.
            let seen = alone(copa(), Spec { loss, ..link(0.3, ms(80)) }, seed);
            assert!(seen.used > 0.92 && seen.p95 < ms(150), "{loss}, seed {seed}: {seen:?}");
        }
    }
}

#[test]
fn a_path_that_jitters_is_used() {
    let jitters = [Jitter::Wave, Jitter::Packets];
    let moving = Spec { loss: 0.01, ..link(2.0, ms(40)) };
    let down = Spec { loss: 0.01, ..link(10.0, ms(40)) };
    for (jitter, seed) in jitters.into_iter().flat_map(|jitter| SEEDS.map(|seed| (jitter(ms(40)), seed))) {
        for (spec, used) in [(moving, 0.8), (down, 0.35)] {
            let seen = alone(copa(), Spec { jitter, ..spec }, seed);
            assert!(seen.used > used && seen.p50 < ms(80), "{jitter:?}, seed {seed}: {seen:?}");
        }
    }
}

#[test]
fn a_radio_that_becomes_slower_or_faster_is_followed() {
    let mut world = World::new(link(10.0, ms(60)), 1);
    let flow = world.add(copa());
    world.run(seconds(10));
    world.up.spec.rate /= 33.0;
    // Two seconds of queue are there at once; nobody can take them back.
    world.run(seconds(10));
    assert!(share(&mut world, flow, seconds(20)) > 0.85);
    assert!(world.wait(flow, 0.95, seconds(25)) < ms(200));
    world.up.spec.rate *= 33.0;
    world.run(seconds(3));
    assert!(share(&mut world, flow, seconds(10)) > 0.85);
}

#[test]
fn a_path_that_becomes_longer_is_used_again() {
    let mut world = World::new(link(10.0, ms(60)), 1);
    let flow = world.add(copa());
    world.run(seconds(10));
    world.up.spec.delay = ms(150);
    world.run(seconds(30));
    assert!(share(&mut world, flow, seconds(30)) > 0.8);
}

#[test]
fn a_policer_is_not_run_into() {
    let mut world = World::new(Spec { polices: true, queue: 15_000.0, ..link(10.0, ms(60)) }, 1);
    let flow = world.add(copa());
    let used = share(&mut world, flow, seconds(30));
    let (lost, delivered) = (world.flows[flow].lost as f64, world.flows[flow].delivered as f64);
    assert!(used > 0.7 && lost < 0.25 * delivered, "{used}: {lost} lost, {delivered} delivered");
}

#[test]
fn the_same_seed_runs_the_same() {
    let run = || {
        let mut world = World::new(Spec { loss: 0.02, jitter: Jitter::Wave(ms(20)), ..link(2.0, ms(60)) }, 7);
        let flows = [world.add(copa()), world.add(Cubic::new())];
        world.run(seconds(20));
        flows.map(|flow| (world.flows[flow].delivered, world.flows[flow].lost, world.wait(flow, 0.9, Duration::ZERO)))
    };
    assert_eq!(run(), run());
}

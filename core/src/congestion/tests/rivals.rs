//! Neighbours on the same link: one who fills the queue, and another of us.

use super::*;
use crate::congestion::{
    drain::Seen,
    neighbour::{Neighbour, Verdict},
};

#[test]
fn beside_cubic_neither_starves_and_the_queue_is_short_again_after_it() {
    for seed in SEEDS {
        let mut world = World::new(link(10.0, ms(60)), seed);
        let (ours, its) = (world.add(copa()), world.add(Cubic::new()));
        world.run(seconds(20));
        let shares: Vec<_> = (0..6).map(|_| share(&mut world, ours, seconds(10))).collect();
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        assert!((0.2..0.6).contains(&mean), "seed {seed}: {shares:?}");
        world.flows[its].busy = false;
        world.run(seconds(20));
        let used = share(&mut world, ours, seconds(20));
        let wait = world.wait(ours, 0.5, seconds(100));
        assert!(used > 0.9 && wait < ms(15), "seed {seed}: {used}, {wait:?}");
    }
}

#[test]
fn a_latecomer_beside_cubic_finds_its_share() {
    for seed in SEEDS {
        let mut world = World::new(link(10.0, ms(60)), seed);
        world.add(Cubic::new());
        let ours = world.add(copa());
        world.flows[ours].busy = false;
        world.run(seconds(10));
        world.flows[ours].busy = true;
        world.run(seconds(20));
        let used = share(&mut world, ours, seconds(40));
        assert!(used > 0.15, "seed {seed}: {used}");
    }
}

#[test]
fn two_of_us_share_and_take_nobody_for_a_rival() {
    for mbit in [10.0, 1.0] {
        let mut world = World::new(link(mbit, ms(60)), 3);
        let flows = [world.add(copa()), world.add(copa())];
        world.flows[flows[1]].busy = false;
        world.run(seconds(10));
        world.flows[flows[1]].busy = true;
        world.run(seconds(10));
        let used = share(&mut world, flows[1], seconds(40));
        assert!((0.25..0.75).contains(&used), "{mbit}: {used}");
        assert!(world.wait(flows[0], 0.5, seconds(20)) < ms(350), "{mbit}");
    }
}

/// What a drain shows beside somebody who keeps fifty milliseconds of queue, when we held so many packets of it.
fn seen(own_packets: f64) -> Seen {
    Seen { least: ms(110), mean: ms(112), window_before: 30_000.0, window_empty: 15_000.0, own_packets }
}

#[test]
fn beside_a_rival_loss_halves_what_we_leave_in_the_queue_once_in_a_round_trip() {
    let mut neighbour = Neighbour::default();
    assert_eq!(neighbour.judge(seconds(1), ms(60), seen(20.0)), Verdict::Rival);
    neighbour.on_loss(seconds(2), seconds(2) - ms(100));
    neighbour.on_loss(seconds(2) + ms(50), seconds(2) - ms(60));
    assert_eq!(neighbour.queue_packets(), Some(10.0), "what was sent before asks no more");
    neighbour.end_round(ms(110), ms(10));
    assert_eq!(neighbour.queue_packets(), Some(10.0), "nothing grows in a round trip with loss");
    neighbour.end_round(ms(110), ms(10));
    assert_eq!(neighbour.queue_packets(), Some(11.0));
    neighbour.on_loss(seconds(3), seconds(3) - ms(100));
    assert_eq!(neighbour.queue_packets(), Some(5.5));
}

#[test]
fn a_rival_who_is_found_again_soon_was_never_gone() {
    let mut neighbour = Neighbour::default();
    neighbour.judge(seconds(1), ms(60), seen(40.0));
    assert_eq!(neighbour.leave(seconds(2)), Verdict::Nobody);
    neighbour.judge(seconds(3), ms(60), seen(3.0));
    assert_eq!(neighbour.queue_packets(), Some(40.0));
    neighbour.leave(seconds(4));
    neighbour.judge(seconds(60), ms(60), seen(3.0));
    assert_eq!(neighbour.queue_packets(), Some(3.0));
}

#[test]
fn however_long_nothing_is_lost_we_leave_no_more_than_half_a_second_in_the_queue() {
    let mut neighbour = Neighbour::default();
    neighbour.judge(seconds(1), ms(60), seen(2.0));
    (0..1_000).for_each(|_| neighbour.end_round(ms(400), ms(39)));
    let queueing = ms(39).mul_f64(neighbour.queue_packets().expect("a rival"));
    assert!(queueing <= ms(501), "{queueing:?}");
}

//! Pauses, clocks, lengths and marks.

use proptest::prelude::*;

use super::*;

const MTU: u64 = 1_200;

/// A window that a round trip of so long has grown to at least fifty packets.
fn grown() -> (Copa, Duration) {
    let (mut copa, mut now) = (Copa::new(MTU as u16), Duration::ZERO);
    while copa.window() < 50 * MTU {
        now += ms(1);
        copa.on_ack(Acked { now: now + ms(60), sent: now, bytes: MTU, app_limited: false });
    }
    (copa, now + ms(60))
}

#[test]
fn a_window_that_is_not_filled_does_not_grow() {
    let mut copa = Copa::new(MTU as u16);
    let before = copa.window();
    for n in 0..10_000 {
        let sent = ms(100 * n);
        copa.on_sent(sent);
        copa.on_ack(Acked { now: sent + ms(60 + n % 30), sent, bytes: MTU, app_limited: true });
    }
    assert_eq!(copa.window(), before);
}

#[test]
fn after_a_long_rest_the_path_is_learned_anew() {
    let (mut copa, now) = grown();
    copa.on_sent(now + seconds(9));
    assert!(copa.window() >= 50 * MTU);
    copa.on_sent(now + seconds(11));
    assert!(copa.window() <= 11 * MTU);
}

#[test]
fn a_path_that_became_longer_in_a_rest_has_no_queue() {
    let (mut copa, now) = grown();
    let mut sent = now + seconds(60);
    copa.on_sent(sent);
    while copa.window() < 50 * MTU {
        sent += ms(1);
        copa.on_ack(Acked { now: sent + ms(300), sent, bytes: MTU, app_limited: false });
        assert!(sent < now + seconds(61), "it still takes the distance for a queue");
    }
}

#[test]
fn a_first_acknowledgement_that_came_late_hides_no_queue() {
    let mut copa = Copa::new(MTU as u16);
    copa.on_ack(Acked { now: ms(300), sent: ms(0), bytes: MTU, app_limited: false });
    let mut ack = |sent, round_trip| {
        copa.on_ack(Acked { now: sent + round_trip, sent, bytes: MTU, app_limited: false });
        copa.window() / MTU
    };
    let doubled = (0..200).map(|n| ack(ms(300 + n), ms(60))).last().expect("some");
    let after = (0..200).map(|n| ack(ms(500 + n), ms(120))).last().expect("some");
    assert!(doubled >= 200 && after < doubled, "{doubled} to {after}");
}

#[test]
fn silence_leaves_two_packets_and_the_window_doubles_from_there() {
    let (mut copa, now) = grown();
    copa.on_loss(Lost { now, sent: now, bytes: 50 * MTU, persistent: true });
    assert_eq!(copa.window() / MTU, 2);
    let mut sent = now;
    for _ in 0..10 {
        sent += ms(1);
        copa.on_ack(Acked { now: sent + ms(60), sent, bytes: MTU, app_limited: false });
    }
    assert!(copa.window() >= 12 * MTU);
}

#[test]
fn loss_alone_changes_nothing() {
    let (mut copa, now) = grown();
    let before = copa.window();
    copa.on_loss(Lost { now, sent: now, bytes: 3 * MTU, persistent: false });
    assert_eq!(copa.window(), before);
}

#[test]
fn marks_shrink_the_window_once_in_a_round_trip() {
    let (mut copa, now) = grown();
    let before = copa.window();
    (0..20).for_each(|_| copa.on_marked(now));
    let after = copa.window();
    assert!(after < before * 9 / 10 && after > before * 8 / 10, "{before} to {after}");
}

#[test]
fn longer_packets_keep_room_for_two() {
    let (mut copa, now) = grown();
    copa.on_loss(Lost { now, sent: now, bytes: 50 * MTU, persistent: true });
    copa.on_mtu(9_000);
    assert!(copa.window() > 2 * 9_000);
}

#[derive(Debug, Clone)]
enum Event {
    Sent(u64),
    Ack { now: u64, sent: u64, bytes: u64, app_limited: bool },
    Loss { now: u64, sent: u64, bytes: u64, persistent: bool },
    Marked(u64),
    Mtu(u16),
}

/// Mostly near to each other, as clocks are; sometimes not.
fn micros() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0_u64..10_000_000, 1 => any::<u64>()]
}

fn event() -> impl Strategy<Value = Event> {
    let bytes = || prop_oneof![8 => 0_u64..3_000, 1 => any::<u64>()];
    let packet = || (micros(), micros(), bytes(), any::<bool>());
    prop_oneof![
        2 => micros().prop_map(Event::Sent),
        8 => packet().prop_map(|(now, sent, bytes, app_limited)| Event::Ack { now, sent, bytes, app_limited }),
        2 => packet().prop_map(|(now, sent, bytes, persistent)| Event::Loss { now, sent, bytes, persistent }),
        1 => micros().prop_map(Event::Marked),
        1 => any::<u16>().prop_map(Event::Mtu),
    ]
}

proptest! {
    #[test]
    fn whatever_clocks_and_peers_say_two_packets_fit(mtu: u16, events in prop::collection::vec(event(), 1..400)) {
        let at = Duration::from_micros;
        let (mut copa, mut longest) = (Copa::new(mtu), u64::from(mtu.max(1)));
        for event in events {
            match event {
                Event::Sent(now) => copa.on_sent(at(now)),
                Event::Ack { now, sent, bytes, app_limited } => {
                    copa.on_ack(Acked { now: at(now), sent: at(sent), bytes, app_limited });
                }
                Event::Loss { now, sent, bytes, persistent } => {
                    copa.on_loss(Lost { now: at(now), sent: at(sent), bytes, persistent });
                }
                Event::Marked(now) => copa.on_marked(at(now)),
                Event::Mtu(mtu) => {
                    copa.on_mtu(mtu);
                    longest = u64::from(mtu.max(1));
                }
            }
            prop_assert!(copa.window() >= 2 * longest);
        }
    }
}

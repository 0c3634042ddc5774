use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::{probe::Probe, *};
use crate::limits;

const CALL: CallId = CallId(Uuid::from_u128(7));

fn moment(now_ms: u64, ago_ms: u32) -> Moment {
    Moment { now_ms, path_ms: 20, ago_ms }
}

fn pulse(value: i32) -> Vec<Numeric> {
    vec![Numeric { code: "8867-4".into(), unit: "/min".into(), scale: 0, value }]
}

fn leads(samples: &[i16]) -> Vec<Trace> {
    let lead = |kind| Trace { kind, step_nano: 2_500, samples: samples.to_vec() };
    TraceKind::ALL.into_iter().take(12).map(lead).collect()
}

fn shown(receiver: &mut Receiver, now_ms: u64) -> Vec<Seen> {
    std::iter::from_fn(|| receiver.poll(now_ms)).collect()
}

/// Packets of `count` pieces of twelve leads, one every 100 ms, each measured until it is sent.
fn twelve_leads(publisher: &mut Publisher, count: u64) -> Vec<(u64, Bytes)> {
    let stretch = |piece: u64| move |index: u64| (((piece * 25 + index) * 37) % 41) as i16;
    let one = |piece: u64| {
        let samples: Vec<i16> = (0..25).map(stretch(piece)).collect();
        let now_ms = (piece + 1) * 100;
        let packets = publisher.waves(moment(now_ms, 100), 4_000, &leads(&samples)).unwrap();
        packets.into_iter().map(move |packet| (now_ms, packet))
    };
    (0..count).flat_map(one).collect()
}

fn first_samples(seen: &[Seen]) -> Vec<i16> {
    let first = |seen: &Seen| match seen {
        Seen::Waves { traces, .. } => Some(traces[0].samples[0]),
        Seen::Numerics { .. } => None,
    };
    seen.iter().filter_map(first).collect()
}

#[test]
fn the_newest_numbers_are_shown_once_and_with_their_age() {
    let mut publisher = Publisher::new(CALL, 1);
    let mut receiver = Receiver::new(CALL);
    let (first, second) = (
        publisher.numerics(moment(1_000, 50), pulse(80)).unwrap(),
        publisher.numerics(moment(2_000, 50), pulse(81)).unwrap(),
    );
    receiver.take(501_020, 15, &first).unwrap();
    receiver.take(502_020, 15, &second).unwrap();
    let age_ms = 20 + 15 + 50 + 5;
    assert_eq!(shown(&mut receiver, 502_025), [Seen::Numerics { values: pulse(81), age_ms }]);
    assert_eq!(shown(&mut receiver, 502_025), []);
    let Quality { numerics, .. } = receiver.quality();
    assert_eq!(numerics, Counts { received: 2, skipped: 1, ..Counts::default() });
    assert_eq!(receiver.silence_ms(502_100), Some(80));
}

#[test]
fn what_took_longer_than_the_shortest_time_is_older_whatever_the_clocks_say() {
    for clock_ahead in [0, 7_000_000] {
        let mut publisher = Publisher::new(CALL, 1);
        let mut receiver = Receiver::new(CALL);
        for (second, late) in [(1, 0), (2, 340)] {
            let packet = publisher.numerics(moment(second * 1_000, 0), pulse(80)).unwrap();
            let came = clock_ahead + second * 1_000 + late;
            receiver.take(came, 0, &packet).unwrap();
            assert_eq!(shown(&mut receiver, came), [Seen::Numerics { values: pulse(80), age_ms: 20 + late }]);
        }
    }
}

#[test]
fn numbers_that_come_behind_newer_ones_are_late_and_gaps_are_counted() {
    let mut publisher = Publisher::new(CALL, 1);
    let packets: Vec<Bytes> = (0..5).map(|at| publisher.numerics(moment(at * 1_000, 0), pulse(80)).unwrap()).collect();
    let mut receiver = Receiver::new(CALL);
    for index in [0, 3, 1, 3, 4] {
        receiver.take(index as u64, 0, &packets[index]).unwrap();
    }
    let counts = Counts { received: 3, lost: 1, late: 1, repeated: 1, skipped: 2 };
    assert_eq!(receiver.quality().numerics, counts);
}

#[test]
fn twelve_leads_fit_into_what_a_bad_link_carries() {
    let packets = twelve_leads(&mut Publisher::new(CALL, 1), 100);
    assert_eq!(packets.len(), 100, "the stretch before fits beside each");
    let bytes: usize = packets.iter().map(|(_, packet)| packet.len()).sum();
    // Ten seconds of twelve leads at 250 Hz, each twice: under the 96 kbit/s of DOMAIN.
    assert!(bytes * 8 / 10 < 96_000, "{} bit/s", bytes * 8 / 10);
}

#[test]
fn curves_survive_the_loss_of_every_other_packet() {
    let packets = twelve_leads(&mut Publisher::new(CALL, 1), 20);
    let mut receiver = Receiver::new(CALL);
    let mut seen = Vec::new();
    for (at, packet) in packets.iter().skip(1).step_by(2) {
        receiver.take(*at, 0, packet).unwrap();
        seen.extend(shown(&mut receiver, *at));
    }
    assert_eq!(seen.len(), 20);
    assert_eq!(receiver.quality().waves, Counts { received: 20, ..Counts::default() });
}

#[test]
fn a_gap_is_shown_soon_and_what_comes_after_all_is_late() {
    let packets = twelve_leads(&mut Publisher::new(CALL, 1), 5);
    let mut receiver = Receiver::new(CALL);
    let [(at, first), _, (lost_at, lost), (then_at, then), ..] = &packets[..] else { panic!("five packets") };
    receiver.take(*at, 0, first).unwrap();
    shown(&mut receiver, *at);
    receiver.take(*then_at, 0, then).unwrap();
    assert_eq!(shown(&mut receiver, *then_at), []);
    let given_up = receiver.wake_at_ms().unwrap();
    assert_eq!(given_up, then_at + limits::LIVE_GAP_WAIT_MS);
    let seen = shown(&mut receiver, given_up);
    let missing: Vec<u64> =
        seen.iter().map(|seen| if let Seen::Waves { missing, .. } = seen { *missing } else { 9 }).collect();
    assert_eq!(missing, [1, 0]);
    let counts = receiver.quality().waves;
    receiver.take(given_up + *lost_at, 0, lost).unwrap();
    let now = receiver.quality().waves;
    assert_eq!((now.lost, now.late, now.repeated), (1, counts.late + 1, counts.repeated + 1));
}

#[test]
fn whoever_asks_seldom_gets_the_newest_and_is_told_what_he_has_missed() {
    let packets = twelve_leads(&mut Publisher::new(CALL, 1), 100);
    let mut receiver = Receiver::new(CALL);
    for (at, packet) in &packets {
        receiver.take(*at, 0, packet).unwrap();
    }
    let seen = shown(&mut receiver, 10_000);
    assert_eq!(seen.len(), limits::LIVE_SHOWN_MAX);
    let skipped = 100 - limits::LIVE_SHOWN_MAX as u64;
    assert!(matches!(seen[0], Seen::Waves { missing, .. } if missing == skipped));
    assert_eq!(receiver.quality().waves.skipped, skipped);
}

#[test]
fn a_publisher_that_begins_anew_goes_on_at_once_and_the_old_run_is_over() {
    let mut receiver = Receiver::new(CALL);
    let old = twelve_leads(&mut Publisher::new(CALL, 1), 50);
    let new = twelve_leads(&mut Publisher::new(CALL, 2), 2);
    receiver.take(5_000, 0, &old[40].1).unwrap();
    receiver.take(5_100, 0, &new[0].1).unwrap();
    receiver.take(5_110, 0, &old[41].1).unwrap();
    receiver.take(5_200, 0, &new[1].1).unwrap();
    assert_eq!(first_samples(&shown(&mut receiver, 5_200)).len(), 4);
    assert_eq!(receiver.quality().waves.late, 2);
}

#[test]
fn what_does_not_fit_is_cut_and_its_repetition_goes_alone() {
    let wild: Vec<i16> = (0..500).map(|index| if index % 2 == 0 { i16::MIN } else { i16::MAX }).collect();
    let mut publisher = Publisher::new(CALL, 1);
    let packets = publisher.waves(moment(1_000, 1_000), 2_000, &leads(&wild)).unwrap();
    assert!(packets.iter().all(|packet| packet.len() <= limits::LIVE_PACKET_LEN_MAX));
    let mut receiver = Receiver::new(CALL);
    let mut back = Vec::new();
    for packet in &packets {
        receiver.take(1_000, 0, packet).unwrap();
        back.extend(shown(&mut receiver, 1_000));
    }
    let samples: Vec<i16> = back
        .iter()
        .flat_map(|seen| if let Seen::Waves { traces, .. } = seen { traces[11].samples.clone() } else { Vec::new() })
        .collect();
    assert_eq!(samples, wild);
    let ages: Vec<u64> =
        back.iter().map(|seen| if let Seen::Waves { age_ms, .. } = seen { *age_ms } else { 0 }).collect();
    assert!(ages.is_sorted_by(|a, b| a > b) && ages[0] == 1_020, "{ages:?}");
}

#[test]
fn refused_values_count_for_nothing() {
    let mut publisher = Publisher::new(CALL, 1);
    let twice = [pulse(80), pulse(81)].concat();
    assert_eq!(publisher.numerics(moment(0, 0), twice), Err(LiveError::Repeated));
    assert_eq!(
        publisher.numerics(moment(0, 0), Vec::new()).unwrap_err(),
        LiveError::Count { what: "values", found: 0, max: 32 }
    );
    let mut uneven = leads(&[1, 2]);
    uneven[3].samples.pop();
    assert_eq!(publisher.waves(moment(0, 0), 4_000, &uneven), Err(LiveError::Uneven));
    let Packet { pieces, .. } = decode(&publisher.numerics(moment(0, 0), pulse(80)).unwrap()).unwrap();
    assert!(matches!(&pieces[..], [Piece::Numerics(Numerics { sequence: 0, .. })]));
}

#[test]
fn a_packet_is_written_in_one_way() {
    let packet = Packet {
        call: CALL,
        run: 0x0102_0304_0506_0708,
        sent_ms: 1_000,
        path_ms: 20,
        pieces: vec![
            Piece::Numerics(Numerics { sequence: 3, ago_ms: 5, values: pulse(-80) }),
            Piece::Waves(Waves {
                sequence: 4,
                ago_ms: 100,
                period_us: 4_000,
                traces: vec![Trace { kind: TraceKind::II, step_nano: 2_500, samples: vec![10, 11, 9, 9] }],
            }),
        ],
    };
    let bytes = encode(&packet).unwrap();
    #[rustfmt::skip]
    let golden = [
        &[1][..], &[0; 15], &[7], &[1, 2, 3, 4, 5, 6, 7, 8], &[0xe8, 7, 20],
        &[1, 3, 5, 1, 6], b"8867-4", &[4], b"/min", &[0, 0x9f, 1],
        &[2, 4, 100, 0xa0, 0x1f, 4, 1, 2, 0xc4, 0x13, 20, 2, 0b00_11_10],
    ].concat();
    assert_eq!(bytes, golden);
    assert_eq!(decode(&bytes), Ok(packet));
    assert_eq!(call_of(&bytes), Ok(CALL));
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err() || len == 47, "cut at {len}");
    }
}

#[test]
fn a_probe_survives_the_wire() {
    for since_us in [None, Some(0), Some(77)] {
        let probe = Probe { train: 5, index: 3, since_us, len: 1_150 };
        assert_eq!(Probe::decode(&probe.encode()), Ok(Some(probe)));
    }
    assert_eq!(Probe::decode(&twelve_leads(&mut Publisher::new(CALL, 1), 1)[0].1), Ok(None));
    assert!(Probe::decode(&[2, 0, 0]).is_err());
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let name = || "[!-~]{1,48}";
    let numeric = (name(), name(), 0..=limits::VITALS_SCALE_MAX, any::<i32>());
    let numeric = numeric.prop_map(|(code, unit, scale, value)| Numeric { code, unit, scale, value });
    let values = prop::collection::vec(numeric, 1..4).prop_filter("codes differ", |values| {
        values.iter().enumerate().all(|(index, value)| values[..index].iter().all(|other| other.code != value.code))
    });
    let numerics = (any::<u32>(), any::<u32>(), values);
    let numerics =
        numerics.prop_map(|(sequence, ago_ms, values)| Piece::Numerics(Numerics { sequence, ago_ms, values }));
    let traces = (1_usize..4, 1_usize..30).prop_flat_map(|(traces, samples)| {
        let trace = (1..=u32::MAX, prop::collection::vec(any::<i16>(), samples));
        prop::collection::vec(trace, traces)
    });
    let waves = (any::<u32>(), any::<u32>(), 1_u32..=1_000_000, traces);
    let waves = waves.prop_map(|(sequence, ago_ms, period_us, traces)| {
        let trace = |((step_nano, samples), kind)| Trace { kind, step_nano, samples };
        let traces = traces.into_iter().zip(TraceKind::ALL).map(trace).collect();
        Piece::Waves(Waves { sequence, ago_ms, period_us, traces })
    });
    let pieces = prop::collection::vec(prop_oneof![numerics, waves], 1..3);
    (any::<u128>(), any::<u64>(), any::<u64>(), any::<u16>(), pieces).prop_map(
        |(call, run, sent_ms, path_ms, pieces)| Packet {
            call: CallId(Uuid::from_u128(call)),
            run,
            sent_ms,
            path_ms,
            pieces,
        },
    )
}

proptest! {
    #[test]
    fn what_is_packed_is_unpacked(packet in any_packet()) {
        if let Ok(bytes) = encode(&packet) {
            prop_assert_eq!(decode(&bytes), Ok(packet));
        }
    }

    #[test]
    fn hostile_bytes_are_refused_or_were_written_so(packet in any_packet(), at in any::<prop::sample::Index>(), byte: u8) {
        let Ok(bytes) = encode(&packet) else { return Ok(()) };
        let mut bytes = bytes.to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(packet) = decode(&bytes) {
            prop_assert_eq!(encode(&packet).unwrap(), bytes);
        }
    }

    #[test]
    fn whatever_comes_in_whatever_order_nothing_is_shown_twice(order in prop::collection::vec(0_usize..40, 0..120)) {
        let packets = twelve_leads(&mut Publisher::new(CALL, 1), 40);
        let mut receiver = Receiver::new(CALL);
        let mut seen = 0;
        for (step, index) in order.into_iter().enumerate() {
            receiver.take(step as u64 * 10, 0, &packets[index].1).unwrap();
            seen += shown(&mut receiver, step as u64 * 10).len() as u64;
        }
        seen += shown(&mut receiver, u64::MAX).len() as u64;
        let Counts { received, skipped, .. } = receiver.quality().waves;
        prop_assert_eq!(seen, received - skipped);
        prop_assert!(seen <= 40);
    }

    #[test]
    fn a_receiver_takes_anything(bytes in prop::collection::vec(any::<u8>(), 0..200), now: u64) {
        let mut receiver = Receiver::new(CALL);
        let _ = receiver.take(now, 0, &bytes);
        let _ = Probe::decode(&bytes);
        let _ = (receiver.poll(u64::MAX), receiver.poll(0), receiver.wake_at_ms());
    }
}

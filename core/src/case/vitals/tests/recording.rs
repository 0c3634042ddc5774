//! Recording: what ends a block and what does not, that nothing is lost or moved, and what two hours weigh.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::{
    case::vitals::{Block, Reading, Recorder, VitalsError, decode, encode},
    limits,
};

const HR: &str = "8867-4";
const SPO2: &str = "59408-5";
const RR: &str = "9279-1";
const SYS: &str = "8480-6";
const DIA: &str = "8462-4";
const TEMP: &str = "8310-5";

fn reading(code: &'static str, value: i32) -> Reading<'static> {
    let (unit, scale) = match code {
        HR | RR => ("/min", 0),
        SPO2 => ("%", 0),
        SYS | DIA => ("mm[Hg]", 0),
        _ => ("Cel", 1),
    };
    Reading { code, unit, scale, value }
}

fn minutes() -> Recorder {
    Recorder::new(1000, 60).expect("one minute at 1 Hz")
}

/// All blocks that a recorder makes of these pushes.
fn record<'a>(mut recorder: Recorder, pushes: impl IntoIterator<Item = (i64, Vec<Reading<'a>>)>) -> Vec<Block> {
    let push = |(time, readings): (i64, Vec<_>)| recorder.push(time, &readings).expect("good readings");
    let mut blocks: Vec<_> = pushes.into_iter().filter_map(push).collect();
    blocks.extend(recorder.finish());
    blocks
}

/// Start and the samples of the heart rate, block by block.
fn heart_rates<'a>(pushes: impl IntoIterator<Item = (i64, Vec<Reading<'a>>)>) -> Vec<(i64, Vec<Option<i32>>)> {
    let rates = |block: Block| block.channels.into_iter().find(|channel| channel.code == HR).map(|it| it.samples);
    record(minutes(), pushes).into_iter().map(|block| (block.start_ms, rates(block).unwrap_or_default())).collect()
}

#[test]
fn a_full_block_is_handed_out_with_the_next_sample() {
    let mut recorder = minutes();
    for second in 0..60 {
        assert_eq!(recorder.push(second * 1000, &[reading(HR, 80)]), Ok(None));
    }
    let block = recorder.push(60_000, &[reading(HR, 81)]).expect("good readings").expect("a full block");
    assert_eq!((block.start_ms, block.samples(HR).count()), (0, 60));
    let rest = recorder.finish().expect("one sample");
    assert!(rest.samples(HR).eq([(60_000, Some(81.0))]));
    assert_eq!(recorder.finish(), None);
}

#[test]
fn a_short_silence_is_a_gap_and_a_long_one_a_new_block() {
    let blocks = heart_rates([0, 3000, 59_000, 120_000].map(|time| (time, vec![reading(HR, 80)])));
    let mut first = vec![None; 60];
    [0, 3, 59].into_iter().for_each(|at| first[at] = Some(80));
    assert_eq!(blocks, [(0, first), (120_000, vec![Some(80)])]);
}

#[test]
fn a_clock_that_is_set_begins_a_new_block_and_overwrites_nothing() {
    let times = [5000, 6000, 7000, 6000, 7000, 7500, 8500, i64::MIN, i64::MAX];
    let blocks = heart_rates((0..).zip(times).map(|(value, time)| (time, vec![reading(HR, value)])));
    let expected = [
        (5000, vec![Some(0), Some(1), Some(2)]),
        (6000, vec![Some(3), Some(4)]),
        (7500, vec![Some(5), Some(6)]),
        (i64::MIN, vec![Some(7)]),
        (i64::MAX, vec![Some(8)]),
    ];
    assert_eq!(blocks, expected);
}

#[test]
fn the_later_value_for_a_time_stays_and_other_channels_keep_theirs() {
    let blocks = record(
        Recorder::new(1000, 2).expect("two samples"),
        [
            (0, vec![reading(SPO2, 97)]),
            (0, vec![reading(HR, 80)]),
            (1000, vec![reading(HR, 81), reading(SPO2, 96)]),
            (1000, vec![reading(HR, 82)]),
        ],
    );
    assert_eq!(blocks.len(), 1);
    assert!(blocks[0].samples(HR).eq([(0, Some(80.0)), (1000, Some(82.0))]));
    assert!(blocks[0].samples(SPO2).eq([(0, Some(97.0)), (1000, Some(96.0))]));
}

#[test]
fn channels_that_come_and_go_share_the_block_with_gaps() {
    let both = |pressure| vec![reading(SYS, pressure), reading(HR, 80)];
    let blocks = record(minutes(), [(0, vec![reading(HR, 80)]), (1000, both(120)), (2000, vec![reading(HR, 80)])]);
    assert_eq!(blocks.len(), 1);
    assert!(blocks[0].samples(SYS).eq([(0, None), (1000, Some(120.0)), (2000, None)]));
}

#[test]
fn another_unit_or_scale_begins_a_new_block() {
    let finer = Reading { scale: 2, value: 3664, ..reading(TEMP, 0) };
    let other = Reading { unit: "[degF]", scale: 2, value: 9795, ..finer };
    let blocks = record(minutes(), [(0, vec![reading(TEMP, 366)]), (0, vec![finer]), (1000, vec![other])]);
    let values: Vec<_> = blocks.iter().flat_map(|block| block.samples(TEMP)).collect();
    assert_eq!((blocks.len(), values), (3, vec![(0, Some(36.6)), (0, Some(36.64)), (1000, Some(97.95))]));
}

#[test]
fn a_push_that_no_block_can_hold_is_refused_and_changes_nothing() {
    let mut recorder = minutes();
    recorder.push(0, &[reading(HR, 80)]).expect("good readings");
    let wrong = [
        vec![reading(SPO2, 97), Reading { scale: 5, ..reading(HR, 1) }],
        vec![reading(SPO2, 97), Reading { code: "", ..reading(HR, 1) }],
        vec![reading(SPO2, 97), Reading { unit: "°C", ..reading(HR, 1) }],
        vec![reading(SPO2, 97), reading(SPO2, 96)],
        vec![reading(SPO2, 97); limits::VITALS_CHANNELS_MAX + 1],
    ];
    for readings in wrong {
        recorder.push(90_500, &readings).expect_err("refused");
    }
    assert_eq!(recorder.push(90_500, &[]), Ok(None));
    let block = recorder.finish().expect("what was there");
    assert_eq!((block.channels.len(), block.samples(HR).count()), (1, 1));
    assert!(matches!(Recorder::new(0, 60), Err(VitalsError::NoPeriod)));
    assert!(matches!(Recorder::new(1000, 3601), Err(VitalsError::Count { what: "samples", .. })));
}

#[test]
fn a_block_ends_before_it_is_too_large_to_be_packed() {
    let codes: Vec<String> = (0..=limits::VITALS_CHANNELS_MAX).map(|n| format!("{n:048}")).collect();
    let (another, codes) = codes.split_last().expect("one more than fits");
    let value = |second: i64| if second % 2 == 0 { i32::MIN } else { i32::MAX };
    let one = |second, code| Reading { code, unit: "{score}", scale: 0, value: value(second) };
    let push = |second| (second * 1000, codes.iter().map(|code| one(second, code)).collect());
    let pushes = (0..300).map(push).chain([(299_000, vec![one(299, another)])]);
    let blocks = record(Recorder::new(1000, 3600).expect("an hour"), pushes);
    let sizes: Vec<_> = blocks.iter().map(|block| encode(block).expect("within the limits").len()).collect();
    let (full, _) = sizes.split_last_chunk::<2>().expect("several");
    assert!(full.iter().all(|size| *size > limits::VITALS_BLOCK_LEN_MAX - 300), "no block ends early: {full:?}");
    let channels: Vec<_> = blocks.iter().flat_map(|block| &block.channels).collect();
    let samples = channels.iter().flat_map(|channel| &channel.samples).flatten();
    assert_eq!((samples.count(), channels.last().map(|it| &it.code)), (300 * 32 + 1, Some(another)));
}

/// For some of three channels: scale and value.
fn some_values() -> impl Strategy<Value = BTreeMap<usize, (u8, i16)>> {
    prop::collection::btree_map(0..3usize, (0..2u8, any::<i16>()), 0..4)
}

proptest! {
    #[test]
    fn nothing_is_lost_or_moved_and_every_block_can_be_packed(
        steps in prop::collection::vec((0..12i64, some_values()), 0..80),
        block_len in 1..9usize,
    ) {
        // Mostly the next second; else the same, off the grid, far away or back.
        let step = |kind| match kind { 0 => 0, 1 => 500, 2 => 3000, 3 => 60_000, 4 => -2000, _ => 1000 };
        let mut time = 1_700_000_000_000;
        let mut pushes: Vec<(i64, Vec<Reading<'_>>)> = Vec::new();
        for (kind, values) in &steps {
            time += step(*kind);
            let one = |(code, (scale, value)): (&usize, &(u8, i16))|
                Reading { scale: *scale, value: i32::from(*value), ..reading([HR, SPO2, TEMP][*code], 0) };
            pushes.push((time, values.iter().map(one).collect()));
        }
        let blocks = record(Recorder::new(1000, block_len).expect("a recorder"), pushes.clone());
        let mut kept = BTreeSet::new();
        for block in &blocks {
            let bytes = encode(block).expect("within the limits");
            prop_assert_eq!(&decode(&bytes).expect("what was encoded"), block);
            for channel in &block.channels {
                let samples = (0..).zip(&channel.samples);
                kept.extend(samples.filter_map(|(index, sample)| {
                    Some((block.start_ms + 1000 * index, channel.code.as_str(), channel.scale, (*sample)?))
                }));
            }
        }
        let flat = |(time, readings): &(i64, Vec<Reading<'static>>)| {
            let time = *time;
            readings.clone().into_iter().map(move |it| (time, it.code, it.scale, it.value))
        };
        let pushed: Vec<_> = pushes.iter().flat_map(flat).collect();
        prop_assert!(kept.iter().all(|sample| pushed.contains(sample)), "only what was pushed");
        for (at, sample @ (time, code, scale, _)) in pushed.iter().enumerate() {
            let replaced = pushed[at + 1..].iter().any(|later| (&later.0, &later.1, &later.2) == (time, code, scale));
            prop_assert!(replaced || kept.contains(sample), "{:?} is lost", sample);
        }
    }
}

/// A number that is the same in every run and looks like noise: splitmix64 of the index, 0 to `range` - 1.
fn noise(seed: u64, index: u64, range: u64) -> u64 {
    let mut z = (seed << 32 | index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % range
}

/// A value that drifts by the second: one up or down with a chance of one in `rarely` each.
fn drift(seed: u64, from: i32, rarely: u64) -> impl Iterator<Item = i32> {
    let step = move |second| match noise(seed, second, 2 * rarely) {
        0 => -1,
        1 => 1,
        _ => 0,
    };
    (0..).scan(from, move |value, second| {
        *value = (*value + step(second)).clamp(from - 15, from + 15);
        Some(*value)
    })
}

/// Two hours of a monitor in blocks of a minute: bytes and measured samples. The heart rate moves every other
/// second, the cuff measures every five minutes, the pulse oximeter loses its finger for 20 s every ten minutes.
fn two_hours(rarely: [u64; 4]) -> (usize, usize) {
    let [heart, oxygen, breath, heat] = rarely;
    let mut values = [drift(1, 84, heart), drift(2, 96, oxygen), drift(3, 16, breath), drift(4, 368, heat)];
    let push = |second: i64| {
        let [hr, spo2, rr, temp] = values.each_mut().map(|series| series.next().expect("it never ends"));
        let mut readings = vec![reading(HR, hr), reading(RR, rr), reading(TEMP, temp)];
        if second % 600 >= 20 {
            readings.push(reading(SPO2, spo2.min(100)));
        }
        if second % 300 == 30 {
            let pressure = noise(5, second as u64, 25) as i32;
            readings.extend([reading(SYS, 125 + pressure), reading(DIA, 70 + pressure / 2)]);
        }
        (1_767_225_600_000 + second * 1000, readings)
    };
    let blocks = record(minutes(), (0..7200).map(push));
    assert_eq!(blocks.len(), 120);
    let len = blocks.iter().map(|block| encode(block).expect("within the limits").len()).sum();
    let samples = blocks.iter().flat_map(|block| &block.channels).flat_map(|channel| &channel.samples).flatten();
    (len, samples.count())
}

#[test]
fn two_hours_of_a_monitor_take_less_than_a_byte_per_sample() {
    let (realistic, samples) = two_hours([2, 30, 8, 120]);
    let (restless, _) = two_hours([1, 1, 1, 1]);
    println!("two hours at 1 Hz, {samples} samples: {realistic} bytes; {restless} if every value moves every second");
    assert_eq!(samples, 7200 * 4 - 12 * 20 + 24 * 2);
    assert!(realistic <= samples && realistic < 40_000, "{realistic} bytes");
    assert!(restless < 60_000, "{restless} bytes");
}

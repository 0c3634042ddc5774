//! The format: both ways, for ever the same, small, and closed to everything that was not written by it.

use proptest::prelude::*;

use super::*;

mod recording;

fn channel(code: &str, unit: &str, scale: u8, samples: &[Option<i32>]) -> Channel {
    Channel { code: code.into(), unit: unit.into(), scale, samples: samples.to_vec() }
}

/// The example of the module's page.
fn example() -> Block {
    let heart_rate = channel("8867-4", "/min", 0, &[Some(80), Some(80), Some(81), Some(79)]);
    let temperature = channel("8310-5", "Cel", 1, &[Some(366), None, None, Some(366)]);
    Block { start_ms: 1000, period_ms: 1000, channels: vec![heart_rate, temperature] }
}

// Golden: blocks in the field have these bytes. Another layout is another version, never an edit here.
const EXAMPLE: &[u8] = b"\x01\xd0\x0f\xe8\x07\x04\x02\
    \x068867-4\x04/min\x00\xc0\x02\x01\x04\x06\
    \x068310-5\x03Cel\x01\xb8\x0b\x07\x01";

/// One channel of four samples, whose tokens follow.
const BEFORE_TOKENS: &[u8] = b"\x01\x00\x01\x04\x01\x01a\x01b\x00";

fn one_channel(tokens: &[u8]) -> Result<Vec<Option<i32>>, VitalsError> {
    decode(&[BEFORE_TOKENS, tokens].concat()).map(|block| block.channels[0].samples.clone())
}

fn any_samples(len: usize) -> impl Strategy<Value = Vec<Option<i32>>> {
    let near = (-3i32..4).prop_map(Some);
    let sample = prop_oneof![4 => near, 2 => Just(None), 1 => any::<i32>().prop_map(Some)];
    // Runs of one sample and of many.
    let runs = prop::collection::vec((sample, prop_oneof![Just(1usize), 1..90usize]), 1..len + 1);
    runs.prop_map(move |runs| {
        let all = runs.into_iter().flat_map(|(sample, times)| std::iter::repeat_n(sample, times));
        all.chain(std::iter::repeat(None)).take(len).collect()
    })
}

fn any_block() -> impl Strategy<Value = Block> {
    let channels = (1..200usize).prop_flat_map(|len| {
        let one = ("[!-~]{1,48}", 0..=4u8, any_samples(len));
        prop::collection::btree_map("[!-~]{1,48}", one, 1..6)
    });
    // A hundredth of all times, so that no last sample is beyond the end of time.
    let start = any::<i64>().prop_map(|time| time / 100);
    (start, 1..=u32::MAX, channels).prop_map(|(start_ms, period_ms, channels)| {
        let channel = |(code, (unit, scale, samples))| Channel { code, unit, scale, samples };
        Block { start_ms, period_ms, channels: channels.into_iter().map(channel).collect() }
    })
}

/// What every accepted input holds, however hostile: within the limits, and the one way to write its block.
fn check_accepted(bytes: &[u8]) {
    let Ok(block) = decode(bytes) else { return };
    assert!(bytes.len() <= limits::VITALS_BLOCK_LEN_MAX);
    assert!(block.channels.len() <= limits::VITALS_CHANNELS_MAX);
    for Channel { code, unit, scale, samples } in &block.channels {
        assert!(code.len().max(unit.len()) <= limits::VITALS_NAME_LEN_MAX && *scale <= limits::VITALS_SCALE_MAX);
        assert!(samples.len() <= limits::VITALS_SAMPLES_MAX && samples.capacity() <= limits::VITALS_SAMPLES_MAX);
        assert_eq!(block.samples(code).count(), samples.len());
    }
    assert_eq!(encode(&block).expect("what was accepted can be written"), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_block_comes_back_as_it_was(block in any_block()) {
        let bytes = encode(&block).expect("within the limits");
        prop_assert_eq!(decode(&bytes), Ok(block));
    }

    #[test]
    fn any_bytes_are_refused_or_are_canonical(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check_accepted(&bytes);
        check_accepted(&[&[1], &bytes[..]].concat());
        check_accepted(&[BEFORE_TOKENS, &bytes[..]].concat());
    }

    #[test]
    fn damaged_blocks_are_refused_or_are_canonical(
        block in any_block(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encode(&block).expect("within the limits").to_vec();
        damage.iter().for_each(|(at, byte)| { let at = at.index(bytes.len()); bytes[at] = *byte });
        check_accepted(&bytes);
    }
}

#[test]
fn the_bytes_of_a_block_are_the_same_for_ever() {
    assert_eq!(encode(&example()).expect("encodes"), EXAMPLE);
    assert_eq!(decode(EXAMPLE), Ok(example()));
}

#[test]
fn readers_get_times_and_the_numbers_that_were_measured() {
    let block = example();
    let heart_rate = [(1000, Some(80.0)), (2000, Some(80.0)), (3000, Some(81.0)), (4000, Some(79.0))];
    assert!(block.samples("8867-4").eq(heart_rate));
    assert!(block.samples("8310-5").eq([(1000, Some(36.6)), (2000, None), (3000, None), (4000, Some(36.6))]));
    assert_eq!(block.samples("2708-6").count(), 0);
}

#[test]
fn a_newer_version_is_named_before_anything_else_is_looked_at() {
    assert_eq!(decode(&[2]), Err(VitalsError::UnknownVersion(2)));
    assert_eq!(decode(&vec![7; limits::VITALS_BLOCK_LEN_MAX + 1]), Err(VitalsError::UnknownVersion(7)));
}

#[test]
fn a_block_that_is_cut_or_has_something_behind_it_is_refused() {
    for len in 0..EXAMPLE.len() {
        assert_eq!(decode(&EXAMPLE[..len]), Err(VitalsError::Malformed("cut short")), "{len}");
    }
    assert_eq!(decode(&[EXAMPLE, &[0]].concat()), Err(VitalsError::Malformed("bytes behind the end")));
}

#[test]
fn samples_have_one_way_to_be_written() {
    assert_eq!(one_channel(b"\x0d"), Ok(vec![Some(0); 4]));
    assert_eq!(one_channel(b"\x0f"), Ok(vec![None; 4]));
    assert_eq!(one_channel(b"\x05\x03\x01"), Ok(vec![Some(0), Some(0), None, Some(0)]));
    let widest = [Some(i32::MIN), Some(i32::MAX), Some(i32::MIN), Some(0)];
    let block = Block { start_ms: 0, period_ms: 1, channels: vec![channel("a", "b", 0, &widest)] };
    assert_eq!(decode(&encode(&block).expect("encodes")), Ok(block));
    let refused: [(&[u8], &str); 8] = [
        (b"\x00\x09", "a step of zero"),
        (b"\x05\x05", "a run continues a run"),
        (b"\x07\x07", "a run continues a run"),
        (b"\x11", "a run reaches beyond the samples"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a run reaches beyond the samples"),
        (b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a sample exceeds 32 bits"),
        (b"\x8d\x00", "a number is not shortest"),
        (b"\x8d\x80\x80\x80\x80\x80\x80\x80\x80\x02", "a number exceeds 64 bits"),
    ];
    for (tokens, why) in refused {
        assert_eq!(one_channel(tokens), Err(VitalsError::Malformed(why)), "{tokens:02x?}");
    }
}

#[test]
fn claims_beyond_the_limits_are_refused_before_they_are_believed() {
    let count = |what, found, max| Err(VitalsError::Count { what, found, max });
    assert_eq!(decode(b"\x01\x00\x01\x91\x1c\x01"), count("samples", 3601, 3600));
    assert_eq!(decode(b"\x01\x00\x01\x00\x01"), count("samples", 0, 3600));
    assert_eq!(decode(b"\x01\x00\x01\x01\x21"), count("channels", 33, 32));
    assert_eq!(decode(b"\x01\x00\x01\x01\x00"), count("channels", 0, 32));
    assert_eq!(decode(b"\x01\x00\x01\x01\x01\x31"), count("code", 49, 48));
    assert_eq!(decode(b"\x01\x00\x00\x01\x01\x01a\x01b\x00\x01"), Err(VitalsError::NoPeriod));
    assert_eq!(decode(&[1; limits::VITALS_BLOCK_LEN_MAX + 1]), count("bytes", 8193, 8192));
}

#[test]
fn encode_refuses_what_decode_would() {
    let changed = |change: fn(&mut Block)| {
        let mut block = example();
        change(&mut block);
        encode(&block).expect_err("refused")
    };
    assert_eq!(changed(|block| block.period_ms = 0), VitalsError::NoPeriod);
    assert_eq!(changed(|block| block.start_ms = i64::MAX - 2999), VitalsError::TimeOutOfRange);
    assert_eq!(changed(|block| block.channels[1].scale = 5), VitalsError::Scale(5));
    assert_eq!(changed(|block| block.channels[1].code = "8867-4".into()), VitalsError::RepeatedCode);
    assert_eq!(changed(|block| block.channels[1].unit = "°C".into()), VitalsError::Name("unit"));
    assert_eq!(changed(|block| block.channels[1].samples.truncate(3)), VitalsError::Uneven);
    let none = |what, max| VitalsError::Count { what, found: 0, max };
    assert_eq!(changed(|block| block.channels[1].code.clear()), none("code", 48));
    assert_eq!(changed(|block| block.channels.clear()), none("samples", 3600));
    let noise: Vec<_> = (0..3600).map(|n| Some(if n % 2 == 0 { i32::MIN } else { i32::MAX })).collect();
    let block = Block { start_ms: 0, period_ms: 1, channels: vec![channel("a", "b", 0, &noise)] };
    assert!(matches!(encode(&block), Err(VitalsError::Count { what: "bytes", found: 18_000.., max: 8192 })));
}

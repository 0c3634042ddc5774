//! What a monitor measures, one moment after the other, made into blocks.
//!
//! A sample is never moved in time and never lost: what does not fit into the open block begins the next one.

use std::collections::BTreeMap;

use super::{Block, Channel, VitalsError, check_count, check_kind, check_period, codec::sample_len};
use crate::limits;

/// One measured number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading<'a> {
    /// What is measured, such as LOINC `8867-4`, heart rate.
    pub code: &'a str,
    /// Its UCUM unit, such as `/min`.
    pub unit: &'a str,
    /// Decimal digits after the point.
    pub scale: u8,
    /// The number without its point: 366 with scale 1 is 36.6.
    pub value: i32,
}

/// Collects samples into blocks.
///
/// What is not measured is not pushed: a code that is missing at some time has a gap there, and one that comes later,
/// such as a blood pressure every five minutes, has a gap before it. A new block begins with a sample
/// - at or beyond `block_len` periods after the first sample of the open one, be it full or after a long silence;
/// - whose time is off the grid of the open block, or before its newest sample: clocks are set, and what came
///   earlier stays;
/// - whose unit or scale is not that of its channel in the open block;
/// - that would make the open block larger than [`limits`] allow.
///
/// A value for the time of the newest sample replaces that channel's value there, and only that; other channels keep
/// theirs. For this reason a full block is handed out with the next sample, not with its last.
///
/// Times are the monitor's, of when it measured. Times of arrival jitter around the grid, and every one would begin a
/// block of its own.
#[derive(Debug)]
pub struct Recorder {
    period_ms: u32,
    block_len: usize,
    open: Option<Open>,
}

impl Recorder {
    /// Makes blocks of up to `block_len` samples that are `period_ms` apart.
    ///
    /// # Errors
    /// When the period is zero, or the length not 1 to [`limits::VITALS_SAMPLES_MAX`].
    pub fn new(period_ms: u32, block_len: usize) -> Result<Self, VitalsError> {
        check_period(period_ms)?;
        check_count("samples", block_len, limits::VITALS_SAMPLES_MAX)?;
        Ok(Self { period_ms, block_len, open: None })
    }

    /// Takes what was measured at one time; gives the block that ended before it, if one did.
    ///
    /// # Errors
    /// When a reading cannot stand in a block, a code is there twice, or there are more than
    /// [`limits::VITALS_CHANNELS_MAX`]. Nothing of such a push is taken, and the open block is as it was.
    pub fn push(&mut self, time_ms: i64, readings: &[Reading<'_>]) -> Result<Option<Block>, VitalsError> {
        if readings.is_empty() {
            return Ok(None);
        }
        check(readings)?;
        let index = self.open.as_ref().and_then(|open| self.index(open, time_ms));
        if let (Some(open), Some(index)) = (&mut self.open, index)
            && open.fits(index, readings)
        {
            open.put(index, readings);
            return Ok(None);
        }
        let finished = self.finish();
        self.open.insert(Open::new(time_ms)).put(0, readings);
        Ok(finished)
    }

    /// Gives what has been collected, full or not: at the end of a recording, or when waiting longer is not wanted.
    pub fn finish(&mut self) -> Option<Block> {
        let Open { start_ms, newest, mut channels, size: _ } = self.open.take()?;
        channels.values_mut().for_each(|channel| channel.samples.resize(newest + 1, None));
        Some(Block { start_ms, period_ms: self.period_ms, channels: channels.into_values().collect() })
    }

    /// Where on the grid of the open block a time is, if it is on it and not before its newest sample.
    fn index(&self, open: &Open, time_ms: i64) -> Option<usize> {
        let since = u64::try_from(time_ms.checked_sub(open.start_ms)?).ok()?;
        let period = u64::from(self.period_ms);
        let index = usize::try_from(since / period).ok()?;
        (since.is_multiple_of(period) && (open.newest..self.block_len).contains(&index)).then_some(index)
    }
}

fn check(readings: &[Reading<'_>]) -> Result<(), VitalsError> {
    check_count("channels", readings.len(), limits::VITALS_CHANNELS_MAX)?;
    for (index, Reading { code, unit, scale, value: _ }) in readings.iter().enumerate() {
        check_kind(code, unit, *scale)?;
        if readings[..index].iter().any(|other| other.code == *code) {
            return Err(VitalsError::RepeatedCode);
        }
    }
    Ok(())
}

/// A block that still grows. A channel's samples end with its newest measured one.
#[cfg_attr(test, derive(Debug))]
struct Open {
    start_ms: i64,
    newest: usize,
    // Ordered, so that the order in which a monitor reports its channels does not show.
    channels: BTreeMap<String, Channel>,
    /// The packed block is at most this long.
    size: usize,
}

crate::hide_content! { Open }

impl Open {
    fn new(start_ms: i64) -> Self {
        Self { start_ms, newest: 0, channels: BTreeMap::new(), size: HEADER_LEN_MAX }
    }

    fn fits(&self, index: usize, readings: &[Reading<'_>]) -> bool {
        let known = |reading: &Reading<'_>| self.channels.get(reading.code);
        let new = readings.iter().filter(|reading| known(reading).is_none()).count();
        let same =
            |channel: &Channel, reading: &Reading<'_>| (&*channel.unit, channel.scale) == (reading.unit, reading.scale);
        let cost: usize = readings.iter().map(|reading| cost(known(reading), index, reading)).sum();
        self.channels.len() + new <= limits::VITALS_CHANNELS_MAX
            && self.size + cost <= limits::VITALS_BLOCK_LEN_MAX
            && readings.iter().all(|reading| known(reading).is_none_or(|channel| same(channel, reading)))
    }

    fn put(&mut self, index: usize, readings: &[Reading<'_>]) {
        for reading in readings {
            self.size += cost(self.channels.get(reading.code), index, reading);
            let Reading { code, unit, scale, value } = *reading;
            let new = || Channel { code: code.to_owned(), unit: unit.to_owned(), scale, samples: Vec::new() };
            let channel = self.channels.entry(code.to_owned()).or_insert_with(new);
            channel.samples.resize(index, None);
            channel.samples.push(Some(value));
        }
        self.newest = index;
    }
}

/// At most how many bytes a reading adds to the packed block.
fn cost(channel: Option<&Channel>, index: usize, reading: &Reading<'_>) -> usize {
    let Reading { code, unit, scale: _, value } = reading;
    let head = if channel.is_none() { code.len() + unit.len() + CHANNEL_LEN_MAX } else { 0 };
    let samples = channel.map_or(&[][..], |channel| &channel.samples);
    let before = &samples[..samples.len().min(index)];
    let gap = if before.len() < index { RUN_LEN_MAX } else { 0 };
    let last = before.iter().rev().find_map(|sample| *sample);
    head + gap + sample_len(last.unwrap_or(0), *value)
}

/// Version, start, period, samples and channels.
const HEADER_LEN_MAX: usize = 1 + 10 + 5 + 2 + 1;
/// A channel without its texts and samples: two lengths, the scale, and the gap at its end.
const CHANNEL_LEN_MAX: usize = 3 + RUN_LEN_MAX;
/// A run of up to [`limits::VITALS_SAMPLES_MAX`]: 14 bits.
const RUN_LEN_MAX: usize = 2;

//! Numeric vitals, packed: a stretch of samples of one monitor becomes one block, and one block becomes one entry.
//!
//! Nothing here interprets a number: a block gives back every sample at its time, with the digits it had.
//! The format is for ever: what version 1 wrote is read by every later app, and its golden test never changes.
//!
//! # From samples to entries and back
//!
//! The SDK feeds a [`Recorder`] with what the monitor measured. It hands out a [`Block`] whenever one is finished;
//! [`encode`] packs it, and its bytes become one field of one append-only entry. One entry per sample would cost a
//! change of about 140 bytes for each; two hours of a monitor are 17 KB this way. A reader calls [`decode`] and then
//! [`Block::samples`].
//!
//! A block is an evenly spaced grid: sample *i* of every channel was measured at `start_ms + i × period_ms`, device
//! time. `None` is "not measured at that time", never zero and never "as before".
//!
//! # The format, version 1
//!
//! A *varint* is unsigned LEB128 in its shortest form: seven bits per byte, lowest first, the top bit set in all but
//! the last. *Zigzag* maps a signed number to an unsigned one: 0, −1, 1, −2 … become 0, 1, 2, 3 ….
//!
//! | Field | Bytes | Meaning |
//! |---|---|---|
//! | version | 1 | `01` |
//! | start | 1–10, varint | zigzag of `start_ms`: milliseconds since 1970-01-01 UTC by the device's clock |
//! | period | 1–5, varint | `period_ms`, at least 1 |
//! | samples | 1–2, varint | samples of each channel, 1 to 3600 |
//! | channels | 1, varint | how many channels follow, 1 to 32 |
//!
//! Then every channel, one after the other, and nothing behind the last:
//!
//! | Field | Bytes | Meaning |
//! |---|---|---|
//! | code | 1 + length | length 1 to 48, then that many characters of `!` to `~`; no code twice in a block |
//! | unit | 1 + length | likewise; UCUM writes `1` for "no unit" |
//! | scale | 1 | decimal digits after the point, 0 to 4: the sample 366 with scale 1 is 36.6 |
//! | tokens | 1 or more, varints | until all samples of the channel are there |
//!
//! Each token stands for one or more samples. *Last* is the channel's last measured sample in this block, 0 before the
//! first; a gap leaves it as it is. *n* is what remains of the varint:
//!
//! | Lowest bits | Token | Samples |
//! |---|---|---|
//! | `0` | step | one: last + unzigzag(n), n = token / 2; never 0 |
//! | `01` | hold | n + 1 times last, n = token / 4 |
//! | `11` | gap | n + 1 times "not measured", n = token / 4 |
//!
//! A step of −32 to 31 is one byte, and so are up to 32 samples in a hold or gap.
//!
//! **There is one way to write a block.** Varints are shortest, a step is never zero, a hold never follows a hold nor
//! a gap a gap, a run ends within the samples, every sample fits into 32 bits, the last sample's time fits into 64. So
//! `decode(encode(block)) == block`, and `encode(decode(bytes)) == bytes` for all bytes that are accepted; a hash of
//! the bytes is a hash of the samples.
//!
//! **Limits hold before anything is allocated**: [`VITALS_BLOCK_LEN_MAX`](limits::VITALS_BLOCK_LEN_MAX) and its
//! neighbours. [`encode`] keeps to the same ones; whatever a [`Recorder`] hands out is within them.
//!
//! **A later version** begins with another byte. An app that does not know it gets [`VitalsError::UnknownVersion`],
//! leaves the entry as it is and shows that there is one; an updated app reads the same bytes.
//!
//! ## Example
//!
//! Heart rate and temperature at 1 Hz from 1970-01-01 00:00:01: 80, 80, 81, 79 per minute; 36.6 °C, two gaps, 36.6 °C.
//!
//! ```text
//! 01                         version 1
//! d0 0f                      start 1000 (zigzag 2000)
//! e8 07                      period 1000
//! 04 02                      4 samples, 2 channels
//! 06 38 38 36 37 2d 34       code "8867-4"
//! 04 2f 6d 69 6e             unit "/min"
//! 00                         scale 0
//! c0 02                      step +80 (zigzag 160, token 320):  80
//! 01                         hold 1:                            80
//! 04                         step +1:                           81
//! 06                         step −2:                           79
//! 06 38 33 31 30 2d 35       code "8310-5"
//! 03 43 65 6c                unit "Cel"
//! 01                         scale 1
//! b8 0b                      step +366 (zigzag 732, token 1464): 36.6
//! 07                         gap 2:                             –, –
//! 01                         hold 1:                            36.6
//! ```

use crate::limits;

mod codec;
mod recorder;

pub use codec::{decode, encode};
pub use recorder::{Reading, Recorder};

/// Samples of several channels on one grid of time. All channels have the same number of samples, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Device time of sample 0, milliseconds since 1970-01-01 UTC.
    pub start_ms: i64,
    /// Time between two samples.
    pub period_ms: u32,
    /// What was measured; a code stands in a block once.
    pub channels: Vec<Channel>,
}

/// One measured quantity.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Channel {
    /// What is measured, such as LOINC `8867-4`, heart rate.
    pub code: String,
    /// Its UCUM unit, such as `/min`.
    pub unit: String,
    /// Decimal digits after the point.
    pub scale: u8,
    /// Samples without their point; `None` where nothing was measured.
    pub samples: Vec<Option<i32>>,
}

crate::hide_content! { Channel }

impl Block {
    /// The samples of a channel with their device times in milliseconds; none if the block has no such channel.
    ///
    /// A value is the decimal number that was measured, as near as an `f64` comes: 366 with scale 1 gives `36.6`.
    pub fn samples<'a>(&'a self, code: &str) -> impl Iterator<Item = (i64, Option<f64>)> + use<'a> {
        let channel = self.channels.iter().find(|channel| channel.code == code);
        channel.into_iter().flat_map(move |channel| {
            let divisor = 10u64.saturating_pow(channel.scale.into()) as f64;
            let value = move |sample: &Option<i32>| sample.map(|sample| f64::from(sample) / divisor);
            channel.samples.iter().enumerate().map(move |(index, sample)| (self.time_ms(index), value(sample)))
        })
    }

    fn time_ms(&self, index: usize) -> i64 {
        self.start_ms.saturating_add_unsigned(index as u64 * u64::from(self.period_ms))
    }

    /// Whether the format can hold it; gives the number of samples.
    fn check(&self) -> Result<usize, VitalsError> {
        let samples = self.channels.first().map_or(0, |channel| channel.samples.len());
        check_period(self.period_ms)?;
        check_count("samples", samples, limits::VITALS_SAMPLES_MAX)?;
        check_count("channels", self.channels.len(), limits::VITALS_CHANNELS_MAX)?;
        for (index, Channel { code, unit, scale, samples: own }) in self.channels.iter().enumerate() {
            check_kind(code, unit, *scale)?;
            if own.len() != samples {
                return Err(VitalsError::Uneven);
            }
            if self.channels[..index].iter().any(|other| other.code == *code) {
                return Err(VitalsError::RepeatedCode);
            }
        }
        let span = (samples as u64 - 1) * u64::from(self.period_ms);
        self.start_ms.checked_add_unsigned(span).map(|_| samples).ok_or(VitalsError::TimeOutOfRange)
    }
}

/// Why a block or a reading is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VitalsError {
    /// Written by a newer app. Keep the bytes as they are: an updated app reads them.
    #[error("a block of vitals of unknown version {0}")]
    UnknownVersion(u8),
    /// The bytes are not a block.
    #[error("not a block of vitals: {0}")]
    Malformed(&'static str),
    /// There is none of something a block needs, or more than [`limits`] allow.
    #[error("{what}: {found}, must be 1 to {max}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// A code or unit has characters other than `!` to `~`.
    #[error("the {0} of a channel has other characters than printable ASCII")]
    Name(&'static str),
    /// More decimal digits than [`limits::VITALS_SCALE_MAX`].
    #[error("a channel with {0} decimal digits")]
    Scale(u8),
    /// Samples without time between them.
    #[error("the period is zero")]
    NoPeriod,
    /// Channels of one block differ in their number of samples.
    #[error("channels of one block differ in length")]
    Uneven,
    /// One code names two channels of a block, or two readings of one push.
    #[error("a code is there twice")]
    RepeatedCode,
    /// The time of the last sample is beyond what 64 bits hold.
    #[error("the time of a sample is out of range")]
    TimeOutOfRange,
}

fn check_period(period_ms: u32) -> Result<(), VitalsError> {
    if period_ms == 0 { Err(VitalsError::NoPeriod) } else { Ok(()) }
}

fn check_count(what: &'static str, found: usize, max: usize) -> Result<(), VitalsError> {
    if (1..=max).contains(&found) { Ok(()) } else { Err(VitalsError::Count { what, found, max }) }
}

fn check_kind(code: &str, unit: &str, scale: u8) -> Result<(), VitalsError> {
    check_name("code", code)?;
    check_name("unit", unit)?;
    if scale <= limits::VITALS_SCALE_MAX { Ok(()) } else { Err(VitalsError::Scale(scale)) }
}

/// Codes and units are made of the characters that UCUM has: US-ASCII 33 to 126.
fn check_name(what: &'static str, name: &str) -> Result<(), VitalsError> {
    check_count(what, name.len(), limits::VITALS_NAME_LEN_MAX)?;
    if name.bytes().all(|byte| byte.is_ascii_graphic()) { Ok(()) } else { Err(VitalsError::Name(what)) }
}

#[cfg(test)]
mod tests;

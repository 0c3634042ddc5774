//! A block to bytes and back, as the module above describes it.
//!
//! Bytes come from anywhere: a length is checked before it is believed, and only the one way to write a block is read.

use bytes::Bytes;

use super::{Block, Channel, VitalsError, check_count};
use crate::limits;

/// Packs a block.
///
/// # Errors
/// When the block is outside of [`limits`] or the format cannot hold it; never for a block of a
/// [`Recorder`](super::Recorder).
pub fn encode(block: &Block) -> Result<Bytes, VitalsError> {
    let samples = block.check()?;
    let Block { start_ms, period_ms, channels } = block;
    let mut bytes = vec![VERSION];
    put_varint(&mut bytes, zigzag(*start_ms));
    put_varint(&mut bytes, u64::from(*period_ms));
    put_varint(&mut bytes, samples as u64);
    put_varint(&mut bytes, channels.len() as u64);
    for Channel { code, unit, scale, samples } in channels {
        put_name(&mut bytes, code);
        put_name(&mut bytes, unit);
        bytes.push(*scale);
        put_samples(&mut bytes, samples);
    }
    check_count(BYTES, bytes.len(), limits::VITALS_BLOCK_LEN_MAX)?;
    Ok(bytes.into())
}

/// Unpacks a block.
///
/// # Errors
/// [`VitalsError::UnknownVersion`] for a block of a newer app, which stays as it is; any other for bytes that
/// [`encode`] never wrote.
pub fn decode(bytes: &[u8]) -> Result<Block, VitalsError> {
    let mut reader = Reader { bytes };
    match reader.byte()? {
        VERSION => {}
        version => return Err(VitalsError::UnknownVersion(version)),
    }
    check_count(BYTES, bytes.len(), limits::VITALS_BLOCK_LEN_MAX)?;
    let start_ms = unzigzag(reader.varint()?);
    let period_ms =
        u32::try_from(reader.varint()?).map_err(|_| VitalsError::Malformed("the period exceeds 32 bits"))?;
    let samples = reader.count("samples", limits::VITALS_SAMPLES_MAX)?;
    let count = reader.count("channels", limits::VITALS_CHANNELS_MAX)?;
    let channels = (0..count).map(|_| reader.channel(samples)).collect::<Result<_, _>>()?;
    if !reader.bytes.is_empty() {
        return Err(VitalsError::Malformed("bytes behind the end"));
    }
    let block = Block { start_ms, period_ms, channels };
    block.check()?;
    Ok(block)
}

/// Bytes that a measured sample takes after the last measured one; in a hold it takes less.
pub(super) fn sample_len(last: i32, value: i32) -> usize {
    let bits = 64 - step(last, value).leading_zeros() as usize;
    bits.div_ceil(7).max(1)
}

fn put_samples(bytes: &mut Vec<u8>, samples: &[Option<i32>]) {
    let mut last = 0;
    let mut rest = samples;
    while let Some(first) = rest.first() {
        let run = rest.iter().take_while(|sample| *sample == first).count();
        let (token, taken) = match *first {
            None => (run_of(GAP, run), run),
            Some(value) if value == last => (run_of(HOLD, run), run),
            Some(value) => (step(last, value), 1),
        };
        put_varint(bytes, token);
        last = first.unwrap_or(last);
        rest = &rest[taken..];
    }
}

fn step(last: i32, value: i32) -> u64 {
    zigzag(i64::from(value) - i64::from(last)) << 1
}

fn run_of(kind: u64, samples: usize) -> u64 {
    ((samples as u64 - 1) << 2) | kind
}

fn put_name(bytes: &mut Vec<u8>, name: &str) {
    put_varint(bytes, name.len() as u64);
    bytes.extend_from_slice(name.as_bytes());
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// What has not been read yet.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn channel(&mut self, samples: usize) -> Result<Channel, VitalsError> {
        let code = self.name("code")?;
        let unit = self.name("unit")?;
        Ok(Channel { code, unit, scale: self.byte()?, samples: self.samples(samples)? })
    }

    fn samples(&mut self, count: usize) -> Result<Vec<Option<i32>>, VitalsError> {
        let mut samples = Vec::with_capacity(count);
        let mut last = 0;
        let mut run_before = None;
        while samples.len() < count {
            let token = self.varint()?;
            if token & 1 == STEP {
                last = stepped(last, token >> 1)?;
                samples.push(Some(last));
                run_before = None;
                continue;
            }
            let (kind, more) = (token & 3, token >> 2);
            if run_before.replace(kind) == Some(kind) {
                return Err(VitalsError::Malformed("a run continues a run"));
            }
            if more >= (count - samples.len()) as u64 {
                return Err(VitalsError::Malformed("a run reaches beyond the samples"));
            }
            samples.resize(samples.len() + more as usize + 1, (kind == HOLD).then_some(last));
        }
        Ok(samples)
    }

    fn name(&mut self, what: &'static str) -> Result<String, VitalsError> {
        let len = self.count(what, limits::VITALS_NAME_LEN_MAX)?;
        let (name, rest) = self.bytes.split_at_checked(len).ok_or(CUT_SHORT)?;
        self.bytes = rest;
        str::from_utf8(name).map(str::to_owned).map_err(|_| VitalsError::Name(what))
    }

    fn count(&mut self, what: &'static str, max: usize) -> Result<usize, VitalsError> {
        let count = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        check_count(what, count, max)?;
        Ok(count)
    }

    fn varint(&mut self) -> Result<u64, VitalsError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let overlong = byte == 0 && shift > 0;
                return if overlong { Err(VitalsError::Malformed("a number is not shortest")) } else { Ok(value) };
            }
        }
        Err(VitalsError::Malformed("a number exceeds 64 bits"))
    }

    fn byte(&mut self) -> Result<u8, VitalsError> {
        let (&byte, rest) = self.bytes.split_first().ok_or(CUT_SHORT)?;
        self.bytes = rest;
        Ok(byte)
    }
}

fn stepped(last: i32, step: u64) -> Result<i32, VitalsError> {
    if step == 0 {
        return Err(VitalsError::Malformed("a step of zero"));
    }
    let value = i64::from(last).checked_add(unzigzag(step)).and_then(|value| i32::try_from(value).ok());
    value.ok_or(VitalsError::Malformed("a sample exceeds 32 bits"))
}

/// The first byte of every block. Another layout takes the next number; this one stays readable.
const VERSION: u8 = 1;

// Lowest bits of a token: one for a step, two for the others.
const STEP: u64 = 0b0;
const HOLD: u64 = 0b01;
const GAP: u64 = 0b11;

const BYTES: &str = "bytes";
const CUT_SHORT: VitalsError = VitalsError::Malformed("cut short");

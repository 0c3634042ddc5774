//! Numbers to bytes and back: varints, zigzag, and differences in as few bits as hold them.

use super::LiveError;

pub(super) fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The first sample, then the differences.
pub(super) fn put_samples(bytes: &mut Vec<u8>, samples: &[i16]) {
    let first = samples.first().copied().unwrap_or_default();
    put_varint(bytes, zigzag(first.into()));
    let steps = || samples.windows(2).map(|pair| zigzag(i64::from(pair[1]) - i64::from(pair[0])));
    let width = steps().map(|step| 64 - step.leading_zeros()).max().unwrap_or(0);
    bytes.push(width as u8);
    let (mut open, mut filled) = (0_u64, 0);
    for step in steps() {
        open |= step << filled;
        filled += width;
        while filled >= 8 {
            bytes.push(open as u8);
            open >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        bytes.push(open as u8);
    }
}

/// What has not been read yet.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, LiveError> {
        let (first, rest) = self.bytes.split_first().ok_or(CUT)?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], LiveError> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(CUT)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(super) fn varint(&mut self) -> Result<u64, LiveError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(LiveError::Malformed("a varint exceeds 64 bits"));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err(LiveError::Malformed("a varint is too long"))
                } else {
                    Ok(value)
                };
            }
        }
        Err(LiveError::Malformed("a varint exceeds 64 bits"))
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Result<T, LiveError> {
        T::try_from(self.varint()?).map_err(|_| LiveError::Malformed("a number is out of range"))
    }

    pub(super) fn signed<T: TryFrom<i64>>(&mut self) -> Result<T, LiveError> {
        T::try_from(unzigzag(self.varint()?)).map_err(|_| LiveError::Malformed("a number is out of range"))
    }

    /// As many as [`put_samples`] was given; `count` is believed, so it is checked before.
    pub(super) fn samples(&mut self, count: usize) -> Result<Vec<i16>, LiveError> {
        let mut last: i16 = self.signed()?;
        let width = u32::from(self.byte()?);
        if width > WIDTH_MAX {
            return Err(LiveError::Malformed("a difference exceeds 17 bits"));
        }
        let steps = count.saturating_sub(1);
        let packed = self.take((steps * width as usize).div_ceil(8))?;
        let mut samples = Vec::with_capacity(count);
        samples.push(last);
        let (mut open, mut filled, mut widest, mut rest) = (0_u64, 0, 0, packed.iter());
        for _ in 0..steps {
            while filled < width {
                open |= u64::from(*rest.next().ok_or(CUT)?) << filled;
                filled += 8;
            }
            let step = open & ((1 << width) - 1);
            open >>= width;
            filled -= width;
            widest = widest.max(64 - step.leading_zeros());
            last = i16::try_from(i64::from(last) + unzigzag(step))
                .map_err(|_| LiveError::Malformed("a sample exceeds 16 bits"))?;
            samples.push(last);
        }
        match (open, widest == width) {
            (0, true) => Ok(samples),
            (0, false) => Err(LiveError::Malformed("differences in more bits than they need")),
            _ => Err(LiveError::Malformed("bits behind the last difference")),
        }
    }
}

const CUT: LiveError = LiveError::Malformed("it ends too soon");
/// From the least to the largest sample of 16 bits, with its sign.
const WIDTH_MAX: u32 = 17;

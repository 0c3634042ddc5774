//! A cursor over untrusted bytes: canonical LEB128 numbers, no copy, no panic.

use super::ChangeError;

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    pub(super) fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    pub(super) fn byte(&mut self) -> Result<u8, ChangeError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], ChangeError> {
        if len > self.remaining() {
            return Err(ChangeError::Malformed("cut short"));
        }
        let taken = &self.bytes[self.offset..self.offset + len];
        self.offset += len;
        Ok(taken)
    }

    /// A count of things that take at least `unit` bytes each: refused before anything is allocated for it.
    pub(super) fn length(&mut self, unit: usize) -> Result<usize, ChangeError> {
        let count = self.unsigned()?;
        if count.saturating_mul(unit as u64) > self.remaining() as u64 {
            return Err(ChangeError::Malformed("a length reaches beyond the end"));
        }
        Ok(count as usize)
    }

    /// Unsigned LEB128 in its shortest form.
    pub(super) fn unsigned(&mut self) -> Result<u64, ChangeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(ChangeError::Malformed("a number exceeds 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(ChangeError::Malformed("a number is not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(ChangeError::Malformed("a number exceeds 64 bits"))
    }

    /// Signed LEB128 in its shortest form.
    pub(super) fn signed(&mut self) -> Result<i64, ChangeError> {
        let mut value = 0i64;
        let mut before = None;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte != 0 && byte != 0x7f {
                return Err(ChangeError::Malformed("a number exceeds 64 bits"));
            }
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                // A last byte that only repeats the sign of the one before it could have been left out.
                let negative = before.map(|before| before & 0x40 != 0);
                if (byte == 0 && negative == Some(false)) || (byte == 0x7f && negative == Some(true)) {
                    return Err(ChangeError::Malformed("a number is not in its shortest form"));
                }
                if shift < 57 && byte & 0x40 != 0 {
                    value |= -1i64 << (shift + 7);
                }
                return Ok(value);
            }
            before = Some(byte);
        }
        Err(ChangeError::Malformed("a number exceeds 64 bits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsigned(bytes: &[u8]) -> Result<u64, ChangeError> {
        Reader::new(bytes).unsigned()
    }

    fn signed(bytes: &[u8]) -> Result<i64, ChangeError> {
        Reader::new(bytes).signed()
    }

    #[test]
    fn numbers_read_as_the_format_writes_them() {
        assert_eq!(unsigned(&[0]), Ok(0));
        assert_eq!(unsigned(&[0xff, 0x01]), Ok(255));
        assert_eq!(unsigned(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Ok(u64::MAX));
        assert_eq!(signed(&[0x7f]), Ok(-1));
        assert_eq!(signed(&[0xff, 0x00]), Ok(127));
        assert_eq!(signed(&[0x80, 0x7f]), Ok(-128));
        assert_eq!(signed(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f]), Ok(i64::MIN));
    }

    #[test]
    fn numbers_that_are_cut_overlong_or_too_wide_are_refused() {
        assert!(unsigned(&[]).is_err());
        assert!(unsigned(&[0x80]).is_err());
        assert!(unsigned(&[0x80, 0x00]).is_err());
        assert!(unsigned(&[0xff; 11]).is_err());
        assert!(unsigned(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).is_err());
        assert!(signed(&[0xff; 11]).is_err());
        assert!(signed(&[0x80, 0x00]).is_err());
        assert!(signed(&[0xff, 0x7f]).is_err());
    }
}

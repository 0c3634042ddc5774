//! Enrolment codes: 95 random bits and a check, in letters that a person can read out and type.
//!
//! Twenty characters of Crockford's base 32 in groups of five, the last of them a check: a typing error is told on the
//! device, before anybody is asked. Case, spaces and hyphens do not matter, and what is easily mistaken (O, I, L) is taken
//! for what was meant.

use std::{fmt, str::FromStr};

/// A code that makes one device. Never printed by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Code([u8; LEN]);

/// A text that is no code. Never contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// There are more or fewer than twenty characters.
    #[error("an enrolment code has {LEN} letters and digits")]
    Length,
    /// A character that stands in no code.
    #[error("the enrolment code has a character that no code has")]
    Character,
    /// At least one character is another than was given out, or two have changed places.
    #[error("the enrolment code has a typing error")]
    Check,
}

impl Code {
    /// The code of these random bytes; one bit is left over.
    pub fn from_random(random: [u8; 12]) -> Self {
        let bits = random.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        let mut digits = [0; LEN];
        for (index, digit) in digits[..LEN - 1].iter_mut().enumerate() {
            *digit = (bits >> (5 * index)) as u8 & 31;
        }
        // Makes the remainder over all of them zero.
        digits[LEN - 1] = times_x(remainder(&digits[..LEN - 1]));
        Self(digits)
    }

    /// The one spelling that is hashed: no groups, upper case.
    pub fn canonical(&self) -> String {
        self.0.iter().map(|digit| char::from(ALPHABET[usize::from(*digit)])).collect()
    }
}

/// In groups, as it is given out.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.canonical();
        for (index, character) in text.chars().enumerate() {
            if index > 0 && index.is_multiple_of(GROUP) {
                f.write_str("-")?;
            }
            write!(f, "{character}")?;
        }
        Ok(())
    }
}

impl FromStr for Code {
    type Err = CodeError;
    fn from_str(text: &str) -> Result<Self, CodeError> {
        let mut digits = [0; LEN];
        let mut count = 0;
        for character in text.chars().filter(|character| !matches!(character, '-' | ' ' | '\t' | '\n' | '\r')) {
            *digits.get_mut(count).ok_or(CodeError::Length)? = digit(character).ok_or(CodeError::Character)?;
            count += 1;
        }
        if count != LEN {
            return Err(CodeError::Length);
        }
        if remainder(&digits) != 0 {
            return Err(CodeError::Check);
        }
        Ok(Self(digits))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(redacted)")
    }
}

fn digit(character: char) -> Option<u8> {
    let meant = match character.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let place = ALPHABET.iter().position(|known| char::from(*known) == meant)?;
    u8::try_from(place).ok()
}

/// The digits as a polynomial over the field of 32 elements, at its generator: no single digit and no two neighbours can
/// change without changing it.
fn remainder(digits: &[u8]) -> u8 {
    digits.iter().fold(0, |sum, digit| times_x(sum) ^ digit)
}

/// Multiplies by the generator, modulo x^5 + x^2 + 1.
fn times_x(value: u8) -> u8 {
    let shifted = value << 1;
    if shifted & 32 == 0 { shifted } else { shifted ^ 0b10_0101 }
}

const LEN: usize = 20;
const GROUP: usize = 5;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn codes_round_trip_however_they_are_typed(random: [u8; 12], lower: bool) {
            let code = Code::from_random(random);
            let shown = code.to_string();
            prop_assert_eq!(shown.len(), LEN + 3);
            let typed = if lower { shown.to_lowercase().replace('-', " ") } else { code.canonical() };
            prop_assert_eq!(typed.parse::<Code>(), Ok(code.clone()));
            prop_assert_eq!(shown.replace('0', "o").replace('1', "l").parse::<Code>(), Ok(code));
        }

        #[test]
        fn one_wrong_character_and_two_swapped_neighbours_are_noticed(random: [u8; 12], at in 0..LEN, by in 1_u8..32) {
            let Code(digits) = Code::from_random(random);
            let mut wrong = digits;
            wrong[at] ^= by;
            prop_assert_eq!(Code(wrong).canonical().parse::<Code>(), Err(CodeError::Check));
            let mut swapped = digits;
            swapped.swap(at, (at + 1).min(LEN - 1));
            let expected = if swapped == digits { Ok(Code(digits)) } else { Err(CodeError::Check) };
            prop_assert_eq!(Code(swapped).canonical().parse::<Code>(), expected);
        }
    }

    #[test]
    fn what_is_no_code_says_why_and_is_not_repeated() {
        assert_eq!("".parse::<Code>(), Err(CodeError::Length));
        assert_eq!("0".repeat(21).parse::<Code>(), Err(CodeError::Length));
        assert_eq!("U0000-00000-00000-00000".parse::<Code>(), Err(CodeError::Character));
        assert_eq!(format!("{:?}", Code::from_random([7; 12])), "Code(redacted)");
    }
}

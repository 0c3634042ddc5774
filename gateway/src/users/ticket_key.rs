//! The file of the keys that tickets are made with: 64 hexadecimal digits a line, `#` starts a comment.
//!
//! The first signs and all are believed: a new one is put in front, and the old one taken away when its last ticket has
//! ended.

use std::{
    io,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::ticket::KEY_LEN;
use crate::secret_file;

/// The keys of a gateway.
pub(super) type Keys = Zeroizing<Vec<[u8; KEY_LEN]>>;

/// The keys cannot be used. Never says what stands in the file.
#[derive(Debug, thiserror::Error)]
pub enum TicketKeyError {
    /// The file cannot be read or made.
    #[error("cannot read or make {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line is not a key, or there are none or too many.
    #[error("{path} must hold one or two keys of 64 hexadecimal digits, one a line")]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
}

/// The keys in the file; a new one, readable by its owner alone, when there is no file.
///
/// # Errors
/// When the file cannot be read or made, or holds something else.
pub(super) fn load_or_create(path: &Path) -> Result<Keys, TicketKeyError> {
    let file = |source| TicketKeyError::File { path: path.to_owned(), source };
    match std::fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => parse(&text).ok_or_else(|| TicketKeyError::Malformed { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path).map_err(file),
        Err(error) => Err(file(error)),
    }
}

/// A key that stands in no file.
///
/// # Errors
/// When the system has no randomness.
pub(super) fn generate() -> io::Result<Keys> {
    let mut key = [0; KEY_LEN];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("no randomness"))?;
    Ok(Zeroizing::new(vec![key]))
}

fn create(path: &Path) -> io::Result<Keys> {
    let keys = generate()?;
    let mut text = Zeroizing::new(String::with_capacity(2 * KEY_LEN + 1));
    for byte in keys.iter().flatten() {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text.push('\n');
    secret_file::create(path, &text)?;
    Ok(keys)
}

fn parse(text: &str) -> Option<Keys> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let keys: Option<Vec<_>> = lines.filter(|line| !line.is_empty()).map(parse_key).collect();
    keys.map(Zeroizing::new).filter(|keys| (1..=KEYS_MAX).contains(&keys.len()))
}

fn parse_key(digits: &str) -> Option<[u8; KEY_LEN]> {
    let mut key = [0; KEY_LEN];
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != KEY_LEN || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in key.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(key)
}

/// One that signs, and the one before it.
const KEYS_MAX: usize = 2;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_missing_file_is_made_for_its_owner_alone_and_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("tickets.key");
        let made = load_or_create(&path).expect("made");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(*load_or_create(&path).expect("read"), *made);
        assert_ne!(*generate().expect("randomness"), *made);
    }

    #[test]
    fn a_file_that_is_no_key_stops_the_start_and_is_not_quoted() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("tickets.key");
        let key = "0f".repeat(KEY_LEN);
        for text in [String::new(), "geheim".into(), key[2..].into(), format!("{key}0"), format!("{key}\n").repeat(3)] {
            std::fs::write(&path, &text).expect("written");
            let error = load_or_create(&path).expect_err("refused").to_string();
            assert!(error.contains("tickets.key") && !error.contains("geheim"), "{error}");
        }
        std::fs::write(&path, format!("# new\n{}\n\n{key} # until May\n", "Aa".repeat(KEY_LEN))).expect("written");
        assert_eq!(*load_or_create(&path).expect("two keys"), [[0xaa; KEY_LEN], [0x0f; KEY_LEN]]);
    }
}

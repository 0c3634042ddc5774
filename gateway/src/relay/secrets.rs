//! The file of the secrets that are shared with TURN servers: one a line, `#` starts a comment.
//!
//! The first signs. The others stand there so that one file can serve gateway and TURN servers: a new one is given to the
//! servers, then put in front here, and the old one is taken away when what it has signed has expired.

use std::{
    io,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// Secrets of a gateway and its TURN servers; never empty.
pub struct Secrets(Vec<Zeroizing<String>>);

/// The secrets cannot be used. Never says what stands in the file.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read {path}; see [relay] secret_file in the configuration")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line is no secret, or there are none or too many.
    #[error(
        "{path} must hold one to {SECRETS_MAX} secrets of {SECRET_LEN_MIN} to {SECRET_LEN_MAX} visible ASCII characters, one a line"
    )]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
}

impl Secrets {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or holds something else.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).ok_or_else(|| SecretError::Malformed { path: path.to_owned() })
    }

    /// Makes credentials.
    pub fn signing(&self) -> &[u8] {
        self.0.first().expect("it is never empty").as_bytes()
    }

    fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let secrets: Option<Vec<_>> = lines.map(parse_secret).collect();
        secrets.filter(|secrets| (1..=SECRETS_MAX).contains(&secrets.len())).map(Self)
    }
}

fn parse_secret(line: &str) -> Option<Zeroizing<String>> {
    let is_long_enough = (SECRET_LEN_MIN..=SECRET_LEN_MAX).contains(&line.len());
    (is_long_enough && line.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Zeroizing::new(line.to_owned()))
}

/// The new one, the old one, and one more for a mistake.
const SECRETS_MAX: usize = 3;
/// 128 bits in hexadecimal digits.
const SECRET_LEN_MIN: usize = 32;
/// Twice what SHA-1 takes in at once: more adds nothing.
const SECRET_LEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_a_few_long_secrets_and_nothing_else() {
        let (long, other) = ("a".repeat(32), "b#".repeat(16));
        let first = |text: &str| Secrets::parse(text).map(|secrets| secrets.signing().to_vec());
        assert_eq!(first(&format!("# c\n\n  {long} \n{other}\n")), Some(long.clone().into_bytes()));
        assert_eq!(first(&other), Some(other.clone().into_bytes()), "a sign of a comment inside is part of it");
        let four = format!("{long}\n").repeat(4);
        for text in ["", "# none", "short", &four, &format!("{long} {long}"), &"ü".repeat(32), &"c".repeat(129)] {
            assert_eq!(first(text), None, "{text}");
        }
    }
}

//! The key that signs checkpoints: its file, made at the first start, and its public half for auditors.

use std::{
    io,
    path::{Path, PathBuf},
};

use feldakte_certs::{
    key::KeyError,
    signing::{SigningError, SigningKey},
};
use feldakte_core::audit::{Chain, Checkpoint, Head};
use zeroize::Zeroizing;

use crate::secret_file;

/// A key for checkpoints.
#[derive(Debug)]
pub struct AuditKey(SigningKey);

/// The key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditKeyError {
    /// The file cannot be read or made.
    #[error("cannot read or make {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not hold what it should.
    #[error("{path} cannot be used")]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
}

impl AuditKey {
    /// One that stands in no file.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        SigningKey::generate().map(Self)
    }

    /// The key in the file; a new one, readable by its owner alone, when there is no file.
    ///
    /// # Errors
    /// When the file cannot be read or made, or holds something else.
    pub fn load_or_create(path: &Path) -> Result<Self, AuditKeyError> {
        match Self::load(path) {
            Err(AuditKeyError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Self::create(path),
            loaded => loaded,
        }
    }

    /// The key in the file.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn load(path: &Path) -> Result<Self, AuditKeyError> {
        let at = || path.to_owned();
        let pem = std::fs::read_to_string(path).map_err(|source| AuditKeyError::File { path: at(), source })?;
        let key = SigningKey::from_pem(&Zeroizing::new(pem));
        key.map(Self).map_err(|source| AuditKeyError::Key { path: at(), source })
    }

    fn create(path: &Path) -> Result<Self, AuditKeyError> {
        let key = SigningKey::generate().map_err(|source| AuditKeyError::Key { path: path.to_owned(), source })?;
        let written = secret_file::create(path, &key.to_pem());
        written.map_err(|source| AuditKeyError::File { path: path.to_owned(), source })?;
        Ok(Self(key))
    }

    /// The public half, PEM: what `feldakte audit verify` needs.
    pub fn public_pem(&self) -> String {
        self.0.public_pem()
    }

    /// Says that the chain has this head.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn sign(&self, chain: &Chain, head: Head, when_ms: i64) -> Result<Checkpoint, SigningError> {
        let signature = self.0.sign(&Checkpoint::message(chain, head, when_ms))?;
        Ok(Checkpoint { chain: chain.clone(), head, when_ms, signature })
    }
}

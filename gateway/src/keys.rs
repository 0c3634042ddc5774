//! Keys at rest: case content is sealed under a key of its case, and that is wrapped by a key of its tenant.
//!
//! Whoever destroys a case's key destroys the case, wherever copies of its content lie; whoever renews a tenant's key and
//! destroys the old one destroys all older copies of its case keys. A tenant's key may live in a file, in the environment or
//! in a device that never gives it away: all three are a [`KeyEncryption`].

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use feldakte_core::ids::{CaseId, TenantId};
use zeroize::Zeroizing;

pub mod tenant;

pub use tenant::TenantKeys;

/// A shared way to wrap keys.
pub type SharedKeyEncryption = Arc<dyn KeyEncryption>;

/// Wraps case keys under tenant keys. A wrapped key opens for its own tenant and case only.
#[async_trait]
pub trait KeyEncryption: Send + Sync + 'static {
    /// Wraps under the tenant's newest key; makes the tenant's first.
    ///
    /// # Errors
    /// [`KeyError`]. Nothing is wrapped under a key that a power cut can take.
    async fn wrap(&self, tenant: &TenantId, case: CaseId, key: &CaseKey) -> Result<WrappedKey, KeyError>;

    /// Gives back what [`KeyEncryption::wrap`] took.
    ///
    /// # Errors
    /// [`KeyError::Gone`] when the tenant's key was retired, [`KeyError::Damaged`] for bytes that were not wrapped for this
    /// tenant and case.
    async fn unwrap(&self, tenant: &TenantId, case: CaseId, wrapped: &WrappedKey) -> Result<CaseKey, KeyError>;

    /// Makes a new key, under which everything of the tenant is wrapped from here on; older ones still open. Gives its id.
    ///
    /// # Errors
    /// [`KeyError::Elsewhere`] when the key has to be made somewhere else.
    async fn renew(&self, tenant: &TenantId) -> Result<KeyId, KeyError>;

    /// Destroys all keys of the tenant but this one.
    ///
    /// # Errors
    /// [`KeyError`]; the old keys may still be there.
    async fn retire_all_but(&self, tenant: &TenantId, keep: &KeyId) -> Result<(), KeyError>;
}

/// The key of one case: AES-256.
#[derive(Clone)]
pub struct CaseKey(Zeroizing<[u8; CaseKey::LEN]>);

/// Which key of a tenant: a name that tells nothing about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub String);

/// A case key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// By which key of the tenant.
    pub by: KeyId,
    /// Only its maker reads them.
    pub bytes: Vec<u8>,
}

/// A key that cannot be had. Never says anything about the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not now: try again.
    #[error("the tenant's key cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The tenant key was retired, or is not where it was.
    #[error("the tenant's key is not there any more")]
    Gone,
    /// Not what was wrapped for this tenant and case.
    #[error("a wrapped key is damaged")]
    Damaged,
    /// Whoever holds the tenant's keys has to make the new one.
    #[error("{0}")]
    Elsewhere(&'static str),
}

impl CaseKey {
    /// Bytes of a key.
    pub const LEN: usize = 32;

    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| no_randomness())?;
        Ok(Self(bytes))
    }

    /// The key of these bytes.
    ///
    /// # Errors
    /// [`KeyError::Damaged`] when they are not [`CaseKey::LEN`].
    pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyError> {
        bytes.try_into().map(|bytes| Self(Zeroizing::new(bytes))).map_err(|_| KeyError::Damaged)
    }

    /// Its bytes, for ciphers and whoever wraps it.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for CaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CaseKey(redacted)")
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn no_randomness() -> KeyError {
    KeyError::Unavailable("the system has no randomness".into())
}

//! The public keys that an issuer signs with (JWKS). Each is for one algorithm, which configuration allows and no token
//! chooses.

use std::{fmt, str::FromStr};

use feldakte_core::limits;
use jsonwebtoken::{
    Algorithm, DecodingKey, crypto,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde_json::Value;

/// What tokens may be signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// ECDSA on P-256.
    Es256,
    /// ECDSA on P-384.
    Es384,
    /// RSA-PSS.
    Ps256,
    /// RSA in PKCS#1 padding: for issuers that have nothing better.
    Rs256,
}

/// A key of an issuer.
#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    /// What it signs with.
    pub(super) algorithm: TokenAlgorithm,
    key: DecodingKey,
}

/// All keys of an issuer that are of use.
#[derive(Default)]
pub(super) struct KeySet(Vec<Key>);

/// A set of keys that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Not a JSON object with `keys`.
    #[error("not a set of keys (JWKS)")]
    Malformed,
    /// None is for an algorithm of `users.issuers.algorithms`.
    #[error("no key in it is for one of the configured algorithms")]
    NoneOfUse,
    /// More than [`limits::JWKS_KEYS_MAX`].
    #[error("more keys than {}", limits::JWKS_KEYS_MAX)]
    TooMany,
}

impl TokenAlgorithm {
    /// All of them.
    pub const ALL: [TokenAlgorithm; 4] =
        [TokenAlgorithm::Es256, TokenAlgorithm::Es384, TokenAlgorithm::Ps256, TokenAlgorithm::Rs256];

    /// Its name in tokens and configuration.
    pub fn name(self) -> &'static str {
        match self {
            TokenAlgorithm::Es256 => "ES256",
            TokenAlgorithm::Es384 => "ES384",
            TokenAlgorithm::Ps256 => "PS256",
            TokenAlgorithm::Rs256 => "RS256",
        }
    }

    fn fits(self, key: &AlgorithmParameters) -> bool {
        match (self, key) {
            (TokenAlgorithm::Es256, AlgorithmParameters::EllipticCurve(key)) => key.curve == EllipticCurve::P256,
            (TokenAlgorithm::Es384, AlgorithmParameters::EllipticCurve(key)) => key.curve == EllipticCurve::P384,
            (TokenAlgorithm::Ps256 | TokenAlgorithm::Rs256, AlgorithmParameters::RSA(_)) => true,
            _ => false,
        }
    }

    fn as_jwa(self) -> Algorithm {
        match self {
            TokenAlgorithm::Es256 => Algorithm::ES256,
            TokenAlgorithm::Es384 => Algorithm::ES384,
            TokenAlgorithm::Ps256 => Algorithm::PS256,
            TokenAlgorithm::Rs256 => Algorithm::RS256,
        }
    }
}

impl FromStr for TokenAlgorithm {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        TokenAlgorithm::ALL.into_iter().find(|known| known.name() == text).ok_or(())
    }
}

impl Key {
    pub(super) fn has_signed(&self, message: &str, signature: &str) -> bool {
        crypto::verify(signature, message.as_bytes(), &self.key, self.algorithm.as_jwa()).unwrap_or(false)
    }

    /// `None` for keys that are not for signatures, or for none that is allowed: other keys of the set may be.
    fn read(jwk: Jwk, allowed: &[TokenAlgorithm]) -> Option<Self> {
        let Jwk { common, algorithm: parameters } = &jwk;
        let is_for_signatures = common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        let named = common.key_algorithm.map(|named| named.to_string());
        let fits = |algorithm: &TokenAlgorithm| {
            named.as_deref().is_none_or(|named| named == algorithm.name()) && algorithm.fits(parameters)
        };
        let algorithm = allowed.iter().copied().find(fits).filter(|_| is_for_signatures)?;
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: common.key_id.clone(), algorithm, key })
    }
}

impl KeySet {
    /// Reads a JWKS; leaves out keys that are not for one of these algorithms.
    ///
    /// # Errors
    /// When it is not a JWKS, or nothing is left.
    pub(super) fn parse(json: &[u8], allowed: &[TokenAlgorithm]) -> Result<Self, KeysError> {
        let set: Value = serde_json::from_slice(json).map_err(|_| KeysError::Malformed)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeysError::Malformed)?;
        if keys.len() > limits::JWKS_KEYS_MAX {
            return Err(KeysError::TooMany);
        }
        let read = |key: &Value| Key::read(serde_json::from_value(key.clone()).ok()?, allowed);
        let keys: Vec<Key> = keys.iter().filter_map(read).collect();
        if keys.is_empty() { Err(KeysError::NoneOfUse) } else { Ok(Self(keys)) }
    }

    /// The key of that id. Without an id it is the only one, or none.
    pub(super) fn find(&self, id: Option<&str>) -> Option<&Key> {
        match (id, self.0.as_slice()) {
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({} keys)", self.len())
    }
}

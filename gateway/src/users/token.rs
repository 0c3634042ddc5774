//! A signed access token (JWT in compact form), and what it claims.
//!
//! Nothing of it counts before [`Token::verify`], but which key it asks for. Its algorithm is the key's: a header that
//! names another is refused, and so is one that brings a key along.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use feldakte_core::limits;
use serde_json::{Map, Value};

use super::{json::Strict, keys::Key, refusal::Refusal};

/// A token whose signature nobody has checked.
pub(super) struct Token<'a> {
    header: Map<String, Value>,
    claims: Claims,
    /// Header and claims as they were signed.
    message: &'a str,
    signature: &'a str,
}

/// What a token says of its user. Never printed.
pub(super) struct Claims(Map<String, Value>);

/// Where a claim stands: a name, or an RFC 6901 pointer such as `/realm_access/roles`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(pub String);

impl<'a> Token<'a> {
    /// Reads it, without believing it.
    pub(super) fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.len() > limits::TOKEN_LEN_MAX {
            return Err(Refusal::TooLarge);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Refusal::Malformed)?;
        let header = object(header)?;
        if UNWANTED.iter().any(|name| header.contains_key(*name)) {
            return Err(Refusal::Header);
        }
        Ok(Self { header, claims: Claims(object(claims)?), message, signature })
    }

    /// Who claims to have issued it: good for nothing but choosing whose keys to try.
    pub(super) fn issuer(&self) -> Result<&str, Refusal> {
        self.claims.text("iss")
    }

    /// Which of the issuer's keys it asks for.
    pub(super) fn key_id(&self) -> Result<Option<&str>, Refusal> {
        self.header.get("kid").map(|kid| kid.as_str().ok_or(Refusal::Malformed)).transpose()
    }

    /// Whether it says that it is one of these kinds of token.
    pub(super) fn check_type(&self, types: &[String]) -> Result<(), Refusal> {
        let said = self.header.get("typ").and_then(Value::as_str).ok_or(Refusal::Type)?;
        let said = said
            .get(..MEDIA.len())
            .filter(|start| start.eq_ignore_ascii_case(MEDIA))
            .map_or(said, |_| &said[MEDIA.len()..]);
        match types.iter().any(|known| known.eq_ignore_ascii_case(said)) {
            true => Ok(()),
            false => Err(Refusal::Type),
        }
    }

    /// What it claims, when the key has signed it.
    pub(super) fn verify(self, key: &Key) -> Result<Claims, Refusal> {
        if self.header.get("alg").and_then(Value::as_str) != Some(key.algorithm.name()) {
            return Err(Refusal::Algorithm);
        }
        match key.has_signed(self.message, self.signature) {
            true => Ok(self.claims),
            false => Err(Refusal::Signature),
        }
    }
}

impl Claims {
    /// A claim that is text and not empty.
    pub(super) fn text(&self, name: &str) -> Result<&str, Refusal> {
        let text = self.0.get(name).and_then(Value::as_str).ok_or(Refusal::Malformed)?;
        if text.is_empty() { Err(Refusal::Malformed) } else { Ok(text) }
    }

    /// A moment in milliseconds since 1970-01-01 UTC; `None` when it is not claimed.
    pub(super) fn moment_ms(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let seconds =
            value.as_f64().filter(|seconds| (0.0..=MOMENT_MAX).contains(seconds)).ok_or(Refusal::Malformed)?;
        // In range, and a fraction of a second is of no use to anybody.
        Ok(Some(seconds as i64 * 1000))
    }

    /// One or several words: both forms are usual.
    pub(super) fn words(&self, path: &ClaimPath) -> Vec<&str> {
        let ClaimPath(path) = path;
        let value = if path.starts_with('/') { self.pointer(path) } else { self.0.get(path) };
        match value {
            Some(Value::String(word)) => vec![word],
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    fn pointer(&self, path: &str) -> Option<&Value> {
        let (first, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let first = self.0.get(&first.replace("~1", "/").replace("~0", "~"))?;
        if rest.is_empty() { Some(first) } else { first.pointer(&format!("/{rest}")) }
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Refusal> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)?;
    match serde_json::from_slice(&bytes) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        _ => Err(Refusal::Malformed),
    }
}

/// Header parameters that would let a token say how it is to be believed (RFC 8725, 3.10), or that change what is signed.
const UNWANTED: [&str; 8] = ["jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"];
/// `typ` may leave it away (RFC 7515, 4.1.9).
const MEDIA: &str = "application/";
/// The end of the year 9999.
const MOMENT_MAX: f64 = 253_402_300_799.0;

use super::*;
use crate::users::keys::{KeySet, KeysError};

const DEFAULT: [TokenAlgorithm; 3] = [TokenAlgorithm::Es256, TokenAlgorithm::Es384, TokenAlgorithm::Ps256];

fn parse(keys: Value) -> Result<KeySet, KeysError> {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes(), &DEFAULT)
}

fn algorithm_of(jwk: &Value, allowed: &[TokenAlgorithm]) -> Option<TokenAlgorithm> {
    let set = KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes(), allowed).ok()?;
    set.find(None).map(|key| key.algorithm)
}

fn without_alg(signer: &Signer) -> Value {
    let mut jwk = signer.jwk();
    jwk.as_object_mut().unwrap().remove("alg");
    jwk
}

#[test]
fn a_symmetric_key_in_a_set_is_of_no_use() {
    let secret = json!({"kty": "oct", "k": encode([7; 32]), "kid": "a", "alg": "HS256"});
    assert_eq!(parse(json!([secret])).err(), Some(KeysError::NoneOfUse));
    let disguised = json!({"kty": "oct", "k": encode([7; 32]), "kid": "a", "alg": "ES256"});
    assert_eq!(parse(json!([disguised])).err(), Some(KeysError::NoneOfUse));
}

#[test]
fn an_algorithm_that_is_not_configured_is_not_used() {
    let rsa = Signer::new("rsa", Algorithm::RS256);
    assert_eq!(parse(json!([rsa.jwk()])).err(), Some(KeysError::NoneOfUse));
    assert_eq!(algorithm_of(&rsa.jwk(), &[TokenAlgorithm::Rs256]), Some(TokenAlgorithm::Rs256));
    // A key that does not say what it is for is for the first that fits.
    assert_eq!(algorithm_of(&without_alg(&rsa), &DEFAULT), Some(TokenAlgorithm::Ps256));
    assert_eq!(algorithm_of(&without_alg(&rsa), &[TokenAlgorithm::Rs256]), Some(TokenAlgorithm::Rs256));
    let large = Signer::new("ec", Algorithm::ES384);
    assert_eq!(algorithm_of(&without_alg(&large), &DEFAULT), Some(TokenAlgorithm::Es384));
    assert_eq!(algorithm_of(&without_alg(&large), &[TokenAlgorithm::Es256]), None);
}

#[test]
fn keys_for_other_uses_are_left_out_and_do_not_spoil_the_set() {
    let good = Signer::new("good", Algorithm::ES256);
    let mut encrypts = good.jwk();
    encrypts["use"] = "enc".into();
    encrypts["kid"] = "enc".into();
    let odd = json!({"kty": "AKP", "kid": "odd", "alg": "ML-DSA-65", "pub": "AA"});
    let broken = json!({"kty": "EC", "crv": "P-256", "x": "!", "y": "!", "kid": "broken"});
    let set = parse(json!([odd, encrypts, broken, "x", good.jwk()])).unwrap();
    assert_eq!(set.len(), 1);
    assert!(set.find(Some("good")).is_some() && set.find(Some("enc")).is_none());
}

#[test]
fn what_is_no_set_is_refused() {
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#] {
        assert!(KeySet::parse(text.as_bytes(), &DEFAULT).is_err(), "{text}");
    }
    let many = vec![json!({}); limits::JWKS_KEYS_MAX + 1];
    assert_eq!(parse(many.into()).err(), Some(KeysError::TooMany));
}

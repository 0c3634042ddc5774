//! What is tried with tokens. Each attempt has its refusal.

use proptest::prelude::*;

use super::*;
use crate::users::token::Token;

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(header in ".*", claims in ".*", junk in ".*") {
        prop_assert!(Token::parse(&junk).is_err());
        if let Ok(token) = Token::parse(&format!("{}.{}.{junk}", encode(header), encode(claims))) {
            let _ = (token.issuer().is_ok(), token.key_id(), token.check_type(&[]));
        }
    }
}

#[tokio::test]
async fn alg_none_is_refused() {
    let world = World::new();
    for none in ["none", "None", "NONE"] {
        let header = header(&world.ec, json!({"alg": none}));
        let message = format!("{}.{}", encode(header.to_string()), encode(claims(json!({})).to_string()));
        world.refuses(&format!("{message}."), Refusal::Algorithm).await;
        world.refuses(&world.ec.token_with(&header, &claims(json!({}))), Refusal::Algorithm).await;
    }
    world
        .refuses(
            &world.ec.token_of(r#"{"typ":"at+jwt","kid":"ec"}"#, &claims(json!({})).to_string()),
            Refusal::Algorithm,
        )
        .await;
}

/// The public key of RS256 taken for the secret of HS256: everybody has it.
#[tokio::test]
async fn a_public_key_used_as_hmac_secret_is_refused() {
    let world = World::new();
    let jwk = world.rsa.jwk();
    let modulus = jwk["n"].as_str().unwrap().to_owned();
    for secret in [modulus.clone().into_bytes(), jwk.to_string().into_bytes()] {
        let header = header(&world.rsa, json!({"alg": "HS256"}));
        let message = format!("{}.{}", encode(header.to_string()), encode(claims(json!({})).to_string()));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
        world.refuses(&format!("{message}.{}", encode(tag)), Refusal::Algorithm).await;
    }
}

#[tokio::test]
async fn another_algorithm_than_the_keys_own_is_refused() {
    let world = World::new();
    let downgraded = world.rsa.with(Algorithm::RS256);
    world.refuses(&downgraded.token(&claims(json!({}))), Refusal::Algorithm).await;
    // Says the right one and uses the other.
    let mislabelled = downgraded.token_with(&world.rsa.header(), &claims(json!({})));
    world.refuses(&mislabelled, Refusal::Signature).await;
    let crossed = world.ec.token_with(&header(&world.ec, json!({"kid": "rsa"})), &claims(json!({})));
    world.refuses(&crossed, Refusal::Algorithm).await;
}

#[tokio::test]
async fn a_token_that_brings_its_own_key_is_refused() {
    let (world, thief) = (World::new(), Signer::new("ec", Algorithm::ES256));
    for own in [
        json!({"jwk": thief.jwk()}),
        json!({"jku": "https://thief.example/jwks.json"}),
        json!({"x5u": "https://thief.example/chain.pem"}),
        json!({"x5c": ["MIIB"]}),
    ] {
        world.refuses(&thief.token_with(&header(&thief, own.clone()), &claims(json!({}))), Refusal::Header).await;
        // Not even beside a good signature.
        world.refuses(&world.ec.token_with(&header(&world.ec, own), &claims(json!({}))), Refusal::Header).await;
    }
}

#[tokio::test]
async fn header_parameters_that_change_what_is_signed_are_refused() {
    let world = World::new();
    for said in
        [json!({"crit": ["b64"], "b64": false}), json!({"crit": []}), json!({"b64": false}), json!({"zip": "DEF"})]
    {
        world.refuses(&world.ec.token_with(&header(&world.ec, said), &claims(json!({}))), Refusal::Header).await;
    }
}

#[tokio::test]
async fn signatures_of_others_and_changed_tokens_are_refused() {
    let (world, thief) = (World::new(), Signer::new("ec", Algorithm::ES256));
    world.refuses(&thief.token(&claims(json!({}))), Refusal::Signature).await;
    let good = world.ec.token(&claims(json!({})));
    let [head, _, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let other = encode(claims(json!({"sub": "chef"})).to_string());
    world.refuses(&format!("{head}.{other}.{signature}"), Refusal::Signature).await;
    world.refuses(good.strip_suffix(signature).unwrap(), Refusal::Signature).await;
    world.refuses(&good[..good.len() - 2], Refusal::Signature).await;
    world.refuses(&format!("{good}AA"), Refusal::Signature).await;
}

#[tokio::test]
async fn repeated_names_are_refused() {
    let world = World::new();
    let (header, claims) = (world.ec.header().to_string(), claims(json!({})).to_string());
    let twice = |object: &str, name: &str| object.replacen('{', &format!(r#"{{"{name}":"x","#), 1);
    for name in ["iss", "sub", "aud", "exp", "tenant"] {
        world.refuses(&world.ec.token_of(&header, &twice(&claims, name)), Refusal::Malformed).await;
    }
    for name in ["alg", "kid", "typ"] {
        world.refuses(&world.ec.token_of(&twice(&header, name), &claims), Refusal::Malformed).await;
    }
}

#[tokio::test]
async fn what_is_no_signed_token_is_refused() {
    let world = World::new();
    let (header, claims) = (encode(world.ec.header().to_string()), encode(claims(json!({})).to_string()));
    for text in [
        "".into(),
        "..".into(),
        "a.b.c".into(),
        header.clone(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.x.y.z"),
        format!("{header}=.{claims}.x"),
        format!("{}.{claims}.x", encode("[]")),
        format!("{header}.{}.x", encode([0xff, 0xfe])),
        format!("{header}.{}.x", encode("[".repeat(4000))),
    ] {
        world.refuses(&text, Refusal::Malformed).await;
    }
}

#[tokio::test]
async fn an_oversized_token_is_refused() {
    let world = World::new();
    let padded = |len: usize| world.ec.token(&claims(json!({"groups": "x".repeat(len)})));
    assert!(world.judge(&padded(4000)).await.is_ok());
    world.refuses(&padded(limits::TOKEN_LEN_MAX), Refusal::TooLarge).await;
}

#[tokio::test]
async fn another_or_no_issuer_is_refused() {
    let world = World::new();
    for (iss, refusal) in [
        (Value::Null, Refusal::Malformed),
        (json!([ISSUER]), Refusal::Malformed),
        (json!(""), Refusal::Malformed),
        (json!(format!("{ISSUER}/")), Refusal::Issuer),
        (json!("https://id.dortmund.example"), Refusal::Issuer),
    ] {
        assert_eq!(world.judge_claims(json!({"iss": iss})).await, Err(refusal), "{iss}");
    }
}

#[tokio::test]
async fn a_token_for_another_audience_is_refused() {
    let world = World::new();
    for aud in
        [Value::Null, json!(""), json!("feldakte2"), json!(["a", "b"]), json!({"feldakte": 1}), json!([["feldakte"]])]
    {
        assert_eq!(world.judge_claims(json!({"aud": aud})).await, Err(Refusal::Audience), "{aud}");
    }
    assert!(world.judge_claims(json!({"aud": ["account", "feldakte"]})).await.is_ok());
}

#[tokio::test]
async fn an_expired_token_is_refused_to_the_second() {
    let world = World::new();
    let token = world.ec.token(&claims(json!({"exp": NOW})));
    assert!(world.judge_at(&token, NOW + LEEWAY - 1).await.is_ok());
    assert_eq!(world.judge_at(&token, NOW + LEEWAY).await, Err(Refusal::Expired));
    for exp in [Value::Null, json!((NOW + 300).to_string()), json!(-1), json!(1e300), json!(true), json!([NOW])] {
        assert_eq!(world.judge_claims(json!({"exp": exp})).await, Err(Refusal::Malformed), "{exp}");
    }
}

#[tokio::test]
async fn a_token_from_the_future_is_refused() {
    let world = World::new();
    for begin in ["nbf", "iat"] {
        assert!(world.judge_claims(json!({begin: NOW + LEEWAY})).await.is_ok());
        assert_eq!(world.judge_claims(json!({begin: NOW + LEEWAY + 1})).await, Err(Refusal::NotYetValid));
        assert_eq!(world.judge_claims(json!({begin: "soon"})).await, Err(Refusal::Malformed));
        assert!(world.judge_claims(json!({begin: null})).await.is_ok());
    }
}

#[tokio::test]
async fn a_token_about_nobody_is_refused() {
    let world = World::new();
    for sub in [Value::Null, json!(""), json!(7), json!(["anna"])] {
        assert_eq!(world.judge_claims(json!({"sub": sub})).await, Err(Refusal::Malformed), "{sub}");
    }
}

/// An ID token is signed by the same key, and readable by every app that signs the user in.
#[tokio::test]
async fn a_token_of_another_kind_is_refused() {
    let world = World::new();
    for typ in [json!("JWT"), json!("logout+jwt"), json!(""), json!(1), json!("application/"), json!("x/at+jwt")] {
        let header = header(&world.ec, json!({"typ": typ}));
        world.refuses(&world.ec.token_with(&header, &claims(json!({}))), Refusal::Type).await;
    }
    for typ in ["AT+JWT", "application/at+jwt"] {
        let header = header(&world.ec, json!({"typ": typ}));
        assert!(world.judge(&world.ec.token_with(&header, &claims(json!({})))).await.is_ok());
    }
}

#[tokio::test]
async fn unknown_keys_are_refused() {
    let world = World::new();
    for kid in [json!("other"), json!("")] {
        let header = header(&world.ec, json!({"kid": kid}));
        world.refuses(&world.ec.token_with(&header, &claims(json!({}))), Refusal::UnknownKey).await;
    }
    let numbered = header(&world.ec, json!({"kid": 1}));
    world.refuses(&world.ec.token_with(&numbered, &claims(json!({}))), Refusal::Malformed).await;
    // Which of several keys is meant is not for us to guess.
    let unnamed = json!({"alg": "ES256", "typ": "at+jwt"});
    world.refuses(&world.ec.token_with(&unnamed, &claims(json!({}))), Refusal::UnknownKey).await;
    world.refuses(&World::new().ec.token(&claims(json!({}))), Refusal::Signature).await;
}

#[tokio::test]
async fn a_user_of_another_tenant_is_refused() {
    let world = World::new();
    for tenant in [json!("hagen"), Value::Null, json!(["hagen", "unna"]), json!("")] {
        assert_eq!(world.judge_claims(json!({"tenant": tenant})).await, Err(Refusal::Tenant), "{tenant}");
    }
    assert!(world.judge_claims(json!({"tenant": ["hagen", "dortmund"]})).await.is_ok());
    // Nor does a role of theirs count here.
    let leader = json!({"realm_access": {"roles": ["leitung"]}});
    assert_eq!(world.judge_claims(leader).await, Err(Refusal::NoRole));
}

#[tokio::test]
async fn a_user_without_a_known_role_is_refused() {
    let world = World::new();
    for roles in [json!([]), json!(["Notarzt"]), json!("supervisor"), json!({"notarzt": true}), json!([["notarzt"]])] {
        let refused = world.judge_claims(json!({"realm_access": {"roles": roles}})).await;
        assert_eq!(refused, Err(Refusal::NoRole), "{roles}");
    }
    assert_eq!(world.judge_claims(json!({"realm_access": null, "roles": ["notarzt"]})).await, Err(Refusal::NoRole));
    let both = world.judge_claims(json!({"realm_access": {"roles": ["crew", "notarzt"]}})).await;
    assert_eq!(both.map(|sign_in| sign_in.role), Ok(Role::EmergencyPhysician), "the first rule counts");
    let crew = world.judge_claims(json!({"realm_access": {"roles": "crew"}})).await;
    assert_eq!(crew.map(|sign_in| sign_in.role), Ok(Role::AmbulanceCrew));
}

fn header(signer: &Signer, changed: Value) -> Value {
    let mut header = signer.header();
    for (name, value) in changed.as_object().unwrap() {
        header[name] = value.clone();
    }
    header
}

use feldakte_core::{ids::DeviceId, limits};
use feldakte_proto::SignInRefusal;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::mint::{Signer, encode, jwks};
use super::*;

mod keys;
pub(crate) mod mint;
mod token;

const ISSUER: &str = "https://id.dortmund.example/rettung";
const SUBJECT: &str = "anna.schmidt@dortmund.example";
const NOW: i64 = 1_800_000_000;
const LEEWAY: i64 = 60;

/// A gateway's users, and their issuer, who signs with one key of each kind.
struct World {
    users: Users,
    dir: TempDir,
    ec: Signer,
    rsa: Signer,
}

impl World {
    fn new() -> Self {
        let (ec, rsa) = (Signer::new("ec", Algorithm::ES256), Signer::new("rsa", Algorithm::PS256));
        let set = jwks(&[&ec, &rsa]);
        let dir = tempfile::tempdir().unwrap();
        let users = Users::open(&config(&dir, &set)).unwrap();
        Self { users, dir, ec, rsa }
    }

    async fn judge(&self, token: &str) -> Result<SignIn, Refusal> {
        self.judge_at(token, NOW).await
    }

    async fn judge_at(&self, token: &str, now: i64) -> Result<SignIn, Refusal> {
        let credential = Credential::Token(token.to_owned());
        self.users.judge(&credential, Purpose::Use, &crew(), now * 1000).await
    }

    async fn refuses(&self, token: &str, refusal: Refusal) {
        assert_eq!(self.judge(token).await, Err(refusal), "{token}");
    }

    /// With these claims instead of those that would do; `null` takes one away.
    async fn judge_claims(&self, changed: Value) -> Result<SignIn, Refusal> {
        self.judge(&self.ec.token(&claims(changed))).await
    }
}

fn config(dir: &TempDir, set: &Value) -> UsersConfig {
    let jwks = dir.path().join("jwks.json");
    std::fs::write(&jwks, set.to_string()).unwrap();
    let rule = |tenant: &str, claim: &str, role| RoleRule {
        tenant: tenant.parse().unwrap(),
        claim: claim.into(),
        role,
        unit: None,
    };
    let profile = Profile {
        issuer: ISSUER.into(),
        audience: "feldakte".into(),
        types: vec!["at+jwt".into()],
        tenant_claim: Some(ClaimPath("tenant".into())),
        role_claim: ClaimPath("/realm_access/roles".into()),
        roles: vec![
            rule("dortmund", "notarzt", Role::EmergencyPhysician),
            rule("dortmund", "crew", Role::AmbulanceCrew),
            rule("hagen", "leitung", Role::Supervisor),
        ],
    };
    let algorithms = vec![TokenAlgorithm::Es256, TokenAlgorithm::Es384, TokenAlgorithm::Ps256];
    let issuers = vec![IssuerConfig { profile, jwks: KeysAt::File(jwks), algorithms }];
    UsersConfig { ticket_key: dir.path().join("tickets.key"), issuers, ..UsersConfig::default() }
}

fn crew() -> Principal {
    device("dortmund", 1, Role::AmbulanceCrew)
}

fn device(tenant: &str, number: u8, role: Role) -> Principal {
    Principal {
        tenant: tenant.parse().unwrap(),
        unit: "rtw-1".parse().unwrap(),
        device: DeviceId::from_slice(&[number; 16]).unwrap(),
        role,
        user: None,
    }
}

fn claims(changed: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "sub": SUBJECT, "aud": "feldakte", "exp": NOW + 300, "iat": NOW, "nbf": NOW,
        "tenant": "dortmund", "realm_access": {"roles": ["notarzt", "offline_access"]},
    });
    for (name, value) in changed.as_object().unwrap() {
        match value {
            Value::Null => _ = claims.as_object_mut().unwrap().remove(name),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_signs_its_user_in_with_the_mapped_role() {
    let world = World::new();
    for signer in [&world.ec, &world.rsa] {
        let sign_in = world.judge(&signer.token(&claims(json!({})))).await.unwrap();
        assert_eq!(sign_in.user, UserId::of_subject(ISSUER, SUBJECT));
        assert_eq!(sign_in.role, Role::EmergencyPhysician);
        assert_eq!(sign_in.until_ms, Some((NOW + 300 + LEEWAY) * 1000));
        let principal = sign_in.principal(&crew());
        assert_eq!((principal.user, principal.role), (Some(sign_in.user), Role::EmergencyPhysician));
        assert_eq!(principal.device, crew().device);
    }
}

// Golden: an app computes the same while it has no network.
#[test]
fn the_id_of_a_user_is_for_ever() {
    assert_eq!(UserId::of_subject(ISSUER, SUBJECT).to_string(), GOLDEN_USER);
    assert_ne!(UserId::of_subject("a", "bc"), UserId::of_subject("ab", "c"));
}

const GOLDEN_USER: &str = "849454d1-1fc0-55c2-9895-cca3f6208fa0";

#[tokio::test]
async fn a_device_vouches_for_users_only_if_its_role_may() {
    let world = World::new();
    let user = UserId::of_subject("local", "1");
    for role in Role::ALL {
        let device = device("dortmund", 1, role);
        let judged = world.users.judge(&Credential::Local(user), Purpose::Use, &device, NOW).await;
        if matches!(role, Role::AmbulanceCrew | Role::EmergencyPhysician) {
            let sign_in = judged.unwrap();
            assert_eq!((sign_in.user, sign_in.role), (user, role), "the role stays the device's");
            assert_eq!((sign_in.until_ms, sign_in.voucher), (None, Voucher::Device));
        } else {
            assert_eq!(judged, Err(Refusal::DeviceMayNotVouch), "{role}");
        }
    }
}

#[tokio::test]
async fn a_ticket_delivers_and_does_not_open() {
    let world = World::new();
    let sign_in = world.judge_claims(json!({})).await.unwrap();
    let ticket = Credential::Ticket(sign_in.ticket.clone());
    let day = 24 * 3600 * 1000;
    let later = NOW * 1000 + 59 * day;
    assert_eq!(world.users.judge(&ticket, Purpose::Use, &crew(), later).await, Err(Refusal::TicketOpensNothing));
    let delivered = world.users.judge(&ticket, Purpose::Deliver, &crew(), later).await.unwrap();
    assert_eq!((delivered.user, delivered.role), (sign_in.user, sign_in.role));
    assert_eq!(delivered.ticket, sign_in.ticket, "a delivery does not make it live longer");
    let ended = world.users.judge(&ticket, Purpose::Deliver, &crew(), later + day).await;
    assert_eq!(ended, Err(Refusal::Expired));
    // It outlives the gateway that gave it.
    let restarted = Users::open(&config(&world.dir, &jwks(&[&world.ec]))).unwrap();
    assert!(restarted.judge(&ticket, Purpose::Deliver, &crew(), later).await.is_ok());
}

#[tokio::test]
async fn a_ticket_of_another_device_is_refused() {
    let world = World::new();
    let ticket = Credential::Ticket(world.judge_claims(json!({})).await.unwrap().ticket);
    for other in [device("dortmund", 2, Role::AmbulanceCrew), device("hagen", 1, Role::AmbulanceCrew)] {
        let judged = world.users.judge(&ticket, Purpose::Deliver, &other, NOW).await;
        assert_eq!(judged, Err(Refusal::TicketOfAnotherDevice));
    }
}

/// Otherwise a device's word would become an issuer's by way of a ticket.
#[tokio::test]
async fn a_ticket_says_who_vouched() {
    let world = World::new();
    let local = Credential::Local(UserId::of_subject(ISSUER, SUBJECT));
    let ticket = world.users.judge(&local, Purpose::Use, &crew(), NOW).await.unwrap().ticket;
    let delivered = world.users.judge(&Credential::Ticket(ticket), Purpose::Deliver, &crew(), NOW).await.unwrap();
    assert_eq!(delivered.voucher, Voucher::Device);
}

#[test]
fn every_refusal_is_told_as_what_helps_the_device() {
    for (refusal, told) in [
        (Refusal::TooLarge, SignInRefusal::Malformed),
        (Refusal::Malformed, SignInRefusal::Malformed),
        (Refusal::Expired, SignInRefusal::Expired),
        (Refusal::NotYetValid, SignInRefusal::Expired),
        (Refusal::Signature, SignInRefusal::NotTrusted),
        (Refusal::TicketForged, SignInRefusal::NotTrusted),
        (Refusal::NoRole, SignInRefusal::NoRole),
        (Refusal::DeviceMayNotVouch, SignInRefusal::NoRole),
        (Refusal::Denied, SignInRefusal::Denied),
    ] {
        assert_eq!(refusal.told(), told, "{refusal}");
    }
}

#[tokio::test]
async fn nothing_of_a_token_is_printed() {
    let world = World::new();
    let token = world.ec.token(&claims(json!({"sub": "canary-subject"})));
    let sign_in = world.judge(&token).await;
    let credential = Credential::Token(token.clone());
    let printed = format!("{sign_in:?} {credential:?} {:?}", world.judge_at(&token, 0).await);
    assert!(!printed.contains("canary") && !printed.contains(&token[..20]), "{printed}");
}

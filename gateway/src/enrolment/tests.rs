use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use feldakte_certs::{development::DevelopmentPki, request::DeviceKey};
use feldakte_core::{
    access::Role,
    audit::{Act, Actor, Chain},
};

use super::*;
use crate::{
    audit::AuditKey,
    config::CaSettings,
    store::{
        audit::{AuditStore, sqlite::SqliteAuditStore},
        registry,
    },
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

/// A gateway's authority and registry, at a time that the test moves.
struct World {
    enrolment: Arc<Enrolment>,
    audit: Audit,
    acts: Arc<SqliteAuditStore>,
    registry: Arc<RegistryStore>,
    deny: DenyList,
    clock: Arc<AtomicU64>,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let begin = SystemTime::now();
        let pki = DevelopmentPki::create(&dir.path().join("pki"), &["localhost".to_owned()], begin).expect("a PKI");
        let clock = Arc::<AtomicU64>::default();
        let ticks = clock.clone();
        let now = move || begin + Duration::from_secs(ticks.load(Ordering::Relaxed));
        let environment = Environment::simulated(Arc::new(now), 1);
        let terms = Terms { lifetime: 14 * DAY, renew_from: 7 * DAY, overlap: 7 * DAY };
        let ca = Ca::load(&settings(&pki, terms), &pki.root_path()).expect("an authority").expect("there is a key");
        let registry = RegistryStore::open(&dir.path().join("registry.sqlite")).await.expect("a registry");
        let deny = DenyList::default();
        let acts = SqliteAuditStore::open(&dir.path().join("audit.sqlite")).await.expect("an audit log");
        let key = Arc::new(AuditKey::generate().expect("randomness"));
        let (audit, scribe) = Audit::new(acts.clone(), key, environment.clone());
        tokio::spawn(scribe.run(tokio_util::sync::CancellationToken::new()));
        let enrolment = Enrolment::new(ca, registry.clone(), deny.clone(), environment);
        Self { enrolment, audit, acts, registry, deny, clock, _dir: dir }
    }

    fn pass(&self, time: Duration) {
        self.clock.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    fn set_back(&self, time: Duration) {
        self.clock.fetch_sub(time.as_secs(), Ordering::Relaxed);
    }

    async fn invite(&self, tenant: &str) -> Code {
        let code = Code::from_random(self.enrolment.environment.random());
        let now_ms = self.enrolment.environment.now_ms();
        let new = registry::NewInvite {
            code_hash: hash_of(&code),
            tenant: tenant.parse().expect("a slug"),
            unit: "rtw-1".parse().expect("a slug"),
            role: Role::AmbulanceCrew,
            label: "RTW 1".into(),
            by: "anna".parse().expect("a slug"),
            now_ms,
            expires_at: now_ms + millis(DAY),
        };
        self.registry.invite(&new).await.expect("written");
        code
    }

    async fn device(&self) -> (DeviceKey, CertificateDer<'static>, Principal) {
        let (code, key) = (self.invite("dortmund").await, key());
        let granted = self.enrolment.enrol(&self.audit, &code, &csr(&key)).await.expect("enrolled");
        (key, der(&granted), granted.principal)
    }

    async fn renew(
        &self,
        old: &CertificateDer<'_>,
        by: &DeviceKey,
        next: &DeviceKey,
    ) -> Result<Granted, EnrolmentError> {
        let csr = csr(next);
        let proof = renewal::prove(by, &csr).expect("signed");
        self.enrolment.renew(&self.audit, old, &csr, &proof).await
    }
}

fn settings(pki: &DevelopmentPki, terms: Terms) -> CaSettings {
    let certificate: PathBuf = pki.root_path();
    let key = certificate.with_extension("key");
    CaSettings { gateway_roots: certificate.clone(), certificate, key, is_demanded: true, address: None, terms }
}

fn key() -> DeviceKey {
    DeviceKey::generate().expect("randomness")
}

fn csr(key: &DeviceKey) -> String {
    key.csr_pem().expect("a request")
}

fn der(granted: &Granted) -> CertificateDer<'static> {
    feldakte_certs::pem::certificates(granted.certificate.as_bytes()).expect("a certificate").remove(0)
}

fn refusal(result: Result<Granted, EnrolmentError>) -> Refusal {
    match result {
        Err(EnrolmentError::Code(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_replayed_code_makes_no_device_of_another_key() {
    let world = World::new().await;
    let (code, honest, thief) = (world.invite("dortmund").await, key(), key());
    let first = world.enrolment.enrol(&world.audit, &code, &csr(&honest)).await.expect("enrolled");
    assert_eq!(refusal(world.enrolment.enrol(&world.audit, &code, &csr(&thief)).await), Refusal::Used);
    // The answer was lost: the same key gets the same device again, for a while.
    let again = world.enrolment.enrol(&world.audit, &code, &csr(&honest)).await.expect("once more");
    assert_eq!(again.principal, first.principal);
    // The clock by which it ends goes on while the one that the test moves stands still.
    world.pass(limits::ENROLMENT_AGAIN_WITHIN + MINUTE);
    assert_eq!(refusal(world.enrolment.enrol(&world.audit, &code, &csr(&honest)).await), Refusal::Used);
}

#[tokio::test]
async fn enrolments_and_renewals_stand_in_the_tenant_s_audit_log() {
    let world = World::new().await;
    let (device_key, old, principal) = world.device().await;
    world.renew(&old, &device_key, &device_key).await.expect("renewed");
    let rows = world.acts.rows(&Chain::Tenant(principal.tenant), 0, 10).await.expect("rows");
    let acts: Vec<_> = rows
        .iter()
        .map(|row| Record::decode(&row.record).expect("a record"))
        .map(|record| (record.act, record.who))
        .collect();
    let who = Actor::Device { device: principal.device, user: None };
    assert_eq!(acts, [(Act::Enrolled, who.clone()), (Act::Renewed, who)]);
}

#[tokio::test]
async fn an_expired_code_makes_no_device() {
    let world = World::new().await;
    let code = world.invite("dortmund").await;
    world.pass(DAY);
    assert_eq!(refusal(world.enrolment.enrol(&world.audit, &code, &csr(&key())).await), Refusal::Expired);
}

#[tokio::test]
async fn a_clock_set_back_by_a_day_revives_no_code_and_no_repeat() {
    let world = World::new().await;
    let (code, used, honest) = (world.invite("dortmund").await, world.invite("dortmund").await, key());
    world.enrolment.enrol(&world.audit, &used, &csr(&honest)).await.expect("enrolled");
    world.pass(DAY);
    for _ in 0..2 {
        assert_eq!(refusal(world.enrolment.enrol(&world.audit, &code, &csr(&key())).await), Refusal::Expired);
        assert_eq!(refusal(world.enrolment.enrol(&world.audit, &used, &csr(&honest)).await), Refusal::Used);
        world.set_back(DAY);
    }
}

#[tokio::test]
async fn a_clock_set_back_by_a_day_does_not_prolong_the_overlap() {
    let world = World::new().await;
    let (device_key, old, _) = world.device().await;
    world.pass(21 * DAY + MINUTE);
    for _ in 0..2 {
        let refused = world.renew(&old, &device_key, &device_key).await;
        assert!(matches!(refused, Err(EnrolmentError::Renewal(RenewalError::TooLate))), "{refused:?}");
        world.set_back(DAY);
    }
}

#[tokio::test]
async fn a_code_of_one_tenant_makes_no_device_of_another() {
    let world = World::new().await;
    let code = world.invite("essen").await;
    let granted = world.enrolment.enrol(&world.audit, &code, &csr(&key())).await.expect("enrolled");
    // Nothing in the request can say otherwise: the name in the certificate is the invitation's.
    let named = identity::principal_of(&der(&granted)).expect("a name");
    assert_eq!((named.tenant.as_str(), named.unit.as_str()), ("essen", "rtw-1"));
}

#[tokio::test]
async fn a_request_with_a_foreign_signature_is_refused_and_the_code_stays_good() {
    let world = World::new().await;
    let (code, honest) = (world.invite("dortmund").await, key());
    let good = csr(&honest);
    // One bit of the signature: whoever sent it does not hold the key.
    let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
    let last = lines.len() - 2;
    let flipped: String =
        lines[last].chars().rev().enumerate().map(|(at, c)| if at == 8 { flip(c) } else { c }).collect();
    lines[last] = flipped.chars().rev().collect();
    let forged = lines.join("\n") + "\n";
    assert_ne!(forged, good);
    let refused = world.enrolment.enrol(&world.audit, &code, &forged).await;
    assert!(matches!(&refused, Err(error @ EnrolmentError::Authority(_)) if !error.is_ours()), "{refused:?}");
    assert!(world.enrolment.enrol(&world.audit, &code, &good).await.is_ok());
}

fn flip(character: char) -> char {
    if character == 'A' { 'B' } else { 'A' }
}

#[tokio::test]
async fn a_device_is_renewed_for_its_old_key_and_keeps_its_name() {
    let world = World::new().await;
    let (old_key, old, principal) = world.device().await;
    let next = key();
    let renewed = world.renew(&old, &old_key, &next).await.expect("renewed");
    assert_eq!(renewed.principal, principal);
    assert_eq!(identity::principal_of(&der(&renewed)).expect("a name"), principal);
    let device = world.registry.device(principal.device).await.expect("read").expect("there");
    assert_eq!(device.certificate.expect("one").serial, identity::serial_of(&der(&renewed)).expect("a serial"));
    // And again with the next key.
    assert!(world.renew(&der(&renewed), &next, &next).await.is_ok());
}

#[tokio::test]
async fn a_stolen_certificate_is_not_renewed_without_its_key() {
    let world = World::new().await;
    let (_, old, _) = world.device().await;
    let thief = key();
    let refused = world.renew(&old, &thief, &thief).await;
    assert!(matches!(refused, Err(EnrolmentError::Renewal(RenewalError::Proof))), "{refused:?}");
}

#[tokio::test]
async fn an_ended_certificate_is_renewed_within_the_overlap_and_not_beyond() {
    let world = World::new().await;
    let (device_key, old, _) = world.device().await;
    world.pass(21 * DAY - MINUTE);
    assert!(world.renew(&old, &device_key, &device_key).await.is_ok());
    world.pass(2 * MINUTE);
    let refused = world.renew(&old, &device_key, &device_key).await;
    assert!(matches!(refused, Err(EnrolmentError::Renewal(RenewalError::TooLate))), "{refused:?}");
}

#[tokio::test]
async fn a_revoked_device_is_not_renewed_by_registry_or_deny_list() {
    let world = World::new().await;
    let (device_key, old, principal) = world.device().await;
    world.deny.replace(format!("device {}", principal.device).parse().expect("a list"));
    let denied = world.renew(&old, &device_key, &device_key).await;
    assert!(matches!(denied, Err(EnrolmentError::Revoked)), "{denied:?}");
    world.deny.replace(feldakte_certs::deny::Denials::default());
    let by = "anna".parse().expect("a slug");
    let revocation = registry::Revocation { at: 0, reason: registry::RevocationReason::Lost, by };
    world.registry.revoke(principal.device, revocation).await.expect("written");
    let revoked = world.renew(&old, &device_key, &device_key).await;
    assert!(matches!(revoked, Err(EnrolmentError::Revoked)), "{revoked:?}");
    let list = world.enrolment.revocation_list().await.expect("a list");
    let serial = identity::parse_hex(&identity::serial_of(&old).expect("a serial")).expect("hexadecimal");
    assert!(list.windows(serial.len()).any(|window| window == serial), "the outside world is told");
}

#[tokio::test]
async fn a_device_that_asks_for_ever_new_certificates_has_to_wait() {
    let world = World::new().await;
    let (device_key, old, _) = world.device().await;
    for _ in 1..limits::CERTIFICATES_PER_HOUR {
        world.renew(&old, &device_key, &device_key).await.expect("renewed");
    }
    let refused = world.renew(&old, &device_key, &device_key).await;
    assert!(matches!(refused, Err(EnrolmentError::TooMany)), "{refused:?}");
    world.pass(60 * MINUTE);
    assert!(world.renew(&old, &device_key, &device_key).await.is_ok());
}

#[tokio::test]
async fn an_authority_that_this_gateway_does_not_trust_or_whose_key_lies_open_is_not_used() {
    let dir = tempfile::tempdir().expect("a directory");
    let pki = |name: &str| {
        DevelopmentPki::create(&dir.path().join(name), &["localhost".to_owned()], SystemTime::now()).expect("a PKI")
    };
    let (own, other) = (pki("own"), pki("other"));
    let terms = Terms { lifetime: DAY, renew_from: MINUTE, overlap: DAY };
    let foreign = Ca::load(&settings(&own, terms), &other.root_path());
    assert!(matches!(foreign, Err(CaError::NotTrusted { .. })), "{foreign:?}");
    let key = settings(&own, terms).key;
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("changed");
    let open = Ca::load(&settings(&own, terms), &own.root_path());
    assert!(matches!(open, Err(CaError::Exposed { .. })), "{open:?}");
    std::fs::remove_file(&key).expect("removed");
    let absent = CaSettings { is_demanded: false, ..settings(&own, terms) };
    assert!(matches!(Ca::load(&absent, &own.root_path()), Ok(None)));
    assert!(matches!(Ca::load(&settings(&own, terms), &own.root_path()), Err(CaError::Read { .. })));
}

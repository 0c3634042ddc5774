use feldakte_core::{access::Role, ids::DeviceId};

use super::{
    approvals::NewApproval,
    devices::{Certificate, CertifyError, Revoked},
    invites::{Presented, RedeemError, Refusal},
    operators::AddOperatorError,
    *,
};

const MINUTE: i64 = 60_000;

async fn registry() -> (Arc<RegistryStore>, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    (RegistryStore::open(&dir.path().join("registry.sqlite")).await.expect("it opens"), dir)
}

fn anna() -> Operator {
    let roles = [OperatorRole::Operator, OperatorRole::Supervisor].into_iter().collect();
    Operator { name: "anna".parse().expect("a slug"), roles, tenant: Some("dortmund".parse().expect("a slug")) }
}

fn invite(code: u8) -> NewInvite {
    NewInvite {
        code_hash: [code; 32],
        tenant: "dortmund".parse().expect("a slug"),
        unit: "rtw-1".parse().expect("a slug"),
        role: Role::AmbulanceCrew,
        label: "RTW 1".into(),
        by: anna().name,
        now_ms: 0,
        expires_at: 60 * MINUTE,
    }
}

fn presented(code: u8, key: u8, now_ms: i64) -> Presented {
    let device = DeviceId::from_slice(&[key; 16]).expect("16 bytes");
    Presented { code_hash: [code; 32], key_hash: [key; 32], device, now_ms, again_within_ms: 10 * MINUTE }
}

fn certificate(serial: &str) -> Certificate {
    Certificate {
        serial: serial.into(),
        fingerprint: [1; 32],
        key_hash: [2; 32],
        issued_at: 0,
        not_after: 100 * MINUTE,
    }
}

async fn redeem(
    registry: &RegistryStore,
    presented: Presented,
    serial: &str,
) -> Result<DeviceId, RedeemError<std::fmt::Error>> {
    let issued = registry.redeem(presented, |_| Ok((certificate(serial), ()))).await;
    issued.map(|(principal, ())| principal.device)
}

fn refusal(result: Result<DeviceId, RedeemError<std::fmt::Error>>) -> Refusal {
    match result {
        Err(RedeemError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_token_is_worth_what_its_operator_may_and_nothing_after_his_removal() {
    let (registry, _dir) = registry().await;
    registry.add_operator(&anna(), TokenHash::of(b"secret"), 0).await.expect("added");
    assert_eq!(registry.operator_of(TokenHash::of(b"secret")).await.expect("read"), Some(anna()));
    assert_eq!(registry.operator_of(TokenHash::of(b"guess")).await.expect("read"), None);
    let again = registry.add_operator(&anna(), TokenHash::of(b"other"), 0).await;
    assert!(matches!(again, Err(AddOperatorError::Exists)), "{again:?}");
    assert_eq!(registry.operators().await.expect("read"), [anna()]);
    assert_eq!(registry.remove_operator(&anna().name).await.expect("removed"), Some(anna()));
    assert_eq!(registry.operator_of(TokenHash::of(b"secret")).await.expect("read"), None);
    assert_eq!(registry.remove_operator(&anna().name).await.expect("looked"), None);
}

#[tokio::test]
async fn a_code_makes_one_device_and_its_key_may_ask_again_for_a_while() {
    let (registry, _dir) = registry().await;
    registry.invite(&invite(1)).await.expect("invited");
    let device = redeem(&registry, presented(1, 7, MINUTE), "01").await.expect("taken");
    // The answer was lost: the same device, another certificate.
    let mut again = presented(1, 7, 2 * MINUTE);
    again.device = DeviceId::from_slice(&[99; 16]).expect("16 bytes");
    assert_eq!(redeem(&registry, again, "02").await.expect("taken again"), device);
    assert_eq!(refusal(redeem(&registry, presented(1, 8, 2 * MINUTE), "03").await), Refusal::Used);
    assert_eq!(refusal(redeem(&registry, presented(1, 7, 11 * MINUTE), "03").await), Refusal::Used);
    assert_eq!(registry.devices(None).await.expect("read").len(), 1);
    let invite = registry.invites(None).await.expect("read").remove(0);
    assert_eq!((invite.used_by, invite.attempts), (Some(device), 2));
}

#[tokio::test]
async fn unknown_and_expired_codes_make_no_device() {
    let (registry, _dir) = registry().await;
    registry.invite(&invite(1)).await.expect("invited");
    assert_eq!(refusal(redeem(&registry, presented(2, 7, 0), "01").await), Refusal::Unknown);
    assert_eq!(refusal(redeem(&registry, presented(1, 7, 60 * MINUTE), "01").await), Refusal::Expired);
    assert_eq!(registry.devices(None).await.expect("read"), []);
}

#[tokio::test]
async fn a_code_is_not_used_up_by_a_certificate_that_could_not_be_issued() {
    let (registry, _dir) = registry().await;
    registry.invite(&invite(1)).await.expect("invited");
    let failed = registry.redeem(presented(1, 7, 0), |_| Err::<(Certificate, ()), _>(std::fmt::Error)).await;
    assert!(matches!(failed, Err(RedeemError::Issue(_))), "{failed:?}");
    assert!(redeem(&registry, presented(1, 7, 0), "01").await.is_ok());
}

#[tokio::test]
async fn a_revoked_device_stays_revoked_over_a_restart_and_gets_no_certificate() {
    let (registry, dir) = registry().await;
    registry.invite(&invite(1)).await.expect("invited");
    let device = redeem(&registry, presented(1, 7, 0), "01").await.expect("taken");
    let revocation = Revocation { at: MINUTE, reason: RevocationReason::Stolen, by: anna().name };
    assert_eq!(registry.revoke(device, revocation.clone()).await.expect("written"), Some(Revoked::Done));
    registry.close().await;
    let registry = RegistryStore::open(&dir.path().join("registry.sqlite")).await.expect("it opens again");
    assert_eq!(registry.revoked_devices().await.expect("read"), [device]);
    assert_eq!(registry.revoked_serials(0).await.expect("read"), ["01"]);
    assert_eq!(registry.revoked_serials(100 * MINUTE).await.expect("read"), [""; 0]);
    let again = registry.revoke(device, Revocation { at: 2 * MINUTE, ..revocation.clone() }).await.expect("looked");
    assert_eq!(again, Some(Revoked::Already(revocation)));
    assert_eq!(refusal(redeem(&registry, presented(1, 7, MINUTE), "02").await), Refusal::Revoked);
    let found = registry.device(device).await.expect("read").expect("there");
    let principal = feldakte_core::access::Principal {
        tenant: found.tenant,
        unit: found.unit,
        device,
        role: found.role,
        user: None,
    };
    let renewed = registry.certify(&principal, &certificate("03")).await;
    assert!(matches!(renewed, Err(CertifyError::Revoked)), "{renewed:?}");
}

#[tokio::test]
async fn an_approval_is_by_another_operator_in_time_and_once() {
    let (registry, _dir) = registry().await;
    let [anna, bert]: [feldakte_core::ids::OperatorName; 2] = ["anna", "bert"].map(|name| name.parse().expect("slug"));
    let tenant = "dortmund".parse().expect("a slug");
    let new = |by, now_ms| NewApproval {
        tenant: &tenant,
        kind: "case_shred",
        subject: "c1",
        by,
        now_ms,
        expires_at: now_ms + 10 * MINUTE,
    };
    let asked = registry.request_approval(new(&anna, 0)).await.expect("asked");
    assert_eq!(registry.pending_approvals(Some(&tenant), 0).await.expect("read"), std::slice::from_ref(&asked));
    let twice = registry.request_approval(new(&bert, MINUTE)).await;
    assert!(matches!(&twice, Err(ApprovalError::Pending { by }) if *by == anna), "{twice:?}");
    let alone = registry.approve("case_shred", "c1", &anna, MINUTE).await;
    assert!(matches!(alone, Err(ApprovalError::SameOperator)), "{alone:?}");
    for (kind, subject, now) in [("case_shred", "c2", 0), ("case_close", "c1", 0), ("case_shred", "c1", 10 * MINUTE)] {
        let other = registry.approve(kind, subject, &bert, now).await;
        assert!(matches!(other, Err(ApprovalError::NotPending)), "{other:?}");
    }
    let approved = registry.approve("case_shred", "c1", &bert, MINUTE).await.expect("approved");
    assert_eq!(approved, Approval { approved_by: Some(bert.clone()), ..asked });
    let again = registry.approve("case_shred", "c1", &bert, MINUTE).await;
    assert!(matches!(again, Err(ApprovalError::NotPending)), "{again:?}");
    assert_eq!(registry.pending_approvals(None, MINUTE).await.expect("read"), []);
}

#[tokio::test]
async fn an_abandoned_write_leaves_nothing_and_the_next_one_works() {
    let (registry, _dir) = registry().await;
    let mut writing = registry.file.begin().await.expect("begun");
    sqlx::query("delete from operator").execute(writing.connection()).await.expect("a statement");
    drop(writing);
    registry.add_operator(&anna(), TokenHash::of(b"secret"), 0).await.expect("added");
    assert_eq!(registry.operators().await.expect("read").len(), 1);
}

#[tokio::test]
async fn a_copy_holds_what_was_durable_and_another_program_s_file_is_refused() {
    let (registry, dir) = registry().await;
    registry.add_operator(&anna(), TokenHash::of(b"secret"), 0).await.expect("added");
    let (source, copy) = (dir.path().join("registry.sqlite"), dir.path().join("copy.sqlite"));
    RegistryStore::backup(&source, &copy).await.expect("copied");
    let copied = RegistryStore::open(&copy).await.expect("it opens");
    assert_eq!(copied.operators().await.expect("read"), [anna()]);
    assert!(RegistryStore::backup(&source, &copy).await.is_err(), "the target exists");
    let store = dir.path().join("log.sqlite");
    let epoch = feldakte_core::ids::Epoch(uuid::Uuid::from_u128(1));
    crate::store::sqlite::SqliteStore::open(&store, epoch).await.expect("a log");
    assert!(RegistryStore::open(&store).await.is_err(), "a log is no registry");
}

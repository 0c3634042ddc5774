use super::*;
use crate::access::{Access, Role, Subject};

fn stranger() -> Principal {
    Principal { unit: unit("rtw-9-83-9"), ..crew(8) }
}

fn unit(name: &str) -> UnitId {
    name.parse().expect("a slug")
}

fn granted(subject: Subject, access: Access) -> Entry {
    Entry { grants: vec![Grant::new(subject, access)], ..Entry::new(document_id()) }
}

#[test]
fn opening_a_document_grants_it_to_the_unit() {
    let mut ledger = new_ledger();
    let entry = offer(&mut ledger, 0, [genesis().bytes]).entry.expect("it is taken");
    let grant = Grant::new(Subject::Unit(crew(0).unit), Access::Write);
    assert_eq!(entry.grants, [grant]);
    assert!(entry.bindings.is_empty(), "the genesis belongs to nobody");
    accept(&mut ledger, 5, &first(5, 1));
}

#[test]
fn a_unit_without_a_grant_is_not_permitted() {
    assert_eq!(refusal(&mut opened(), &stranger(), &first(8, 1)), Refusal::NotPermitted);
}

#[test]
fn reading_does_not_permit_writing() {
    let mut ledger = opened();
    let reader = Subject::Device(stranger().device);
    ledger.replay(&granted(reader.clone(), Access::Read)).expect("grants replay");
    assert_eq!(refusal(&mut ledger, &stranger(), &first(8, 1)), Refusal::NotPermitted);
    ledger.replay(&granted(reader, Access::Write)).expect("grants replay");
    let admission = ledger.admit(rules(), &stranger(), Opening::Free, parse([first(8, 1).chunk()]));
    assert_eq!(admission.refused, []);
}

#[test]
fn a_revoked_unit_is_not_permitted_any_more() {
    let mut ledger = opened();
    accept(&mut ledger, 0, &first(0, 1));
    let revoked = vec![Subject::Unit(crew(0).unit)];
    ledger.replay(&Entry { revoked, ..Entry::new(document_id()) }).expect("revocations replay");
    assert_eq!(refusal(&mut ledger, &crew(1), &first(1, 1)), Refusal::NotPermitted);
    assert_eq!(ledger.permit(rules(), &crew(0)), None);
}

#[test]
fn roles_that_may_not_open_documents() {
    for role in [Role::TelePhysician, Role::Supervisor, Role::Dispatcher] {
        let mut ledger = new_ledger();
        let admission = ledger.admit(rules(), &Principal { role, ..crew(0) }, Opening::Free, parse([genesis().bytes]));
        assert_eq!(admission.refused, [(0, Refusal::NotPermitted)], "{role}");
        assert!(admission.entry.is_none() && ledger.is_new() && ledger.grants().is_empty());
    }
}

#[test]
fn another_tenant_with_the_same_unit_device_and_actor() {
    let intruder = Principal { tenant: "hagen".parse().expect("a slug"), ..crew(0) };
    assert_eq!(refusal(&mut opened(), &intruder, &first(0, 1)), Refusal::NotPermitted);
}

/// The ledger of an unknown document may be in memory because another tenant asked for it.
#[test]
fn a_document_belongs_to_whoever_opens_it_not_to_whoever_asked_first() {
    let mut ledger = new_ledger();
    let hagen: TenantId = "hagen".parse().expect("a slug");
    let nosy = Principal { tenant: hagen.clone(), role: Role::TelePhysician, ..crew(0) };
    assert_eq!(
        ledger.admit(rules(), &nosy, Opening::Free, parse([genesis().bytes])).refused,
        [(0, Refusal::NotPermitted)]
    );
    assert!(ledger.is_new() && ledger.grants().is_empty());
    let admission = ledger.admit(rules(), &crew(0), Opening::Free, parse([genesis().bytes]));
    assert!(admission.refused.is_empty() && admission.entry.is_some());
    assert_eq!(ledger.tenant(), &crew(0).tenant);
    assert_eq!(ledger.permit(rules(), &Principal { tenant: hagen, ..crew(0) }), None);
}

#[test]
fn a_device_that_lost_its_grant_still_learns_that_its_change_is_durable() {
    let mut ledger = opened();
    accept(&mut ledger, 0, &first(0, 1));
    let revoked = vec![Subject::Unit(crew(0).unit)];
    ledger.replay(&Entry { revoked, ..Entry::new(document_id()) }).expect("revocations replay");
    let again = ledger.admit(rules(), &crew(0), Opening::Free, parse([first(0, 1).chunk()]));
    assert_eq!((again.refused, again.duplicates), (vec![], 1));
    assert_eq!(refusal(&mut ledger, &crew(1), &first(0, 1)), Refusal::NotPermitted, "nobody else is told");
}

/// A case that the back office assigned is not free for whoever writes first.
#[test]
fn a_document_granted_before_its_first_change_is_opened_by_its_grantee_alone() {
    let mut ledger = new_ledger();
    let assigned = granted(Subject::Unit(stranger().unit), Access::Write);
    ledger.replay(&assigned).expect("grants replay");
    let admission = offer(&mut ledger, 0, [genesis().bytes]);
    assert_eq!(admission.refused, [(0, Refusal::NotPermitted)]);
    let entry = ledger.admit(rules(), &stranger(), Opening::Free, parse([genesis().bytes])).entry.expect("it is taken");
    assert_eq!(entry.grants, []);
    assert_eq!(ledger.grants(), assigned.grants);
}

#[test]
fn a_push_of_which_nothing_is_taken_opens_nothing() {
    let mut ledger = new_ledger();
    let admission = offer(&mut ledger, 0, [first(0, 1).chunk(), Bytes::new()]);
    assert_eq!(admission.refused.len(), 2);
    assert!(admission.entry.is_none() && ledger.grants().is_empty());
    assert_eq!(ledger.permit(rules(), &crew(0)), None);
}

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

fn replayed(ledger: &mut Ledger, entry: Entry) {
    ledger.replay(&entry).expect("authority replays");
}

/// Whoever could write may have work that is under way; whoever could only read has none.
#[test]
fn who_could_write_once_is_remembered_until_he_may_again() {
    let mut ledger = opened();
    let (log, subject) = (crew(0).tenant, Subject::Device(stranger().device));
    assert!(ledger.could_write(&log, &crew(0)), "he may now");
    assert!(!ledger.could_write(&log, &stranger()));
    replayed(&mut ledger, granted(subject.clone(), Access::Read));
    assert!(!ledger.could_write(&log, &stranger()), "reading leaves no work behind");
    replayed(&mut ledger, granted(subject.clone(), Access::Write));
    replayed(&mut ledger, granted(subject.clone(), Access::Read));
    assert!(ledger.could_write(&log, &stranger()), "his grant was lowered");
    replayed(&mut ledger, Entry { revoked: vec![subject.clone()], ..Entry::new(document_id()) });
    assert!(ledger.could_write(&log, &stranger()), "and ended");
    let hagen: TenantId = "hagen".parse().expect("a slug");
    assert!(!ledger.could_write(&hagen, &stranger()), "in this log alone");
    replayed(&mut ledger, granted(subject.clone(), Access::Write));
    replayed(&mut ledger, Entry { revoked: vec![Subject::Unit(crew(0).unit)], ..Entry::new(document_id()) });
    assert!(ledger.could_write(&log, &crew(1)), "a unit's devices each");
    let over = Grant { until: Some(-1), ..Grant::new(subject, Access::Write) };
    replayed(&mut ledger, Entry { grants: vec![over], ..Entry::new(document_id()) });
    assert_eq!(ledger.permit(rules(), &stranger()), None);
    assert!(ledger.could_write(&log, &stranger()), "its time is over");
}

#[test]
fn evidence_is_taken_in_under_its_author_and_checked_like_any_change() {
    let mut ledger = opened();
    let before = first(0, 1);
    let hash = accept(&mut ledger, 0, &before);
    replayed(&mut ledger, Entry { revoked: vec![Subject::Unit(crew(0).unit)], ..Entry::new(document_id()) });
    let log = crew(0).tenant;
    let next = Draft::new(actor(0)).at([hash], 2, before.start_op + 1).with_puts("y", 1);
    let forged = ledger.admit_evidence(&log, &crew(1), parse([next.chunk()]));
    assert_eq!(forged.refused, [(0, Refusal::ForeignActor)]);
    let taken = ledger.admit_evidence(&log, &crew(1), parse([first(1, 1).chunk()]));
    assert_eq!(taken.refused, []);
    let entry = taken.entry.expect("it is taken");
    assert_eq!((entry.grants, entry.bindings[0].device), (vec![], crew(1).device), "nobody gets access by it");
    assert_eq!(ledger.admit_evidence(&log, &crew(1), parse([first(1, 1).chunk()])).duplicates, 1);
}

#[test]
fn evidence_of_a_document_that_nobody_knew_belongs_to_its_authors_unit() {
    let mut ledger = Ledger::new("unknown".parse().expect("a slug"), document_id());
    let taken = ledger.admit_evidence(&crew(0).tenant, &crew(0), parse([genesis().bytes, first(0, 1).chunk()]));
    assert_eq!(taken.refused, []);
    assert_eq!(taken.entry.expect("it is taken").grants, [Grant::new(Subject::Unit(crew(0).unit), Access::Write)]);
    assert_eq!(*ledger.tenant(), crew(0).tenant);
    accept(&mut ledger, 5, &first(5, 1));
}

#[test]
fn evidence_enters_no_document_of_another_tenant_than_its_supervisors() {
    let mut ledger = opened();
    let foreign = "hagen".parse().expect("a slug");
    let neighbour = Principal { tenant: TenantId::clone(&foreign), ..crew(1) };
    let refused = ledger.admit_evidence(&foreign, &neighbour, parse([first(1, 1).chunk()]));
    assert_eq!((refused.refused, refused.entry), (vec![(0, Refusal::NotPermitted)], None));
    assert_eq!(*ledger.tenant(), crew(0).tenant);
}

#[test]
fn the_role_of_a_subject_is_that_of_its_first_author() {
    let mut ledger = opened();
    accept(&mut ledger, 0, &first(0, 1));
    assert_eq!(ledger.role_of(&Subject::Unit(crew(0).unit)), Some(crew(0).role));
    assert_eq!(ledger.role_of(&Subject::Device(crew(0).device)), Some(crew(0).role));
    assert_eq!(ledger.role_of(&Subject::Device(stranger().device)), None, "who has only read");
    let guest = Subject::Guest { tenant: "hagen".parse().expect("a slug"), unit: crew(0).unit };
    assert_eq!(ledger.role_of(&guest), None, "names mean nothing across tenants");
}

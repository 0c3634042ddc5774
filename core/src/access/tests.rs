//! Every combination of role, grant, subject, time and tenant, and what comes of it.

use uuid::Uuid;

use super::*;
use crate::ids::CaseId;

const NOW: i64 = 1_000;

fn tenant(name: &str) -> TenantId {
    name.parse().expect("a slug")
}

fn principal(home: &str, unit: &str, device: u128) -> Principal {
    Principal {
        tenant: tenant(home),
        unit: unit.parse().expect("a slug"),
        device: DeviceId(Uuid::from_u128(device)),
        role: Role::AmbulanceCrew,
        user: None,
    }
}

fn document(part: Part) -> DocumentId {
    DocumentId { case: CaseId(Uuid::from_u128(9)), part }
}

/// What the grants come to in Dortmund's log, at [`NOW`].
fn access_of(who: &Principal, part: Part, grants: &[Grant]) -> Option<Access> {
    access_in("dortmund", who, part, grants)
}

fn access_in(log: &str, who: &Principal, part: Part, grants: &[Grant]) -> Option<Access> {
    let (policy, log) = (Policy::default(), tenant(log));
    let rules = Rules { policy: &policy, log: &log, now_ms: NOW };
    decide(rules, who, &tenant("dortmund"), document(part), grants).map(|permit| permit.access)
}

fn unit_grant(unit: &str, access: Access) -> Grant {
    Grant::new(Subject::Unit(unit.parse().expect("a slug")), access)
}

/// The whole matrix: a grant reaches as far as the role's cell, for each role, part and access.
#[test]
fn every_role_gets_of_every_grant_what_its_cell_allows() {
    let policy = Policy::default();
    for role in Role::ALL {
        let who = Principal { role, ..principal("dortmund", "rtw-1", 1) };
        for part in Part::ALL {
            assert_eq!(access_of(&who, part, &[]), None, "{role} without a grant");
            for access in [Access::Read, Access::Write] {
                let expected = match policy.ceiling(role, part) {
                    Ceiling::Nothing | Ceiling::Extract => None,
                    Ceiling::Read => Some(Access::Read),
                    Ceiling::Write => Some(access),
                };
                let found = access_of(&who, part, &[unit_grant("rtw-1", access)]);
                assert_eq!(found, expected, "{role}, {}, {access:?}", part.name());
            }
        }
    }
}

/// What every role gets of a grant to write, on every part, and whether it opens it.
fn all_cells(policy: &Policy) -> Vec<(Role, Part, Option<Access>, bool)> {
    let log = tenant("dortmund");
    let rules = Rules { policy, log: &log, now_ms: NOW };
    let cell = |(role, part)| {
        let who = Principal { role, ..principal("dortmund", "rtw-1", 1) };
        let permit = decide(rules, &who, &log, document(part), &[unit_grant("rtw-1", Access::Write)]);
        (role, part, permit.map(|permit| permit.access), opening_grants(rules, &who, part).is_some())
    };
    Role::ALL.into_iter().flat_map(|role| Part::ALL.map(|part| (role, part))).map(cell).collect()
}

/// Whatever an operator may set, for each role and part: the cell is in force, and no other has moved.
#[test]
fn a_changed_cell_changes_what_is_decided_there_and_nowhere_else() {
    let before = all_cells(&Policy::default());
    for (role, part) in Role::ALL.into_iter().flat_map(|role| Part::ALL.map(|part| (role, part))) {
        for (ceiling, name) in Ceiling::ALL {
            let mut policy = Policy::default();
            let row = *policy.row(role);
            let of = |other: Part, own: Ceiling| if other == part { ceiling } else { own };
            let row = row.under(
                of(Part::Operations, row.operations),
                of(Part::Identity, row.identity),
                of(Part::Clinical, row.clinical),
            );
            let row = policy::Row { orders: row.clinical == Ceiling::Write && is_physician(role), ..row };
            if policy.set(role, row).is_err() {
                assert_eq!(policy, Policy::default(), "{role}: a row that is refused changes nothing");
                continue;
            }
            let expected = before.iter().map(|cell| match *cell {
                (other, at, ..) if (other, at) == (role, part) => {
                    (role, part, ceiling.limit(Access::Write), row.creates && ceiling == Ceiling::Write)
                }
                cell => cell,
            });
            assert_eq!(all_cells(&policy), expected.collect::<Vec<_>>(), "{role}, {}, {name}", part.name());
        }
    }
}

fn is_physician(role: Role) -> bool {
    matches!(role, Role::TelePhysician | Role::EmergencyPhysician)
}

#[test]
fn a_grant_reaches_its_subject_and_nobody_else() {
    let user = UserId(Uuid::from_u128(77));
    let who = Principal { user: Some(user), ..principal("dortmund", "rtw-1", 1) };
    let device = |number| Subject::Device(DeviceId(Uuid::from_u128(number)));
    let unit = |name: &str| Subject::Unit(name.parse().expect("a slug"));
    let guest = |home: &str| Subject::Guest { tenant: tenant(home), unit: "rtw-1".parse().expect("a slug") };
    let rows = [
        (unit("rtw-1"), true),
        (unit("rtw-2"), false),
        (device(1), true),
        (device(2), false),
        (Subject::User(user), true),
        (Subject::User(UserId(Uuid::from_u128(78))), false),
        (guest("dortmund"), false),
        (guest("hagen"), false),
    ];
    for (subject, reaches) in rows {
        let found = access_of(&who, Part::Clinical, &[Grant::new(subject.clone(), Access::Write)]);
        assert_eq!(found.is_some(), reaches, "{subject:?}");
        assert_eq!(who.subjects_in(&tenant("dortmund")).contains(&subject), reaches, "{subject:?}");
    }
}

#[test]
fn a_user_who_has_not_proved_himself_uses_no_grant_of_his() {
    let grant = Grant::new(Subject::User(UserId(Uuid::from_u128(77))), Access::Write);
    assert_eq!(access_of(&principal("dortmund", "rtw-1", 1), Part::Clinical, &[grant]), None);
}

#[test]
fn another_tenant_needs_a_share_of_that_very_case() {
    let neighbour = principal("hagen", "tnz-1", 1);
    let same_names = [unit_grant("tnz-1", Access::Write), Grant::new(Subject::Device(neighbour.device), Access::Write)];
    assert_eq!(access_of(&neighbour, Part::Clinical, &same_names), None, "names mean nothing across tenants");
    let guest = Subject::Guest { tenant: neighbour.tenant.clone(), unit: neighbour.unit.clone() };
    let share = Grant { until: Some(NOW + 1), ..Grant::new(guest, Access::Write) };
    assert_eq!(access_of(&neighbour, Part::Clinical, std::slice::from_ref(&share)), Some(Access::Write));
    assert_eq!(access_of(&principal("unna", "tnz-1", 1), Part::Clinical, std::slice::from_ref(&share)), None);
    assert_eq!(access_of(&principal("hagen", "tnz-2", 1), Part::Clinical, &[share]), None);
}

#[test]
fn a_session_in_one_tenants_log_reaches_no_document_of_another() {
    let who = principal("dortmund", "rtw-1", 1);
    let grants = [unit_grant("rtw-1", Access::Write)];
    assert_eq!(access_in("dortmund", &who, Part::Clinical, &grants), Some(Access::Write));
    assert_eq!(access_in("hagen", &who, Part::Clinical, &grants), None);
}

#[test]
fn a_grant_ends_at_its_time_exactly() {
    let who = principal("dortmund", "rtw-1", 1);
    for (until, valid) in [(NOW - 1, false), (NOW, false), (NOW + 1, true), (i64::MAX, true), (i64::MIN, false)] {
        let grant = Grant { until: Some(until), ..unit_grant("rtw-1", Access::Read) };
        assert_eq!(access_of(&who, Part::Clinical, &[grant]).is_some(), valid, "{until}");
    }
}

#[test]
fn the_strongest_valid_grant_counts() {
    let who = principal("dortmund", "rtw-1", 1);
    let read = unit_grant("rtw-1", Access::Read);
    let write = Grant::new(Subject::Device(who.device), Access::Write);
    assert_eq!(access_of(&who, Part::Clinical, std::slice::from_ref(&read)), Some(Access::Read));
    assert_eq!(access_of(&who, Part::Clinical, &[read.clone(), write.clone()]), Some(Access::Write));
    let over = Grant { until: Some(NOW), ..write };
    assert_eq!(access_of(&who, Part::Clinical, &[read, over]), Some(Access::Read));
}

#[test]
fn who_opens_a_document_grants_it_to_his_unit_in_his_own_tenant_only() {
    let (policy, who) = (Policy::default(), principal("dortmund", "rtw-1", 1));
    let opening = |log: &str, who: &Principal| {
        let log = tenant(log);
        opening_grants(Rules { policy: &policy, log: &log, now_ms: NOW }, who, Part::Clinical)
    };
    assert_eq!(opening("dortmund", &who), Some(vec![unit_grant("rtw-1", Access::Write)]));
    assert_eq!(opening("hagen", &who), None);
    assert_eq!(opening("dortmund", &Principal { role: Role::TelePhysician, ..who }), None);
}

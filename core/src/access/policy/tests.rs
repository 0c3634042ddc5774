//! The table of DOMAIN, "who sees what", written out once more by hand: every cell.

use super::*;
use AfterClose as After;
use Ceiling::{Extract, Nothing, Read, Write};

const TWELVE_HOURS: i64 = 12 * 60 * 60 * 1000;

type Cells = (Role, [Ceiling; 3], bool, Vitals, AfterClose);

/// Operations, identity, clinical; orders; live vitals; after close.
const TABLE: [Cells; 11] = [
    (Role::AmbulanceCrew, [Write, Write, Write], false, Vitals::Send, After::ReadFor(TWELVE_HOURS)),
    (Role::TelePhysician, [Read, Read, Write], true, Vitals::Watch, After::Read),
    (Role::EmergencyPhysician, [Write, Write, Write], true, Vitals::Watch, After::ReadFor(TWELVE_HOURS)),
    (Role::Dispatcher, [Read, Extract, Extract], false, Vitals::No, After::Read),
    (Role::FieldStaff, [Write, Write, Write], false, Vitals::No, After::Read),
    (Role::Supervisor, [Read, Read, Read], false, Vitals::No, After::Read),
    (Role::BackOffice, [Write, Write, Write], false, Vitals::No, After::Read),
    (Role::Hospital, [Extract, Extract, Extract], false, Vitals::No, After::Nothing),
    (Role::Quality, [Extract, Nothing, Extract], false, Vitals::No, After::Nothing),
    (Role::Operator, [Nothing, Nothing, Nothing], false, Vitals::No, After::Nothing),
    (Role::Auditor, [Nothing, Nothing, Nothing], false, Vitals::No, After::Nothing),
];

#[test]
fn the_default_policy_is_the_table_of_the_domain() {
    let policy = Policy::default();
    for ((role, parts, orders, vitals, after_close), expected) in TABLE.into_iter().zip(Role::ALL) {
        assert_eq!(role, expected, "every role has its row");
        for (part, ceiling) in Part::ALL.into_iter().zip(parts) {
            assert_eq!(policy.ceiling(role, part), ceiling, "{role} on {}", part.name());
        }
        let row = policy.row(role);
        assert_eq!((row.orders, row.vitals, row.after_close), (orders, vitals, after_close), "{role}");
    }
}

#[test]
fn under_the_table_of_nothing_no_role_may_anything() {
    let policy = Policy::nothing();
    for role in Role::ALL {
        assert_eq!(policy.readable(role), PartSet::NONE, "{role}");
        assert!(Part::ALL.into_iter().all(|part| !policy.may_create(role, part)), "{role}");
        assert!(!PartSet::NONE.contains(Part::Clinical));
    }
}

#[test]
fn what_a_role_reads_as_documents_is_what_its_cells_say() {
    let policy = Policy::default();
    for role in Role::ALL {
        for part in Part::ALL {
            let readable = matches!(policy.ceiling(role, part), Read | Write);
            assert_eq!(policy.readable(role).contains(part), readable, "{role} on {}", part.name());
        }
    }
    assert!(Part::ALL.into_iter().all(|part| PartSet::ALL.contains(part)));
}

#[test]
fn nobody_creates_what_he_may_not_write() {
    let policy = Policy::default();
    let creators = [Role::AmbulanceCrew, Role::EmergencyPhysician, Role::FieldStaff, Role::BackOffice];
    for role in Role::ALL {
        for part in Part::ALL {
            assert_eq!(policy.may_create(role, part), creators.contains(&role), "{role} on {}", part.name());
        }
    }
    let mut policy = policy;
    let row = Row { identity: Read, ..*policy.row(Role::FieldStaff) };
    policy.set(Role::FieldStaff, row).expect("a role may be lowered");
    assert!(!policy.may_create(Role::FieldStaff, Part::Identity));
}

#[test]
fn a_ceiling_lowers_a_grant_and_never_raises_it() {
    for (granted, limits) in [
        (Access::Read, [None, None, Some(Access::Read), Some(Access::Read)]),
        (Access::Write, [None, None, Some(Access::Read), Some(Access::Write)]),
    ] {
        for ((ceiling, name), expected) in Ceiling::ALL.into_iter().zip(limits) {
            assert_eq!(ceiling.limit(granted), expected, "{granted:?} under {name}");
        }
    }
}

#[test]
fn ceilings_and_vitals_round_trip_by_name() {
    Ceiling::ALL.into_iter().for_each(|(ceiling, name)| assert_eq!(Ceiling::from_name(name), Some(ceiling)));
    assert_eq!(Ceiling::from_name("everything"), None);
    Vitals::ALL.into_iter().for_each(|(vitals, name)| assert_eq!(Vitals::from_name(name), Some(vitals)));
    assert_eq!(Vitals::from_name("all"), None);
}

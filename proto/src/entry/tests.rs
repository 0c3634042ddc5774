use proptest::{collection::vec, prelude::*};

use super::*;
use crate::arbitrary::{entry, with_unknown_fields};

proptest! {
    #[test]
    fn entries_round_trip(entry in entry()) {
        prop_assert_eq!(decode_entry(encode_entry(&entry)), Ok(entry));
    }

    #[test]
    fn damaged_and_cut_entries_panic_nothing(
        entry in entry(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let whole = encode_entry(&entry);
        for len in 0..whole.len() {
            reads_as_an_entry_or_an_error(whole.slice(..len));
        }
        let mut damaged = whole.to_vec();
        for (index, byte) in &edits {
            let index = index.index(damaged.len());
            damaged[index] = *byte;
        }
        reads_as_an_entry_or_an_error(damaged.into());
    }

    #[test]
    fn unknown_fields_are_skipped(entry in entry()) {
        prop_assert_eq!(decode_entry(with_unknown_fields(&encode_entry(&entry))), Ok(entry));
    }
}

fn reads_as_an_entry_or_an_error(bytes: Bytes) {
    if let Ok(entry) = decode_entry(bytes) {
        assert_eq!(decode_entry(encode_entry(&entry)), Ok(entry));
    }
}

// Golden: logs in the field hold these numbers; a number is never used again.
#[test]
fn numbers_of_access_role_and_quarantine_are_for_ever() {
    let access = [(1, Access::Read), (2, Access::Write)];
    let roles = [
        (1, Role::AmbulanceCrew),
        (2, Role::TelePhysician),
        (3, Role::EmergencyPhysician),
        (4, Role::Dispatcher),
        (5, Role::FieldStaff),
        (6, Role::Supervisor),
        (7, Role::BackOffice),
        (8, Role::Hospital),
        (9, Role::Quality),
        (10, Role::Operator),
        (11, Role::Auditor),
    ];
    let quarantine = [(1, QuarantineReason::Panicked), (2, QuarantineReason::Rejected), (3, QuarantineReason::TooDeep)];
    assert_numbers(&access, Access::from_number, |access| access as u32);
    assert_numbers(&roles, Role::from_number, |role| role as u32);
    assert_numbers(&quarantine, QuarantineReason::from_number, |reason| reason as u32);
}

fn assert_numbers<T>(golden: &[(u32, T)], from: impl Fn(u32) -> Option<T>, to: impl Fn(T) -> u32)
where
    T: Copy + PartialEq + std::fmt::Debug,
{
    for number in 0..300 {
        let expected = golden.iter().find(|(pinned, _)| *pinned == number).map(|(_, value)| *value);
        assert_eq!(from(number), expected, "{number}");
    }
    golden.iter().for_each(|(number, value)| assert_eq!(to(*value), *number));
}

// Golden: the bytes in the stores of gateways that run.
#[test]
fn an_entry_is_stored_as_it_always_was() {
    let device = DeviceId::from_slice(&[0xdd; 16]).expect("16 bytes");
    let unit: feldakte_core::ids::UnitId = "rtw-1-83-1".parse().expect("a slug");
    let mut entry = Entry::new(DocumentId::from_slice(&[[0xcc; 16].as_slice(), &[3]].concat()).expect("17 bytes"));
    entry.grants = vec![Grant::new(Subject::Unit(unit.clone()), Access::Write)];
    entry.revoked = vec![Subject::Device(device)];
    entry.bindings =
        vec![Binding { actor: ActorId([0xaa; 16]), device, home: None, unit, role: Role::AmbulanceCrew, user: None }];
    entry.quarantined = vec![Quarantine { change: ChangeHash([0xbb; 32]), reason: QuarantineReason::TooDeep }];
    entry.changes = vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    let golden = [
        b"\x0a\x11".as_slice(),
        &[0xcc; 16],
        b"\x03\x12\x10\x0a\x0c\x0a\x0artw-1-83-1\x10\x02\x1a\x12\x12\x10",
        &[0xdd; 16],
        b"\x22\x32\x0a\x10",
        &[0xaa; 16],
        b"\x12\x10",
        &[0xdd; 16],
        b"\x1a\x0artw-1-83-1\x20\x01\x2a\x24\x0a\x20",
        &[0xbb; 32],
        b"\x10\x03\x32\x03one\x32\x03two",
    ];
    assert_eq!(encode_entry(&entry), golden.concat());
    assert_eq!(decode_entry(golden.concat().into()), Ok(entry));
}

#[test]
fn what_an_entry_must_have_is_missed() {
    let valid = || pb::Entry { document: Bytes::from_static(&[1; 17]), ..Default::default() };
    let decoded = |entry: pb::Entry| decode_entry(entry.encode_to_vec().into()).expect_err("something is missing");
    let subject = || pb::Subject { kind: Some(pb::subject::Kind::Unit("rtw-1".to_owned())) };
    let id = || Bytes::from_static(&[1; 16]);
    let binding = || pb::Binding { actor: id(), device: id(), unit: "rtw-1".to_owned(), role: 1, ..Default::default() };

    assert!(matches!(decode_entry(Bytes::new()), Err(DecodeError::Id(id)) if id.what == "document"));
    let grants = vec![pb::Grant { subject: None, access: 1, until_ms: None }];
    assert_eq!(decoded(pb::Entry { grants, ..valid() }), DecodeError::MissingField("subject"));
    let revoked = vec![pb::Subject { kind: None }];
    assert_eq!(decoded(pb::Entry { revoked, ..valid() }), DecodeError::MissingField("subject"));
    for access in [0, 3, u32::MAX] {
        let grants = vec![pb::Grant { subject: Some(subject()), access, until_ms: None }];
        assert_eq!(decoded(pb::Entry { grants, ..valid() }), DecodeError::UnknownValue("access"));
    }
    for role in [0, 12, u32::MAX] {
        let bindings = vec![pb::Binding { role, ..binding() }];
        assert_eq!(decoded(pb::Entry { bindings, ..valid() }), DecodeError::UnknownValue("role"));
    }
    let bindings = vec![pb::Binding { actor: Bytes::new(), ..binding() }];
    assert!(matches!(decoded(pb::Entry { bindings, ..valid() }), DecodeError::Id(id) if id.what == "actor"));
    let bindings = vec![pb::Binding { unit: "RTW 1".to_owned(), ..binding() }];
    assert!(matches!(decoded(pb::Entry { bindings, ..valid() }), DecodeError::Id(id) if id.what == "unit"));
    let quarantined = vec![pb::Quarantine { change: id(), reason: 1 }];
    assert!(matches!(decoded(pb::Entry { quarantined, ..valid() }), DecodeError::Id(id) if id.what == "change hash"));
    let quarantined = vec![pb::Quarantine { change: Bytes::from_static(&[1; 32]), reason: 0 }];
    assert_eq!(decoded(pb::Entry { quarantined, ..valid() }), DecodeError::UnknownValue("reason"));
}

//! Records keep their bytes, and no single act upon a chain goes unnoticed.

use proptest::{collection, option, prelude::*, sample};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::*;
use crate::ids::Part;

const KEY: &[u8] = b"the audit key";

/// Stands for ECDSA, which the gateway brings along.
fn sign(key: &[u8], message: &[u8]) -> Vec<u8> {
    Sha256::new().chain_update(key).chain_update(message).finalize().to_vec()
}

fn is_signed(message: &[u8], signature: &[u8]) -> bool {
    sign(KEY, message) == signature
}

fn tenant(name: &str) -> Chain {
    Chain::Tenant(name.parse().expect("a slug"))
}

fn checkpoint(chain: &Chain, head: Head) -> Checkpoint {
    let signature = sign(KEY, &Checkpoint::message(chain, head, 7));
    Checkpoint { chain: chain.clone(), head, when_ms: 7, signature }
}

/// A chain of so many rows with a checkpoint after each `every` of them and one at its end.
fn written(chain: &Chain, len: u64, every: u64) -> (Vec<Row>, Vec<Checkpoint>) {
    let (mut head, mut rows, mut checkpoints) = (Head::START, Vec::new(), Vec::new());
    for number in 1..=len {
        let mut record = Record::new(chain.clone(), Actor::Gateway, Act::Wrote);
        record.when_ms = number.cast_signed();
        let (row, next) = head.append(&record);
        head = next;
        rows.push(row);
        if number % every == 0 || number == len {
            checkpoints.push(checkpoint(chain, head));
        }
    }
    (rows, checkpoints)
}

fn check(rows: Vec<Row>, checkpoints: Vec<Checkpoint>) -> Result<Whole, Fault> {
    verify(tenant("dortmund"), rows, checkpoints, &is_signed)
}

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn slug<T: std::str::FromStr<Err = IdError> + fmt::Debug>() -> impl Strategy<Value = T> {
    let letters = sample::select(&b"abcxyz0129-"[..]).prop_map(char::from);
    collection::vec(letters, 1..64).prop_map(|text| text.into_iter().collect::<String>().parse().expect("a slug"))
}

fn actors() -> impl Strategy<Value = Actor> {
    prop_oneof![
        Just(Actor::Gateway),
        Just(Actor::Unknown),
        slug().prop_map(Actor::Operator),
        (uuid(), option::of(uuid()))
            .prop_map(|(device, user)| Actor::Device { device: DeviceId(device), user: user.map(UserId) }),
    ]
}

fn abouts() -> impl Strategy<Value = About> {
    let ids = (option::of(uuid()), option::of(uuid()), option::of(uuid()), option::of(uuid()));
    let names = (option::of(slug()), option::of(slug()), option::of(slug()));
    let document = option::of((uuid(), sample::select(&Part::ALL[..])));
    (ids, names, document).prop_map(|((case, device, user, session), (unit, tenant, operator), document)| About {
        case: case.map(CaseId),
        document: document.map(|(case, part)| DocumentId { case: CaseId(case), part }),
        device: device.map(DeviceId),
        unit,
        user: user.map(UserId),
        session: session.map(SessionId),
        tenant,
        operator,
    })
}

fn records() -> impl Strategy<Value = Record> {
    let chain = prop_oneof![Just(Chain::Gateway), slug().prop_map(Chain::Tenant)];
    let numbers = (any::<i64>(), any::<u64>(), option::of(any::<i64>()), option::of((any::<u64>(), any::<u64>())));
    let words = (sample::select(Act::ALL), option::of(sample::select(Reason::ALL)));
    (chain, actors(), abouts(), numbers, words).prop_map(|(chain, who, about, numbers, (act, reason))| {
        let (when_ms, count, claimed_ms, positions) = numbers;
        let positions = positions.map(|(first, last)| Span { first: Position(first), last: Position(last) });
        Record { chain, when_ms, who, act, about, count, positions, reason, claimed_ms }
    })
}

proptest! {
    #[test]
    fn records_round_trip(record in records()) {
        prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn what_decodes_has_no_second_encoding(record in records(), at in any::<sample::Index>(), bit in 0..8_u8) {
        let mut bytes = record.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(other) = Record::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
        }
    }

    #[test]
    fn decoding_never_panics(bytes in collection::vec(any::<u8>(), 0..200)) {
        let _ = Record::decode(&bytes);
    }

    #[test]
    fn an_untouched_chain_is_whole(len in 0..40_u64, every in 1..9_u64) {
        let (rows, checkpoints) = written(&tenant("dortmund"), len, every);
        let whole = check(rows, checkpoints).expect("nobody touched it");
        prop_assert_eq!((whole.head.seq, whole.signed_up_to), (len, len));
    }

    #[test]
    fn a_changed_row_is_named(
        len in 1..40_u64,
        every in 1..9_u64,
        row in any::<sample::Index>(),
        byte in any::<sample::Index>(),
        bit in 0..8_u8,
    ) {
        let (mut rows, checkpoints) = written(&tenant("dortmund"), len, every);
        let bad = row.index(rows.len());
        let row = &mut rows[bad];
        let byte = byte.index(row.record.len() + 64);
        match byte.checked_sub(64) {
            Some(byte) => row.record[byte] ^= 1 << bit,
            None if byte < 32 => row.hash[byte] ^= 1 << bit,
            None => row.previous[byte - 32] ^= 1 << bit,
        }
        prop_assert_eq!(check(rows, checkpoints), Err(Fault::Changed { seq: bad as u64 + 1 }));
    }

    /// By somebody who knows how the hash is made: the row after it, or a checkpoint, still tells.
    #[test]
    fn a_changed_row_with_a_new_hash_is_named(len in 1..40_u64, every in 2..9_u64, row in any::<sample::Index>()) {
        let (mut rows, checkpoints) = written(&tenant("dortmund"), len, every);
        let bad = row.index(rows.len());
        let before = Head { seq: bad as u64, hash: rows[bad].previous };
        rows[bad] = before.append(&Record::new(tenant("dortmund"), Actor::Gateway, Act::Read)).0;
        let seq = bad as u64 + 1;
        let fault = check(rows, checkpoints.clone()).expect_err("one row is another");
        match checkpoints.iter().position(|checkpoint| checkpoint.head.seq == seq) {
            None => prop_assert_eq!(fault, Fault::Changed { seq }),
            Some(at) => {
                let after = at.checked_sub(1).map_or(0, |before| checkpoints[before].head.seq);
                prop_assert_eq!(fault, Fault::Rewritten { after, seq });
            }
        }
    }

    #[test]
    fn a_removed_row_is_named(len in 1..40_u64, every in 1..9_u64, row in any::<sample::Index>()) {
        let (mut rows, checkpoints) = written(&tenant("dortmund"), len, every);
        let bad = row.index(rows.len());
        rows.remove(bad);
        let fault = check(rows, checkpoints).expect_err("one row is missing");
        prop_assert_eq!(fault.first_bad_row(), bad as u64 + 1);
    }

    #[test]
    fn a_removed_row_is_named_when_the_others_close_up(
        len in 1..40_u64,
        every in 1..9_u64,
        row in any::<sample::Index>(),
    ) {
        let (mut rows, checkpoints) = written(&tenant("dortmund"), len, every);
        let bad = row.index(rows.len());
        rows.remove(bad);
        rows[bad..].iter_mut().for_each(|row| row.seq -= 1);
        let fault = check(rows, checkpoints).expect_err("one row is missing");
        prop_assert_eq!(fault.first_bad_row(), bad as u64 + 1);
    }

    #[test]
    fn an_inserted_row_is_named(len in 1..40_u64, every in 1..9_u64, row in any::<sample::Index>()) {
        let (mut rows, checkpoints) = written(&tenant("dortmund"), len, every);
        let bad = row.index(rows.len());
        let before = Head { seq: bad as u64, hash: rows[bad].previous };
        let inserted = before.append(&Record::new(tenant("dortmund"), Actor::Gateway, Act::Read)).0;
        rows[bad..].iter_mut().for_each(|row| row.seq += 1);
        rows.insert(bad, inserted);
        let fault = check(rows, checkpoints.clone()).expect_err("one row is too many");
        let seq = bad as u64 + 1;
        match checkpoints.iter().any(|checkpoint| checkpoint.head.seq == seq) {
            false => prop_assert_eq!(fault, Fault::Inserted { seq }),
            true => prop_assert!(matches!(fault, Fault::Rewritten { after, seq: signed } if after < seq && signed == seq), "{fault:?}"),
        }
    }

    #[test]
    fn a_duplicate_row_is_named(len in 1..40_u64, every in 1..9_u64, row in any::<sample::Index>()) {
        let (mut rows, checkpoints) = written(&tenant("dortmund"), len, every);
        let bad = row.index(rows.len());
        rows.insert(bad, rows[bad].clone());
        prop_assert_eq!(check(rows, checkpoints), Err(Fault::Duplicate { seq: bad as u64 + 1 }));
    }

    #[test]
    fn swapped_rows_are_named(
        len in 2..40_u64,
        every in 1..9_u64,
        (one, other) in any::<(sample::Index, sample::Index)>(),
    ) {
        let (mut rows, checkpoints) = written(&tenant("dortmund"), len, every);
        let (one, other) = (one.index(rows.len()), other.index(rows.len()));
        prop_assume!(one < other);
        rows.swap(one, other);
        let (first, later) = (rows[one].seq, rows[other].seq);
        (rows[one].seq, rows[other].seq) = (later, first);
        let fault = Fault::Moved { seq: one as u64 + 1, written_as: other as u64 + 1 };
        prop_assert_eq!(check(rows, checkpoints), Err(fault));
    }

    #[test]
    fn a_tail_cut_off_below_a_checkpoint_is_named(len in 1..40_u64, every in 1..9_u64, row in any::<sample::Index>()) {
        let (mut rows, checkpoints) = written(&tenant("dortmund"), len, every);
        rows.truncate(row.index(rows.len()));
        let first_missing = rows.len() as u64 + 1;
        let fault = check(rows, checkpoints).expect_err("the end is missing");
        prop_assert_eq!(fault.first_bad_row(), first_missing);
        prop_assert!(matches!(fault, Fault::CutOff { .. }), "a fault of another kind");
    }

    /// By somebody who can write the file and has not the key.
    #[test]
    fn a_chain_made_anew_does_not_fit_its_checkpoints(len in 1..40_u64, every in 1..9_u64, row in any::<sample::Index>()) {
        let chain = tenant("dortmund");
        let (mut rows, checkpoints) = written(&chain, len, every);
        let bad = row.index(rows.len());
        let mut head = Head { seq: bad as u64, hash: rows[bad].previous };
        for row in &mut rows[bad..] {
            (*row, head) = head.append(&Record::new(chain.clone(), Actor::Gateway, Act::Read));
        }
        let fault = check(rows.clone(), checkpoints.clone()).expect_err("made anew");
        let bad = bad as u64 + 1;
        prop_assert!(matches!(fault, Fault::Rewritten { after, seq } if after < bad && bad <= seq), "{fault:?}");
        let forged = checkpoints.iter().map(|old| {
            let hash = rows[usize::try_from(old.head.seq).expect("small") - 1].hash;
            let head = Head { seq: old.head.seq, hash };
            let signature = sign(b"another key", &Checkpoint::message(&chain, head, old.when_ms));
            Checkpoint { head, signature, ..old.clone() }
        });
        prop_assert!(matches!(check(rows.clone(), forged.collect()), Err(Fault::Signature { .. })), "a fault of another kind");
    }
}

#[test]
fn rows_of_another_tenant_do_not_fit() {
    let (rows, _) = written(&tenant("hagen"), 3, 9);
    assert_eq!(check(rows, Vec::new()), Err(Fault::Changed { seq: 1 }));
    let (rows, checkpoints) = written(&tenant("dortmund"), 3, 9);
    let foreign = checkpoints.into_iter().map(|old| Checkpoint { chain: tenant("hagen"), ..old }).collect();
    assert_eq!(check(rows, foreign), Err(Fault::Signature { seq: 3 }));
}

#[test]
fn numbers_and_names_of_acts_and_reasons_are_their_own() {
    for act in Act::ALL {
        assert_eq!((Act::from_number(*act as u16), act.name().parse()), (Some(*act), Ok(*act)));
    }
    for reason in Reason::ALL {
        assert_eq!((Reason::from_number(*reason as u16), reason.name().parse()), (Some(*reason), Ok(*reason)));
    }
}

/// A change of this test is a change of every file that was ever written.
#[test]
fn the_format_on_the_disk_is_fixed() {
    let device = Actor::Device { device: DeviceId(Uuid::from_u128(1)), user: Some(UserId(Uuid::from_u128(2))) };
    let document = DocumentId { case: CaseId(Uuid::from_u128(3)), part: Part::Clinical };
    let about = About { unit: "rtw-1".parse().ok(), ..About::document(document) };
    let about = about.in_session(SessionId(Uuid::from_u128(4)));
    let record = Record::new(tenant("dortmund"), device, Act::Refused).about(about).because(Reason::ForeignActor);
    let record = Record { when_ms: 5, count: 6, claimed_ms: Some(7), ..record };
    let (row, head) = Head::START.append(&record.at(Span { first: Position(8), last: Position(9) }));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let id = |number: u8| format!("{number:032x}");
    let expected = [
        "01",
        "08646f72746d756e64",
        "0000000000000005",
        "000a",
        &format!("01{}{}", id(1), id(2)),
        "0000000000000006",
        "072b",
        &id(3),
        &format!("{}03", id(3)),
        "057274772d31",
        &id(4),
        "00000000000000080000000000000009",
        "0008",
        "0000000000000007",
    ];
    assert_eq!(hex(&row.record), expected.concat());
    assert_eq!(hex(&head.hash), HASH_OF_THE_EXAMPLE);
}

/// `sha256sum` over the bytes that `chain.rs` describes.
const HASH_OF_THE_EXAMPLE: &str = "8a94d144bf7fc8eb22d124b56b58401fc6fbf1ea313d8444e13e381d9b2a6719";

use proptest::prelude::*;

use super::team::{Act, Team, any_team};
use crate::{
    change::{Change, ChangeError, craft::Draft},
    crdt::{Container, NewChange, Value},
    ids::ActorId,
    limits,
};

fn parse(change: &NewChange) -> Change {
    let parsed = Change::parse(change.bytes.clone()).expect("an honest change passes");
    assert_eq!(parsed.hash, change.hash, "our hash is the library's");
    parsed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_honest_change_passes((size, steps) in any_team(40)) {
        let team = Team::after(size, &steps);
        for written in &team.written[1..] {
            let change = parse(&written.change);
            prop_assert_eq!(change.actor, super::team::actor(written.who));
            prop_assert!(change.ops > 0);
            prop_assert_eq!(&change.bytes, &written.change.bytes);
        }
    }

    #[test]
    fn changes_that_a_snapshot_gives_back_are_the_same_bytes((size, steps) in any_team(40)) {
        let mut team = Team::after(size, &steps);
        (1..size).for_each(|from| team.pull(0, from));
        let saved = team.members[0].document.save(crate::crdt::Packing::Deflated);
        let mut loaded = crate::crdt::Document::load(&saved, ActorId([9; 16])).expect("what was saved loads");
        let mut given: Vec<_> = loaded.changes().into_iter().map(|change| (change.hash, change.bytes)).collect();
        let mut made: Vec<_> = team.written.into_iter().map(|one| (one.change.hash, one.change.bytes)).collect();
        given.sort();
        made.sort();
        prop_assert_eq!(given, made);
    }
}

/// The operations of a mission as load workloads play them: containers, single puts, readings, text with deletes.
#[test]
fn a_whole_mission_passes() {
    let mut team = Team::new(2);
    team.save(0, 0, &[Act::Create { key: 0, kind: Container::Map }, Act::Create { key: 1, kind: Container::List }]);
    for reading in 0..400i64 {
        let who = usize::from(reading % 3 == 0);
        let number = |name: &str, value| (name.to_owned(), Value::Integer(value));
        let fields = vec![
            number("hr", 60 + reading % 40),
            number("spo2", 97),
            ("at".to_owned(), Value::Timestamp(1_700_000_000_000 + reading)),
            ("temp".to_owned(), Value::Decimal(36.6)),
        ];
        let at = usize::try_from(reading).expect("positive") * 7;
        let note = Act::Splice { at, delete: 2, insert: "Schmerz rückläufig. ".into() };
        let fact = Act::Put { name: (reading % 9) as u8, value: Value::Text(format!("Wert {reading}")) };
        team.save(who, reading, &[Act::Push { fields }]).expect("a reading is a change");
        team.save(who, reading, &[note, fact]).expect("a note is a change");
        if reading % 10 == 0 {
            team.pull(1 - who, who);
        }
    }
    assert!(team.written.len() > 800);
    team.written[1..].iter().for_each(|written| drop(parse(&written.change)));
}

#[test]
fn many_concurrent_heads_are_dependencies_of_the_next_change() {
    let mut team = Team::new(60);
    for who in 0..60 {
        team.save(who, 0, &[Act::Put { name: 0, value: Value::Integer(who as i64) }]).expect("a change");
    }
    (1..60).for_each(|from| team.pull(0, from));
    let merged = team.save(0, 0, &[Act::Put { name: 0, value: Value::Null }]).expect("a change");
    let parsed = parse(&merged);
    assert_eq!((parsed.deps.len(), parsed.ops), (60, 1), "it overwrites sixty values in one operation");
}

#[test]
fn deletes_count_as_operations() {
    let mut team = Team::new(1);
    team.save(0, 0, &[Act::Splice { at: 0, delete: 0, insert: "abcdefgh".into() }]).expect("a change");
    let change = team.save(0, 0, &[Act::Splice { at: 0, delete: 5, insert: String::new() }]).expect("a change");
    assert_eq!(parse(&change).ops, 5);
}

#[test]
fn the_largest_text_that_is_taken_has_exactly_the_limit_of_operations() {
    let max = limits::CHANGE_OPS_MAX as usize;
    let mut team = Team::new(1);
    let paste = |len| Act::Splice { at: 0, delete: 0, insert: "ä".repeat(len) };
    let fits = team.save(0, 0, &[paste(max)]).expect("a change");
    assert_eq!(parse(&fits).ops, limits::CHANGE_OPS_MAX);
    let beyond = team.save(0, 0, &[paste(max + 1)]).expect("a change");
    assert_eq!(Change::parse(beyond.bytes), Err(ChangeError::TooManyOperations));
}

/// The attacks are only worth something when the crafted bytes they start from are taken.
#[test]
fn crafted_changes_without_an_attack_pass() {
    let draft = Draft::new(ActorId([1; 16])).at([], 3, 9);
    let empty = Change::parse(draft.chunk()).expect("a change without operations");
    assert_eq!((empty.seq, empty.start_op, empty.ops, empty.max_op()), (3, 9, 0, 8));
    let puts = Change::parse(draft.clone().with_puts("x", 12).chunk()).expect("a change with operations");
    assert_eq!((puts.ops, puts.max_op()), (12, 20));
    assert_eq!(Change::parse(draft.with_nested_maps("m", 40).chunk()).expect("a deep change").ops, 40);
}

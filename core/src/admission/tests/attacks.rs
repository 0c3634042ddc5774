use super::*;
use crate::ids::Part;

fn refused(device: usize, change: &Draft) -> Refusal {
    refusal(&mut opened(), &crew(device), change)
}

#[test]
fn the_honest_change_that_the_attacks_vary_is_taken() {
    accept(&mut opened(), 1, &first(1, 3));
}

/// Reaches the library as an 18-byte change that panics it.
#[test]
fn a_first_change_with_seq_of_two_or_more() {
    for seq in [2, 3, 1 << 30] {
        let attack = Draft { seq, ..first(1, 1) };
        assert_eq!(refused(1, &attack), Refusal::SequenceGap { expected: 1 });
        assert_eq!(refused(1, &Draft { deps: vec![], ..attack }), Refusal::NotGenesis);
    }
}

/// The victim would be shut out for ever: every later change of its own would be a duplicate number.
#[test]
fn a_change_under_the_victims_actor_with_its_next_seq() {
    let mut ledger = opened();
    let before = first(0, 2);
    let hash = accept(&mut ledger, 0, &before);
    let next = Draft::new(actor(0)).at([hash], 2, before.start_op + 2).with_puts("y", 1);
    assert_eq!(refusal(&mut ledger, &crew(1), &next), Refusal::ForeignActor);
    accept(&mut ledger, 0, &next);
}

#[test]
fn a_change_under_the_genesis_actor() {
    let attack = Draft { actor: case::GENESIS_ACTOR.0.to_vec(), ..first(0, 1) };
    for seq in [1, 2] {
        assert_eq!(refused(0, &Draft { seq, ..attack.clone() }), Refusal::ForeignActor);
    }
}

#[test]
fn a_sequence_gap_and_a_sequence_reused() {
    let mut ledger = opened();
    let before = first(0, 2);
    let hash = accept(&mut ledger, 0, &before);
    let with = |seq| Draft::new(actor(0)).at([hash], seq, before.start_op + 2).with_puts("y", 1);
    assert_eq!(refusal(&mut ledger, &crew(0), &with(3)), Refusal::SequenceGap { expected: 2 });
    assert_eq!(refusal(&mut ledger, &crew(0), &with(1)), Refusal::SequenceReused { expected: 2 });
    accept(&mut ledger, 0, &with(2));
}

#[test]
fn a_start_op_that_is_off() {
    let honest = first(1, 1).start_op;
    for start_op in [1, honest - 1, honest + 1, limits::OP_COUNTER_MAX - 2] {
        let attack = Draft { start_op, ..first(1, 1) };
        assert_eq!(refused(1, &attack), Refusal::StartOp { expected: honest }, "{start_op}");
    }
}

/// Near 2^32 every later edit of the document would panic.
#[test]
fn a_start_op_near_two_to_the_32() {
    let attack = Draft { start_op: u64::from(u32::MAX) - 1, ..first(1, 1) };
    assert_eq!(refused(1, &attack), Refusal::Change(ChangeError::CounterRange));
}

#[test]
fn operations_of_one_actor_with_the_same_counters() {
    let mut ledger = opened();
    let before = first(0, 3);
    accept(&mut ledger, 0, &before);
    let attack = Draft { seq: 2, ..first(0, 5) };
    let expected = before.start_op + 3;
    assert_eq!(refusal(&mut ledger, &crew(0), &attack), Refusal::StartOp { expected });
}

/// The counters do not overlap and every dependency is known, and yet the actor would be in two histories at once.
#[test]
fn a_change_that_does_not_follow_its_actors_last_one() {
    let mut ledger = opened();
    let mine = accept(&mut ledger, 0, &first(0, 1));
    let theirs = accept(&mut ledger, 1, &first(1, 5));
    let aside = Draft::new(actor(0)).at([theirs], 2, first(1, 5).start_op + 5).with_puts("y", 1);
    let error = ChangeError::Malformed("an actor's changes must follow each other");
    assert_eq!(refusal(&mut ledger, &crew(0), &aside), Refusal::Change(error));
    accept(&mut ledger, 0, &Draft { deps: vec![mine, theirs], ..aside });
}

#[test]
fn an_unknown_dependency() {
    let unknown = ChangeHash([7; 32]);
    assert_eq!(refused(1, &Draft { deps: vec![unknown], ..first(1, 1) }), Refusal::UnknownDependency);
    let both = vec![genesis().hash, unknown];
    assert_eq!(refused(1, &Draft { deps: both, ..first(1, 1) }), Refusal::UnknownDependency);
}

/// The library panics when operations name an actor that has no change.
#[test]
fn operations_that_refer_to_an_actor_nobody_has_seen() {
    let attack = |other: ActorId| Draft { others: vec![other.0.to_vec()], ..first(1, 1) };
    assert_eq!(refused(1, &attack(ActorId([9; 16]))), Refusal::UnknownDependency);
    accept(&mut opened(), 1, &attack(case::GENESIS_ACTOR));
}

#[test]
fn a_dependency_refused_earlier_in_the_push_and_the_rest_goes_on() {
    let mut ledger = opened();
    let gap = Draft { seq: 2, ..first(0, 1) }.chunk();
    let gap_hash = Change::parse(gap.clone()).expect("it parses").hash;
    let after_gap = Draft { deps: vec![gap_hash], ..first(0, 2) }.chunk();
    let after_hash = Change::parse(after_gap.clone()).expect("it parses").hash;
    let after_that = Draft { deps: vec![after_hash], ..first(0, 2) }.chunk();
    let honest = first(0, 3).chunk();
    let damaged = Bytes::from_static(b"damaged");
    let pushed = [gap, after_gap, damaged, honest.clone(), after_that, genesis().bytes];
    let admission = offer(&mut ledger, 0, pushed);
    let expected = [
        (0, Refusal::SequenceGap { expected: 1 }),
        (1, Refusal::DependencyRefused),
        (2, Refusal::Change(ChangeError::Malformed("not an automerge chunk"))),
        (4, Refusal::DependencyRefused),
    ];
    assert_eq!(admission.refused, expected);
    assert_eq!(admission.duplicates, 1);
    assert_eq!(admission.entry.map(|entry| entry.changes), Some(vec![honest]));
}

#[test]
fn a_second_root() {
    let root = first(0, 1).at([], 1, 1);
    assert_eq!(refused(0, &root), Refusal::NotGenesis);
    assert_eq!(refusal(&mut new_ledger(), &crew(0), &root), Refusal::NotGenesis);
    let under_genesis_actor = Draft { actor: case::GENESIS_ACTOR.0.to_vec(), ..root };
    assert_eq!(refusal(&mut new_ledger(), &crew(0), &under_genesis_actor), Refusal::NotGenesis);
}

#[test]
fn the_genesis_of_another_part() {
    for part in [Part::Operations, Part::Identity] {
        let mut ledger = new_ledger();
        let admission = offer(&mut ledger, 0, [case::genesis(part).bytes.clone()]);
        assert_eq!(admission.refused, [(0, Refusal::NotGenesis)]);
        assert!(admission.entry.is_none() && ledger.is_new() && ledger.grants().is_empty());
    }
}

#[test]
fn one_actor_more_than_a_document_may_have() {
    let mut ledger = opened();
    let with = |number: usize| {
        let id = [vec![1; 8], (number as u64).to_be_bytes().to_vec()].concat();
        Draft { actor: id, ..first(0, 1) }
    };
    for number in 0..limits::ACTORS_MAX {
        accept(&mut ledger, 0, &with(number));
    }
    assert_eq!(refusal(&mut ledger, &crew(0), &with(limits::ACTORS_MAX)), Refusal::TooManyActors);
    let known = Change::parse(with(0).chunk()).expect("it parses");
    let next = Draft { seq: 2, ..with(0) }.at([known.hash], 2, known.max_op() + 1);
    accept(&mut ledger, 0, &next);
}

#[test]
fn one_byte_more_than_a_document_may_have() {
    let mut ledger = opened();
    let mut last = Change::parse(genesis().bytes).expect("it parses");
    // Honest in every other way: one long text after the other, by one actor, each on the one before.
    let long = |last: &Change, seq, len: usize| {
        let draft = Draft { seq, ..first(0, 1) }.at([last.hash], seq, last.max_op() + 1);
        draft.with_text("x", &"ß".repeat(len / 2)).chunk()
    };
    let (mut seq, mut len) = (1, last.bytes.len());
    loop {
        let chunk = long(&last, seq, 200 << 10);
        len += chunk.len();
        let is_full = len > limits::DOCUMENT_LEN_MAX;
        let expected = if is_full { vec![(0, Refusal::DocumentFull)] } else { Vec::new() };
        assert_eq!(offer(&mut ledger, 0, [chunk.clone()]).refused, expected, "{len} bytes");
        if is_full {
            break;
        }
        last = Change::parse(chunk).expect("it parses");
        seq += 1;
    }
    assert_eq!(offer(&mut ledger, 0, [long(&last, seq, 100)]).refused, [], "what fits is still taken");
}

#[test]
fn an_actor_stays_with_the_device_that_used_it_first() {
    let mut ledger = opened();
    let admission = offer(&mut ledger, 3, [first(0, 1).chunk()]);
    let binding = admission.entry.expect("it is taken").bindings;
    assert_eq!(binding, [Binding::of(&crew(3), &crew(3).tenant, actor(0))]);
    let hash = Change::parse(first(0, 1).chunk()).expect("it parses").hash;
    let next = Draft::new(actor(0)).at([hash], 2, first(0, 1).start_op + 1).with_puts("y", 1);
    assert_eq!(refusal(&mut ledger, &crew(0), &next), Refusal::ForeignActor);
    accept(&mut ledger, 3, &next);
}

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::change::tests::team::{Team, Written, any_team};

/// The changes in some other order that satisfies dependencies: of those that are ready, `draws` picks.
fn causal_order(written: &[Written], draws: &[usize]) -> Vec<Written> {
    let deps = |one: &Written| Change::parse(one.change.bytes.clone()).expect("it parses").deps;
    let mut waiting: Vec<_> = written.iter().map(|one| (one.clone(), deps(one))).collect();
    let mut arrived = HashSet::new();
    let mut ordered = Vec::new();
    for draw in draws.iter().cycle() {
        let is_ready = |(_, deps): &(Written, Vec<ChangeHash>)| deps.iter().all(|dep| arrived.contains(dep));
        let ready: Vec<usize> = (0..waiting.len()).filter(|index| is_ready(&waiting[*index])).collect();
        let Some(index) = ready.get(draw % ready.len().max(1)) else {
            break;
        };
        let (one, _) = waiting.remove(*index);
        arrived.insert(one.change.hash);
        ordered.push(one);
    }
    assert!(waiting.is_empty(), "every change has its dependencies");
    ordered
}

/// Pushes of consecutive changes of one device, at most `len` long.
fn pushes(ordered: &[Written], len: usize) -> impl Iterator<Item = (usize, Vec<Bytes>)> {
    let same_device = ordered.chunk_by(|a, b| a.who == b.who);
    same_device.flat_map(move |of_one| of_one.chunks(len)).map(|push| {
        let bytes = push.iter().map(|one| one.change.bytes.clone()).collect();
        (push[0].who, bytes)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn honest_changes_are_admitted_in_any_causal_order_and_replay_to_the_same_ledger(
        (size, steps) in any_team(40),
        draws in vec(any::<usize>(), 1..50),
        len in 1usize..6,
    ) {
        let team = Team::after(size, &steps);
        let ordered = causal_order(&team.written, &draws);
        let (mut live, mut replayed) = (new_ledger(), new_ledger());
        let mut logged = Vec::new();
        for (device, push) in pushes(&ordered, len) {
            let admission = offer(&mut live, device, push.clone());
            prop_assert_eq!((&admission.refused, admission.duplicates), (&vec![], 0));
            let entry = admission.entry.expect("all of it is new");
            prop_assert_eq!(&entry.changes, &push, "an entry keeps the order of its push");
            replayed.replay(&entry).expect("an admitted entry replays");
            logged.push(entry);
        }
        prop_assert_eq!(state(&live), state(&replayed));
        for number in 0..=size {
            prop_assert_eq!(live.permit(rules(), &crew(number)), replayed.permit(rules(), &crew(number)));
        }

        for (device, push) in pushes(&ordered, len) {
            for ledger in [&mut live, &mut replayed] {
                let again = offer(ledger, device, push.clone());
                prop_assert_eq!((again.entry, again.refused, again.duplicates), (None, vec![], push.len()));
            }
        }
        prop_assert_eq!(state(&live), state(&replayed), "duplicates change nothing");

        let next = |ledger: &mut Ledger| {
            let mut last = ordered.last().map(|one| Change::parse(one.change.bytes.clone()));
            let last = last.take().expect("at least the genesis").expect("it parses");
            let wrong = Draft::new(actor(0)).at([last.hash], 1 << 20, last.max_op() + 1).with_puts("x", 1);
            let fresh = Draft::new(ActorId([3; 16])).at([last.hash], 1, last.max_op() + 1).with_puts("x", 1);
            offer(ledger, 0, [wrong.chunk(), fresh.chunk()])
        };
        prop_assert_eq!(next(&mut live), next(&mut replayed));
    }

    #[test]
    fn changes_out_of_causal_order_are_refused_and_leave_the_ledger_as_it_was(
        (size, steps) in any_team(30),
        draws in vec(any::<usize>(), 1..50),
    ) {
        let team = Team::after(size, &steps);
        let mut ledger = opened();
        for draw in draws {
            let one = &team.written[draw % team.written.len()];
            let before = state(&ledger);
            let admission = offer(&mut ledger, one.who, [one.change.bytes.clone()]);
            let change = Change::parse(one.change.bytes.clone()).expect("it parses");
            match admission.refused.as_slice() {
                [] => prop_assert!(ledger.knows(&change.hash)),
                [(0, Refusal::UnknownDependency)] => {
                    prop_assert!(change.deps.iter().any(|dep| !ledger.knows(dep)));
                    prop_assert_eq!(state(&ledger), before);
                }
                other => prop_assert!(false, "refused for another reason: {:?}", other),
            }
        }
    }
}

#[test]
fn a_stored_change_that_is_damaged_does_not_replay() {
    let mut entry = offer(&mut new_ledger(), 0, [genesis().bytes]).entry.expect("it is taken");
    entry.changes = vec![entry.changes[0].slice(1..)];
    assert!(matches!(new_ledger().replay(&entry), Err(Refusal::Change(_))));
    entry.changes = vec![genesis().bytes, first(0, 1).chunk()];
    assert_eq!(new_ledger().replay(&entry), Err(Refusal::ForeignActor), "it has no binding");
}

#[test]
fn a_change_twice_in_one_push_is_taken_once() {
    let change = first(0, 1).chunk();
    let admission = offer(&mut opened(), 0, [change.clone(), change.clone()]);
    assert_eq!((admission.refused, admission.duplicates), (vec![], 1));
    assert_eq!(admission.entry.map(|entry| entry.changes), Some(vec![change]));
}

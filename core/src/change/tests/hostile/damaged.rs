use proptest::{collection::vec, prelude::*};

use super::*;
use crate::change::tests::team::any_team;

#[derive(Debug, Clone)]
enum Damage {
    Flip(usize, u8),
    Remove(usize, usize),
    Insert(usize, Vec<u8>),
}

fn any_damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<usize>(), 1u8..).prop_map(|(at, mask)| Damage::Flip(at, mask)),
        (any::<usize>(), 1usize..9).prop_map(|(at, len)| Damage::Remove(at, len)),
        (any::<usize>(), vec(any::<u8>(), 1..12)).prop_map(|(at, new)| Damage::Insert(at, new)),
    ]
}

/// Damages the body and makes length and checksum fit again.
fn damaged(change: &Bytes, damages: &[Damage]) -> Bytes {
    let parsed_header = change.iter().skip(craft::HEADER_LEN + 1).take_while(|byte| **byte & 0x80 != 0).count();
    let mut body = change[craft::HEADER_LEN + 2 + parsed_header..].to_vec();
    for damage in damages {
        let len = body.len().max(1);
        match damage {
            Damage::Flip(at, mask) => body.get_mut(at % len).into_iter().for_each(|byte| *byte ^= mask),
            Damage::Remove(at, count) => {
                let at = at % len;
                drop(body.drain(at.min(body.len())..(at + count).min(body.len())));
            }
            Damage::Insert(at, new) => {
                let at = (at % len).min(body.len());
                drop(body.splice(at..at, new.iter().copied()));
            }
        }
    }
    craft::chunk(craft::CHUNK_CHANGE, &body)
}

fn within_limits(bytes: Bytes) {
    if let Ok(change) = Change::parse(bytes) {
        assert!(change.ops <= limits::CHANGE_OPS_MAX);
        assert!(change.deps.len() <= limits::CHANGE_DEPS_MAX);
        assert!(change.max_op() < limits::OP_COUNTER_MAX);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn damaged_changes_with_valid_checksums_are_refused_or_within_limits(
        (size, steps) in any_team(12),
        damages in vec(vec(any_damage(), 1..4), 40),
    ) {
        let team = Team::after(size, &steps);
        for written in &team.written {
            damages.iter().for_each(|damage| within_limits(damaged(&written.change.bytes, damage)));
        }
    }

    #[test]
    fn any_bytes_in_a_valid_chunk_are_refused_or_within_limits(
        bodies in vec(vec(any::<u8>(), 0..200), 50),
    ) {
        bodies.iter().for_each(|body| within_limits(craft::chunk(craft::CHUNK_CHANGE, body)));
    }
}

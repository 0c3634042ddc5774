//! Makes other cases of the same shape: eight scripts, repeated a hundred times, compress as no thousand cases do.
//!
//! Readings and figures move by up to a fifth, digits inside texts are drawn anew, single values come from any of the
//! scripts, and a note takes another note's words of the same length, so that every position stays valid.

use std::{collections::BTreeMap, sync::Arc};

use feldakte_core::crdt::Value;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::{Op, Scalar, Script, Step};

/// Another case like `script`, with values out of all `scripts`.
pub(super) fn vary(script: &Script, scripts: &[Arc<Script>], seed: u64) -> Script {
    let pool = Pool::of(scripts);
    let mut rng = StdRng::seed_from_u64(seed);
    let vary_step =
        |step: &Step| Step { ops: step.ops.iter().map(|op| pool.vary(op, &mut rng)).collect(), ..step.clone() };
    Script { steps: script.steps.iter().map(vary_step).collect() }
}

#[derive(Default)]
struct Pool<'a> {
    values: BTreeMap<(&'a str, &'a str), Vec<&'a Scalar>>,
    words: BTreeMap<usize, Vec<&'a str>>,
}

impl<'a> Pool<'a> {
    fn of(scripts: &'a [Arc<Script>]) -> Self {
        let mut pool = Self::default();
        for op in scripts.iter().flat_map(|script| &script.steps).flat_map(|step| &step.ops) {
            match op {
                Op::Put { k, f, v } => pool.values.entry((k, f)).or_default().push(v),
                Op::Splice { s, .. } => pool.words.entry(s.len()).or_default().push(s),
                _ => {}
            }
        }
        pool
    }

    fn vary(&self, op: &Op, rng: &mut StdRng) -> Op {
        match op {
            Op::Put { k, f, v } => {
                let other = self.values.get(&(k.as_str(), f.as_str())).and_then(|values| values.choose(rng));
                Op::Put { k: k.clone(), f: f.clone(), v: vary_value(other.copied().unwrap_or(v), rng) }
            }
            Op::Push { k, v } => {
                let fields = v.iter().map(|(name, value)| (name.clone(), vary_value(value, rng)));
                Op::Push { k: k.clone(), v: fields.collect() }
            }
            Op::Splice { k, i, d, s } => {
                let other = self.words.get(&s.len()).and_then(|words| words.choose(rng));
                Op::Splice { k: k.clone(), i: *i, d: *d, s: (*other.unwrap_or(&s.as_str())).to_owned() }
            }
            containers => containers.clone(),
        }
    }
}

fn vary_value(Scalar(value): &Scalar, rng: &mut StdRng) -> Scalar {
    let digit = |c: char, rng: &mut StdRng| match c.is_ascii_digit() {
        true => char::from(rng.random_range(b'0'..=b'9')),
        false => c,
    };
    Scalar(match value {
        Value::Text(text) => Value::Text(text.chars().map(|c| digit(c, rng)).collect()),
        Value::Integer(number) => {
            let fifth = number.abs() / 5;
            Value::Integer(number + rng.random_range(-fifth..=fifth))
        }
        // One decimal, as instruments show it.
        Value::Decimal(number) => Value::Decimal((number * rng.random_range(8.0..12.0)).round() / 10.0),
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use feldakte_core::ids::{ActorId, CaseId, DocumentId, Part};
    use uuid::Uuid;

    use super::*;
    use crate::load::{
        replay::{CaseLog, CaseSpec},
        workload::tests::script,
    };

    #[test]
    fn another_case_has_the_same_shape_and_other_values() {
        let original = script();
        let varied = |seed| vary(&original, std::slice::from_ref(&original), seed);
        let document = DocumentId { case: CaseId(Uuid::from_u128(1)), part: Part::Clinical };
        let write = |script| CaseLog::write(&CaseSpec { document, actor: ActorId([1; 16]), script, steps: 9 }).unwrap();
        let of_seed = |seed| write(Arc::new(varied(seed)));
        assert_eq!(of_seed(1).hashes, of_seed(1).hashes);
        assert_ne!(of_seed(1).hashes, of_seed(2).hashes);
        assert_eq!(of_seed(1).len(), write(original.clone()).len());
    }
}

//! Keys in use, opened: the most recent ones, in two generations.

use std::collections::HashMap;

use feldakte_core::ids::CaseId;

use super::Held;

/// When the younger generation is full the older one is forgotten; what is asked for again becomes young again.
#[derive(Debug, Default)]
pub(super) struct Cache {
    young: HashMap<CaseId, Held>,
    old: HashMap<CaseId, Held>,
}

impl Cache {
    /// What is known of the case.
    pub fn get(&mut self, case: CaseId) -> Option<Held> {
        if let Some(held) = self.young.get(&case) {
            return Some(held.clone());
        }
        let held = self.old.remove(&case)?;
        Some(self.put(case, held))
    }

    /// Keeps it, unless the case is known to be shredded; gives what is known now.
    pub fn put(&mut self, case: CaseId, held: Held) -> Held {
        if self.is_shredded(case) {
            return Held::Shredded;
        }
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(case, held.clone());
        held
    }

    /// The case's key was destroyed. Whoever had read it a moment ago does not bring it back.
    pub fn shred(&mut self, case: CaseId) {
        self.old.remove(&case);
        self.young.insert(case, Held::Shredded);
    }

    fn is_shredded(&self, case: CaseId) -> bool {
        [&self.young, &self.old].into_iter().any(|cases| matches!(cases.get(&case), Some(Held::Shredded)))
    }
}

/// Cases of one generation: a busy district's day, about 600 bytes each.
const GENERATION: usize = 16_384;

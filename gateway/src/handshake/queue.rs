//! Handshakes that wait for a processor: those of missions first, but not all of them.

use std::collections::VecDeque;

use feldakte_core::turnstile::Class;

/// All that wait. Each holds a place among the handshakes under way, so that they are no more than those.
#[derive(Debug)]
pub struct Queue<T> {
    missions: VecDeque<T>,
    others: VecDeque<T>,
    /// Missions that have gone before somebody else.
    in_a_row: u32,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { missions: VecDeque::new(), others: VecDeque::new(), in_a_row: 0 }
    }
}

impl<T> Queue<T> {
    /// Waits behind those of its class.
    pub fn push(&mut self, class: Class, waiting: T) {
        match class {
            Class::Mission => self.missions.push_back(waiting),
            Class::Other => self.others.push_back(waiting),
        }
    }

    /// Whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        if self.others.is_empty() || (!self.missions.is_empty() && self.in_a_row < MISSIONS_IN_A_ROW) {
            self.in_a_row += 1;
            return self.missions.pop_front();
        }
        self.in_a_row = 0;
        self.others.pop_front()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.missions.is_empty() && self.others.is_empty()
    }
}

/// Whoever claims missions without end slows the others down to a quarter, no further.
const MISSIONS_IN_A_ROW: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(missions: u32, others: u32) -> Queue<(Class, u32)> {
        let mut queue = Queue::default();
        (0..others).for_each(|number| queue.push(Class::Other, (Class::Other, number)));
        (0..missions).for_each(|number| queue.push(Class::Mission, (Class::Mission, number)));
        queue
    }

    #[test]
    fn missions_go_before_those_who_came_sooner_and_each_class_in_its_order() {
        let mut queue = waiting(2, 2);
        let order = [(Class::Mission, 0), (Class::Mission, 1), (Class::Other, 0), (Class::Other, 1)];
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), order);
        assert!(queue.is_empty());
    }

    #[test]
    fn missions_without_end_leave_every_fourth_turn_to_others() {
        let mut queue = waiting(300, 100);
        for _ in 0..100 {
            let turns = std::iter::from_fn(|| queue.pop()).take(4);
            assert_eq!(turns.filter(|(class, _)| *class == Class::Other).count(), 1);
        }
    }
}

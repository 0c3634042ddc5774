//! Orders: what their events come to, the same on every replica in whatever order they arrived (DOMAIN, rule 2).
//!
//! Nothing is ever dropped: a step that has no effect, or that contradicts another, is kept and flagged, and people
//! decide. Only what a physician has certifiably ordered counts as ordered.

use std::collections::BTreeMap;

use super::{
    author::{Provenance, may_order},
    event::{Event, OrderStep, Recorded},
};
use crate::{crdt::History, ids::OrderId};

/// An order and everything that happened to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Which.
    pub id: OrderId,
    /// What it comes to.
    pub state: OrderState,
    /// Every step, in an order that agrees with what its writers had seen.
    pub steps: Vec<Step>,
    /// What people should look at, ascending.
    pub flags: Vec<Flag>,
}

/// What an order comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    /// Asked for; no physician has ordered it.
    Proposed,
    /// Ordered by a physician.
    Ordered,
    /// Ordered, and repeated by whoever is to do it.
    ReadBack,
    /// Done. What was done stays done, whatever else was said.
    Given,
    /// Not done, for a reason.
    Refused,
    /// Its time has passed.
    Expired,
    /// Taken back.
    Cancelled,
}

impl OrderState {
    /// Its name in logs and on screens.
    pub fn name(self) -> &'static str {
        match self {
            OrderState::Proposed => "proposed",
            OrderState::Ordered => "ordered",
            OrderState::ReadBack => "read_back",
            OrderState::Given => "given",
            OrderState::Refused => "refused",
            OrderState::Expired => "expired",
            OrderState::Cancelled => "cancelled",
        }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What happened.
    pub step: OrderStep,
    /// Who says so.
    pub provenance: Provenance,
    /// Whether it counts. One that does not is shown all the same.
    pub has_effect: bool,
}

/// What people should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flag {
    /// Somebody who is no certified physician has written "ordered": it has no effect.
    OrderedWithoutAuthority,
    /// Somebody who is no certified physician has cancelled what a physician ordered: it has no effect.
    CancelledWithoutAuthority,
    /// Read back by somebody who could not see it ordered: it has no effect.
    ReadBackWithoutOrder,
    /// Given by somebody who could not see it ordered.
    GivenWithoutVisibleOrder,
    /// Given without having been read back before.
    GivenWithoutReadBack,
    /// Given although its giver could see that it was cancelled.
    GivenAfterCancel,
    /// Given and cancelled, and neither had seen the other.
    GivenAgainstCancel,
    /// Cancelled by somebody who could see that it was given: it has no effect.
    CancelledAfterGiven,
    /// Given and refused.
    GivenAndRefused,
    /// Given more than once.
    GivenTwice,
    /// Ordered more than once, with different content.
    OrderedDifferently,
}

/// What the events come to, ascending by id.
pub fn fold(events: &[Recorded], history: &History) -> Vec<Order> {
    let mut by_order: BTreeMap<OrderId, Vec<Step>> = BTreeMap::new();
    for Recorded { event, provenance } in events {
        if let Event::Order { order, step } = event {
            let step = Step { step: step.clone(), provenance: provenance.clone(), has_effect: true };
            by_order.entry(*order).or_default().push(step);
        }
    }
    by_order.into_iter().map(|(id, steps)| fold_one(id, steps, history)).collect()
}

fn fold_one(id: OrderId, mut steps: Vec<Step>, history: &History) -> Order {
    steps.sort_by_key(|step| step.provenance.origin.rank());
    let mut fold = Fold { steps, history, flags: Vec::new() };
    fold.judge_orders();
    fold.judge_cancels();
    fold.judge_read_backs();
    fold.judge_gifts();
    let state = fold.state();
    let Fold { steps, mut flags, .. } = fold;
    flags.sort_unstable();
    flags.dedup();
    Order { id, state, steps, flags }
}

type Wanted = fn(&OrderStep) -> bool;

struct Fold<'a> {
    steps: Vec<Step>,
    history: &'a History,
    flags: Vec<Flag>,
}

impl Fold<'_> {
    fn judge_orders(&mut self) {
        let mut first: Option<OrderStep> = None;
        for step in &mut self.steps {
            if !matches!(step.step, OrderStep::Ordered { .. }) {
                continue;
            }
            if !step.is_a_physicians() {
                step.has_effect = false;
                self.flags.push(Flag::OrderedWithoutAuthority);
                continue;
            }
            match &first {
                None => first = Some(step.step.clone()),
                Some(first) if *first == step.step => {}
                Some(_) => self.flags.push(Flag::OrderedDifferently),
            }
        }
    }

    /// Who proposed something may take the proposal back; what a physician has ordered only a physician.
    fn judge_cancels(&mut self) {
        let is_ordered =
            self.steps.iter().any(|step| step.has_effect && matches!(step.step, OrderStep::Ordered { .. }));
        for step in &mut self.steps {
            if is_ordered && matches!(step.step, OrderStep::Cancelled { .. }) && !step.is_a_physicians() {
                step.has_effect = false;
                self.flags.push(Flag::CancelledWithoutAuthority);
            }
        }
    }

    fn judge_read_backs(&mut self) {
        for index in 0..self.steps.len() {
            if self.steps[index].step == OrderStep::ReadBack
                && !self.has_seen(index, |step| matches!(step, OrderStep::Ordered { .. }))
            {
                self.steps[index].has_effect = false;
                self.flags.push(Flag::ReadBackWithoutOrder);
            }
        }
    }

    fn judge_gifts(&mut self) {
        let gifts = self.indices(|step| matches!(step, OrderStep::Given { .. }));
        for gift in &gifts {
            if !self.has_seen(*gift, |step| matches!(step, OrderStep::Ordered { .. })) {
                self.flags.push(Flag::GivenWithoutVisibleOrder);
            } else if !self.has_seen(*gift, |step| *step == OrderStep::ReadBack) {
                self.flags.push(Flag::GivenWithoutReadBack);
            }
            for cancel in self.indices(|step| matches!(step, OrderStep::Cancelled { .. })) {
                if !self.steps[cancel].has_effect {
                    continue;
                }
                let flag = match (self.sees(*gift, cancel), self.sees(cancel, *gift)) {
                    (true, _) => Flag::GivenAfterCancel,
                    (false, true) => Flag::CancelledAfterGiven,
                    (false, false) => Flag::GivenAgainstCancel,
                };
                self.steps[cancel].has_effect &= flag != Flag::CancelledAfterGiven;
                self.flags.push(flag);
            }
        }
        if gifts.len() > 1 {
            self.flags.push(Flag::GivenTwice);
        }
        if !gifts.is_empty() && !self.indices(|step| matches!(step, OrderStep::Refused { .. })).is_empty() {
            self.flags.push(Flag::GivenAndRefused);
        }
    }

    /// What was given stays given. Otherwise a physician's word ends the order, then the crew's, then time.
    fn state(&self) -> OrderState {
        let has = |wanted: Wanted| self.steps.iter().any(|step| step.has_effect && wanted(&step.step));
        let ladder: [(Wanted, OrderState); 6] = [
            (|step| matches!(step, OrderStep::Given { .. }), OrderState::Given),
            (|step| matches!(step, OrderStep::Cancelled { .. }), OrderState::Cancelled),
            (|step| matches!(step, OrderStep::Refused { .. }), OrderState::Refused),
            (|step| matches!(step, OrderStep::Expired), OrderState::Expired),
            (|step| matches!(step, OrderStep::ReadBack), OrderState::ReadBack),
            (|step| matches!(step, OrderStep::Ordered { .. }), OrderState::Ordered),
        ];
        ladder.into_iter().find(|(wanted, _)| has(*wanted)).map_or(OrderState::Proposed, |(_, state)| state)
    }

    fn indices(&self, wanted: impl Fn(&OrderStep) -> bool) -> Vec<usize> {
        (0..self.steps.len()).filter(|index| wanted(&self.steps[*index].step)).collect()
    }

    /// Whether the writer of a step had seen one that counts and is wanted.
    fn has_seen(&self, index: usize, wanted: impl Fn(&OrderStep) -> bool) -> bool {
        self.indices(wanted).into_iter().any(|other| self.steps[other].has_effect && self.sees(index, other))
    }

    fn sees(&self, later: usize, earlier: usize) -> bool {
        let (later, earlier) = (&self.steps[later].provenance.origin, &self.steps[earlier].provenance.origin);
        match later.change == earlier.change {
            true => later.counter > earlier.counter,
            false => self.history.has_seen(&later.change, &earlier.change),
        }
    }
}

impl Step {
    fn is_a_physicians(&self) -> bool {
        self.provenance.author.as_ref().is_some_and(|author| may_order(author.role))
    }
}

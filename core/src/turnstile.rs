//! Who may begin a session now, who waits for it, and who comes back later: what keeps a gateway upright when everybody
//! returns at once.
//!
//! Devices on a mission have places and a queue of their own, so that no crowd is before them. A device has
//! a few places, however often it comes. Whoever is sent away is told when there will be room, at the rate
//! at which sessions were seen to begin.

use std::{collections::VecDeque, time::Duration};

use self::lane::Lane;
use crate::limits;

mod lane;

/// Who begins a session, as far as that decides when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// On a mission.
    Mission,
    /// Everybody else.
    Other,
}

/// One arrival, in the order of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// Who takes over a place in the queue has its number.
    number: u64,
    /// Tells two arrivals of one device apart.
    arrival: u64,
}

impl Ticket {
    const FIRST: Self = Self { number: 0, arrival: 0 };
    const LAST: Self = Self { number: u64::MAX, arrival: u64::MAX };
}

/// What becomes of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Inside, until [`Turnstile::depart`].
    Enter(Ticket),
    /// In the queue, until [`Turnstile::poll_turn`] names it, or [`Turnstile::depart`].
    Wait(Ticket),
    /// Comes back after so long.
    Away(Duration),
}

/// What has come to one who waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Inside, until [`Turnstile::depart`].
    Entered(Ticket),
    /// The same device has come once too often: its last arrival has taken over the place.
    Replaced(Ticket),
}

/// All who begin a session or wait for it. `K` names devices. Times are those since a moment that the caller keeps.
#[derive(Debug)]
pub struct Turnstile<K> {
    missions: Lane<K>,
    others: Lane<K>,
    turns: VecDeque<Turn>,
    arrivals: u64,
}

impl<K: Ord + Copy> Default for Turnstile<K> {
    fn default() -> Self {
        Self {
            missions: Lane::new(limits::MISSIONS_BEGINNING_AT_ONCE),
            others: Lane::new(limits::BEGINNING_AT_ONCE),
            turns: VecDeque::new(),
            arrivals: 0,
        }
    }
}

impl<K: Ord + Copy> Turnstile<K> {
    /// Somebody has come.
    pub fn arrive(&mut self, now: Duration, class: Class, who: K) -> Verdict {
        let arrival = self.arrivals;
        self.arrivals += 1;
        let (verdict, replaced) = self.lane(class).arrive(now, arrival, who);
        self.turns.extend(replaced.map(Turn::Replaced));
        verdict
    }

    /// News for one who waited.
    pub fn poll_turn(&mut self) -> Option<Turn> {
        self.turns.pop_front()
    }

    /// Has begun, or has gone, from inside or from the queue.
    pub fn depart(&mut self, now: Duration, ticket: Ticket) {
        for class in [Class::Mission, Class::Other] {
            let lane = self.lane(class);
            lane.depart(now, ticket);
            let entered: Vec<Ticket> = std::iter::from_fn(|| lane.let_in(now)).collect();
            self.turns.extend(entered.into_iter().map(Turn::Entered));
        }
    }

    /// Has waited too long, and is to come back after the time that this returns; `None` when he waits no more.
    pub fn give_up(&mut self, now: Duration, ticket: Ticket) -> Option<Duration> {
        [Class::Mission, Class::Other].into_iter().find_map(|class| self.lane(class).give_up(now, ticket))
    }

    /// How many wait.
    pub fn waiting(&self, class: Class) -> usize {
        match class {
            Class::Mission => self.missions.waiting(),
            Class::Other => self.others.waiting(),
        }
    }

    fn lane(&mut self, class: Class) -> &mut Lane<K> {
        match class {
            Class::Mission => &mut self.missions,
            Class::Other => &mut self.others,
        }
    }
}

#[cfg(test)]
mod tests;

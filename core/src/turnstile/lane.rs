//! One queue with so many places behind it, and how long a place was taken of late.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Ticket, Verdict};
use crate::limits;

#[derive(Debug)]
pub(super) struct Lane<K> {
    at_once: usize,
    inside: BTreeMap<Ticket, Inside<K>>,
    waiting: BTreeMap<Ticket, K>,
    /// The same, by device.
    tickets: BTreeSet<(K, Ticket)>,
    /// How long a place is taken, averaged over the last ones.
    stay: Duration,
    /// When those who were sent away will all have come in.
    horizon: Duration,
}

#[derive(Debug)]
struct Inside<K> {
    who: K,
    since: Duration,
}

impl<K: Ord + Copy> Lane<K> {
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            at_once,
            inside: BTreeMap::new(),
            waiting: BTreeMap::new(),
            tickets: BTreeSet::new(),
            stay: FIRST_GUESS,
            horizon: Duration::ZERO,
        }
    }

    /// What becomes of it, and whose place in the queue it has taken over.
    pub(super) fn arrive(&mut self, now: Duration, arrival: u64, who: K) -> (Verdict, Option<Ticket>) {
        if let Some(oldest) = self.one_too_many(who) {
            self.leave_queue(oldest);
            return (self.queue(Ticket { arrival, ..oldest }, who), Some(oldest));
        }
        (self.arrive_first(now, Ticket { number: arrival, arrival }, who), None)
    }

    fn arrive_first(&mut self, now: Duration, ticket: Ticket, who: K) -> Verdict {
        // Of those who wait nobody has a place, or he would be inside.
        if self.has_place_for(who) {
            self.inside.insert(ticket, Inside { who, since: now });
            return Verdict::Enter(ticket);
        }
        if self.waiting.len() >= limits::BEGINNING_WAITING_MAX || self.wait() > limits::BEGINNING_WAIT_MAX {
            return Verdict::Away(self.send_away(now));
        }
        self.queue(ticket, who)
    }

    fn queue(&mut self, ticket: Ticket, who: K) -> Verdict {
        self.waiting.insert(ticket, who);
        self.tickets.insert((who, ticket));
        Verdict::Wait(ticket)
    }

    /// Lets in whoever has waited longest, when a place is free.
    pub(super) fn let_in(&mut self, now: Duration) -> Option<Ticket> {
        if self.inside.len() >= self.at_once {
            return None;
        }
        // Those who are passed over are inside already, so that they are few.
        let (ticket, who) =
            self.waiting.iter().map(|(ticket, who)| (*ticket, *who)).find(|(_, who)| self.has_place_for(*who))?;
        self.leave_queue(ticket);
        self.inside.insert(ticket, Inside { who, since: now });
        Some(ticket)
    }

    pub(super) fn depart(&mut self, now: Duration, ticket: Ticket) {
        self.leave_queue(ticket);
        if let Some(Inside { since, .. }) = self.inside.remove(&ticket) {
            let stay = now.saturating_sub(since).min(limits::BEGINNING_WITHIN);
            self.stay = (self.stay * (AVERAGED - 1) + stay) / AVERAGED;
        }
    }

    fn leave_queue(&mut self, ticket: Ticket) -> Option<K> {
        let who = self.waiting.remove(&ticket)?;
        self.tickets.remove(&(who, ticket));
        Some(who)
    }

    /// Of a device that waits with all its places: the oldest.
    fn one_too_many(&self, who: K) -> Option<Ticket> {
        let tickets = || self.tickets.range((who, Ticket::FIRST)..=(who, Ticket::LAST)).map(|(_, ticket)| *ticket);
        let is_full = tickets().count() >= limits::SESSIONS_PER_DEVICE;
        tickets().filter(|_| is_full).min_by_key(|ticket| ticket.arrival)
    }

    pub(super) fn give_up(&mut self, now: Duration, ticket: Ticket) -> Option<Duration> {
        self.leave_queue(ticket)?;
        Some(self.send_away(now))
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn has_place_for(&self, who: K) -> bool {
        let of_device = self.inside.values().filter(|inside| inside.who == who);
        self.inside.len() < self.at_once && of_device.count() < limits::SESSIONS_PER_DEVICE
    }

    /// The next place that becomes free after those who wait and those who were sent away before.
    fn send_away(&mut self, now: Duration) -> Duration {
        let next = self.horizon.max(now + self.wait()) + self.pace();
        // At the latest moment anybody is told, more of them come at once, and those without room are told again.
        self.horizon = next.min(now + limits::RETRY_AFTER_MAX);
        next.saturating_sub(now).clamp(limits::RETRY_AFTER_MIN, limits::RETRY_AFTER_MAX)
    }

    /// From one place that becomes free to the next.
    fn pace(&self) -> Duration {
        self.stay / u32::try_from(self.at_once).unwrap_or(u32::MAX)
    }

    /// How long one more would wait.
    fn wait(&self) -> Duration {
        self.pace().saturating_mul(u32::try_from(self.waiting.len() + 1).unwrap_or(u32::MAX))
    }
}

/// On a quiet machine.
const FIRST_GUESS: Duration = Duration::from_millis(5);
/// As many as it takes to notice that a storm has begun, and too many for one slow device to count.
const AVERAGED: u32 = 32;

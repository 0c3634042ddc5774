//! What waits for one session: a few datagrams of each call, the newest.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use feldakte_core::{ids::CallId, limits};
use tokio::sync::Notify;

/// Never waited for: what is new takes the place of what is old.
#[cfg_attr(test, derive(Debug))]
#[derive(Default)]
pub struct Outbox {
    waiting: Mutex<VecDeque<(Option<CallId>, Bytes)>>,
    filled: Notify,
}

feldakte_core::hide_content! { Outbox }

impl Outbox {
    /// Puts one in; gives how many older ones of its call have made room for it. `None` is no call's.
    pub(super) fn put(&self, call: Option<CallId>, datagram: Bytes) -> u64 {
        let mut waiting = self.waiting();
        let of_call = waiting.iter().filter(|(other, _)| *other == call).count();
        let oldest = match waiting.len() >= limits::LIVE_WAITING_MAX {
            true => Some(0),
            false if of_call >= limits::LIVE_WAITING_PER_CALL => waiting.iter().position(|(other, _)| *other == call),
            false => None,
        };
        let replaced = oldest.and_then(|oldest| waiting.remove(oldest));
        waiting.push_back((call, datagram));
        drop(waiting);
        self.filled.notify_one();
        u64::from(replaced.is_some())
    }

    /// Waits until there is something.
    pub async fn filled(&self) {
        while self.waiting().is_empty() {
            self.filled.notified().await;
        }
    }

    /// The oldest of them; `None` when all were taken back.
    pub fn take(&self) -> Option<Bytes> {
        self.waiting().pop_front().map(|(_, datagram)| datagram)
    }

    /// Nothing of that call leaves any more.
    pub(super) fn take_back(&self, call: CallId) {
        self.waiting().retain(|(other, _)| *other != Some(call));
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(Option<CallId>, Bytes)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

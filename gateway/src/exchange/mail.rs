//! What waits to be said about calls on one line: the newest fact of each call, answers, and a few signals.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use feldakte_core::{call::Told, limits};
use tokio::sync::Notify;

/// The mail of one line.
#[derive(Debug, Default)]
pub struct CallMail {
    queue: Mutex<VecDeque<Told>>,
    filled: Notify,
}

impl CallMail {
    /// Puts something in. Of facts of one call the newest one alone stays; a signal for which there is no room is dropped, and
    /// false returned: what it was about is agreed on anew when that fails.
    pub fn put(&self, told: Told) -> bool {
        let mut queue = self.queue();
        match &told {
            Told::Fact(fact) => {
                let before = |known: &Told| matches!(known, Told::Fact(known) if known.call == fact.call);
                queue.retain(|known| !before(known));
            }
            Told::Signal(_) | Told::Pulse(_) => {
                let is_like = |known: &&Told| matches!(known, Told::Signal(_) | Told::Pulse(_));
                if queue.iter().filter(is_like).count() >= limits::SIGNALS_WAITING {
                    return false;
                }
            }
            // As many as there are intents, which are bounded, and calls of one device.
            Told::Joined(_) | Told::Reply(_) | Told::Relay(_) => {}
        }
        queue.push_back(told);
        drop(queue);
        self.filled.notify_one();
        true
    }

    /// Takes the next thing; waits until there is one. Cancel-safe.
    pub async fn take(&self) -> Told {
        loop {
            let filled = self.filled.notified();
            let next = {
                let mut queue = self.queue();
                let next = queue.pop_front();
                if queue.is_empty() {
                    *queue = VecDeque::new();
                }
                next
            };
            match next {
                Some(told) => return told,
                None => filled.await,
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Told>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use feldakte_core::{call::Signal, ids::CallId};
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_line_that_takes_nothing_keeps_few_signals_and_every_answer() {
        let mail = CallMail::default();
        let signal = |number: u32| {
            let call = CallId(Uuid::nil());
            Told::Signal(Signal { call, from: 1, to: 0, epoch: number, payload: String::new() })
        };
        let taken = (0..1_000).filter(|number| mail.put(signal(*number))).count();
        assert_eq!(taken, limits::SIGNALS_WAITING);
        assert!(mail.put(Told::Joined(feldakte_core::call::Joined::default())));
        assert_eq!(mail.take().await, signal(0));
    }
}

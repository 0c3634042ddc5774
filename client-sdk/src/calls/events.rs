//! What an app hears of calls, one thing at a time, in order.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use feldakte_core::{
    call::{Fact, Outcome, Relay},
    ids::CallId,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Something that an app wants to know of a call at once.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub enum CallEvent {
    /// It stands otherwise: look with [`crate::Client::calls`]. Several of these become one.
    Changed(CallId),
    /// The device has no part in it any more; this was the last that was known.
    Gone(CallId, Box<Fact>),
    /// An intent was answered.
    Answered(CallId, Outcome),
    /// From another leg: for the app's WebRTC.
    Signal {
        /// Of which call.
        call: CallId,
        /// From which leg.
        from: u8,
        /// The sender's epoch: in a new one everything is agreed on anew.
        epoch: u32,
        /// As it was sent.
        payload: String,
    },
    /// Where media may be relayed.
    Relay(Relay),
}

/// Implemented by an app that makes calls.
pub trait CallObserver: Send + Sync + 'static {
    /// Called from a task of the SDK, one event at a time. May take its time; it delays nothing but itself.
    fn on_call(&self, event: CallEvent);
}

/// What waits to be heard.
#[derive(Default)]
pub(crate) struct Events {
    queue: Mutex<VecDeque<CallEvent>>,
    observers: Mutex<Vec<Arc<dyn CallObserver>>>,
    wake: Notify,
}

impl Events {
    pub(crate) fn observe(&self, observer: Arc<dyn CallObserver>) {
        self.observers.lock().unwrap_or_else(PoisonError::into_inner).push(observer);
    }

    pub(super) fn put(&self, event: CallEvent) {
        let mut queue = self.queue();
        let is_known = matches!(event, CallEvent::Changed(_)) && queue.contains(&event);
        if is_known {
            return;
        }
        if queue.len() >= WAITING_MAX && !matches!(event, CallEvent::Changed(_) | CallEvent::Gone(..)) {
            // Media is agreed on anew when that fails, and an answer stands in the call's state.
            return warn!("the app does not take what it is told of calls");
        }
        queue.push_back(event);
        drop(queue);
        self.wake.notify_one();
    }

    /// Delivers until shutdown.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            let next = self.queue().pop_front();
            match next {
                Some(event) => {
                    let observers = self.observers.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    observers.iter().for_each(|observer| observer.on_call(event.clone()));
                    tokio::task::consume_budget().await;
                }
                None => tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return,
                    () = self.wake.notified() => {}
                },
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<CallEvent>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

feldakte_core::hide_content! { CallEvent }

/// More than the candidates of a call that is set up twice.
const WAITING_MAX: usize = 256;

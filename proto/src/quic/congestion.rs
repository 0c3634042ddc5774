//! The congestion window of `core`, as quinn asks for it.
//!
//! One per path: quinn makes a new one when a path changes, and copies it when only a port has.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use feldakte_core::congestion::{Acked, Copa, Lost};
use quinn_proto::{
    RttEstimator,
    congestion::{Controller, ControllerFactory},
};

/// Makes a [`Control`] for each path.
#[derive(Debug, Clone, Copy, Default)]
pub struct ControlFactory;

/// The congestion window of one path.
#[derive(Debug, Clone)]
pub struct Control {
    copa: Copa,
    start: Instant,
}

impl ControlFactory {
    /// As a transport configuration takes it.
    pub fn shared() -> Arc<Self> {
        Arc::new(Self)
    }
}

impl ControllerFactory for ControlFactory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Control::new(now, current_mtu))
    }
}

impl Control {
    fn new(start: Instant, mtu: u16) -> Self {
        Self { copa: Copa::new(mtu), start }
    }

    fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }
}

impl Controller for Control {
    fn on_sent(&mut self, now: Instant, _bytes: u64, _last_packet_number: u64) {
        self.copa.on_sent(self.since_start(now));
    }

    /// quinn's own estimate is smoothed, which is too late for a window that follows the queue: the packet's own round
    /// trip counts.
    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, _rtt: &RttEstimator) {
        let (now, sent) = (self.since_start(now), self.since_start(sent));
        self.copa.on_ack(Acked { now, sent, bytes, app_limited });
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        let (now, sent) = (self.since_start(now), self.since_start(sent));
        if lost_bytes == 0 {
            return self.copa.on_marked(now);
        }
        self.copa.on_loss(Lost { now, sent, bytes: lost_bytes, persistent: is_persistent_congestion });
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.copa.on_mtu(new_mtu);
    }

    fn window(&self) -> u64 {
        self.copa.window()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.copa.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

//! How many bytes may be in flight: a congestion window that follows delay, so that bulk never fills the radio's buffer.
//!
//! Copa (Arun, Balakrishnan: "Copa: Practical Delay-Based Congestion Control for the Internet", NSDI 2018): the window
//! grows while the queue that the delay shows is shorter than a target, shrinks while it is longer, and so swings around
//! the target; loss alone means nothing. Where a neighbour keeps the queue full, it competes by loss, as he does.
//! What differs from the paper, and why, stands at the place: `delay` (paths that jitter), `queue_packets` (fast and slow
//! links), `drain` and `neighbour` (who fills the queue is tried, not guessed) and `loss` (policers). No clock: times are those
//! since a moment that the caller keeps.

mod delay;
mod drain;
mod loss;
mod neighbour;
#[cfg(test)]
mod tests;
mod velocity;

use std::time::Duration;

use delay::Delays;
use drain::{Drain, Seen};
use loss::Losses;
use neighbour::{Neighbour, Verdict};
use velocity::Velocity;

/// The congestion window of one path.
#[derive(Debug, Clone)]
pub struct Copa {
    packet: f64,
    /// Bytes; what single acknowledgements add is a fraction of one.
    window: f64,
    phase: Phase,
    delays: Delays,
    velocity: Velocity,
    losses: Losses,
    neighbour: Neighbour,
    drain: Option<Drain>,
    round: Round,
    now: Duration,
    /// When the queue was last seen nearly empty, or was nobody's business.
    emptied_at: Duration,
    /// When a drain last ended, and how many there were.
    drained_at: Duration,
    drains: u32,
    /// When there was last more to send than the window allowed.
    filled_at: Duration,
}

/// A packet that has arrived.
#[derive(Debug, Clone, Copy)]
pub struct Acked {
    /// When that is known.
    pub now: Duration,
    /// When it was sent.
    pub sent: Duration,
    /// Its length.
    pub bytes: u64,
    /// There was less to send than the window allowed.
    pub app_limited: bool,
}

/// Packets that have not arrived.
#[derive(Debug, Clone, Copy)]
pub struct Lost {
    /// When that is known.
    pub now: Duration,
    /// When the last of them was sent.
    pub sent: Duration,
    /// Their length.
    pub bytes: u64,
    /// Nothing at all has arrived for several times as long as it should have taken.
    pub persistent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Doubling with each round trip, until the queue shows.
    Start,
    Steady,
}

/// From a packet that is sent until it is acknowledged.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    began_at: Duration,
    app_limited: bool,
    marked: bool,
}

impl Copa {
    /// The window of a new path with packets of `mtu` bytes.
    pub fn new(mtu: u16) -> Self {
        let packet = f64::from(mtu.max(1));
        Self {
            packet,
            window: PACKETS_AT_FIRST * packet,
            phase: Phase::Start,
            delays: Delays::default(),
            velocity: Velocity::new(PACKETS_AT_FIRST * packet),
            losses: Losses::default(),
            neighbour: Neighbour::default(),
            drain: None,
            round: Round::default(),
            now: Duration::ZERO,
            emptied_at: Duration::ZERO,
            drained_at: Duration::ZERO,
            drains: 0,
            filled_at: Duration::ZERO,
        }
    }

    /// Bytes that may be in flight.
    pub fn window(&self) -> u64 {
        // A sender stops when the next packet would reach the window: half a packet more rounds to the nearest count.
        (self.window + self.packet / 2.0) as u64
    }

    /// Bytes that may be in flight on a new path.
    pub fn initial_window(&self) -> u64 {
        (PACKETS_AT_FIRST * self.packet) as u64
    }

    /// Something was sent. After a long rest nothing is known of the path any more.
    pub fn on_sent(&mut self, now: Duration) {
        self.now = now;
        if self.now.saturating_sub(self.filled_at) > REST {
            self.start_over(PACKETS_AT_FIRST);
        }
    }

    /// A packet has arrived.
    pub fn on_ack(&mut self, acked: Acked) {
        let Acked { now, sent, bytes, app_limited } = acked;
        self.now = now;
        self.delays.on_sample(self.now, self.now.saturating_sub(sent));
        self.losses.on_acked(bytes);
        self.round.app_limited |= app_limited;
        if !app_limited {
            self.filled_at = self.now;
        }
        if self.is_emptied() || app_limited || self.phase == Phase::Start {
            self.emptied_at = self.now;
        }
        if self.drain.is_some() {
            self.on_drain_sample(sent);
        } else {
            self.steer(bytes as f64, app_limited);
        }
        if sent >= self.round.began_at {
            self.end_round();
        }
    }

    /// Packets have not arrived.
    pub fn on_loss(&mut self, lost: Lost) {
        self.now = lost.now;
        self.losses.on_lost(lost.bytes);
        self.neighbour.on_loss(self.now, lost.sent);
        if lost.persistent {
            self.start_over(PACKETS_MIN);
        }
    }

    /// A router has marked packets instead of dropping them (ECN, RFC 3168): at most one reaction per round trip.
    pub fn on_marked(&mut self, now: Duration) {
        self.now = now;
        if !self.round.marked {
            self.shrink(MARKED);
        }
        self.round.marked = true;
    }

    /// Packets have another length from here on.
    pub fn on_mtu(&mut self, mtu: u16) {
        self.packet = f64::from(mtu.max(1));
        self.keep_floor();
    }

    /// As on a new path (RFC 9002, 5.2 and 7.6).
    fn start_over(&mut self, packets: f64) {
        self.window = packets * self.packet;
        self.delays = Delays::default();
        self.phase = Phase::Start;
        self.velocity = Velocity::new(self.window);
        (self.neighbour, self.drain) = (Neighbour::default(), None);
        (self.emptied_at, self.filled_at) = (self.now, self.now);
    }

    fn shrink(&mut self, factor: f64) {
        self.window *= factor;
        self.phase = Phase::Steady;
        self.keep_floor();
    }

    fn keep_floor(&mut self) {
        self.window = self.window.max(PACKETS_MIN * self.packet);
    }

    /// Grows or shrinks by what one acknowledgement is worth. Whoever does not fill his window causes no queue, and learns of
    /// none.
    fn steer(&mut self, bytes: f64, app_limited: bool) {
        if app_limited {
            return;
        }
        let packets = self.neighbour.queue_packets().unwrap_or_else(|| self.queue_packets());
        let grows = self.delays.queueing() <= self.queueing_of(packets);
        match (self.phase, grows) {
            (Phase::Start, true) => self.window += bytes,
            // What was measured was sent by half of this window.
            (Phase::Start, false) => self.shrink(0.5),
            (Phase::Steady, _) => {
                let step = self.velocity.step(grows) * packets * self.packet * bytes / self.window;
                self.window += if grows { step } else { -step };
                self.keep_floor();
            }
        }
    }

    /// Packets of ours that may wait in the queue, 1/δ in the paper: more where more are sent in a second. With the paper's
    /// two the queue of a fast link would be shorter than what jitter and bursts of acknowledgements show; and a slow
    /// link's two last as long as a fast link's fifty.
    fn queue_packets(&self) -> f64 {
        let rate = self.window / self.packet / self.delays.standing().as_secs_f64().max(DELAY_MIN);
        (QUEUE_BY_RATE * rate.sqrt()).max(QUEUE_MIN)
    }

    /// How long so many packets wait, at our rate.
    fn queueing_of(&self, packets: f64) -> Duration {
        self.delays.standing().mul_f64((packets * self.packet / self.window).min(1e6)) + self.delays.noise()
    }

    fn is_emptied(&self) -> bool {
        self.delays.queueing() <= self.tolerance()
    }

    /// Up to here a queue counts as empty: a part of what it was at its longest; and where packets come one by one, half a
    /// packet or as long as the receiver may keep an acknowledgement.
    fn tolerance(&self) -> Duration {
        let spacing = self.spacing();
        let late = if spacing > ACK_DELAY / 2 { (ACK_DELAY * 5 / 4).max(spacing / 2) } else { Duration::ZERO };
        late.max(self.delays.swing().mul_f64(EMPTY)) + self.delays.noise()
    }

    /// Between two packets.
    fn spacing(&self) -> Duration {
        self.delays.standing().mul_f64((self.packet / self.window).min(1.0))
    }

    fn end_round(&mut self) {
        let app_limited = self.round.app_limited;
        self.round = Round { began_at: self.now, ..Round::default() };
        let spacing = self.spacing();
        self.delays.end_round(self.phase == Phase::Start);
        if let Some(share) = self.losses.heavy(self.now, self.packet) {
            self.shrink((1.0 - share) * HEAVY);
        }
        if app_limited {
            self.velocity = Velocity::new(self.window);
            return;
        }
        self.velocity.end_round(self.window, self.losses.was_heavy(self.now));
        self.neighbour.end_round(self.delays.mean(), spacing);
        if self.drain.is_none() && self.has_reason_to_drain() {
            self.begin_drain();
        }
    }

    fn has_reason_to_drain(&self) -> bool {
        let since = |at: Duration| self.now.saturating_sub(at);
        let smoothed = self.delays.smoothed();
        if self.phase == Phase::Start {
            return false;
        }
        let is_due = since(self.drained_at) > DRAIN_EVERY.max(smoothed * DRAIN_ROUNDS);
        if self.neighbour.queue_packets().is_some() || is_due {
            return is_due;
        }
        // Alone, a full swing takes five round trips.
        let queue = self.queueing_of(self.queue_packets());
        let swings = (self.delays.base() + queue * 2) * 8;
        let is_far = self.delays.mean() > self.delays.base() * 2 + queue * 4;
        since(self.emptied_at) > swings || (is_far && since(self.drained_at) > smoothed * 2)
    }

    fn begin_drain(&mut self) {
        let own = (self.window / self.packet) * self.delays.queue_share();
        let window_empty = self.window * (1.0 - self.delays.queue_share());
        self.drain = Some(Drain::begin(self.now, self.window, window_empty, own.max(self.queue_packets())));
        self.drains = self.drains.wrapping_add(1);
        let depth = if self.drains.is_multiple_of(DEEP_EVERY) { DRAIN_DEEP } else { DRAIN };
        self.window = window_empty * depth - self.packet;
        self.keep_floor();
    }

    fn on_drain_sample(&mut self, sent: Duration) {
        let seen = self.drain.as_mut().and_then(|drain| drain.on_sample(self.now, sent, &self.delays));
        if let Some(seen) = seen {
            self.end_drain(seen);
        }
    }

    fn end_drain(&mut self, seen: Seen) {
        (self.drain, self.drained_at) = (None, self.now);
        let base = self.delays.base();
        let verdict = if seen.least <= base + self.tolerance() {
            self.neighbour.leave(self.now)
        } else {
            self.neighbour.judge(self.now, base, seen)
        };
        if verdict == Verdict::Rival {
            self.window = seen.window_before;
        } else {
            let is_path = verdict == Verdict::LongerPath;
            self.delays.rebase(if is_path { seen.mean } else { (base + seen.mean) / 2 });
            self.window = seen.window_empty;
            self.emptied_at = self.now;
        }
        self.velocity = Velocity::new(self.window);
        self.keep_floor();
    }
}

/// RFC 9002, 7.2.
const PACKETS_AT_FIRST: f64 = 10.0;
/// A receiver acknowledges every other packet at once.
const PACKETS_MIN: f64 = 2.0;
/// At 860 packets a second (10 Mbit/s) four packets: 5 ms.
const QUEUE_BY_RATE: f64 = 0.12;
const QUEUE_MIN: f64 = 0.7;
/// Of the swing of the delay.
const EMPTY: f64 = 0.2;
/// Of what fits without a queue: the link has to catch up.
const DRAIN: f64 = 0.8;
/// A base that is too long would never be found out: what fits without a queue would not empty it.
const DRAIN_DEEP: f64 = 0.5;
const DEEP_EVERY: u32 = 4;
/// RFC 8511: less than for loss, because queues that mark are short.
const MARKED: f64 = 0.85;
/// Of what has arrived: the policer's bucket has to fill again.
const HEAVY: f64 = 0.85;
/// How long a receiver should keep the acknowledgement of a lone packet (max_ack_delay in RFC 9000; 25 ms by default). Shorter
/// costs an acknowledgement for each packet where they are further apart; longer hides queues.
pub const ACK_DELAY: Duration = Duration::from_millis(10);
/// How long what a drain has shown is believed: it costs a tenth of two round trips.
const DRAIN_EVERY: Duration = Duration::from_secs(5);
const DRAIN_ROUNDS: u32 = 40;
/// So long without filling the window, and a radio is another one.
const REST: Duration = Duration::from_secs(10);
/// Seconds; clocks of a millisecond show zero on a fast link.
const DELAY_MIN: f64 = 1e-4;

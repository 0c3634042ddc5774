//! One connection over the link: what QUIC does around a congestion window (RFC 9002), and a pacer as quinn has it.

use std::{collections::BTreeMap, time::Duration};

/// A congestion window under test.
pub trait Window {
    fn on_sent(&mut self, _now: Duration) {}
    fn on_ack(&mut self, now: Duration, sent: Duration, bytes: u64, app_limited: bool);
    fn on_loss(&mut self, now: Duration, sent: Duration, bytes: u64);
    fn bytes(&self) -> u64;
}

/// Both ends of a connection: what was sent, what came, and what of that the sender knows.
pub struct Flow {
    pub window: Box<dyn Window>,
    /// Whether there is something to send: as much as the window takes.
    pub busy: bool,
    pub delivered: u64,
    pub lost: u64,
    sent: BTreeMap<u64, Packet>,
    next: u64,
    in_flight: u64,
    app_limited: bool,
    tokens: f64,
    paced_at: Duration,
    rtt: Rtt,
    largest_acked: Option<u64>,
    last_progress: Duration,
    /// Numbers in the order in which they came.
    received: Vec<u64>,
    acked: usize,
    unacknowledged: u32,
    pub ack_due: Option<Duration>,
    largest_received: u64,
}

#[derive(Debug, Clone, Copy)]
struct Packet {
    sent: Duration,
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Rtt {
    smoothed: Duration,
    variance: Duration,
    latest: Duration,
    known: bool,
}

impl Flow {
    pub fn new(window: Box<dyn Window>) -> Self {
        let start = Duration::from_millis(333);
        Self {
            window,
            busy: true,
            delivered: 0,
            lost: 0,
            sent: BTreeMap::new(),
            next: 0,
            in_flight: 0,
            app_limited: false,
            tokens: BURST as f64,
            paced_at: Duration::ZERO,
            rtt: Rtt { smoothed: start, variance: start / 2, latest: start, known: false },
            largest_acked: None,
            last_progress: Duration::ZERO,
            received: Vec::new(),
            acked: 0,
            unacknowledged: 0,
            ack_due: None,
            largest_received: 0,
        }
    }

    /// The next packet, when window and pacer allow one.
    pub fn poll_send(&mut self, now: Duration) -> Option<u64> {
        if !self.busy {
            self.app_limited = true;
            return None;
        }
        self.app_limited = false;
        let probe = self.is_silent(now);
        if !probe && (self.in_flight + MTU >= self.window.bytes() || !self.is_paced(now)) {
            return None;
        }
        self.last_progress = if probe { now } else { self.last_progress };
        if self.sent.is_empty() {
            self.last_progress = now;
        }
        self.tokens = (self.tokens - MTU as f64).max(0.0);
        self.sent.insert(self.next, Packet { sent: now, bytes: MTU });
        self.in_flight += MTU;
        self.window.on_sent(now);
        self.next += 1;
        Some(self.next - 1)
    }

    fn is_paced(&mut self, now: Duration) -> bool {
        let rtt = self.rtt.smoothed.as_secs_f64();
        let window = self.window.bytes() as f64;
        let capacity = (window * 0.002 / rtt).clamp(BURST as f64, 256.0 * MTU as f64);
        let came = window * 1.25 * now.saturating_sub(self.paced_at).as_secs_f64() / rtt;
        if self.tokens < MTU as f64 {
            self.tokens = (self.tokens + came).min(capacity);
            self.paced_at = now;
        }
        self.tokens >= MTU as f64
    }

    fn is_silent(&self, now: Duration) -> bool {
        let patience = self.rtt.smoothed + self.rtt.variance * 4 + ACK_DELAY;
        !self.sent.is_empty() && now.saturating_sub(self.last_progress) > patience
    }

    /// A packet has arrived; whether it is acknowledged at once.
    pub fn on_arrival(&mut self, now: Duration, number: u64) -> bool {
        self.delivered += MTU;
        self.received.push(number);
        self.unacknowledged += 1;
        let gap = number != 0 && number != self.largest_received + 1;
        self.largest_received = self.largest_received.max(number);
        if self.unacknowledged >= 2 || gap {
            return true;
        }
        self.ack_due.get_or_insert(now + ACK_DELAY);
        false
    }

    /// What an acknowledgement sent by the receiver covers.
    pub fn acknowledge(&mut self) -> usize {
        self.unacknowledged = 0;
        self.ack_due = None;
        self.received.len()
    }

    /// The acknowledgement of all that had come by then arrives.
    pub fn on_ack(&mut self, now: Duration, covers: usize) {
        let newly = self.received.get(self.acked..covers).unwrap_or_default().to_vec();
        self.acked = self.acked.max(covers);
        let before = self.largest_acked;
        let mut latest = None;
        for number in newly {
            let Some(packet) = self.sent.remove(&number) else { continue };
            self.in_flight -= packet.bytes;
            self.window.on_ack(now, packet.sent, packet.bytes, self.app_limited);
            if self.largest_acked.is_none_or(|largest| number > largest) {
                self.largest_acked = Some(number);
                latest = Some(packet.sent);
            }
            self.last_progress = now;
        }
        if let (Some(sent), true) = (latest, self.largest_acked > before) {
            self.rtt.update(now.saturating_sub(sent));
        }
        self.find_lost(now);
    }

    /// Declares lost what later packets or the time have overtaken.
    pub fn find_lost(&mut self, now: Duration) {
        let Some(largest) = self.largest_acked else { return };
        let patience = self.rtt.smoothed.max(self.rtt.latest).mul_f64(1.125);
        let is_lost =
            |(number, packet): &(&u64, &Packet)| **number + 3 <= largest || now.saturating_sub(packet.sent) >= patience;
        let lost: Vec<_> = self.sent.range(..largest).filter(is_lost).map(|(n, p)| (*n, *p)).collect();
        let Some((_, last)) = lost.last() else { return };
        let sum: u64 = lost.iter().map(|(_, packet)| packet.bytes).sum();
        for (number, _) in &lost {
            self.sent.remove(number);
        }
        self.in_flight -= sum;
        self.lost += sum;
        self.window.on_loss(now, last.sent, sum);
    }
}

impl Rtt {
    fn update(&mut self, sample: Duration) {
        self.latest = sample;
        if !self.known {
            *self = Self { smoothed: sample, variance: sample / 2, latest: sample, known: true };
            return;
        }
        self.variance = (self.variance * 3 + self.smoothed.abs_diff(sample)) / 4;
        self.smoothed = (self.smoothed * 7 + sample) / 8;
    }
}

/// Bytes of a packet.
pub const MTU: u64 = 1_452;
/// What goes out at once after a pause.
const BURST: u64 = 10 * MTU;
/// How long a receiver keeps a lone packet unacknowledged.
const ACK_DELAY: Duration = Duration::from_millis(10);

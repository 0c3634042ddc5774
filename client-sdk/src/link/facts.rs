//! What is known of the path to the gateway: counted by the transport, looked at while somebody wants to know.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};

use crate::{
    transport::{Connection, Traffic, Transport},
    view::LinkFacts,
};

/// The way a session goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) over: Transport,
    pub(super) gateway: SocketAddr,
    pub(super) local: Option<IpAddr>,
}

/// Facts of the session at hand, and whether somebody asks for them.
pub(crate) struct Facts {
    last: watch::Sender<Option<Measured>>,
    wanted_until: Mutex<Option<Instant>>,
    wanted: Notify,
}

#[derive(Debug, Clone)]
struct Measured {
    facts: LinkFacts,
    /// When something had come since the look before.
    heard_at: Instant,
}

impl Default for Facts {
    fn default() -> Self {
        Self { last: watch::Sender::new(None), wanted_until: Mutex::default(), wanted: Notify::new() }
    }
}

impl Facts {
    /// The newest facts; `None` without a session. The path is looked at every second for a while after.
    pub(crate) async fn ask(&self) -> Option<LinkFacts> {
        let was_wanted = self.is_wanted();
        *self.until() = Some(Instant::now() + WANTED_FOR);
        self.wanted.notify_one();
        let mut last = self.last.subscribe();
        if !was_wanted {
            // What was measured before nobody wanted to know is old: the next look is on its way, if there is a session.
            last.mark_unchanged();
            let _ = timeout(LOOK_WITHIN, last.changed()).await;
        }
        let measured = last.borrow().clone();
        measured.map(|Measured { facts, heard_at }| LinkFacts { age: heard_at.elapsed(), ..facts })
    }

    /// Looks at the connection while somebody wants to know.
    pub(super) async fn measure(&self, connection: &Connection, path: Path) {
        let mut meter = Meter { path, before: None, heard_at: Instant::now() };
        loop {
            while !self.is_wanted() {
                meter.before = None;
                self.wanted.notified().await;
            }
            self.last.send_replace(Some(meter.look(connection.traffic(), connection.rtt(), Instant::now())));
            sleep(LOOK_EVERY).await;
        }
    }

    /// There is no session any more.
    pub(super) fn forget(&self) {
        self.last.send_replace(None);
    }

    fn is_wanted(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() < until)
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.wanted_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns counts into rates.
struct Meter {
    path: Path,
    before: Option<(Traffic, Instant)>,
    heard_at: Instant,
}

impl Meter {
    fn look(&mut self, traffic: Traffic, rtt: Duration, now: Instant) -> Measured {
        let before = self.before.replace((traffic, now));
        if before.is_some_and(|(before, _)| before.received != traffic.received) {
            self.heard_at = now;
        }
        let since = before.filter(|(_, at)| *at < now);
        let rate = |count: fn(&Traffic) -> u64| {
            let (before, at) = since?;
            let bytes = count(&traffic).saturating_sub(count(&before)) as f64;
            Some((bytes / (now - at).as_secs_f64()) as u64)
        };
        let loss = since.and_then(|(before, _)| loss(before.packets?, traffic.packets?));
        let Path { over, gateway, local } = self.path;
        let up_capacity = traffic.window.filter(|_| !rtt.is_zero());
        let facts = LinkFacts {
            transport: over,
            gateway,
            local,
            rtt,
            loss,
            up: rate(|traffic| traffic.sent),
            down: rate(|traffic| traffic.received),
            up_capacity: up_capacity.map(|window| (window as f64 / rtt.as_secs_f64()) as u64),
            age: now - self.heard_at,
        };
        Measured { facts, heard_at: self.heard_at }
    }
}

/// Of the packets sent between two looks; `None` when there were none.
fn loss((sent_before, lost_before): (u64, u64), (sent, lost): (u64, u64)) -> Option<f64> {
    let (sent, lost) = (sent.saturating_sub(sent_before), lost.saturating_sub(lost_before));
    // A loss is noticed later than its packet was sent.
    (sent > 0).then(|| (lost as f64 / sent as f64).min(1.0))
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long after a question.
const WANTED_FOR: Duration = Duration::from_secs(30);
/// A session answers at once; without one there is nothing to wait for.
const LOOK_WITHIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(sent: u64, received: u64, packets: (u64, u64)) -> Traffic {
        Traffic { sent, received, packets: Some(packets), window: Some(30_000) }
    }

    #[test]
    fn rates_and_loss_are_those_between_two_looks() {
        let path = Path { over: Transport::Quic, gateway: ([127, 0, 0, 1], 1).into(), local: None };
        let start = Instant::now();
        let (rtt, mut meter) = (Duration::from_millis(60), Meter { path, before: None, heard_at: start });
        let first = meter.look(traffic(1_000, 500, (10, 1)), rtt, start).facts;
        assert_eq!((first.up, first.down, first.loss), (None, None, None), "one look is no rate");
        let second = meter.look(traffic(3_000, 500, (30, 2)), rtt, start + Duration::from_secs(2)).facts;
        assert_eq!((second.up, second.down, second.loss), (Some(1_000), Some(0), Some(0.05)));
        assert_eq!(second.up_capacity, Some(500_000));
        assert_eq!(second.age, Duration::from_secs(2), "nothing came");
        let third = meter.look(traffic(3_000, 900, (30, 2)), rtt, start + Duration::from_secs(3));
        assert_eq!((third.facts.down, third.facts.loss, third.facts.age), (Some(400), None, Duration::ZERO));
    }

    #[test]
    fn losses_of_earlier_packets_do_not_make_more_than_all() {
        assert_eq!(loss((10, 0), (11, 9)), Some(1.0));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_session_there_are_no_facts() {
        assert_eq!(Facts::default().ask().await, None);
    }
}

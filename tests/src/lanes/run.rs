//! One run: a link, a transport, bulk and echo from the first moment on.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::sync::Mutex;

use super::{
    cell::Cell,
    contender::Contender,
    echo::{EVERY, Echoes, Message},
    quic, tcp,
};
use crate::netns::{conditions::Direction, link::Link, network::Network};

/// What a run has shown.
#[derive(Debug, Clone)]
pub struct Seen {
    /// How long each echo took, shortest first.
    pub echoes: Vec<Duration>,
    /// Share of the link that bulk has used, payload alone.
    pub used: f64,
    /// The same of the neighbour.
    pub neighbour: f64,
    /// Share of the packets that the link's queue dropped.
    pub dropped: f64,
    /// How late the emulator itself was, all but one packet in a hundred.
    pub late: Duration,
}

/// Where a transport gets its messages from, and puts what comes back.
#[derive(Debug, Clone)]
pub struct Ends {
    echoes: Arc<Mutex<Echoes>>,
    /// Bytes of bulk that have arrived at the gateway.
    pub arrived: Arc<AtomicU64>,
}

/// Runs that long.
///
/// # Errors
/// When a connection cannot be made or breaks.
pub async fn run(cell: &Cell, contender: Contender, length: Duration, seed: u64) -> Result<Seen> {
    let network = Network::with_seed(seed)?;
    let link = network.link(cell.conditions)?;
    let ends = Ends { echoes: Arc::default(), arrived: Arc::default() };
    let neighbour = Arc::<AtomicU64>::default();
    let mut tasks = tokio::task::JoinSet::new();
    if cell.has_neighbour {
        tcp::upload(&network, &link, neighbour.clone(), &mut tasks).await?;
        tokio::time::sleep(HEAD_START).await;
    }
    match contender {
        Contender::Quic | Contender::QuicCubic => quic::start(contender, &network, &link, &ends, &mut tasks).await?,
        Contender::Tcp => tcp::start_one(&network, &link, &ends, &mut tasks).await?,
        Contender::TcpPair => tcp::start_pair((&network, &link), &ends, c"bbr", &mut tasks).await?,
        Contender::TcpPairCubic => tcp::start_pair((&network, &link), &ends, c"cubic", &mut tasks).await?,
    }
    let before = (neighbour.load(Ordering::Relaxed), link.emulator.counts(Direction::Up));
    let start = Instant::now();
    tokio::time::sleep(length).await;
    let share = |bytes: u64| bytes as f64 * 8.0 / cell.rate() / start.elapsed().as_secs_f64();
    let used = share(ends.arrived.load(Ordering::Relaxed));
    let neighbour = share(neighbour.load(Ordering::Relaxed) - before.0);
    let counts = link.emulator.counts(Direction::Up);
    let dropped = (counts.dropped - before.1.dropped) as f64 / (counts.offered - before.1.offered).max(1) as f64;
    let late = link.emulator.lateness(Direction::Up).p99;
    let echoes = ends.stop().await;
    if let Some(ended) = tasks.try_join_next() {
        ended?.context("a connection has ended")?;
    }
    tasks.shutdown().await;
    drop_link(link).await;
    Ok(Seen { echoes, used, neighbour, dropped, late })
}

/// It ends with a thread.
async fn drop_link(link: Link) {
    let _ = tokio::task::spawn_blocking(move || drop(link)).await;
}

impl Ends {
    /// The next message, at its time. When a sender comes too late for it, it has waited from then on.
    pub async fn next_message(&self, clock: &mut tokio::time::Interval) -> Message {
        let due = clock.tick().await;
        self.echoes.lock().await.next(due.into_std())
    }

    /// A message is back.
    pub async fn on_back(&self, message: &Message) {
        self.echoes.lock().await.on_back(message, Instant::now());
    }

    /// The clock of the messages.
    pub fn clock() -> tokio::time::Interval {
        tokio::time::interval(EVERY)
    }

    /// Takes what is back; a run does not wait for the rest.
    async fn stop(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.echoes.lock().await).into_latencies(Instant::now())
    }
}

impl Seen {
    /// The latency that this share of the echoes did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let index = ((self.echoes.len() as f64 * share).ceil() as usize).saturating_sub(1);
        self.echoes.get(index).copied().unwrap_or(Duration::MAX)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |share| self.quantile(share).as_secs_f64() * 1e3;
        let Seen { echoes, used, neighbour, dropped, late } = self;
        write!(
            f,
            "{} echoes, p50 {:.0} p95 {:.0} p99 {:.0} max {:.0} ms, ",
            echoes.len(),
            ms(0.5),
            ms(0.95),
            ms(0.99),
            ms(1.0)
        )?;
        write!(f, "used {used:.3}, neighbour {neighbour:.3}, dropped {dropped:.4}, emulator late {late:?}")
    }
}

/// The neighbour was there first.
const HEAD_START: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{netns::unavailable, skipped};

    /// Four seconds on a busy machine are no measurement: the bars are those that CUBIC misses by far.
    #[tokio::test(flavor = "multi_thread")]
    async fn bulk_over_quic_fills_the_link_and_not_its_queue() {
        if let Some(why) = unavailable() {
            return skipped(&why);
        }
        let cell = Cell::all().swap_remove(0);
        let seen = run(&cell, Contender::Quic, Duration::from_secs(4), 1).await.unwrap();
        assert!(seen.used > 0.5 && seen.quantile(0.5) < Duration::from_millis(110), "{seen}");
    }
}

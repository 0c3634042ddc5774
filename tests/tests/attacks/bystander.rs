//! A crew that goes on working beside every attack: one device writes, another reads, each change is timed.

use std::time::{Duration, Instant};

use feldakte_tests::harness::{
    address::Address,
    author::Author,
    crew,
    local::Site,
    new_document,
    raw::{RawClient, Seen},
};
use tokio::{task::JoinHandle, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Works until [`Bystander::unharmed`] is asked.
pub struct Bystander {
    stop: CancellationToken,
    work: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    /// Opens its two sessions, then works in the background.
    pub async fn start(site: &Site, gateway: impl Into<Address>) -> Self {
        let gateway = gateway.into();
        let [writer, reader] = [(); 2].map(|()| site.pki.enrol(&crew("bystander")));
        let (client, _) = RawClient::session(&writer, gateway, None).await;
        let (reader, _) = RawClient::session(&reader, gateway, None).await;
        let author = Author::new(&writer.principal, new_document());
        let stop = CancellationToken::new();
        let work = tokio::spawn(work(client, reader, author, stop.clone()));
        Self { stop, work }
    }

    /// Does one more change after the attack, and checks that none took too long.
    pub async fn unharmed(self) {
        self.stop.cancel();
        let mut latencies = self.work.await.expect("the bystander's sessions live and answer");
        latencies.sort_unstable();
        let at = |share: usize| latencies[(latencies.len() - 1) * share / 100];
        println!("bystander: {} changes, p50 {:?}, p99 {:?}, max {:?}", latencies.len(), at(50), at(99), at(100));
        assert!(at(50) <= P50_MAX && at(99) <= P99_MAX, "p50 {:?}, p99 {:?}", at(50), at(99));
    }
}

async fn work(
    mut client: RawClient,
    mut reader: RawClient,
    mut author: Author,
    stop: CancellationToken,
) -> Vec<Duration> {
    client.push_and_wait(author.document, author.begin(0)).await;
    let mut seen = Seen::default();
    let mut latencies = Vec::new();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let last = stop.is_cancelled();
        let change = author.set("gcs", &latencies.len().to_string());
        let begun = Instant::now();
        let durable = client.push_and_wait(author.document, vec![change.bytes]).await;
        assert_eq!(durable.refused, []);
        reader.read_until(&mut seen, |seen| seen.entries.last().is_some_and(|(at, _)| *at == durable.position.0)).await;
        latencies.push(begun.elapsed());
        if last {
            return latencies;
        }
        tokio::select! {
            _ = pace.tick() => {}
            () = stop.cancelled() => {}
        }
    }
}

/// About what a busy crew's forms produce together.
const PACE: Duration = Duration::from_millis(20);
/// On two cores that other tests keep busy; on a quiet machine both are a few milliseconds.
const P50_MAX: Duration = Duration::from_millis(250);
const P99_MAX: Duration = Duration::from_millis(1_500);

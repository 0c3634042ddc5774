//! The end: what the store really holds is compared with what was ever told.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use feldakte_core::{
    change::Change,
    ids::{Position, TenantId},
};
use feldakte_gateway::{
    environment::Environment,
    keys::TenantKeys,
    store::{Store, keyring::Keyring, sealed::SealedStore, sqlite::SqliteStore},
};
use feldakte_proto::decode_entry;

use super::{
    evidence::{Latency, Summary, Told},
    play::{Report, show},
    replicas::Replicas,
    tablet::TENANT,
};

/// Everything the table shows.
pub struct Verdict {
    /// What the tablets were told.
    pub told: Summary,
    /// What happened.
    pub report: Report,
    /// Steps in the script.
    pub steps: usize,
    /// What they show at the end: both tablets, and one that knows only the store, opened again.
    pub replicas: Replicas,
    /// Facts with several values at the end.
    pub conflicts: usize,
    /// Changes told durable that the store does not hold.
    pub lost: usize,
    /// Changes told saved that the store does not hold.
    pub missing: usize,
    /// Changes in the store.
    pub stored: usize,
    /// Bytes of UDP payload up and down.
    pub wire: (u64, u64),
    /// How long everything took.
    pub took: Duration,
}

impl Verdict {
    /// Whether the demo shows what it promises.
    pub fn is_good(&self) -> bool {
        let all_stored = self.lost == 0 && self.missing == 0;
        let all_played = self.report.steps == self.steps && self.report.kills > 0;
        all_stored && all_played && self.replicas.are_equal()
    }

    /// For people.
    pub fn table(&self) -> String {
        let Verdict { told, report, steps, replicas, conflicts, lost, missing, stored, wire: (up, down), took } = self;
        let rows = [
            ("script", format!("{} of {steps} steps done, {} cases", report.steps, report.cases.len())),
            ("edits saved on the tablets", told.edits.to_string()),
            ("  of them without a network", format!("{} in {}", report.offline_edits, show(report.offline))),
            ("merged after the link was back", show(report.merged_after)),
            ("conflicts kept for a person", conflicts.to_string()),
            ("gateway killed (SIGKILL)", report.kills.to_string()),
            ("  ready again after its start", show(report.restarted_after)),
            ("  all durable and equal after", show(report.healed_after)),
            ("edit to saved on device", percentiles(told.saving)),
            ("saved to durable, while online", percentiles(told.documenting)),
            ("  in the burst, before the kill", percentiles(told.burst)),
            ("on the wire", format!("up {}, down {}", kib(*up), kib(*down))),
            ("replicas", replicas.summary()),
            ("changes told saved", format!("{}, not in the store: {missing}", told.saved.len())),
            ("changes told durable", format!("{}, in the store {stored}", told.durable.len())),
            ("lost", lost.to_string()),
        ];
        let mut text = String::new();
        for (name, value) in rows {
            text += &format!("  {name:<32} {value}\n");
        }
        text + &format!("  {:<32} {}\n", "took", show(*took))
    }
}

/// Opens the store as a restarted gateway would and names every change in it.
pub async fn stored_changes(path: &Path) -> anyhow::Result<BTreeSet<Told>> {
    anyhow::ensure!(path.is_file(), "the gateway's store {} is gone", path.display());
    let log = SqliteStore::open(path, Environment::system().epoch()).await.context("the gateway's store")?;
    // Where a gateway makes them that was told nothing else.
    let keys = Arc::new(TenantKeys::in_file(&path.with_file_name("tenant.keys"))?);
    let keyring = Keyring::open(&path.with_file_name("keys.sqlite"), keys).await.context("the gateway's keyring")?;
    let store = SealedStore::pair(log, keyring).await?;
    let tenant: TenantId = TENANT.parse()?;
    let Position(head) = store.head(&tenant).await?.position;
    let mut changes = BTreeSet::new();
    let positions: Vec<Position> = (1..=head).map(Position).collect();
    for page in positions.chunks(PAGE) {
        let entries = store.read(&tenant, page).await?;
        anyhow::ensure!(entries.len() == page.len(), "the log has gaps: {} of {}", entries.len(), page.len());
        for stored in entries {
            let entry = decode_entry(stored.encoded)?;
            for bytes in entry.changes {
                changes.insert((entry.document.case, Change::parse(bytes)?.hash));
            }
        }
    }
    store.close().await;
    Ok(changes)
}

fn percentiles(latency: Latency) -> String {
    let ms = |us: u64| format!("{}.{} ms", us / 1000, us % 1000 / 100);
    format!("p50 {}, p99 {} ({} measured)", ms(latency.p50_us), ms(latency.p99_us), latency.count)
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

/// Entries read at once.
const PAGE: usize = 500;

#[cfg(test)]
mod tests {
    use super::{super::replicas::Replica, *};

    fn verdict() -> Verdict {
        let latency = Latency { count: 3, p50_us: 1_250, p99_us: 20_000 };
        let told = Summary {
            edits: 3,
            saved: BTreeSet::new(),
            durable: BTreeSet::new(),
            saving: latency,
            documenting: latency,
            burst: latency,
        };
        let report = Report { steps: 2, kills: 1, ..Report::default() };
        let took = Duration::from_secs(12);
        let (replicas, wire) = (replicas(["1", "1", "1"]), (1, 2048));
        Verdict { told, report, steps: 2, replicas, conflicts: 2, lost: 0, missing: 0, stored: 9, wire, took }
    }

    fn replicas(digests: [&str; 3]) -> Replicas {
        let replica =
            |(label, digest): (&str, &str)| Replica { label: label.to_owned(), digests: vec![Some(digest.to_owned())] };
        Replicas::of(["A", "B", "C"].into_iter().zip(digests).map(replica))
    }

    #[test]
    fn one_lost_change_or_one_step_undone_is_a_failure() {
        assert!(verdict().is_good());
        assert!(!Verdict { lost: 1, ..verdict() }.is_good());
        assert!(!Verdict { missing: 1, ..verdict() }.is_good());
        assert!(!Verdict { steps: 3, ..verdict() }.is_good());
    }

    #[test]
    fn one_unequal_replica_is_a_failure_and_is_shown() {
        for digests in [["2", "1", "1"], ["1", "2", "1"], ["1", "1", "2"]] {
            let verdict = Verdict { replicas: replicas(digests), ..verdict() };
            assert!(!verdict.is_good());
            assert!(verdict.table().contains("NOT EQUAL"));
        }
    }

    #[test]
    fn the_table_shows_the_figures() {
        let table = verdict().table();
        for figure in ["2 of 2 steps", "p50 1.2 ms, p99 20.0 ms", "up 1 KiB, down 2 KiB", "12.00 s"] {
            assert!(table.contains(figure), "{figure} in\n{table}");
        }
    }

    #[tokio::test]
    async fn a_store_that_is_not_there_is_not_an_empty_one() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(stored_changes(&dir.path().join("none.sqlite")).await.is_err());
    }
}

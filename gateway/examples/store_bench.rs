//! What a commit of the log costs on this machine: latency beside the disk's own fsync, and CPU per entry.
//!
//! `cargo run --release -p feldakte-gateway --example store_bench -- [DIRECTORY]`

use std::{
    fs::File,
    io::{Seek, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use feldakte_core::{
    access::{Access, Grant, PartSet, Subject},
    ids::{CaseId, DeviceId, DocumentId, Epoch, Part, Position, TenantId},
    log::Entry,
};
use feldakte_gateway::{
    keys::TenantKeys,
    store::{Append, Reader, Store, keyring::Keyring, sealed::SealedStore, sqlite::SqliteStore},
};
use hdrhistogram::Histogram;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use uuid::Uuid;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = match std::env::args_os().nth(1) {
        Some(parent) => tempfile::tempdir_in(parent)?,
        None => tempfile::tempdir()?,
    };
    let store = SqliteStore::open(&directory.path().join("log.db"), Epoch(Uuid::from_u128(1))).await?;
    let mut writer = Workload::new(64, 7);
    writer.open_documents(&*store).await?;
    println!(
        "{:<34} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10}",
        "", "p50 ms", "p90 ms", "p99 ms", "max ms", "rows/s", "cpu µs/row"
    );
    fsyncs(&directory.path().join("fsync"), 2000)?.print("disk: write 4 KiB + fdatasync")?;
    for (rows, commits) in [(1, 4000), (8, 2000), (64, 1500), (200, 500), (1024, 200)] {
        writer.commits(&*store, rows, commits).await?.print(&format!("commit of {rows} entries"))?;
    }
    fsyncs(&directory.path().join("fsync"), 2000)?.print("disk: write 4 KiB + fdatasync")?;
    let mut many = Workload::new(1000, 8);
    many.open_documents(&*store).await?;
    many.commits(&*store, 64, 500).await?.print("commit of 64, 1,000 documents")?;
    reads(&store, &many, writer.documents[0]).await?;
    sealed(directory.path(), &*store).await?;
    store.close().await;
    Ok(())
}

/// The same commits in the open and sealed, in turns; and what the key of a new case costs.
async fn sealed(directory: &Path, open: &dyn Store) -> anyhow::Result<()> {
    let log = SqliteStore::open(&directory.join("sealed.db"), Epoch(Uuid::from_u128(1))).await?;
    let keys = Arc::new(TenantKeys::in_file(&directory.join("tenant.keys"))?);
    let store = SealedStore::pair(log, Keyring::open(&directory.join("keys.db"), keys).await?).await?;
    let (mut plain, mut secret) = (Workload::new(64, 9), Workload::new(64, 10));
    plain.open_documents(open).await?;
    secret.open_documents(&*store).await?;
    for (rows, commits) in [(1, 2000), (64, 500)] {
        plain.commits(open, rows, commits).await?.print(&format!("in the open: commit of {rows}"))?;
        secret.commits(&*store, rows, commits).await?.print(&format!("sealed: commit of {rows}"))?;
    }
    for (what, store) in [("in the open", open), ("sealed", &*store as &dyn Store)] {
        let mut figures = Figures::new(64)?;
        for seed in 100..150 {
            let mut new = Workload::new(64, seed + u64::from(what == "sealed") * 1000);
            let batch: Vec<_> = (0..64).map(|_| new.next_append()).collect();
            figures.time(store.append(&batch)).await??;
        }
        figures.print(&format!("{what}: commit of 64 new cases"))?;
    }
    store.close().await;
    Ok(())
}

/// Writers that append to cases of their own in turn.
struct Workload {
    rng: StdRng,
    tenant: TenantId,
    documents: Vec<DocumentId>,
    next: usize,
}

impl Workload {
    fn new(documents: usize, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let documents = (0..documents as u64).map(|n| document(&mut rng, 1_760_000_000_000 + seed * 60_000 + n * 500));
        Self { documents: documents.collect(), rng, tenant: "dortmund".parse().expect("a slug"), next: 0 }
    }

    async fn open_documents(&mut self, store: &dyn Store) -> anyhow::Result<()> {
        let grant = Grant::new(Subject::Unit("rtw-1".parse()?), Access::Write);
        let documents = self.documents.clone();
        let appends: Vec<_> = documents.into_iter().map(|id| self.append(id, vec![grant.clone()])).collect();
        store.append(&appends).await?;
        Ok(())
    }

    async fn commits(&mut self, store: &dyn Store, rows: usize, commits: usize) -> anyhow::Result<Figures> {
        let batches: Vec<Vec<_>> = (0..commits).map(|_| (0..rows).map(|_| self.next_append()).collect()).collect();
        let mut figures = Figures::new(rows)?;
        for batch in &batches {
            figures.time(store.append(batch)).await??;
        }
        Ok(figures)
    }

    fn next_append(&mut self) -> Append {
        let document = self.documents[self.next % self.documents.len()];
        self.next += 1;
        self.append(document, Vec::new())
    }

    fn append(&mut self, document: DocumentId, grants: Vec<Grant>) -> Append {
        let mut change = vec![0; 140];
        self.rng.fill_bytes(&mut change);
        let mut entry = Entry::new(document);
        entry.grants = grants;
        entry.changes.push(change.into());
        let mut encoded = feldakte_proto::encode_entry(&entry).to_vec();
        encoded.resize(ENTRY_LEN, 0);
        Append { tenant: self.tenant.clone(), entry, encoded: Bytes::from(encoded) }
    }
}

fn document(rng: &mut StdRng, milliseconds: u64) -> DocumentId {
    let uuid = Uuid::from_u128(u128::from(milliseconds) << 80 | 0x7 << 76 | u128::from(rng.next_u64()));
    DocumentId { case: CaseId(uuid), part: Part::Clinical }
}

async fn reads(store: &Arc<SqliteStore>, workload: &Workload, long: DocumentId) -> anyhow::Result<()> {
    let head = store.head(&workload.tenant).await?.position;
    let subjects = vec![Subject::Unit("rtw-1".parse()?), Subject::Device(DeviceId(Uuid::from_u128(1)))];
    let reader = Reader { tenant: workload.tenant.clone(), subjects, parts: PartSet::ALL };
    let almost = Position(head.0 - 200);
    let busy = workload.documents[0];
    for (what, after) in [("1 new", Position(head.0 - 1)), ("200 new", almost), ("all new", Position::START)] {
        let mut figures = Figures::new(1)?;
        for _ in 0..200 {
            figures.time(store.changed(&reader, after, head, 0)).await??;
        }
        figures.print(&format!("changed: 1,064 granted, {what}"))?;
    }
    let mut figures = Figures::new(1)?;
    for _ in 0..200 {
        figures.time(store.may_read(&reader, busy, 0)).await??;
    }
    figures.print("may_read")?;
    for document in [busy, long] {
        let mut figures = Figures::new(1)?;
        let mut entries = 0;
        for _ in 0..50 {
            entries = figures.time(store.document(document)).await??.map_or(0, |log| log.entries.len());
        }
        figures.print(&format!("document of {entries} entries"))?;
    }
    Ok(())
}

fn fsyncs(path: &Path, count: usize) -> anyhow::Result<Figures> {
    let mut file = File::create(path)?;
    file.write_all(&vec![0; 8 << 20])?;
    file.sync_all()?;
    file.rewind()?;
    let mut figures = Figures::new(1)?;
    for n in 0..count {
        let started = Instant::now();
        file.write_all(&[n as u8; 4096])?;
        file.sync_data()?;
        figures.record(started.elapsed())?;
    }
    Ok(figures)
}

/// Latency and CPU of something that was done often.
struct Figures {
    rows: usize,
    latency: Histogram<u64>,
    wall: Duration,
    /// At the first measurement.
    cpu: Duration,
}

impl Figures {
    fn new(rows: usize) -> anyhow::Result<Self> {
        Ok(Self { rows, latency: Histogram::new(3)?, wall: Duration::ZERO, cpu: cpu_time()? })
    }

    async fn time<T>(&mut self, work: impl Future<Output = T>) -> anyhow::Result<T> {
        let started = Instant::now();
        let result = work.await;
        self.record(started.elapsed())?;
        Ok(result)
    }

    fn record(&mut self, wall: Duration) -> anyhow::Result<()> {
        self.latency.record(u64::try_from(wall.as_micros())?)?;
        self.wall += wall;
        Ok(())
    }

    fn print(self, what: &str) -> anyhow::Result<()> {
        let cpu = cpu_time()? - self.cpu;
        let milliseconds = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1000.0;
        let rows = self.rows as f64 * self.latency.len() as f64;
        println!(
            "{what:<34} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>9.0} {:>10.1}",
            milliseconds(0.5),
            milliseconds(0.9),
            milliseconds(0.99),
            milliseconds(1.0),
            rows / self.wall.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / rows,
        );
        Ok(())
    }
}

/// CPU time of this process so far, kernel included: the sum over its threads.
fn cpu_time() -> anyhow::Result<Duration> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Entries of the field's workload are about this long.
const ENTRY_LEN: usize = 210;

//! A process that is killed in the middle of appends loses nothing it was told.
//!
//! The child is this test binary, started again for the one test that appends until it is killed.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use feldakte_core::ids::Position;
use feldakte_gateway::store::{Append, Store, sqlite::SqliteStore};
use feldakte_tests::store_conformance::{about, document, tenant, unit};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::epoch;

#[tokio::test]
async fn twenty_kills_lose_nothing_that_was_acknowledged() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("log.db");
    let mut rng = StdRng::seed_from_u64(20);
    for round in 0..20 {
        let acknowledged = append_and_kill(&path, rng.random_range(1..60))?;
        let head = verify(&path).await.with_context(|| format!("round {round}"))?;
        ensure!(head >= acknowledged, "round {round}: {acknowledged} acknowledged, {head} there");
    }
    Ok(())
}

/// Lets a child append until it has acknowledged so many batches; returns the last position it was told.
fn append_and_kill(path: &Path, batches: usize) -> Result<u64> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "killed::append_until_killed", "--ignored", "--nocapture"])
        .env(DATABASE, path)
        .stdout(Stdio::piped())
        .spawn()?;
    let acknowledged = read_acknowledged(&mut child, batches);
    child.kill()?;
    child.wait()?;
    acknowledged
}

fn read_acknowledged(child: &mut Child, batches: usize) -> Result<u64> {
    let output = BufReader::new(child.stdout.take().context("stdout is piped")?);
    let mut last = None;
    // The test harness writes lines of its own.
    let lines = output.lines().map_while(Result::ok);
    for position in lines.filter_map(|line| line.strip_prefix(MARK)?.parse::<u64>().ok()).take(batches) {
        last = Some(position);
    }
    last.context("the child acknowledged nothing")
}

#[tokio::test]
#[ignore = "a child process of the test above; it never ends by itself"]
async fn append_until_killed() -> Result<()> {
    let Some(path) = std::env::var_os(DATABASE) else { return Ok(()) };
    let store = SqliteStore::open(Path::new(&path), epoch(1)).await?;
    let mut rng = StdRng::seed_from_u64(store.head(&tenant("dortmund")).await?.position.0);
    loop {
        let first = store.head(&tenant("dortmund")).await?.position.0 + 1;
        let len = rng.random_range(1..100);
        let batch: Vec<_> = (first..first + len).map(expected).collect();
        let positions = store.append(&batch).await?;
        let last = positions.last().context("a batch is not empty")?;
        let mut output = std::io::stdout().lock();
        writeln!(output, "\n{MARK}{last}")?;
        output.flush()?;
    }
}

/// Every entry up to the head is there, whole, in its document and nowhere else.
async fn verify(path: &Path) -> Result<u64> {
    let store = SqliteStore::open(path, epoch(1)).await?;
    let head = store.head(&tenant("dortmund")).await?.position.0;
    let mut found = 0;
    for number in 0..DOCUMENTS {
        let Some(log) = store.document(document(number)).await? else { continue };
        for stored in &log.entries {
            let Append { entry, encoded, .. } = expected(stored.position.0);
            ensure!(entry.document == document(number) && encoded == stored.encoded, "{}", stored.position);
        }
        found += log.entries.len() as u64;
    }
    ensure!(found == head, "{found} entries in documents, {head} in the log");
    let positions: Vec<_> = (1..=head).map(Position).collect();
    ensure!(store.read(&tenant("dortmund"), &positions).await?.len() as u64 == head);
    // Not closed: the next child finds the files as a killed process leaves them.
    Ok(head)
}

/// What stands at a position.
fn expected(position: u64) -> Append {
    let draft = about(document(u128::from(position * 7) % DOCUMENTS)).change(format!("{position:0>200}").as_bytes());
    if position % 50 == 1 { draft.grant(&unit("rtw-1")).append() } else { draft.append() }
}

const DATABASE: &str = "FELDAKTE_STORE_KILLED_DATABASE";

const MARK: &str = "acknowledged ";

const DOCUMENTS: u128 = 11;

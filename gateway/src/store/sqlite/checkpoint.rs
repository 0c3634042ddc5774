//! Copies the write-ahead log into the database file, beside the writer.
//!
//! The bulk is copied while appends go on. The rest, written meanwhile, is copied while they wait: a few pages and one
//! fsync. After that nothing of the write-ahead log is needed and the next commit starts it again from its beginning,
//! so the file keeps its size and a commit's fsync never has to extend it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use super::{
    connect::{self, Purpose},
    error::Cause,
    writer::Writer,
};

/// Counts what is written and says when a checkpoint is due.
#[derive(Debug, Default)]
pub(super) struct Meter {
    written: AtomicU64,
    due: Notify,
}

impl Meter {
    /// So many bytes went into the write-ahead log.
    pub fn add(&self, len: u64) {
        if self.written.fetch_add(len, Ordering::Relaxed) + len >= CHECKPOINT_EVERY {
            self.due.notify_one();
        }
    }
}

/// The task's own connection.
#[derive(Debug)]
pub(super) struct Checkpointer {
    connection: SqliteConnection,
    meter: Arc<Meter>,
    writer: Arc<Mutex<Option<Writer>>>,
}

impl Checkpointer {
    pub async fn open(path: &Path, meter: Arc<Meter>, writer: Arc<Mutex<Option<Writer>>>) -> Result<Self, sqlx::Error> {
        Ok(Self { connection: connect::connect(path, Purpose::Checkpoint).await?, meter, writer })
    }

    /// Works until `stop`, then lets go of its connection.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.meter.due.notified() => {}
            }
            self.meter.written.store(0, Ordering::Relaxed);
            if let Err(error) = self.checkpoint().await {
                self.on_failure(error).await;
            }
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "checkpoint connection did not close");
        }
    }

    async fn checkpoint(&mut self) -> Result<(), sqlx::Error> {
        checkpoint(&mut self.connection, Mode::Passive).await?;
        let _waiting = self.writer.lock().await;
        let (pages, copied) = checkpoint(&mut self.connection, Mode::Passive).await?;
        tracing::debug!(pages, copied, "checkpoint");
        Ok(())
    }

    async fn on_failure(&self, error: sqlx::Error) {
        if Cause::of(&error) == Cause::Disk {
            tracing::error!(%error, "checkpoint failed, writing stops");
            if let Some(writer) = self.writer.lock().await.as_mut() {
                writer.interrupt();
            }
            return;
        }
        // The log itself is safe; it only grows until a later checkpoint succeeds.
        tracing::warn!(%error, "checkpoint failed");
    }
}

/// How far a checkpoint goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mode {
    /// Waits for nobody.
    Passive,
    /// Also empties the write-ahead log.
    Truncate,
}

/// Runs one; returns the pages in the write-ahead log and how many of them are copied.
pub(super) async fn checkpoint(connection: &mut SqliteConnection, mode: Mode) -> Result<(i64, i64), sqlx::Error> {
    let sql = match mode {
        Mode::Passive => "pragma wal_checkpoint(passive)",
        Mode::Truncate => "pragma wal_checkpoint(truncate)",
    };
    let (_busy, pages, copied): (i64, i64, i64) = sqlx::query_as(sql).fetch_one(connection).await?;
    Ok((pages, copied))
}

/// Empties the write-ahead log; `false` while somebody else reads the database.
pub(super) async fn truncate(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let sql = "pragma wal_checkpoint(truncate)";
    let (busy, _pages, _copied): (i64, i64, i64) = sqlx::query_as(sql).fetch_one(connection).await?;
    Ok(busy == 0)
}

/// Bytes written between two checkpoints: few enough that recovery after a crash takes milliseconds.
const CHECKPOINT_EVERY: u64 = 8 << 20;

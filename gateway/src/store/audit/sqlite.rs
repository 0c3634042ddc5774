//! The audit log in a SQLite file of its own, in WAL mode; every commit is on the disk when it returns.
//!
//! After a commit whose outcome is not known the connection is thrown away: the file itself tells what it has kept.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use feldakte_core::audit::{Chain, Checkpoint, Head, Row};
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

use self::reader::AuditReader;
use super::{AuditStore, Batch};
use crate::store::{
    StoreError,
    sqlite::{
        connect::{self, Purpose},
        error::{Cause, DatabaseError},
    },
};

pub mod reader;
mod schema;

/// A writer and a reader of one file.
#[derive(Debug)]
pub struct SqliteAuditStore {
    path: PathBuf,
    writer: Mutex<Writer>,
    reader: Mutex<Option<AuditReader>>,
}

#[derive(Debug)]
enum Writer {
    Open(SqliteConnection),
    /// A write is under way, or its caller went away before the end; or a commit failed half-way.
    InDoubt,
    Closed,
}

impl SqliteAuditStore {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    /// When it is of a later release or not an audit log, or SQLite does not take a setting.
    pub async fn open(path: &Path) -> Result<Arc<Self>, StoreError> {
        let writer = Mutex::new(Writer::Open(open_writer(path).await?));
        let reader = Mutex::new(Some(AuditReader::open(path).await?));
        Ok(Arc::new(Self { path: path.to_owned(), writer, reader }))
    }

    /// Limits the file to so many pages of 4 KiB; beyond it writing fails with [`StoreError::Full`], as on a disk without
    /// room.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn limit_pages(&self, pages: u32) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let sql = sqlx::AssertSqlSafe(format!("pragma max_page_count = {pages}"));
        sqlx::query(sql).execute(self.ready(&mut writer).await?).await?;
        Ok(())
    }

    /// The connection, opened anew when nobody knows what became of the last commit.
    async fn ready<'w>(&self, writer: &'w mut Writer) -> Result<&'w mut SqliteConnection, StoreError> {
        if let Writer::InDoubt = writer {
            *writer = Writer::Open(open_writer(&self.path).await?);
        }
        match writer {
            Writer::Open(connection) => Ok(connection),
            Writer::InDoubt | Writer::Closed => Err(DatabaseError::Closed.into()),
        }
    }
}

#[async_trait]
impl AuditStore for SqliteAuditStore {
    async fn chains(&self) -> Result<Vec<Chain>, StoreError> {
        reading(&mut self.reader.lock().await)?.chains().await
    }

    async fn head(&self, chain: &Chain) -> Result<Head, StoreError> {
        // By the writer: it is what the next row follows, and opening it anew settles what became of the last commit.
        reader::head(self.ready(&mut *self.writer.lock().await).await?, chain).await
    }

    async fn append(&self, batch: &Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer.lock().await;
        self.ready(&mut writer).await?;
        let Writer::Open(mut connection) = std::mem::replace(&mut *writer, Writer::InDoubt) else {
            return Err(DatabaseError::Closed.into());
        };
        let written = match write(&mut connection, batch).await {
            Ok(()) => sqlx::query("commit").execute(&mut connection).await.map(drop),
            Err(error) => Err(error),
        };
        let Err(error) = written else {
            *writer = Writer::Open(connection);
            return Ok(());
        };
        let is_undone = Cause::of(&error) == Cause::Full && roll_back(&mut connection).await;
        if is_undone {
            *writer = Writer::Open(connection);
            return Err(StoreError::Full);
        }
        Err(StoreError::Unknown(error.into()))
    }

    async fn rows(&self, chain: &Chain, after: u64, limit: usize) -> Result<Vec<Row>, StoreError> {
        reading(&mut self.reader.lock().await)?.rows(chain, after, limit).await
    }

    async fn checkpoints(&self, chain: &Chain) -> Result<Vec<Checkpoint>, StoreError> {
        reading(&mut self.reader.lock().await)?.checkpoints(chain).await
    }

    async fn close(&self) {
        // The reader first: the last connection copies the write-ahead log into the file, so that the file is all there is.
        if let Some(reader) = self.reader.lock().await.take() {
            warn_of(reader.close().await);
        }
        let writer = std::mem::replace(&mut *self.writer.lock().await, Writer::Closed);
        if let Writer::Open(connection) = writer {
            warn_of(connection.close().await);
        }
    }
}

/// Nothing is lost: the next start reads the write-ahead log.
fn warn_of(closed: Result<(), sqlx::Error>) {
    if let Err(error) = closed {
        tracing::warn!(%error, "the audit log did not close");
    }
}

fn reading<'g>(guard: &'g mut MutexGuard<'_, Option<AuditReader>>) -> Result<&'g mut AuditReader, StoreError> {
    guard.as_mut().ok_or_else(|| DatabaseError::Closed.into())
}

async fn open_writer(path: &Path) -> Result<SqliteConnection, StoreError> {
    let mut connection = connect::connect(path, Purpose::Side).await?;
    schema::migrate(&mut connection).await?;
    Ok(connection)
}

async fn write(connection: &mut SqliteConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    sqlx::query("begin immediate").execute(&mut *connection).await?;
    for (chain, Row { seq, previous, record, hash }) in &batch.rows {
        let sql = "insert into row (chain, seq, previous, record, hash) values (?, ?, ?, ?, ?)";
        let query = sqlx::query(sql).bind(chain.name()).bind(seq.cast_signed());
        query.bind(&previous[..]).bind(&record[..]).bind(&hash[..]).execute(&mut *connection).await?;
    }
    for Checkpoint { chain, head, when_ms, signature } in &batch.checkpoints {
        let sql = "insert into checkpoint (chain, seq, hash, time, signature) values (?, ?, ?, ?, ?)";
        let query = sqlx::query(sql).bind(chain.name()).bind(head.seq.cast_signed()).bind(&head.hash[..]);
        query.bind(when_ms).bind(&signature[..]).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Whether no transaction is open any more; some errors end it by themselves.
async fn roll_back(connection: &mut SqliteConnection) -> bool {
    match sqlx::query("rollback").execute(connection).await {
        Err(error) => Cause::of(&error) == Cause::Other,
        Ok(_) => true,
    }
}

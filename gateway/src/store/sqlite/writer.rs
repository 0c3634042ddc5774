//! The one writer: at most one transaction at a time, and after an interrupted commit none at all.

use std::sync::LazyLock;

use feldakte_core::ids::DocumentId;
use sha2::{Digest, Sha256};
use sqlx::{
    Arguments, AssertSqlSafe, Connection, SqliteConnection,
    error::BoxDynError,
    sqlite::{SqliteArguments, SqliteQueryResult},
};
use uuid::Uuid;

use super::{
    batch::{AuthorityChange, AuthorityRow, Batch, DocumentRow, EntryRow},
    checkpoint::{self, Mode},
    error::{Cause, DatabaseError},
    key,
    snapshot::SnapshotRow,
};
use crate::store::StoreError;

/// Both writing connections; whoever holds this holds SQLite's write lock.
#[derive(Debug)]
pub(super) struct Writer {
    log: SqliteConnection,
    /// Commits without fsync, so that a snapshot never delays an append by one.
    derived: SqliteConnection,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The last write came to an end; whether it also proved that the disk takes commits.
    Ready { proven: bool },
    /// An append is under way. Found at the start of a write, it means that its caller went away before the end.
    Appending,
    /// A commit of the log failed half-way.
    Interrupted,
}

impl Writer {
    pub fn new(log: SqliteConnection, derived: SqliteConnection) -> Self {
        Self { log, derived, state: State::Ready { proven: false } }
    }

    /// Writes the batch in one commit.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] now and for every later write when it is not known what the disk has kept.
    pub async fn append(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        self.check()?;
        self.state = State::Appending;
        let outcome = match write_batch(&mut self.log, batch).await {
            Ok(()) => sqlx::query("commit").execute(&mut self.log).await.map(drop).map_err(Failure::Commit),
            Err(failure) => Err(failure),
        };
        let Err(failure) = outcome else {
            self.state = State::Ready { proven: true };
            return Ok(());
        };
        if failure.leaves_doubt() || roll_back(&mut self.log).await.is_err() {
            self.state = State::Interrupted;
            return Err(StoreError::Unknown(failure.into_source()));
        }
        self.state = State::Ready { proven: false };
        Err(failure.into())
    }

    /// Replaces a snapshot unless a newer one is there. It may be lost in a power cut and is then made again.
    pub async fn put_snapshot(&mut self, document: DocumentId, row: SnapshotRow) -> Result<(), StoreError> {
        self.check()?;
        let Err(failure) = write_snapshot(&mut self.derived, document, row).await else { return Ok(()) };
        if failure.leaves_disk_in_doubt() || roll_back(&mut self.derived).await.is_err() {
            self.interrupt();
        }
        Err(failure.into())
    }

    /// Whether commits succeed: the last append has shown it, or one small commit of the log shows it.
    pub async fn probe(&mut self) -> Result<(), StoreError> {
        self.check()?;
        if std::mem::replace(&mut self.state, State::Ready { proven: false }) == (State::Ready { proven: true }) {
            return Ok(());
        }
        let sql = "insert or replace into meta (key, value) values ('probe', randomblob(8))";
        let committed = sqlx::query(sql).execute(&mut self.log).await;
        if matches!(&committed, Err(error) if Cause::of(error) == Cause::Disk) {
            self.interrupt();
        }
        committed?;
        Ok(())
    }

    /// Remembers the keyring, unless there is another one already.
    pub async fn seal_with(&mut self, keyring: Uuid) -> Result<(), StoreError> {
        self.check()?;
        let sql = "insert or ignore into meta (key, value) values ('keyring', ?)";
        sqlx::query(sql).bind(&keyring.as_bytes()[..]).execute(&mut self.log).await?;
        let sql = "select value from meta where key = 'keyring'";
        let sealed_with: Vec<u8> = sqlx::query_scalar(sql).fetch_one(&mut self.log).await?;
        match sealed_with == keyring.as_bytes() {
            true => Ok(()),
            false => Err(DatabaseError::OtherKeyring.into()),
        }
    }

    /// Takes no more writes. After a failed fsync the kernel may have dropped pages it will not report again, and
    /// with one page of the write-ahead log everything after it is gone.
    pub fn interrupt(&mut self) {
        self.state = State::Interrupted;
    }

    /// Limits the database file to so many pages.
    pub async fn limit_pages(&mut self, pages: u32) -> Result<(), StoreError> {
        let sql = AssertSqlSafe(format!("pragma max_page_count = {pages}"));
        sqlx::query(sql).execute(&mut self.log).await?;
        Ok(())
    }

    /// Copies the write-ahead log into the database and lets go of both connections.
    pub async fn close(mut self) -> Result<(), sqlx::Error> {
        self.derived.close().await?;
        let copied = match self.state {
            State::Ready { .. } => checkpoint::checkpoint(&mut self.log, Mode::Truncate).await.map(drop),
            // What the disk has kept is for the next start to find out.
            State::Appending | State::Interrupted => Ok(()),
        };
        self.log.close().await?;
        copied
    }

    fn check(&mut self) -> Result<(), StoreError> {
        if self.state == State::Appending {
            self.state = State::Interrupted;
        }
        if self.state == State::Interrupted {
            return Err(DatabaseError::Interrupted.into());
        }
        Ok(())
    }
}

/// Where a write failed.
#[derive(Debug)]
enum Failure {
    /// Before the commit.
    Statement(sqlx::Error),
    /// In the commit.
    Commit(sqlx::Error),
    /// A document belongs to another tenant.
    ForeignDocument,
    /// A snapshot's document has no entry.
    UnknownDocument,
}

impl Failure {
    /// Whether the disk may have kept what was to be written.
    fn leaves_doubt(&self) -> bool {
        match self {
            Failure::Commit(error) => Cause::of(error) != Cause::Full,
            failure => failure.leaves_disk_in_doubt(),
        }
    }

    fn leaves_disk_in_doubt(&self) -> bool {
        match self {
            Failure::Statement(error) | Failure::Commit(error) => Cause::of(error) == Cause::Disk,
            Failure::ForeignDocument | Failure::UnknownDocument => false,
        }
    }

    fn into_source(self) -> BoxDynError {
        match self {
            Failure::Statement(error) | Failure::Commit(error) => error.into(),
            Failure::ForeignDocument | Failure::UnknownDocument => DatabaseError::Interrupted.into(),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Failure::Statement(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Statement(error) | Failure::Commit(error) => error.into(),
            Failure::ForeignDocument => StoreError::Damaged("a document's tenant"),
            Failure::UnknownDocument => DatabaseError::UnknownDocument.into(),
        }
    }
}

async fn write_batch(log: &mut SqliteConnection, batch: &Batch<'_>) -> Result<(), Failure> {
    sqlx::query("begin immediate").execute(&mut *log).await?;
    for (tenant, row) in batch.tenants.iter().filter(|(_, row)| row.new) {
        let insert = sqlx::query("insert into tenant (id, name) values (?, ?)").bind(row.number);
        insert.bind(tenant.as_str()).execute(&mut *log).await?;
    }
    // Before the documents: an entry finds the one before it in its document's row.
    for (sql, rows) in size_classes(&INSERT_ENTRIES, &batch.entries) {
        execute(log, sql, rows.iter(), bind_entry).await?;
    }
    let documents: Vec<_> = batch.documents.iter().collect();
    for (sql, rows) in size_classes(&UPSERT_DOCUMENTS, &documents) {
        let result = execute(log, sql, rows.iter(), bind_document).await?;
        // A document of another tenant is left out by the statement's `where`.
        if result.rows_affected() != rows.len() as u64 {
            return Err(Failure::ForeignDocument);
        }
    }
    for row in &batch.authority {
        write_authority(log, row).await?;
    }
    Ok(())
}

async fn write_authority(log: &mut SqliteConnection, row: &AuthorityRow<'_>) -> Result<(), sqlx::Error> {
    let (sql, until) = match row.change {
        AuthorityChange::Begins(until) => (
            "insert into authority (tenant, subject, document, began, until) values (?1, ?2, ?3, ?4, ?5)
            on conflict do update set
                began = iif(ended is null, began, excluded.began), ended = null, until = excluded.until",
            until,
        ),
        AuthorityChange::Ends => (
            "update authority set ended = ?4
            where tenant = ?1 and subject = ?2 and document = ?3 and ended is null and ?5 is null",
            None,
        ),
    };
    let query = sqlx::query(sql).bind(row.tenant).bind(key::subject_text(row.subject));
    query.bind(&row.document.to_bytes()[..]).bind(row.entry).bind(until).execute(log).await?;
    Ok(())
}

async fn write_snapshot(derived: &mut SqliteConnection, document: DocumentId, row: SnapshotRow) -> Result<(), Failure> {
    let (document, position) = (document.to_bytes(), row.position);
    sqlx::query("begin immediate").execute(&mut *derived).await?;
    let sql = "insert into snapshot (document, position, digest, actors, chunks) values (?, ?, ?, ?, ?)
        on conflict do update set position = excluded.position, digest = excluded.digest,
            actors = excluded.actors, chunks = excluded.chunks
        where excluded.position >= position";
    let query = sqlx::query(sql).bind(&document[..]).bind(position).bind(row.digest);
    query.bind(row.actors).bind(row.chunks).execute(&mut *derived).await?;
    let sql = "update document set projected = max(projected, tenant << 44 | ?2) where id = ?1";
    let updated = sqlx::query(sql).bind(&document[..]).bind(position).execute(&mut *derived).await?;
    if updated.rows_affected() == 0 {
        return Err(Failure::UnknownDocument);
    }
    sqlx::query("commit").execute(derived).await?;
    Ok(())
}

/// Ends whatever transaction is open; that none is open is fine: some errors end it by themselves.
async fn roll_back(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    match sqlx::query("rollback").execute(connection).await {
        Err(error) if Cause::of(&error) != Cause::Other => Err(error),
        _ => Ok(()),
    }
}

async fn execute<T>(
    log: &mut SqliteConnection,
    sql: &'static str,
    rows: impl Iterator<Item = T>,
    bind: impl Fn(&mut SqliteArguments, T) -> Result<(), BoxDynError>,
) -> Result<SqliteQueryResult, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for row in rows {
        bind(&mut arguments, row).map_err(sqlx::Error::Encode)?;
    }
    sqlx::query_with(sql, arguments).execute(log).await
}

fn bind_entry(arguments: &mut SqliteArguments, row: &EntryRow<'_>) -> Result<(), BoxDynError> {
    // The last entry of a document is looked up only where the batch itself does not name it.
    let lookup = row.previous.is_none().then(|| row.document.to_bytes().to_vec());
    arguments.add(row.id)?;
    arguments.add(row.previous)?;
    arguments.add(lookup)?;
    arguments.add(row.changes)?;
    arguments.add(i64::try_from(row.encoded.len()).expect("a slice's length fits"))?;
    arguments.add(Sha256::digest(row.encoded).to_vec())?;
    arguments.add(&row.encoded[..])
}

fn bind_document(
    arguments: &mut SqliteArguments,
    (document, row): &(&DocumentId, &DocumentRow),
) -> Result<(), BoxDynError> {
    arguments.add(&document.to_bytes()[..])?;
    arguments.add(row.tenant)?;
    arguments.add(row.created)?;
    arguments.add(row.last)?;
    arguments.add(row.changes)
}

/// Cuts rows into runs whose lengths are powers of two, each with the statement of its length: few statements,
/// each prepared once.
fn size_classes<'r, T>(
    statements: &'static [String; CLASSES],
    mut rows: &'r [T],
) -> impl Iterator<Item = (&'static str, &'r [T])> {
    std::iter::from_fn(move || {
        let class = rows.len().checked_ilog2()?.min(CLASSES as u32 - 1);
        let (run, rest) = rows.split_at(1 << class);
        rows = rest;
        Some((statements[class as usize].as_str(), run))
    })
}

fn statements(head: &str, row: &str, tail: &str) -> [String; CLASSES] {
    std::array::from_fn(|class| format!("{head} values {}{tail}", vec![row; 1 << class].join(", ")))
}

static INSERT_ENTRIES: LazyLock<[String; CLASSES]> = LazyLock::new(|| {
    let head = "insert into entry (id, previous, changes, len, digest, payload)";
    statements(head, "(?, coalesce(?, (select last from document where id = ?)), ?, ?, ?, ?)", "")
});

static UPSERT_DOCUMENTS: LazyLock<[String; CLASSES]> = LazyLock::new(|| {
    let head = "insert into document (id, tenant, created, last, changes, projected)";
    let tail = " on conflict do update set last = excluded.last, changes = changes + excluded.changes
        where tenant = excluded.tenant";
    statements(head, "(?, ?, ?, ?, ?, 0)", tail)
});

/// Statements of 1, 2, 4 … 64 rows: beyond 64 the cost of a row falls no further.
const CLASSES: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_cover_all_rows_in_order() {
        for len in 0..300_usize {
            let rows: Vec<_> = (0..len).collect();
            let runs: Vec<_> = size_classes(&INSERT_ENTRIES, &rows).collect();
            assert_eq!(runs.iter().flat_map(|(_, run)| run.iter().copied()).collect::<Vec<_>>(), rows);
            for (sql, run) in runs {
                assert_eq!(sql.matches("coalesce").count(), run.len());
            }
        }
    }
}

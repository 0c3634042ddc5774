//! Reads an audit file, or a copy of one, whether or not a gateway has it open.
//!
//! Nothing of what stands in the file is taken for granted: bytes that cannot be a row become one that no chain accepts.

use std::path::Path;

use feldakte_core::audit::{Chain, Checkpoint, Head, Row};
use sqlx::{Connection, SqliteConnection};

use super::schema;
use crate::store::{
    StoreError,
    sqlite::connect::{self, Purpose},
};

/// A connection that cannot write.
#[derive(Debug)]
pub struct AuditReader(SqliteConnection);

impl AuditReader {
    /// Opens a file that must be there.
    ///
    /// # Errors
    /// When it is not an audit log, or of a later release.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = connect::connect(path, Purpose::Read).await?;
        schema::SCHEMA.check_version(&mut connection).await?;
        Ok(Self(connection))
    }

    /// Lets go of the file.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        self.0.close().await
    }

    /// All chains, by name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn chains(&mut self) -> Result<Vec<Chain>, StoreError> {
        let sql = "select chain from row union select chain from checkpoint order by 1";
        let names: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut self.0).await?;
        let chain = |name: String| Chain::from_name(&name).map_err(|_| StoreError::Damaged("the name of a chain"));
        names.into_iter().map(chain).collect()
    }

    /// Where the chain ends.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn head(&mut self, chain: &Chain) -> Result<Head, StoreError> {
        head(&mut self.0, chain).await
    }

    /// At most `limit` rows after the row `after`, ascending. After 0 also those whose place is none, so that a check
    /// meets them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn rows(&mut self, chain: &Chain, after: u64, limit: usize) -> Result<Vec<Row>, StoreError> {
        let after = if after == 0 { i64::MIN } else { after.cast_signed() };
        let sql = "select seq, previous, record, hash from row where chain = ? and seq > ? order by seq limit ?";
        let query = sqlx::query_as(sql).bind(chain.name()).bind(after);
        let rows: Vec<StoredRow> = query.bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(&mut self.0).await?;
        Ok(rows.into_iter().map(row_of).collect())
    }

    /// All checkpoints, by ascending row.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn checkpoints(&mut self, chain: &Chain) -> Result<Vec<Checkpoint>, StoreError> {
        let sql = "select seq, hash, time, signature from checkpoint where chain = ? order by seq, id";
        let rows: Vec<StoredCheckpoint> = sqlx::query_as(sql).bind(chain.name()).fetch_all(&mut self.0).await?;
        Ok(rows.into_iter().map(|row| checkpoint_of(chain, row)).collect())
    }
}

/// Where the chain ends, as this connection sees it.
pub(super) async fn head(connection: &mut SqliteConnection, chain: &Chain) -> Result<Head, StoreError> {
    let sql = "select seq, hash from row where chain = ? order by seq desc limit 1";
    let last: Option<(i64, Vec<u8>)> = sqlx::query_as(sql).bind(chain.name()).fetch_optional(connection).await?;
    let Some((seq, hash)) = last else { return Ok(Head::START) };
    Ok(Head { seq: seq.cast_unsigned(), hash: hash_of(&hash) })
}

/// Place, hash before, record, hash.
type StoredRow = (i64, Vec<u8>, Vec<u8>, Vec<u8>);

/// Row, its hash, time, signature.
type StoredCheckpoint = (i64, Vec<u8>, i64, Vec<u8>);

fn row_of((seq, previous, record, hash): StoredRow) -> Row {
    Row { seq: seq.cast_unsigned(), previous: hash_of(&previous), record, hash: hash_of(&hash) }
}

fn checkpoint_of(chain: &Chain, (seq, hash, when_ms, signature): StoredCheckpoint) -> Checkpoint {
    let head = Head { seq: seq.cast_unsigned(), hash: hash_of(&hash) };
    Checkpoint { chain: chain.clone(), head, when_ms, signature }
}

/// What is not 32 bytes long is no row's hash, and neither are 32 times 0xff.
fn hash_of(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().unwrap_or([0xff; 32])
}

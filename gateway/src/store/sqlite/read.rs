//! Reading: one statement each, and no payload leaves that is not what was written.

use bytes::Bytes;
use feldakte_core::ids::{DocumentId, Position};
use sha2::{Digest, Sha256};
use sqlx::SqlitePool;

use super::{key, snapshot::SnapshotRow};
use crate::store::{Changed, DocumentLog, Reader, StoreError, Stored, StoredSnapshot};

/// Whose document, and all its entries.
pub(super) async fn document(pool: &SqlitePool, document: DocumentId) -> Result<Option<DocumentLog>, StoreError> {
    let sql = "select tenant.name from document join tenant on tenant.id = document.tenant where document.id = ?";
    let name: Option<String> = sqlx::query_scalar(sql).bind(document.to_bytes().to_vec()).fetch_optional(pool).await?;
    let Some(name) = name else { return Ok(None) };
    let tenant = name.parse().map_err(|_| StoreError::Damaged("a tenant's name"))?;
    Ok(Some(DocumentLog { tenant, entries: entries_after(pool, document, Position::START).await? }))
}

/// The document's entries after a position.
pub(super) async fn entries_after(
    pool: &SqlitePool,
    document: DocumentId,
    after: Position,
) -> Result<Vec<Stored>, StoreError> {
    // From the document's last entry back to the one after `after`.
    let sql = "with recursive chain (id, len, digest, payload, previous, floor) as (
            select entry.id, entry.len, entry.digest, entry.payload, entry.previous, document.tenant << 44 | ?2
            from document join entry on entry.id = document.last
            where document.id = ?1 and entry.id > document.tenant << 44 | ?2
            union all
            select entry.id, entry.len, entry.digest, entry.payload, entry.previous, chain.floor
            from chain join entry on entry.id = chain.previous
            where entry.id > chain.floor)
        select id, len, digest, payload from chain";
    let query = sqlx::query_as(sql).bind(document.to_bytes().to_vec()).bind(key::entry_id(0, after));
    let mut rows: Vec<EntryRow> = query.fetch_all(pool).await?;
    rows.sort_unstable_by_key(|(id, ..)| *id);
    rows.into_iter().map(stored).collect()
}

/// The entries at these positions.
pub(super) async fn entries_at(
    pool: &SqlitePool,
    tenant: i64,
    positions: &[Position],
) -> Result<Vec<Stored>, StoreError> {
    let sql = "select id, len, digest, payload from entry where id in (select value from json_each(?)) order by id";
    let query = sqlx::query_as(sql).bind(key::entries_json(tenant, positions));
    let rows: Vec<EntryRow> = query.fetch_all(pool).await?;
    rows.into_iter().map(stored).collect()
}

/// A range of a tenant's log, its first position excluded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    after: i64,
    up_to: i64,
}

impl Range {
    /// `(after, up_to]` of the tenant of that number.
    pub fn new(tenant: i64, after: Position, up_to: Position) -> Self {
        Self { after: key::entry_id(tenant, after), up_to: key::entry_id(tenant, up_to) }
    }

    /// Whether no position lies in it.
    pub fn is_empty(self) -> bool {
        self.after >= self.up_to
    }
}

/// Positions of these documents' entries in the range.
pub(super) async fn positions(
    pool: &SqlitePool,
    documents: &[DocumentId],
    range: Range,
) -> Result<Vec<Position>, StoreError> {
    let sql = "with recursive chain (id, previous) as (
            select entry.id, entry.previous
            from json_each(?1) join document on document.id = unhex(json_each.value)
                join entry on entry.id = document.last
            where document.last > ?2 and document.created <= ?3
            union
            select entry.id, entry.previous
            from chain join entry on entry.id = chain.previous
            where entry.id > ?2)
        select id from chain where id <= ?3 order by id";
    let query = sqlx::query_scalar(sql).bind(key::documents_json(documents)).bind(range.after).bind(range.up_to);
    let ids: Vec<i64> = query.fetch_all(pool).await?;
    Ok(ids.into_iter().map(key::position_of).collect())
}

/// What happened to the reader's documents in the range.
pub(super) async fn changed(
    pool: &SqlitePool,
    tenant: i64,
    reader: &Reader,
    (range, now_ms): (Range, i64),
) -> Result<Vec<Changed>, StoreError> {
    // A document that the range covers whole has its sum ready; else the chain is followed through the range.
    let sql = "with held as (
            select id, created, last, changes, min(iif(valid, began, null)) as valid_from,
                nullif(max(iif(valid, coalesce(until, ?6), null)), ?6) as until,
                min(began) as began, max(ended) as ended
            from (
                select document.id, document.created, document.last, document.changes,
                    authority.began, authority.ended, authority.until,
                    authority.ended is null and (authority.until is null or authority.until > ?5) as valid
                from authority cross join document on document.id = authority.document
                where authority.tenant = ?1 and authority.subject in (select value from json_each(?2))
                    and document.last > ?3 and document.created <= ?4)
            group by id),
        visible as (
            select id, created, last, coalesce(valid_from, began) as granted,
                iif(valid_from is null, ended, null) as ended, until,
                iif(created > ?3 and last <= ?4, changes, (
                    with recursive chain (id, previous, changes) as (
                        select id, previous, changes from entry where id = held.last
                        union all
                        select entry.id, entry.previous, entry.changes
                        from chain join entry on entry.id = chain.previous
                        where entry.id > ?3)
                    select sum(changes) from chain where id <= ?4)) as changes
            from held
            where valid_from <= ?4 or (valid_from is null and ended > ?3 and ended <= ?4))
        select id, created, granted, ended, until, changes from visible where changes is not null order by last";
    let query = sqlx::query_as(sql).bind(tenant).bind(key::subjects_json(&reader.subjects));
    let rows: Vec<ChangedRow> =
        query.bind(range.after).bind(range.up_to).bind(now_ms).bind(i64::MAX).fetch_all(pool).await?;
    rows.into_iter().map(changed_from).collect()
}

/// Whether one of the subjects holds a grant.
pub(super) async fn may_read(
    pool: &SqlitePool,
    tenant: i64,
    reader: &Reader,
    (document, now_ms): (DocumentId, i64),
) -> Result<bool, StoreError> {
    let sql = "select exists (select 1 from authority where tenant = ? and document = ?
        and subject in (select value from json_each(?)) and ended is null and (until is null or until > ?))";
    let query = sqlx::query_scalar(sql).bind(tenant).bind(document.to_bytes().to_vec());
    Ok(query.bind(key::subjects_json(&reader.subjects)).bind(now_ms).fetch_one(pool).await?)
}

/// Documents with a grant whose time is over.
pub(super) async fn lapsed(
    pool: &SqlitePool,
    now_ms: i64,
    after: Option<DocumentId>,
    limit: usize,
) -> Result<Vec<DocumentId>, StoreError> {
    let sql = "select distinct document from authority
        where until is not null and ended is null and until <= ? and (?2 is null or document > ?2)
        order by document limit ?3";
    let query = sqlx::query_scalar(sql).bind(now_ms).bind(after.map(|document| document.to_bytes().to_vec()));
    let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let ids: Vec<Vec<u8>> = query.fetch_all(pool).await?;
    ids.iter().map(|id| document_id(id)).collect()
}

/// The document's snapshot.
pub(super) async fn snapshot(pool: &SqlitePool, document: DocumentId) -> Result<Option<StoredSnapshot>, StoreError> {
    let sql = "select position, digest, actors, chunks from snapshot where document = ?";
    let row: Option<SnapshotColumns> =
        sqlx::query_as(sql).bind(document.to_bytes().to_vec()).fetch_optional(pool).await?;
    let row = row.map(|(position, digest, actors, chunks)| SnapshotRow { position, digest, actors, chunks });
    row.map(|row| row.verify(document)).transpose()
}

/// Documents that have entries beyond their snapshot.
pub(super) async fn unprojected(pool: &SqlitePool, limit: usize) -> Result<Vec<DocumentId>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = "select id from document where projected < last limit ?";
    let ids: Vec<Vec<u8>> = sqlx::query_scalar(sql).bind(limit).fetch_all(pool).await?;
    ids.iter().map(|id| document_id(id)).collect()
}

/// position, digest, actors, chunks.
type SnapshotColumns = (i64, Vec<u8>, Vec<u8>, Vec<u8>);

/// id, len, digest, payload.
type EntryRow = (i64, i64, Vec<u8>, Vec<u8>);

fn stored((id, len, digest, payload): EntryRow) -> Result<Stored, StoreError> {
    let intact = i64::try_from(payload.len()) == Ok(len) && Sha256::digest(&payload)[..] == digest;
    if !intact {
        return Err(StoreError::Damaged("an entry"));
    }
    Ok(Stored { position: key::position_of(id), encoded: Bytes::from(payload) })
}

/// id, created, granted, ended, changes.
type ChangedRow = (Vec<u8>, i64, i64, Option<i64>, Option<i64>, i64);

fn changed_from((id, created, granted, ended, until, changes): ChangedRow) -> Result<Changed, StoreError> {
    Ok(Changed {
        document: document_id(&id)?,
        created: key::position_of(created),
        granted: key::position_of(granted),
        ended: ended.map(key::position_of),
        until,
        changes: u64::try_from(changes).map_err(|_| StoreError::Damaged("a count of changes"))?,
    })
}

fn document_id(bytes: &[u8]) -> Result<DocumentId, StoreError> {
    DocumentId::from_slice(bytes).map_err(|_| StoreError::Damaged("a document id"))
}

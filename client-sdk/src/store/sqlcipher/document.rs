//! What the store knows about itself and its documents, and their content.

use bytes::Bytes;
use feldakte_core::{
    access::Role,
    ids::{ActorId, Cursor, DeviceId, DocumentId, Epoch, UserId},
    log::Binding,
};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{
    change::{position_number, user_of},
    emergency::{self, IS_OPENED},
    readership,
    seal::{self, Column, Sealer},
    users, wipe,
};
use crate::store::{ClockState, DocumentState, LocalDocument, LocalState, LocalStoreError};

pub(super) async fn store_state(connection: &mut SqliteConnection) -> Result<LocalState, LocalStoreError> {
    let sql = "select id, user, reader from store";
    let (store, user, reader): (Vec<u8>, Option<Vec<u8>>, Vec<u8>) =
        sqlx::query_as(sql).fetch_one(&mut *connection).await?;
    let reader = readership::reader_of(&reader)?;
    Ok(LocalState {
        store: Epoch::from_slice(&store).map_err(|_| LocalStoreError::Damaged("the store's id"))?,
        user: user_of(user)?,
        reader,
        cursor: users::cursor_of(&mut *connection, reader).await?,
        wipe: wipe::current(&mut *connection).await?,
        clock: clock(connection).await?,
    })
}

async fn clock(connection: &mut SqliteConnection) -> Result<Option<ClockState>, LocalStoreError> {
    let found: Option<(i64, i64, i64)> =
        sqlx::query_as("select offset_ms, contact_ms, high_ms from clock").fetch_optional(connection).await?;
    Ok(found.map(|(offset_ms, contact_ms, high_ms)| ClockState { offset_ms, contact_ms, high_ms }))
}

pub(super) async fn save_clock(connection: &mut SqliteConnection, clock: ClockState) -> Result<(), LocalStoreError> {
    let ClockState { offset_ms, contact_ms, high_ms } = clock;
    sqlx::query("insert or replace into clock (one, offset_ms, contact_ms, high_ms) values (1, ?, ?, ?)")
        .bind(offset_ms)
        .bind(contact_ms)
        .bind(high_ms)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn set_cursor(connection: &mut SqliteConnection, cursor: Cursor) -> Result<(), LocalStoreError> {
    let sql = "insert or replace into reader (user, epoch, position) values ((select reader from store), ?, ?)";
    sqlx::query(sql)
        .bind(cursor.epoch.as_bytes().as_slice())
        .bind(position_number(cursor.position))
        .execute(connection)
        .await?;
    Ok(())
}

/// Id, generation, bootstrap pending, revoked, local, durable, refused, kept.
type DocumentRow = (Vec<u8>, u32, bool, bool, u64, u64, u64, u64);

fn to_state(row: DocumentRow) -> Result<DocumentState, LocalStoreError> {
    let (id, generation, bootstrap_pending, revoked, local, durable, refused, kept) = row;
    Ok(DocumentState { document: id_of(&id)?, generation, bootstrap_pending, revoked, local, durable, refused, kept })
}

/// A document's id as it is stored.
pub(super) fn id_of(id: &[u8]) -> Result<DocumentId, LocalStoreError> {
    DocumentId::from_slice(id).map_err(|_| LocalStoreError::Damaged("a document id"))
}

/// Documents as whoever uses the device sees them: those he may read, those he was shown in an emergency, and those with
/// work of his that nobody has yet.
fn states(and: &str) -> String {
    let his = format!("from readership where readership.document = document.row and {}", readership::IS_HIS);
    format!(
        "select id, coalesce(author.generation, document.generation),
                exists (select 1 {his} and state = 2),
                not exists (select 1 {his} and state in (1, 2))
                    and exists (select 1 from readership where readership.document = document.row),
                coalesce(local, 0), coalesce(durable, 0), coalesce(refused, 0), coalesce(kept, 0)
            from document
            left join author on author.document = document.row and author.user = (select coalesce(user, x'') from store)
         where (exists (select 1 {his} and state in (1, 2)) or {IS_OPENED} or coalesce(local + refused + kept, 0) > 0) {and}"
    )
}

pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<DocumentState>, LocalStoreError> {
    let sql = states("order by id");
    let rows: Vec<DocumentRow> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(connection).await?;
    rows.into_iter().map(to_state).collect()
}

pub(super) async fn one(
    connection: &mut SqliteConnection,
    document: DocumentId,
) -> Result<Option<DocumentState>, LocalStoreError> {
    let sql = states("and id = ?");
    let query = sqlx::query_as(AssertSqlSafe(sql)).bind(document.to_bytes().as_slice().to_vec());
    let row: Option<DocumentRow> = query.fetch_optional(connection).await?;
    row.map(to_state).transpose()
}

/// The document's row number; `None` when the device does not hold it.
pub(super) async fn row_of(
    connection: &mut SqliteConnection,
    document: DocumentId,
) -> Result<Option<i64>, LocalStoreError> {
    Ok(sqlx::query_scalar("select row from document where id = ?")
        .bind(document.to_bytes().as_slice())
        .fetch_optional(connection)
        .await?)
}

/// With which generation it begins for somebody who does not see it, if it is there at all.
pub(super) async fn first_generation(
    connection: &mut SqliteConnection,
    document: DocumentId,
) -> Result<u32, LocalStoreError> {
    let sql = "select coalesce(
        (select author.generation from author join document on document.row = author.document
            where id = ?1 and author.user = (select coalesce(user, x'') from store)),
        (select generation from document where id = ?1), (select generation + 1 from purged where id = ?1), 0)";
    Ok(sqlx::query_scalar(sql).bind(document.to_bytes().to_vec()).fetch_one(connection).await?)
}

/// The document's row number; it is added when the device does not hold it.
pub(super) async fn row_or_new(
    connection: &mut SqliteConnection,
    document: DocumentId,
) -> Result<i64, LocalStoreError> {
    if let Some(row) = row_of(connection, document).await? {
        return Ok(row);
    }
    let generation = first_generation(connection, document).await?;
    let sql = "insert into document (id, generation) values (?, ?)";
    let query = sqlx::query(sql).bind(document.to_bytes().to_vec()).bind(generation);
    let added = query.execute(&mut *connection).await?;
    let row = added.last_insert_rowid();
    seal::add_key(connection, row).await?;
    Ok(row)
}

pub(super) async fn load(
    connection: &mut SqliteConnection,
    document: DocumentId,
) -> Result<Option<LocalDocument>, LocalStoreError> {
    let Some(state) = one(connection, document).await? else { return Ok(None) };
    let Some(row) = row_of(connection, document).await? else { return Ok(None) };
    let sealer = Sealer::of(connection, row).await?;
    if !(readership::is_readable(connection, row).await? || emergency::is_opened(connection, document).await?) {
        let chunks = open_all(connection, (row, &sealer), OWN_ALONE).await?;
        return Ok(Some(LocalDocument { state, chunks, bindings: Vec::new() }));
    }
    let snapshot: Option<Vec<u8>> = sqlx::query_scalar("select chunks from snapshot where document = ?")
        .bind(row)
        .fetch_optional(&mut *connection)
        .await?;
    let snapshot = snapshot.map(|sealed| sealer.open(Column::Snapshot, sealed)).transpose()?;
    let mut chunks: Vec<Bytes> = snapshot.map(Bytes::from).into_iter().collect();
    chunks.extend(open_all(connection, (row, &sealer), SHOWN).await?);
    Ok(Some(LocalDocument { state, chunks, bindings: bindings(connection, row).await? }))
}

/// The changes of a document that fit, as they were stored.
async fn open_all(
    connection: &mut SqliteConnection,
    (document, sealer): (i64, &Sealer),
    which: &str,
) -> Result<Vec<Bytes>, LocalStoreError> {
    let sql = format!(
        "select bytes from change where document = ?1 and {which}
           and not exists (select 1 from quarantine where document = ?1 and quarantine.hash = change.hash)
         order by row"
    );
    let changes: Vec<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(sql)).bind(document).fetch_all(connection).await?;
    changes.into_iter().map(|sealed| sealer.open(Column::Change, sealed).map(Bytes::from)).collect()
}

/// Beside the snapshot. Somebody else's work is his until it is durable; the first change of a document has no content.
const SHOWN: &str = "covered = 0 and state not in (3, 5, 6)
    and (state != 1 or user is (select user from store) or length(intent) = 0)";

/// What he may see who was not sent the document: his own, and the first change of all documents, which has no content.
const OWN_ALONE: &str = "state in (1, 2) and (user is (select user from store) or length(intent) = 0)";

/// Ascending by actor.
async fn bindings(connection: &mut SqliteConnection, document: i64) -> Result<Vec<Binding>, LocalStoreError> {
    let sql = "select actor, device, unit, role, user, home from binding where document = ? order by actor";
    let rows: Vec<BindingRow> = sqlx::query_as(sql).bind(document).fetch_all(connection).await?;
    rows.into_iter().map(to_binding).collect()
}

/// actor, device, unit, role, user, home.
type BindingRow = (Vec<u8>, Vec<u8>, String, u32, Option<Vec<u8>>, Option<String>);

fn to_binding((actor, device, unit, role, user, home): BindingRow) -> Result<Binding, LocalStoreError> {
    let damaged = |_| LocalStoreError::Damaged("a binding");
    Ok(Binding {
        actor: ActorId::from_slice(&actor).map_err(damaged)?,
        device: DeviceId::from_slice(&device).map_err(damaged)?,
        unit: unit.parse().map_err(damaged)?,
        role: Role::from_number(role).ok_or(LocalStoreError::Damaged("a binding"))?,
        user: user.map(|user| UserId::from_slice(&user)).transpose().map_err(damaged)?,
        home: home.map(|home| home.parse()).transpose().map_err(damaged)?,
    })
}

//! Who may see a document: as whom the gateway has sent it, and whether that has ended.
//!
//! A device without anybody, the device in the hands of somebody with a PIN, and everybody with a token are readers of
//! their own. What came for one of them is shown to no other; somebody with a PIN sees what the device may see without
//! him, too. What nobody was ever sent is shown to its author alone.

use feldakte_core::ids::{DocumentId, Position, UserId};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{change::position_number, document};
use crate::store::{LocalStoreError, Reader, Revoked};

/// Rows of `readership` that count for whoever uses the device.
pub(super) const IS_HIS: &str = "(readership.reader = (select reader from store)
    or (readership.reader = x'' and (select reader from store) = x'01'))";

/// A reader as a key.
pub(super) fn key_of(reader: &Reader) -> &[u8] {
    match reader {
        Reader::Device => &[],
        Reader::Local => &[1],
        Reader::User(user) => user.as_bytes(),
    }
}

pub(super) fn reader_of(key: &[u8]) -> Result<Reader, LocalStoreError> {
    match key {
        [] => Ok(Reader::Device),
        [1] => Ok(Reader::Local),
        user => UserId::from_slice(user).map(Reader::User).map_err(|_| LocalStoreError::Damaged("a reader")),
    }
}

/// Content of it was sent.
pub(super) async fn sent(connection: &mut SqliteConnection, document: i64) -> Result<(), LocalStoreError> {
    let sql = "insert or ignore into readership (document, reader, state) select ?, reader, 1 from store";
    sqlx::query(sql).bind(document).execute(connection).await?;
    Ok(())
}

/// It was sent as a whole.
pub(super) async fn complete(connection: &mut SqliteConnection, document: i64) -> Result<(), LocalStoreError> {
    set(connection, document, 1).await
}

/// It will be sent as a whole.
pub(super) async fn promised(connection: &mut SqliteConnection, document: i64) -> Result<(), LocalStoreError> {
    set(connection, document, 2).await
}

async fn set(connection: &mut SqliteConnection, document: i64, state: i64) -> Result<(), LocalStoreError> {
    let sql = "insert or replace into readership (document, reader, state) select ?, reader, ? from store";
    sqlx::query(sql).bind(document).bind(state).execute(connection).await?;
    Ok(())
}

/// What is here of it has to be replaced, whoever reads it.
pub(super) async fn incomplete(connection: &mut SqliteConnection, document: i64) -> Result<(), LocalStoreError> {
    let sql = "update readership set state = 2 where document = ? and state = 1";
    sqlx::query(sql).bind(document).execute(connection).await?;
    Ok(())
}

/// The gateway has taken a change of it. Who may write may read: its author is shown what is here, and the rest is
/// fetched. To anybody else who uses the device it is not shown before the gateway has said that he may see it, and who
/// has written it comes with the snapshot alone: what a device delivers is not sent back to it.
pub(super) async fn taken(
    connection: &mut SqliteConnection,
    document: i64,
    author: Option<UserId>,
) -> Result<(), LocalStoreError> {
    let is_readable = is_readable(connection, document).await?;
    let (is_author, is_new): (bool, bool) = sqlx::query_as(
        "select (select user from store) is ?2, not exists (select 1 from readership where document = ?1)",
    )
    .bind(document)
    .bind(author.as_ref().map(|user| user.as_bytes().as_slice()))
    .fetch_one(&mut *connection)
    .await?;
    let state = match (is_readable, is_author) {
        (true, true) => return Ok(()),
        (false, true) if is_new => 1,
        (true, false) | (false, true) => 2,
        (false, false) => 3,
    };
    set(connection, document, state).await
}

pub(super) async fn is_readable(connection: &mut SqliteConnection, document: i64) -> Result<bool, LocalStoreError> {
    let sql = format!("select exists (select 1 from readership where document = ? and state in (1, 2) and {IS_HIS})");
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).bind(document).fetch_one(connection).await?)
}

/// Access has ended. What a reader has been sent of the log from behind that end is his to keep.
pub(super) async fn end(
    connection: &mut SqliteConnection,
    document: i64,
    (revoked, position): (Revoked, Position),
) -> Result<(), LocalStoreError> {
    set(connection, document, 4).await?;
    let sql = match revoked {
        Revoked::Reader => {
            "update readership set state = 4 where document = ?1 and ?2 = ?2
                and reader = x'' and (select reader from store) = x'01'"
        }
        Revoked::Device => {
            "update readership set state = 4 where document = ?1
                and not exists (select 1 from reader join reader as own on own.user = (select reader from store)
                    where reader.user = readership.reader and reader.epoch = own.epoch and reader.position >= ?2)"
        }
        Revoked::Everybody => "update readership set state = 4 where document = ?1 and ?2 = ?2",
    };
    sqlx::query(sql).bind(document).bind(position_number(position)).execute(connection).await?;
    Ok(())
}

/// What whoever uses the device has to fetch, or to ask about.
pub(super) async fn pending(connection: &mut SqliteConnection) -> Result<Vec<DocumentId>, LocalStoreError> {
    let ids: Vec<Vec<u8>> = sqlx::query_scalar(
        "select id from document join readership on readership.document = document.row
         where reader = (select reader from store) and state in (2, 3) order by id",
    )
    .fetch_all(connection)
    .await?;
    ids.iter().map(|id| document::id_of(id)).collect()
}

/// Whether somebody was sent it, and whoever uses the device may not see it.
pub(super) async fn is_hidden(
    connection: &mut SqliteConnection,
    document: DocumentId,
) -> Result<bool, LocalStoreError> {
    let Some(row) = document::row_of(connection, document).await? else { return Ok(false) };
    if is_readable(connection, row).await? {
        return Ok(false);
    }
    let sql = "select exists (select 1 from readership where document = ?)";
    Ok(sqlx::query_scalar(sql).bind(row).fetch_one(connection).await?)
}

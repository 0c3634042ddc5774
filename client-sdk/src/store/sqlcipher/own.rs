//! Own changes: saved, sent, answered, and offered again to a restored gateway.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use feldakte_core::ids::{ChangeHash, Cursor, DocumentId, Epoch, Position};
use feldakte_proto::Reason;
use sqlx::SqliteConnection;

use super::{
    change::{ChangeState, Known, NewRow, Tally, find, hash_of, next_generation, position_number, user_of},
    document, readership, received,
    seal::{Column, Sealer},
    snapshot, users,
};
use crate::store::{Answer, DocumentEdit, LocalStoreError, OwnChange, Parked, Unsent};

pub(super) async fn save_edits(
    connection: &mut SqliteConnection,
    edits: &[DocumentEdit],
) -> Result<(), LocalStoreError> {
    for DocumentEdit { document, changes } in edits {
        save_edit(connection, *document, changes).await?;
    }
    Ok(())
}

async fn save_edit(
    connection: &mut SqliteConnection,
    document: DocumentId,
    changes: &[OwnChange],
) -> Result<(), LocalStoreError> {
    let row = document::row_or_new(connection, document).await?;
    let user = users::active(connection).await?;
    let mut tally = Tally::default();
    for change in changes {
        match find(connection, row, change.hash).await? {
            None => {
                let new = NewRow {
                    hash: change.hash,
                    bytes: &change.bytes,
                    intent: &change.intent,
                    state: ChangeState::Local,
                    position: None,
                    covered: snapshot::covers(connection, row, change.hash).await?,
                    user,
                };
                tally.insert(connection, row, new).await?;
            }
            // Both sides wrote the same change, as happens with genesis changes: it is in the log already.
            Some(known) if known.state == ChangeState::Received => {
                sqlx::query("update change set intent = ?, user = ? where row = ?")
                    .bind(Sealer::of(connection, row).await?.seal(Column::Intent, &change.intent)?)
                    .bind(user.as_ref().map(|user| user.as_bytes().as_slice()))
                    .bind(known.row)
                    .execute(&mut *connection)
                    .await?;
                tally.set_durable(connection, Known { user, ..known }, None).await?;
            }
            Some(_) => {}
        }
    }
    tally.save(connection, row).await
}

/// Rows read at a time; what goes beyond the caller's limit is dropped.
const PAGE: i64 = 256;

pub(super) async fn unsent(
    connection: &mut SqliteConnection,
    after: u64,
    limit_bytes: usize,
) -> Result<Vec<Unsent>, LocalStoreError> {
    let mut found: Vec<Unsent> = Vec::new();
    let mut total = 0;
    loop {
        let last = found.last().map_or(after, |unsent| unsent.row);
        let page = unsent_page(connection, last).await?;
        let complete = (page.len() as i64) < PAGE;
        for unsent in page {
            total += unsent.bytes.len();
            if total > limit_bytes && !found.is_empty() {
                return Ok(found);
            }
            found.push(unsent);
        }
        if complete {
            return Ok(found);
        }
    }
}

/// Row, document's row and id, hash, bytes, user.
type UnsentRow = (u64, i64, Vec<u8>, Vec<u8>, Vec<u8>, Option<Vec<u8>>);

async fn unsent_page(connection: &mut SqliteConnection, after: u64) -> Result<Vec<Unsent>, LocalStoreError> {
    let rows: Vec<UnsentRow> = sqlx::query_as(
        "select change.row, document, document.id, hash, bytes, user from change join document on document.row = change.document
         where state = 1 and change.row > ? order by change.row limit ?",
    )
    .bind(i64::try_from(after).unwrap_or(i64::MAX))
    .bind(PAGE)
    .fetch_all(&mut *connection)
    .await?;
    let mut sealers = BTreeMap::new();
    for (_, document, ..) in &rows {
        if !sealers.contains_key(document) {
            sealers.insert(*document, Sealer::of(connection, *document).await?);
        }
    }
    let to_unsent = |(row, document, id, hash, bytes, user): UnsentRow| {
        let bytes = sealers[&document].open(Column::Change, bytes)?;
        Ok(Unsent {
            row,
            document: document::id_of(&id)?,
            hash: hash_of(&hash)?,
            bytes: Bytes::from(bytes),
            user: user_of(user)?,
        })
    };
    rows.into_iter().map(to_unsent).collect()
}

pub(super) async fn save_answer(connection: &mut SqliteConnection, answer: &Answer) -> Result<(), LocalStoreError> {
    if let Some(cursor) = answer.cursor {
        document::set_cursor(connection, cursor).await?;
    }
    let Some(row) = document::row_of(connection, answer.document).await? else { return Ok(()) };
    let mut tally = Tally::default();
    for hash in &answer.durable {
        let Some(known) = find(connection, row, *hash).await? else { continue };
        if known.state.is_unsettled() {
            received::confirm(connection, &mut tally, row, (*hash, known), answer.position).await?;
        }
        readership::taken(connection, row, known.user).await?;
    }
    let mut losers = BTreeSet::new();
    for (hash, reason) in &answer.refused {
        let Some(known) = find(connection, row, *hash).await? else { continue };
        // What the log is known to hold stays durable whatever a late answer says.
        if known.state != ChangeState::Local {
            continue;
        }
        tally.set_refused(connection, known, *reason).await?;
        losers.insert(known.user);
        if known.covered {
            readership::incomplete(connection, row).await?;
        }
    }
    for user in losers {
        next_generation(connection, row, user).await?;
    }
    tally.save(connection, row).await
}

pub(super) async fn save_redone(
    connection: &mut SqliteConnection,
    document: DocumentId,
    replaced: &[ChangeHash],
    changes: &[OwnChange],
) -> Result<(), LocalStoreError> {
    let Some(row) = document::row_of(connection, document).await? else { return Ok(()) };
    let user = users::active(connection).await?;
    let mut tally = Tally::default();
    for hash in replaced {
        if let Some(known) = find(connection, row, *hash).await?
            && (known.state, known.user) == (ChangeState::Refused, user)
        {
            tally.set_replaced(connection, known).await?;
        }
    }
    tally.save(connection, row).await?;
    save_edit(connection, document, changes).await
}

pub(super) async fn parked(
    connection: &mut SqliteConnection,
    document: DocumentId,
) -> Result<Vec<Parked>, LocalStoreError> {
    let Some(row) = document::row_of(connection, document).await? else { return Ok(Vec::new()) };
    let sql = "select hash, reason, intent from change where document = ? and state in (3, 6)
        and user is (select user from store) order by row";
    let rows: Vec<(Vec<u8>, Option<u32>, Vec<u8>)> = sqlx::query_as(sql).bind(row).fetch_all(&mut *connection).await?;
    let sealer = Sealer::of(connection, row).await?;
    let to_parked = |(hash, reason, intent): (Vec<u8>, Option<u32>, Vec<u8>)| {
        let reason = reason.and_then(Reason::from_number).ok_or(LocalStoreError::Damaged("a refusal"))?;
        let intent = sealer.open(Column::Intent, intent)?;
        Ok(Parked { hash: hash_of(&hash)?, reason, intent: Bytes::from(intent) })
    };
    rows.into_iter().map(to_parked).collect()
}

pub(super) async fn begin_epoch(
    connection: &mut SqliteConnection,
    cursor: Cursor,
    restored_to: Position,
) -> Result<(), LocalStoreError> {
    let is_known = is_known_epoch(connection, cursor.epoch).await?;
    document::set_cursor(connection, cursor).await?;
    if is_known {
        // Somebody else who uses the device has met this log before, and offered again what it had lost.
        return Ok(());
    }
    let lost: Vec<(i64, Vec<u8>, i64)> = sqlx::query_as(
        "select document, coalesce(user, x''), count(*) from change where state = 2 and position > ?
         group by document, user",
    )
    .bind(position_number(restored_to))
    .fetch_all(&mut *connection)
    .await?;
    for (document, user, count) in lost {
        sqlx::query("update author set local = local + ?1, durable = durable - ?1 where document = ?2 and user = ?3")
            .bind(count)
            .bind(document)
            .bind(user)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query("update change set state = 1, position = null where state = 2 and position > ?")
        .bind(position_number(restored_to))
        .execute(connection)
        .await?;
    Ok(())
}

async fn is_known_epoch(connection: &mut SqliteConnection, epoch: Epoch) -> Result<bool, LocalStoreError> {
    let sql = "select exists (select 1 from reader where epoch = ?)";
    Ok(sqlx::query_scalar(sql).bind(epoch.as_bytes().as_slice()).fetch_one(connection).await?)
}

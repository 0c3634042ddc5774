//! Who has looked at what, until the gateway has been told.

use feldakte_core::{ids::DocumentId, limits};
use feldakte_proto::Seen;
use sqlx::SqliteConnection;

use super::users;
use crate::store::LocalStoreError;

pub(super) async fn note(connection: &mut SqliteConnection, reads: &[Seen]) -> Result<(), LocalStoreError> {
    let sql = "insert into reading (document, user, first, last, count) values (?, ?, ?, ?, ?)
        on conflict do update set first = min(first, excluded.first), last = max(last, excluded.last),
            count = count + excluded.count";
    for Seen { document, user, first_ms, last_ms, count } in reads {
        let query = sqlx::query(sql).bind(document.to_bytes().to_vec()).bind(users::key_of(*user));
        query.bind(first_ms).bind(last_ms).bind(count).execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn unconfirmed(connection: &mut SqliteConnection) -> Result<Vec<Seen>, LocalStoreError> {
    type Row = (Vec<u8>, Vec<u8>, i64, i64, u32);
    let sql = "select document, user, first, last, min(count, 4294967295) from reading order by document, user limit ?";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(limits::RECEIPTS_MAX as i64).fetch_all(connection).await?;
    rows.into_iter().map(|row| seen(row).ok_or(LocalStoreError::Damaged("a reading"))).collect()
}

/// What was read meanwhile stays.
pub(super) async fn confirm(connection: &mut SqliteConnection, reads: &[Seen]) -> Result<(), LocalStoreError> {
    for Seen { document, user, last_ms, count, .. } in reads {
        let told = "update reading set count = count - ?3, first = max(first, ?4) where document = ?1 and user = ?2";
        let query = sqlx::query(told).bind(document.to_bytes().to_vec()).bind(users::key_of(*user));
        query.bind(count).bind(last_ms).execute(&mut *connection).await?;
    }
    sqlx::query("delete from reading where count <= 0").execute(connection).await?;
    Ok(())
}

fn seen((document, user, first_ms, last_ms, count): (Vec<u8>, Vec<u8>, i64, i64, u32)) -> Option<Seen> {
    let document = DocumentId::from_slice(&document).ok()?;
    let user = users::of_key(&user).ok()?;
    Some(Seen { document, user, first_ms, last_ms, count })
}

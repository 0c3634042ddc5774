//! Emergencies without network: written down before anything is shown, and shown no longer than the store is open.

use feldakte_core::{
    access::BreakGlassReason,
    ids::{CaseId, DocumentId, Part},
    limits,
};
use feldakte_proto::OpenedOffline;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{document, readership::IS_HIS, users};
use crate::store::LocalStoreError;

/// What is shown of `document` in an emergency, for as long as somebody may see it.
pub(super) const IS_OPENED: &str = "(exists (select 1 from emergency where emergency.id = document.id)
    and exists (select 1 from readership where readership.document = document.row and state in (1, 2)))";

/// What `document` holds for others: content that came, that somebody may see, and that is not his.
const IS_FOR_OTHERS: &str =
    "exists (select 1 from readership where readership.document = document.row and state in (1, 2))
    and (exists (select 1 from snapshot where snapshot.document = document.row)
        or exists (select 1 from change where change.document = document.row and change.state in (2, 4)))";

/// In memory: whoever opens the store anew has to ask anew.
pub(super) async fn prepare(connection: &mut SqliteConnection) -> Result<(), LocalStoreError> {
    sqlx::query("create temporary table emergency (id blob primary key) strict, without rowid")
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn is_opened(
    connection: &mut SqliteConnection,
    document: DocumentId,
) -> Result<bool, LocalStoreError> {
    let sql = format!("select exists (select 1 from document where id = ? and {IS_OPENED})");
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).bind(document.to_bytes().to_vec()).fetch_one(connection).await?)
}

/// Ascending.
async fn hidden(connection: &mut SqliteConnection) -> Result<Vec<DocumentId>, LocalStoreError> {
    let sql = format!(
        "select id from document where {IS_FOR_OTHERS} and not exists
            (select 1 from readership where readership.document = document.row and state in (1, 2) and {IS_HIS})
         order by id"
    );
    let ids: Vec<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(connection).await?;
    ids.iter().map(|id| document::id_of(id)).collect()
}

pub(super) async fn hidden_cases(connection: &mut SqliteConnection) -> Result<Vec<CaseId>, LocalStoreError> {
    let mut cases: Vec<CaseId> = hidden(connection).await?.into_iter().map(|document| document.case).collect();
    cases.dedup();
    Ok(cases)
}

pub(super) async fn begin(
    connection: &mut SqliteConnection,
    opened: &OpenedOffline,
    parts: &[Part],
) -> Result<Vec<DocumentId>, LocalStoreError> {
    let OpenedOffline { case, user, reason, text, at_ms } = opened;
    let mut hidden = hidden(connection).await?;
    hidden.retain(|document| document.case == *case && parts.contains(&document.part));
    if hidden.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query("insert into opened (case_id, user, reason, text, at) values (?, ?, ?, ?, ?)")
        .bind(case.as_bytes().as_slice())
        .bind(users::key_of(*user))
        .bind(*reason as u32)
        .bind(text)
        .bind(at_ms)
        .execute(&mut *connection)
        .await?;
    for document in &hidden {
        let sql = "insert or ignore into emergency (id) values (?)";
        sqlx::query(sql).bind(document.to_bytes().to_vec()).execute(&mut *connection).await?;
    }
    Ok(hidden)
}

pub(super) async fn end(connection: &mut SqliteConnection, case: CaseId) -> Result<(), LocalStoreError> {
    let sql = "delete from emergency where substr(id, 1, 16) = ?";
    sqlx::query(sql).bind(case.as_bytes().as_slice()).execute(connection).await?;
    Ok(())
}

pub(super) async fn end_all(connection: &mut SqliteConnection) -> Result<(), LocalStoreError> {
    sqlx::query("delete from emergency").execute(connection).await?;
    Ok(())
}

/// Oldest first.
pub(super) async fn unconfirmed(connection: &mut SqliteConnection) -> Result<Vec<OpenedOffline>, LocalStoreError> {
    let sql = "select case_id, user, reason, text, at from opened order by row limit ?";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(limits::RECEIPTS_MAX as i64).fetch_all(connection).await?;
    rows.into_iter().map(|row| to_opened(row).ok_or(LocalStoreError::Damaged("an emergency"))).collect()
}

/// Those told are the oldest ones.
pub(super) async fn confirm(
    connection: &mut SqliteConnection,
    opened: &[OpenedOffline],
) -> Result<(), LocalStoreError> {
    for OpenedOffline { case, user, reason: _, text, at_ms } in opened {
        let sql = "delete from opened where case_id = ? and user = ? and at = ? and text = ?";
        sqlx::query(sql)
            .bind(case.as_bytes().as_slice())
            .bind(users::key_of(*user))
            .bind(at_ms)
            .bind(text)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// case, user, reason, text, at.
type Row = (Vec<u8>, Vec<u8>, u32, String, i64);

fn to_opened((case, user, reason, text, at_ms): Row) -> Option<OpenedOffline> {
    let case = CaseId::from_slice(&case).ok()?;
    let user = users::of_key(&user).ok()?;
    Some(OpenedOffline { case, user, reason: BreakGlassReason::from_number(reason)?, text, at_ms })
}

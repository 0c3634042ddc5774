//! Users of the device: who uses it, what their PINs are checked against, and what delivers their work.

use bytes::Bytes;
use feldakte_core::{
    access::Role,
    ids::{Cursor, Epoch, Position, UserId},
};
use sqlx::SqliteConnection;

use super::{change::user_of, emergency, readership};
use crate::{
    pin::PinRecord,
    store::{LocalStoreError, LocalUser, Reader},
};

/// Nobody is no bytes: null is not equal to itself.
pub(super) fn key_of(user: Option<UserId>) -> Vec<u8> {
    user.map(|user| user.as_bytes().to_vec()).unwrap_or_default()
}

pub(super) fn of_key(key: &[u8]) -> Result<Option<UserId>, LocalStoreError> {
    match key {
        [] => Ok(None),
        user => UserId::from_slice(user).map(Some).map_err(|_| LocalStoreError::Damaged("a user")),
    }
}

pub(super) async fn active(connection: &mut SqliteConnection) -> Result<Option<UserId>, LocalStoreError> {
    let user: Option<Vec<u8>> = sqlx::query_scalar("select user from store").fetch_one(connection).await?;
    user_of(user)
}

pub(super) async fn set_active(
    connection: &mut SqliteConnection,
    (user, reader): (Option<UserId>, Reader),
) -> Result<(), LocalStoreError> {
    sqlx::query("update store set user = ?, reader = ?")
        .bind(user.as_ref().map(|user| user.as_bytes().as_slice()))
        .bind(readership::key_of(&reader))
        .execute(&mut *connection)
        .await?;
    emergency::end_all(connection).await
}

pub(super) async fn cursor_of(
    connection: &mut SqliteConnection,
    reader: Reader,
) -> Result<Option<Cursor>, LocalStoreError> {
    let found: Option<(Vec<u8>, i64)> = sqlx::query_as("select epoch, position from reader where user = ?")
        .bind(readership::key_of(&reader))
        .fetch_optional(connection)
        .await?;
    let to_cursor = |(epoch, position): (Vec<u8>, i64)| {
        let epoch = Epoch::from_slice(&epoch).map_err(|_| LocalStoreError::Damaged("the cursor"))?;
        Ok(Cursor { epoch, position: Position(position.cast_unsigned()) })
    };
    found.map(to_cursor).transpose()
}

/// id, salt, hash, wrong, ticket, role, unsent.
type Row = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>, u32, Option<Vec<u8>>, Option<u32>, u64);

/// Ascending. Whoever has unsent work is among them.
pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<LocalUser>, LocalStoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "select id, salt, hash, wrong, ticket, role, coalesce((select sum(local) from author where author.user = id), 0)
         from user order by id",
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(to_user).collect()
}

fn to_user((id, salt, hash, wrong, ticket, role, unsent): Row) -> Result<LocalUser, LocalStoreError> {
    let damaged = LocalStoreError::Damaged("a user");
    let pin = match (salt.map(<[u8; 16]>::try_from), hash.map(<[u8; 32]>::try_from)) {
        (Some(Ok(salt)), Some(Ok(hash))) => Some(PinRecord { salt, hash, wrong }),
        (None, None) => None,
        _ => return Err(damaged),
    };
    let role = match role.map(Role::from_number) {
        Some(None) => return Err(damaged),
        known => known.flatten(),
    };
    let user = user_of(Some(id))?.ok_or(damaged)?;
    Ok(LocalUser { user, pin, ticket: ticket.map(Bytes::from), role, unsent })
}

pub(super) async fn save(connection: &mut SqliteConnection, user: &LocalUser) -> Result<(), LocalStoreError> {
    let LocalUser { user, pin, ticket, role, unsent: _ } = user;
    sqlx::query("insert or replace into user (id, salt, hash, wrong, ticket, role) values (?, ?, ?, ?, ?, ?)")
        .bind(user.as_bytes().as_slice())
        .bind(pin.as_ref().map(|pin| pin.salt.as_slice()))
        .bind(pin.as_ref().map(|pin| pin.hash.as_slice()))
        .bind(pin.as_ref().map_or(0, |pin| pin.wrong))
        .bind(ticket.as_deref())
        .bind(role.map(|role| role as u32))
        .execute(connection)
        .await?;
    Ok(())
}

/// Unsent or refused changes of everybody but whoever uses the device.
pub(super) async fn unsafe_of_others(connection: &mut SqliteConnection) -> Result<u64, LocalStoreError> {
    let sql = "select coalesce(sum(local + refused), 0) from author
        where user != (select coalesce(user, x'') from store)";
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
}

//! Who has signed in on the device, tried to, or left, until the gateway has been told.

use feldakte_core::{ids::UserId, limits};
use feldakte_proto::{Login, LoginEvent};
use sqlx::SqliteConnection;

use crate::store::LocalStoreError;

pub(super) async fn note(connection: &mut SqliteConnection, login: Login) -> Result<(), LocalStoreError> {
    let Login { user, what, at_ms } = login;
    sqlx::query("insert into login (user, what, at) select ?, ?, ? where (select count(*) from login) < ?")
        .bind(user.as_bytes().as_slice())
        .bind(what as u32)
        .bind(at_ms)
        .bind(limits::LOGINS_UNTOLD_MAX as i64)
        .execute(connection)
        .await?;
    Ok(())
}

/// Oldest first.
pub(super) async fn unconfirmed(connection: &mut SqliteConnection) -> Result<Vec<Login>, LocalStoreError> {
    let sql = "select user, what, at from login order by row limit ?";
    let rows: Vec<(Vec<u8>, u32, i64)> =
        sqlx::query_as(sql).bind(limits::RECEIPTS_MAX as i64).fetch_all(connection).await?;
    rows.into_iter().map(|row| to_login(row).ok_or(LocalStoreError::Damaged("a sign-in"))).collect()
}

pub(super) async fn confirm(connection: &mut SqliteConnection, logins: &[Login]) -> Result<(), LocalStoreError> {
    for Login { user, what, at_ms } in logins {
        let sql = "delete from login where row = (select min(row) from login where user = ? and what = ? and at = ?)";
        let query = sqlx::query(sql).bind(user.as_bytes().as_slice()).bind(*what as u32).bind(at_ms);
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

fn to_login((user, what, at_ms): (Vec<u8>, u32, i64)) -> Option<Login> {
    let what = LoginEvent::ALL.into_iter().find(|known| *known as u32 == what)?;
    Some(Login { user: UserId::from_slice(&user).ok()?, what, at_ms })
}

//! Rows of `change`: what state each is in, and how many of a document are in which.

use std::collections::BTreeMap;

use feldakte_core::ids::{ChangeHash, Position, UserId};
use feldakte_proto::Reason;
use sqlx::SqliteConnection;

use super::seal::{Column, Sealer};
use crate::store::LocalStoreError;

/// Where a change stands. Numbers are disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangeState {
    /// Own, not confirmed by the gateway.
    Local = 1,
    /// Own, confirmed.
    Durable = 2,
    /// Own, refused.
    Refused = 3,
    /// Somebody else's.
    Received = 4,
    /// Own, refused, and done again in another change.
    Replaced = 5,
    /// Own, kept by the gateway for a supervisor.
    Kept = 6,
}

impl ChangeState {
    pub(super) fn from_number(number: i64) -> Result<Self, LocalStoreError> {
        [Self::Local, Self::Durable, Self::Refused, Self::Received, Self::Replaced, Self::Kept]
            .into_iter()
            .find(|state| *state as i64 == number)
            .ok_or(LocalStoreError::Damaged("a change's state"))
    }

    pub(super) fn is_own(self) -> bool {
        self != Self::Received
    }

    /// Own, and not in the log as far as is known.
    pub(super) fn is_unsettled(self) -> bool {
        matches!(self, Self::Local | Self::Refused | Self::Replaced | Self::Kept)
    }
}

/// A stored change, as far as decisions need it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) row: i64,
    pub(super) state: ChangeState,
    /// The snapshot contains it.
    pub(super) covered: bool,
    /// Own: who made it.
    pub(super) user: Option<UserId>,
}

/// A change on its way into the table.
pub(super) struct NewRow<'a> {
    pub(super) hash: ChangeHash,
    pub(super) bytes: &'a [u8],
    pub(super) intent: &'a [u8],
    pub(super) state: ChangeState,
    pub(super) position: Option<Position>,
    pub(super) covered: bool,
    pub(super) user: Option<UserId>,
}

/// Changes of one document that leave and enter a state within one transaction; [`Tally::save`] ends it.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<Option<UserId>, Counts>);

/// Of one user.
#[derive(Debug, Default)]
struct Counts {
    local: i64,
    durable: i64,
    refused: i64,
    kept: i64,
}

impl Tally {
    /// Adds a change.
    pub(super) async fn insert(
        &mut self,
        connection: &mut SqliteConnection,
        document: i64,
        new: NewRow<'_>,
    ) -> Result<(), LocalStoreError> {
        let sealer = Sealer::of(connection, document).await?;
        sqlx::query(
            "insert into change (document, hash, bytes, intent, state, position, covered, user)
             values (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(document)
        .bind(new.hash.0.as_slice())
        .bind(sealer.seal(Column::Change, new.bytes)?)
        .bind(sealer.seal(Column::Intent, new.intent)?)
        .bind(new.state as i64)
        .bind(new.position.map(position_number))
        .bind(new.covered)
        .bind(new.user.as_ref().map(|user| user.as_bytes().as_slice()))
        .execute(connection)
        .await?;
        self.count(new.user, new.state, 1);
        Ok(())
    }

    /// The gateway has it, at `position`. `None` keeps the position it has.
    pub(super) async fn set_durable(
        &mut self,
        connection: &mut SqliteConnection,
        known: Known,
        position: Option<Position>,
    ) -> Result<(), LocalStoreError> {
        sqlx::query("update change set state = 2, position = coalesce(?, position), reason = null where row = ?")
            .bind(position.map(position_number))
            .bind(known.row)
            .execute(connection)
            .await?;
        self.count(known.user, known.state, -1);
        self.count(known.user, ChangeState::Durable, 1);
        Ok(())
    }

    /// The gateway does not take it, or keeps it for a supervisor.
    pub(super) async fn set_refused(
        &mut self,
        connection: &mut SqliteConnection,
        known: Known,
        reason: Reason,
    ) -> Result<(), LocalStoreError> {
        let state = if reason.lets_forget() { ChangeState::Kept } else { ChangeState::Refused };
        sqlx::query("update change set state = ?, reason = ? where row = ?")
            .bind(state as i64)
            .bind(i64::from(reason as u32))
            .bind(known.row)
            .execute(connection)
            .await?;
        self.count(known.user, known.state, -1);
        self.count(known.user, state, 1);
        Ok(())
    }

    /// What the user did in it stands in another change.
    pub(super) async fn set_replaced(
        &mut self,
        connection: &mut SqliteConnection,
        known: Known,
    ) -> Result<(), LocalStoreError> {
        sqlx::query("update change set state = 5 where row = ?").bind(known.row).execute(connection).await?;
        self.count(known.user, known.state, -1);
        Ok(())
    }

    /// Brings the document's counters up to date.
    pub(super) async fn save(self, connection: &mut SqliteConnection, document: i64) -> Result<(), LocalStoreError> {
        for (user, Counts { local, durable, refused, kept }) in self.0 {
            if (local, durable, refused, kept) == (0, 0, 0, 0) {
                continue;
            }
            add_author(connection, document, user).await?;
            sqlx::query(
                "update author set local = local + ?, durable = durable + ?, refused = refused + ?, kept = kept + ?
                 where document = ? and user = ?",
            )
            .bind(local)
            .bind(durable)
            .bind(refused)
            .bind(kept)
            .bind(document)
            .bind(user_key(user.as_ref()))
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }

    fn count(&mut self, user: Option<UserId>, state: ChangeState, by: i64) {
        let counts = self.0.entry(user).or_default();
        match state {
            ChangeState::Local => counts.local += by,
            ChangeState::Durable => counts.durable += by,
            ChangeState::Refused => counts.refused += by,
            ChangeState::Kept => counts.kept += by,
            ChangeState::Received | ChangeState::Replaced => {}
        }
    }
}

async fn add_author(
    connection: &mut SqliteConnection,
    document: i64,
    user: Option<UserId>,
) -> Result<(), LocalStoreError> {
    let sql = "insert or ignore into author (document, user, generation)
        values (?1, ?2, (select generation from document where row = ?1))";
    sqlx::query(sql).bind(document).bind(user_key(user.as_ref())).execute(connection).await?;
    Ok(())
}

/// The user's next edit of the document is written under a new actor.
pub(super) async fn next_generation(
    connection: &mut SqliteConnection,
    document: i64,
    user: Option<UserId>,
) -> Result<(), LocalStoreError> {
    add_author(connection, document, user).await?;
    sqlx::query("update author set generation = generation + 1 where document = ? and user = ?")
        .bind(document)
        .bind(user_key(user.as_ref()))
        .execute(connection)
        .await?;
    Ok(())
}

/// The row of that hash, if there is one.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    document: i64,
    hash: ChangeHash,
) -> Result<Option<Known>, LocalStoreError> {
    let found: Option<KnownRow> =
        sqlx::query_as("select row, state, covered, user from change where document = ? and hash = ?")
            .bind(document)
            .bind(hash.0.as_slice())
            .fetch_optional(connection)
            .await?;
    found.map(to_known).transpose()
}

/// Row, state, covered, user.
pub(super) type KnownRow = (i64, i64, bool, Option<Vec<u8>>);

pub(super) fn to_known((row, state, covered, user): KnownRow) -> Result<Known, LocalStoreError> {
    Ok(Known { row, state: ChangeState::from_number(state)?, covered, user: user_of(user)? })
}

/// A user as SQLite stores it.
pub(super) fn user_of(bytes: Option<Vec<u8>>) -> Result<Option<UserId>, LocalStoreError> {
    let damaged = |_| LocalStoreError::Damaged("a user");
    bytes.map(|bytes| UserId::from_slice(&bytes)).transpose().map_err(damaged)
}

/// A user in a key column: empty for nobody.
pub(super) fn user_key(user: Option<&UserId>) -> &[u8] {
    user.map_or(&[], |user| user.as_bytes().as_slice())
}

/// A position as SQLite stores it.
pub(super) fn position_number(position: Position) -> i64 {
    position.0.cast_signed()
}

/// A hash as SQLite stores it.
pub(super) fn hash_of(bytes: &[u8]) -> Result<ChangeHash, LocalStoreError> {
    ChangeHash::from_slice(bytes).map_err(|_| LocalStoreError::Damaged("a change hash"))
}

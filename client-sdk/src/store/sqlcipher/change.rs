//! Rows of `change`: what state each is in, and how many of a document are in which.

use feldakte_core::ids::{ChangeHash, Position};
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
}

/// A change on its way into the table.
pub(super) struct NewRow<'a> {
    pub(super) hash: ChangeHash,
    pub(super) bytes: &'a [u8],
    pub(super) intent: &'a [u8],
    pub(super) state: ChangeState,
    pub(super) position: Option<Position>,
    pub(super) covered: bool,
}

/// Changes of one document that leave and enter a state within one transaction; [`Tally::save`] ends it.
#[derive(Debug, Default)]
pub(super) struct Tally {
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
            "insert into change (document, hash, bytes, intent, state, position, covered) values (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(document)
        .bind(new.hash.0.as_slice())
        .bind(sealer.seal(Column::Change, new.bytes)?)
        .bind(sealer.seal(Column::Intent, new.intent)?)
        .bind(new.state as i64)
        .bind(new.position.map(position_number))
        .bind(new.covered)
        .execute(connection)
        .await?;
        self.count(new.state, 1);
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
        self.count(known.state, -1);
        self.count(ChangeState::Durable, 1);
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
        self.count(known.state, -1);
        self.count(state, 1);
        Ok(())
    }

    /// What the user did in it stands in another change.
    pub(super) async fn set_replaced(
        &mut self,
        connection: &mut SqliteConnection,
        known: Known,
    ) -> Result<(), LocalStoreError> {
        sqlx::query("update change set state = 5 where row = ?").bind(known.row).execute(connection).await?;
        self.count(known.state, -1);
        Ok(())
    }

    /// Brings the document's counters up to date.
    pub(super) async fn save(self, connection: &mut SqliteConnection, document: i64) -> Result<(), LocalStoreError> {
        let Tally { local, durable, refused, kept } = self;
        if (local, durable, refused, kept) == (0, 0, 0, 0) {
            return Ok(());
        }
        sqlx::query(
            "update document set local = local + ?, durable = durable + ?, refused = refused + ?, kept = kept + ?
             where row = ?",
        )
        .bind(local)
        .bind(durable)
        .bind(refused)
        .bind(kept)
        .bind(document)
        .execute(connection)
        .await?;
        Ok(())
    }

    fn count(&mut self, state: ChangeState, by: i64) {
        match state {
            ChangeState::Local => self.local += by,
            ChangeState::Durable => self.durable += by,
            ChangeState::Refused => self.refused += by,
            ChangeState::Kept => self.kept += by,
            ChangeState::Received | ChangeState::Replaced => {}
        }
    }
}

/// The row of that hash, if there is one.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    document: i64,
    hash: ChangeHash,
) -> Result<Option<Known>, LocalStoreError> {
    let found: Option<(i64, i64, bool)> =
        sqlx::query_as("select row, state, covered from change where document = ? and hash = ?")
            .bind(document)
            .bind(hash.0.as_slice())
            .fetch_optional(connection)
            .await?;
    let Some((row, state, covered)) = found else { return Ok(None) };
    Ok(Some(Known { row, state: ChangeState::from_number(state)?, covered }))
}

/// A position as SQLite stores it.
pub(super) fn position_number(position: Position) -> i64 {
    position.0.cast_signed()
}

/// A hash as SQLite stores it.
pub(super) fn hash_of(bytes: &[u8]) -> Result<ChangeHash, LocalStoreError> {
    ChangeHash::from_slice(bytes).map_err(|_| LocalStoreError::Damaged("a change hash"))
}

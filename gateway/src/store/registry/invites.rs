//! Invitations: one-time codes, stored as hashes, and the devices they make.
//!
//! A code and its device come into being in one commit: nothing in between can be seen after a crash.

use feldakte_core::{
    access::{Principal, Role},
    ids::{DeviceId, OperatorName, TenantId, UnitId},
};
use sqlx::SqliteConnection;

use super::{
    RegistryStore, Writing,
    devices::{self, Certificate},
};
use crate::store::{StoreError, sqlite::row::row};

/// An invitation as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// Whose device it makes.
    pub tenant: TenantId,
    /// Its unit.
    pub unit: UnitId,
    /// What it will be for.
    pub role: Role,
    /// What people call it.
    pub label: String,
    /// Who invited.
    pub invited_by: OperatorName,
    /// When; all times are milliseconds since 1970.
    pub created_at: i64,
    /// Until when the code is taken.
    pub expires_at: i64,
    /// How often it was presented without success.
    pub attempts: i64,
    /// The device that it made.
    pub used_by: Option<DeviceId>,
}

/// An invitation to be written.
#[derive(Debug, Clone)]
pub struct NewInvite {
    /// SHA-256 of the code.
    pub code_hash: [u8; 32],
    /// Whose device.
    pub tenant: TenantId,
    /// Its unit.
    pub unit: UnitId,
    /// What for.
    pub role: Role,
    /// What people call it.
    pub label: String,
    /// Who invites.
    pub by: OperatorName,
    /// The gateway's clock by which authority ends.
    pub now_ms: i64,
    /// Until when the code is taken.
    pub expires_at: i64,
}

/// A code that somebody presents.
#[derive(Debug, Clone, Copy)]
pub struct Presented {
    /// SHA-256 of the code.
    pub code_hash: [u8; 32],
    /// SHA-256 of the public key that is to be certified.
    pub key_hash: [u8; 32],
    /// The id that a new device gets.
    pub device: DeviceId,
    /// The gateway's clock by which authority ends.
    pub now_ms: i64,
    /// How long after its use the same key may fetch its certificate again.
    pub again_within_ms: i64,
}

/// Why a code is not taken. The peer must not learn which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such code.
    Unknown,
    /// It was not used in time.
    Expired,
    /// It has made a device of another key, or did so too long ago.
    Used,
    /// The device that it made was revoked.
    Revoked,
}

/// A code that made no device.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError<E: std::error::Error + 'static> {
    /// The code is not taken.
    #[error("the code is not taken")]
    Refused(Refusal),
    /// The certificate could not be issued; the code is as good as before.
    #[error(transparent)]
    Issue(E),
    /// The registry failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RegistryStore {
    /// Writes an invitation; durable when it returns.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn invite(&self, new: &NewInvite) -> Result<(), StoreError> {
        let NewInvite { code_hash, tenant, unit, role, label, by, now_ms, expires_at } = new;
        let mut writing = self.file.begin().await?;
        let sql = "insert into invite (code_hash, tenant, unit, role, label, invited_by, created_at, expires_at)
            values (?, ?, ?, ?, ?, ?, ?, ?)";
        let query = sqlx::query(sql).bind(&code_hash[..]).bind(tenant.as_str()).bind(unit.as_str());
        let query = query.bind(*role as i64).bind(label).bind(by.as_str()).bind(now_ms).bind(expires_at);
        query.execute(writing.connection()).await?;
        writing.commit().await
    }

    /// Invitations that can still be used, and those that were, newest first; of one tenant or of all.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn invites(&self, tenant: Option<&TenantId>) -> Result<Vec<Invite>, StoreError> {
        let sql = "select * from invite where ?1 is null or tenant = ?1 order by created_at desc";
        let query = sqlx::query_as(sql).bind(tenant.map(TenantId::as_str));
        let rows: Vec<InviteRow> = query.fetch_all(&mut *self.file.read().await?).await?;
        rows.into_iter().map(|row| row.invite().ok_or(StoreError::Damaged("an invitation"))).collect()
    }

    /// Takes a code: makes its device with the certificate that `issue` gives it, or, for the key that has made it
    /// already, gives the same device another. Durable when it returns.
    ///
    /// # Errors
    /// When the code is not taken, or no certificate could be issued, which leaves the code unused.
    pub async fn redeem<T, E: std::error::Error + 'static>(
        &self,
        presented: Presented,
        issue: impl FnOnce(&Principal) -> Result<(Certificate, T), E>,
    ) -> Result<(Principal, T), RedeemError<E>> {
        let mut writing = self.file.begin().await?;
        let row = find(writing.connection(), presented.code_hash).await?;
        let invite = match row.as_ref().map(|row| row.judge(presented)) {
            None => return refuse(writing, presented, Refusal::Unknown).await,
            Some(Some(refusal)) => return refuse(writing, presented, refusal).await,
            Some(None) => row.and_then(InviteRow::invite).ok_or(StoreError::Damaged("an invitation"))?,
        };
        let device = match invite.used_by {
            None => None,
            Some(device) => devices::find(writing.connection(), device).await?,
        };
        if device.as_ref().is_some_and(|device| device.revocation.is_some()) {
            return refuse(writing, presented, Refusal::Revoked).await;
        }
        let id = device.map_or(presented.device, |device| device.id);
        let principal =
            Principal { tenant: invite.tenant, unit: invite.unit, device: id, role: invite.role, user: None };
        let (certificate, issued) = match issue(&principal) {
            Ok(issued) => issued,
            Err(error) => {
                writing.undo().await?;
                return Err(RedeemError::Issue(error));
            }
        };
        let connection = writing.connection();
        if invite.used_by.is_none() {
            devices::insert_device(connection, &principal, &invite.label, presented.now_ms).await?;
            mark_used(connection, presented).await?;
        }
        devices::insert_certificate(connection, id, &certificate).await?;
        writing.commit().await?;
        Ok((principal, issued))
    }
}

async fn refuse<T, E: std::error::Error + 'static>(
    mut writing: Writing<'_>,
    presented: Presented,
    refusal: Refusal,
) -> Result<T, RedeemError<E>> {
    let sql = "update invite set attempts = attempts + 1 where code_hash = ?";
    let counted = sqlx::query(sql).bind(&presented.code_hash[..]).execute(writing.connection()).await;
    counted.map_err(StoreError::from)?;
    writing.commit().await?;
    Err(RedeemError::Refused(refusal))
}

async fn mark_used(connection: &mut SqliteConnection, presented: Presented) -> Result<(), StoreError> {
    let Presented { code_hash, key_hash, device, now_ms, .. } = presented;
    let sql = "update invite set used_at = ?, used_by = ?, used_key_hash = ? where code_hash = ?";
    let query = sqlx::query(sql).bind(now_ms).bind(&device.as_bytes()[..]).bind(&key_hash[..]);
    query.bind(&code_hash[..]).execute(connection).await?;
    Ok(())
}

async fn find(connection: &mut SqliteConnection, code_hash: [u8; 32]) -> Result<Option<InviteRow>, StoreError> {
    let sql = "select * from invite where code_hash = ?";
    Ok(sqlx::query_as(sql).bind(&code_hash[..]).fetch_optional(connection).await?)
}

row! {
    struct InviteRow {
        tenant: String,
        unit: String,
        role: i64,
        label: String,
        invited_by: String,
        created_at: i64,
        expires_at: i64,
        attempts: i64,
        used_at: Option<i64>,
        used_by: Option<Vec<u8>>,
        used_key_hash: Option<Vec<u8>>,
    }
}

impl InviteRow {
    fn judge(&self, presented: Presented) -> Option<Refusal> {
        match (self.used_at, &self.used_key_hash) {
            (None, _) => (presented.now_ms >= self.expires_at).then_some(Refusal::Expired),
            (Some(at), Some(key)) => {
                let is_in_time = presented.now_ms < at.saturating_add(presented.again_within_ms);
                (!is_in_time || key[..] != presented.key_hash).then_some(Refusal::Used)
            }
            (Some(_), None) => Some(Refusal::Used),
        }
    }

    fn invite(self) -> Option<Invite> {
        Some(Invite {
            tenant: self.tenant.parse().ok()?,
            unit: self.unit.parse().ok()?,
            role: Role::from_number(u32::try_from(self.role).ok()?)?,
            label: self.label,
            invited_by: self.invited_by.parse().ok()?,
            created_at: self.created_at,
            expires_at: self.expires_at,
            attempts: self.attempts,
            used_by: self.used_by.map(|id| DeviceId::from_slice(&id)).transpose().ok()?,
        })
    }
}

//! Devices, every certificate that was issued to them, and their end.

use feldakte_core::{
    access::{Principal, Role},
    ids::{DeviceId, TenantId, UnitId},
    limits,
};
use sqlx::SqliteConnection;

use super::{RegistryStore, Revocation, RevocationReason};
use crate::store::{StoreError, sqlite::row::row};

/// A device that was enrolled here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The id in its certificates.
    pub id: DeviceId,
    /// Whose device.
    pub tenant: TenantId,
    /// Its unit.
    pub unit: UnitId,
    /// What it is for.
    pub role: Role,
    /// What people call it.
    pub label: String,
    /// When it got its first certificate; all times are milliseconds since 1970.
    pub enrolled_at: i64,
    /// When it was last in a session.
    pub last_seen: Option<i64>,
    /// Its newest certificate.
    pub certificate: Option<Certificate>,
    /// How it ended.
    pub revocation: Option<Revocation>,
}

/// What is remembered of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Serial number in hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
    /// SHA-256 of its public key.
    pub key_hash: [u8; 32],
    /// When it was issued.
    pub issued_at: i64,
    /// Its last moment.
    pub not_after: i64,
}

/// What became of a revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// The device is taken no more.
    Done,
    /// It was revoked before; that stands.
    Already(Revocation),
}

/// A certificate that was not entered.
#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    /// The device was revoked.
    #[error("the device is revoked")]
    Revoked,
    /// It has had [`limits::CERTIFICATES_PER_HOUR`].
    #[error("the device has had too many certificates lately")]
    TooMany,
    /// The registry failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RegistryStore {
    /// The devices of one tenant, or of all, by tenant, unit and label.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn devices(&self, tenant: Option<&TenantId>) -> Result<Vec<Device>, StoreError> {
        let mut connection = self.file.read().await?;
        let sql = "select * from device where ?1 is null or tenant = ?1 order by tenant, unit, label, id";
        let rows = sqlx::query_as(sql).bind(tenant.map(TenantId::as_str)).fetch_all(&mut *connection).await?;
        let mut devices = Vec::with_capacity(rows.len());
        for row in rows {
            devices.push(with_certificate(&mut connection, row).await?);
        }
        Ok(devices)
    }

    /// One device.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn device(&self, device: DeviceId) -> Result<Option<Device>, StoreError> {
        find(&mut *self.file.read().await?, device).await
    }

    /// Ends a device; durable when it returns. `None` when it was not enrolled here.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn revoke(&self, device: DeviceId, revocation: Revocation) -> Result<Option<Revoked>, StoreError> {
        let mut writing = self.file.begin().await?;
        let Some(found) = find(writing.connection(), device).await? else {
            writing.undo().await?;
            return Ok(None);
        };
        if let Some(before) = found.revocation {
            writing.undo().await?;
            return Ok(Some(Revoked::Already(before)));
        }
        let Revocation { at, reason, by } = revocation;
        let sql = "update device set revoked_at = ?, revoked_for = ?, revoked_by = ? where id = ?";
        let query = sqlx::query(sql).bind(at).bind(reason as i64).bind(by.as_str()).bind(&device.as_bytes()[..]);
        query.execute(writing.connection()).await?;
        writing.commit().await?;
        Ok(Some(Revoked::Done))
    }

    /// All devices that were revoked.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn revoked_devices(&self) -> Result<Vec<DeviceId>, StoreError> {
        let sql = "select id from device where revoked_at is not null";
        let ids: Vec<Vec<u8>> = sqlx::query_scalar(sql).fetch_all(&mut *self.file.read().await?).await?;
        ids.iter().map(|id| DeviceId::from_slice(id).map_err(|_| StoreError::Damaged("a device"))).collect()
    }

    /// The certificates of revoked devices that have not ended by themselves, and when the last was revoked.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn revoked_serials(&self, now_ms: i64) -> Result<Vec<String>, StoreError> {
        let sql = "select serial from certificate join device on device.id = certificate.device
            where revoked_at is not null and not_after > ? order by serial";
        Ok(sqlx::query_scalar(sql).bind(now_ms).fetch_all(&mut *self.file.read().await?).await?)
    }

    /// Enters a device's next certificate; durable when it returns. A device that is not known is entered with it.
    ///
    /// # Errors
    /// When the device was revoked, or has had too many lately.
    pub async fn certify(&self, principal: &Principal, certificate: &Certificate) -> Result<(), CertifyError> {
        let mut writing = self.file.begin().await?;
        let found = find(writing.connection(), principal.device).await?;
        if found.as_ref().is_some_and(|device| device.revocation.is_some()) {
            writing.undo().await?;
            return Err(CertifyError::Revoked);
        }
        if is_greedy(writing.connection(), principal.device, certificate.issued_at).await? {
            writing.undo().await?;
            return Err(CertifyError::TooMany);
        }
        if found.is_none() {
            let label = principal.unit.as_str();
            insert_device(writing.connection(), principal, label, certificate.issued_at).await?;
        }
        insert_certificate(writing.connection(), principal.device, certificate).await?;
        Ok(writing.commit().await?)
    }

    /// When devices were last in a session; those that are not known are left out.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn seen(&self, devices: &[(DeviceId, i64)]) -> Result<(), StoreError> {
        let mut writing = self.file.begin().await?;
        for (device, at) in devices {
            let sql = "update device set last_seen = ?1 where id = ?2 and coalesce(last_seen, 0) < ?1";
            sqlx::query(sql).bind(at).bind(&device.as_bytes()[..]).execute(writing.connection()).await?;
        }
        writing.commit().await
    }
}

const HOUR_MS: i64 = 60 * 60 * 1000;

/// Certificates that have ended are known for another 90 days, for whoever looks into an incident.
const KEPT_MS: i64 = 90 * 24 * HOUR_MS;

row! {
    struct DeviceRow {
        id: Vec<u8>,
        tenant: String,
        unit: String,
        role: i64,
        label: String,
        enrolled_at: i64,
        revoked_at: Option<i64>,
        revoked_for: Option<i64>,
        revoked_by: Option<String>,
        last_seen: Option<i64>,
    }
}

row! {
    struct CertificateRow {
        serial: String,
        fingerprint: Vec<u8>,
        key_hash: Vec<u8>,
        issued_at: i64,
        not_after: i64,
    }
}

pub(super) async fn find(connection: &mut SqliteConnection, device: DeviceId) -> Result<Option<Device>, StoreError> {
    let sql = "select * from device where id = ?";
    let row = sqlx::query_as(sql).bind(&device.as_bytes()[..]).fetch_optional(&mut *connection).await?;
    match row {
        Some(row) => with_certificate(connection, row).await.map(Some),
        None => Ok(None),
    }
}

pub(super) async fn insert_device(
    connection: &mut SqliteConnection,
    principal: &Principal,
    label: &str,
    enrolled_at: i64,
) -> Result<(), StoreError> {
    let Principal { tenant, unit, device, role, user: _ } = principal;
    let sql = "insert into device (id, tenant, unit, role, label, enrolled_at) values (?, ?, ?, ?, ?, ?)";
    let query = sqlx::query(sql).bind(&device.as_bytes()[..]).bind(tenant.as_str()).bind(unit.as_str());
    query.bind(*role as i64).bind(label).bind(enrolled_at).execute(connection).await?;
    Ok(())
}

pub(super) async fn insert_certificate(
    connection: &mut SqliteConnection,
    device: DeviceId,
    certificate: &Certificate,
) -> Result<(), StoreError> {
    let Certificate { serial, fingerprint, key_hash, issued_at, not_after } = certificate;
    let sql = "insert into certificate (serial, device, fingerprint, key_hash, issued_at, not_after)
        values (?, ?, ?, ?, ?, ?)";
    let query = sqlx::query(sql).bind(serial).bind(&device.as_bytes()[..]).bind(&fingerprint[..]);
    query.bind(&key_hash[..]).bind(issued_at).bind(not_after).execute(connection).await?;
    Ok(())
}

/// Also forgets the device's certificates that have ended long ago.
async fn is_greedy(connection: &mut SqliteConnection, device: DeviceId, now_ms: i64) -> Result<bool, StoreError> {
    let device = &device.as_bytes()[..];
    let sql = "delete from certificate where device = ? and not_after < ?";
    sqlx::query(sql).bind(device).bind(now_ms - KEPT_MS).execute(&mut *connection).await?;
    let sql = "select count(*) from certificate where device = ? and issued_at > ?";
    let lately: i64 = sqlx::query_scalar(sql).bind(device).bind(now_ms - HOUR_MS).fetch_one(connection).await?;
    Ok(lately >= limits::CERTIFICATES_PER_HOUR)
}

async fn with_certificate(connection: &mut SqliteConnection, row: DeviceRow) -> Result<Device, StoreError> {
    let sql = "select serial, fingerprint, key_hash, issued_at, not_after from certificate
        where device = ? order by id desc limit 1";
    let certificate: Option<CertificateRow> = sqlx::query_as(sql).bind(&row.id).fetch_optional(connection).await?;
    row.device(certificate.map(CertificateRow::certificate).transpose()?).ok_or(StoreError::Damaged("a device"))
}

impl DeviceRow {
    fn device(self, certificate: Option<Certificate>) -> Option<Device> {
        let revocation = match (self.revoked_at, self.revoked_for, self.revoked_by) {
            (None, ..) => None,
            (Some(at), Some(reason), Some(by)) => {
                Some(Revocation { at, reason: RevocationReason::from_number(reason)?, by: by.parse().ok()? })
            }
            (Some(_), ..) => return None,
        };
        Some(Device {
            id: DeviceId::from_slice(&self.id).ok()?,
            tenant: self.tenant.parse().ok()?,
            unit: self.unit.parse().ok()?,
            role: Role::from_number(u32::try_from(self.role).ok()?)?,
            label: self.label,
            enrolled_at: self.enrolled_at,
            last_seen: self.last_seen,
            certificate,
            revocation,
        })
    }
}

impl CertificateRow {
    fn certificate(self) -> Result<Certificate, StoreError> {
        let hash = |bytes: Vec<u8>| bytes.try_into().map_err(|_| StoreError::Damaged("a certificate"));
        let Self { serial, fingerprint, key_hash, issued_at, not_after } = self;
        let (fingerprint, key_hash) = (hash(fingerprint)?, hash(key_hash)?);
        Ok(Certificate { serial, fingerprint, key_hash, issued_at, not_after })
    }
}

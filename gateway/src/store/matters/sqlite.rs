//! Matters in a SQLite file of their own, beside the log.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use feldakte_core::{
    access::{BreakGlassReason, Principal, Role},
    ids::{DeviceId, DocumentId, TenantId, UserId},
};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{Decision, KeptCall, Matter, MatterStore, Review, Verdict, Wipe};
use crate::store::{
    StoreError,
    sqlite::{connect::Purpose, migrate::Schema, row::row, side::SideFile},
};

/// One file.
#[derive(Debug)]
pub struct SqliteMatterStore {
    file: SideFile,
}

impl SqliteMatterStore {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    /// When it is of a later release or another kind of file, or SQLite does not take a setting.
    pub async fn open(path: &Path) -> Result<Arc<Self>, StoreError> {
        Ok(Arc::new(Self { file: SideFile::open(path, Purpose::Side, SCHEMA).await? }))
    }

    /// Writes a consistent copy, also of a file that another process has open, to one that must not exist yet.
    ///
    /// # Errors
    /// [`DatabaseError::TargetExists`](crate::store::sqlite::DatabaseError::TargetExists) and its like, or what SQLite says.
    pub async fn backup(source: &Path, target: &Path) -> Result<(), StoreError> {
        SideFile::backup(source, target, SCHEMA).await
    }

    async fn write<T>(
        &self,
        write: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let mut writing = self.file.begin().await?;
        let written = write(writing.connection()).await?;
        writing.commit().await?;
        Ok(written)
    }
}

#[async_trait]
impl MatterStore for SqliteMatterStore {
    async fn keep(&self, review: &Review) -> Result<(), StoreError> {
        self.write(async |connection| insert(connection, review).await).await
    }

    async fn review(&self, id: Uuid) -> Result<Option<Review>, StoreError> {
        let query = sqlx::query_as::<_, Row>("select * from review where id = ?").bind(id.as_bytes().to_vec());
        query.fetch_optional(&mut *self.file.read().await?).await?.map(Review::try_from).transpose()
    }

    async fn waiting(&self, log: Option<&TenantId>, limit: usize) -> Result<Vec<Review>, StoreError> {
        let sql = "select * from review where verdict is null and (?1 is null or log = ?1) order by at, id limit ?2";
        let query = sqlx::query_as::<_, Row>(sql).bind(log.map(TenantId::as_str));
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        query.fetch_all(&mut *self.file.read().await?).await?.into_iter().map(Review::try_from).collect()
    }

    async fn decide(&self, id: Uuid, Decision { verdict, by, at_ms }: &Decision) -> Result<bool, StoreError> {
        let sql = "update review set verdict = ?, decided_by = ?, decided = ? where id = ? and verdict is null";
        let query = sqlx::query(sql).bind(*verdict as i64).bind(by.as_str()).bind(at_ms).bind(&id.as_bytes()[..]);
        self.write(async |connection| Ok(query.execute(connection).await?.rows_affected() == 1)).await
    }

    async fn order_wipe(&self, Wipe { order, device, ordered_ms, done_ms }: &Wipe) -> Result<(), StoreError> {
        let sql = "insert or replace into wipe (device, wipe_order, ordered, done) values (?, ?, ?, ?)";
        let query = sqlx::query(sql).bind(&device.as_bytes()[..]).bind(&order.as_bytes()[..]);
        let query = query.bind(ordered_ms).bind(done_ms);
        self.write(async |connection| query.execute(connection).await.map(drop)).await
    }

    async fn wipe_of(&self, device: DeviceId) -> Result<Option<Wipe>, StoreError> {
        let sql = "select device, wipe_order, ordered, done from wipe where device = ?";
        let query = sqlx::query_as(sql).bind(&device.as_bytes()[..]);
        let row: Option<WipeRow> = query.fetch_optional(&mut *self.file.read().await?).await?;
        row.map(wipe).transpose()
    }

    async fn wipes(&self) -> Result<Vec<Wipe>, StoreError> {
        let sql = "select device, wipe_order, ordered, done from wipe";
        let rows: Vec<WipeRow> = sqlx::query_as(sql).fetch_all(&mut *self.file.read().await?).await?;
        rows.into_iter().map(wipe).collect()
    }

    async fn wiped(&self, device: DeviceId, order: Uuid, now_ms: i64) -> Result<bool, StoreError> {
        let sql = "update wipe set done = ? where device = ? and wipe_order = ? and done is null";
        let query = sqlx::query(sql).bind(now_ms).bind(&device.as_bytes()[..]).bind(&order.as_bytes()[..]);
        self.write(async |connection| Ok(query.execute(connection).await?.rows_affected() == 1)).await
    }

    async fn keep_calls(&self, changed: &[KeptCall]) -> Result<(), StoreError> {
        self.write(async |connection| {
            for KeptCall { name, state } in changed {
                let query = match state {
                    Some(state) => sqlx::query("insert or replace into call_state (name, state) values (?, ?)")
                        .bind(name)
                        .bind(state),
                    None => sqlx::query("delete from call_state where name = ?").bind(name),
                };
                query.execute(&mut *connection).await?;
            }
            Ok(())
        })
        .await
    }

    async fn calls(&self) -> Result<Vec<String>, StoreError> {
        let query = sqlx::query_scalar("select state from call_state order by name");
        Ok(query.fetch_all(&mut *self.file.read().await?).await?)
    }

    async fn close(&self) {
        self.file.close().await;
    }
}

/// Keeps it, unless it is there.
async fn insert(connection: &mut SqliteConnection, review: &Review) -> Result<(), sqlx::Error> {
    let Review { id, log, who, at_ms, matter, content, decision: _ } = review;
    let Principal { tenant, unit, device, role, user } = who;
    let (kind, changes, reason, until) = match matter {
        Matter::Evidence { document: _, changes } => (EVIDENCE, *changes, None, None),
        Matter::BreakGlass { case: _, reason, until_ms } => (BREAK_GLASS, 0, Some(*reason as i64), *until_ms),
    };
    let sql = "insert or ignore into review
            (id, log, kind, document, changes, tenant, unit, device, role, user, at, reason, until, content)
        values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let query = sqlx::query(sql).bind(&id.as_bytes()[..]).bind(log.as_str()).bind(kind);
    let query = query.bind(matter.document().to_bytes().to_vec()).bind(changes).bind(tenant.as_str());
    let query = query.bind(unit.as_str()).bind(&device.as_bytes()[..]).bind(*role as i64);
    let query = query.bind(user.as_ref().map(|user| user.as_bytes().to_vec())).bind(at_ms);
    query.bind(reason).bind(until).bind(content.as_deref()).execute(connection).await?;
    Ok(())
}

/// device, wipe_order, ordered, done.
type WipeRow = (Vec<u8>, Vec<u8>, i64, Option<i64>);

fn wipe((device, order, ordered_ms, done_ms): WipeRow) -> Result<Wipe, StoreError> {
    const DAMAGED: StoreError = StoreError::Damaged("a wipe order");
    let order = Uuid::from_slice(&order).map_err(|_| DAMAGED)?;
    let device = DeviceId::from_slice(&device).map_err(|_| DAMAGED)?;
    Ok(Wipe { order, device, ordered_ms, done_ms })
}

row! {
    struct Row {
        id: Vec<u8>,
        log: String,
        kind: i64,
        document: Vec<u8>,
        changes: u32,
        tenant: String,
        unit: String,
        device: Vec<u8>,
        role: u32,
        user: Option<Vec<u8>>,
        at: i64,
        reason: Option<u32>,
        until: Option<i64>,
        content: Option<Vec<u8>>,
        verdict: Option<i64>,
        decided_by: Option<String>,
        decided: Option<i64>,
    }
}

impl TryFrom<Row> for Review {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        const DAMAGED: StoreError = StoreError::Damaged("a review");
        let matter = row.matter().ok_or(DAMAGED)?;
        let decision = row.decision().ok_or(DAMAGED)?;
        let who = Principal {
            tenant: row.tenant.parse().map_err(|_| DAMAGED)?,
            unit: row.unit.parse().map_err(|_| DAMAGED)?,
            device: DeviceId::from_slice(&row.device).map_err(|_| DAMAGED)?,
            role: Role::from_number(row.role).ok_or(DAMAGED)?,
            user: row.user.map(|user| UserId::from_slice(&user)).transpose().map_err(|_| DAMAGED)?,
        };
        let id = Uuid::from_slice(&row.id).map_err(|_| DAMAGED)?;
        let log = row.log.parse().map_err(|_| DAMAGED)?;
        Ok(Review { id, log, who, at_ms: row.at, matter, content: row.content.map(Bytes::from), decision })
    }
}

impl Row {
    fn matter(&self) -> Option<Matter> {
        let document = DocumentId::from_slice(&self.document).ok()?;
        match self.kind {
            EVIDENCE => Some(Matter::Evidence { document, changes: self.changes }),
            BREAK_GLASS => Some(Matter::BreakGlass {
                case: document.case,
                reason: self.reason.and_then(BreakGlassReason::from_number)?,
                until_ms: self.until,
            }),
            _ => None,
        }
    }

    /// `None` when it cannot be read; else whether there is one.
    fn decision(&self) -> Option<Option<Decision>> {
        let Some(verdict) = self.verdict else { return Some(None) };
        let by = self.decided_by.as_ref()?.parse().ok()?;
        Some(Some(Decision { verdict: Verdict::from_number(verdict)?, by, at_ms: self.decided? }))
    }
}

const EVIDENCE: i64 = 1;
const BREAK_GLASS: i64 = 2;

/// "FELM": tells matters from the log and from other programs' files.
const SCHEMA: Schema = Schema {
    application_id: 0x4645_4c4d,
    migrations: &[include_str!("0001_matters.sql"), include_str!("0002_calls.sql")],
};

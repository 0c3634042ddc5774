//! Where the tenants' logs end, in memory: advanced after a commit, never before it.

use std::collections::BTreeMap;

use feldakte_core::ids::{Position, TenantId};
use sqlx::SqliteConnection;

use super::{batch::TenantRow, key};
use crate::store::{Head, StoreError};

/// All tenants that have an entry.
#[derive(Debug, Default)]
pub(super) struct Tenants(BTreeMap<TenantId, Tenant>);

#[derive(Debug, Clone, Copy)]
struct Tenant {
    number: i64,
    head: Head,
}

impl Tenants {
    /// Reads them from the database; the end of a log is its last row.
    pub async fn load(connection: &mut SqliteConnection) -> Result<Self, StoreError> {
        type Row = (i64, String, Option<i64>, Option<i64>);
        let sql = "select id, name, restored_to,
                (select max(entry.id) from entry where entry.id between tenant.id << 44 and ((tenant.id + 1) << 44) - 1)
            from tenant";
        let rows: Vec<Row> = sqlx::query_as(sql).fetch_all(connection).await?;
        let tenants = rows.into_iter().map(|(number, name, restored_to, last)| {
            let name = name.parse().map_err(|_| StoreError::Damaged("a tenant's name"))?;
            let position = last.map_or(Position::START, key::position_of);
            Ok((name, Tenant { number, head: Head { position, restored_to: restored_to.map(key::position_of) } }))
        });
        tenants.collect::<Result<_, StoreError>>().map(Self)
    }

    /// Where the tenant's log ends.
    pub fn head(&self, tenant: &TenantId) -> Head {
        self.0.get(tenant).map_or(Head { position: Position::START, restored_to: None }, |tenant| tenant.head)
    }

    /// The tenant's number; `None` before its first entry.
    pub fn number(&self, tenant: &TenantId) -> Option<i64> {
        self.0.get(tenant).map(|tenant| tenant.number)
    }

    /// The tenant as a batch starts from it; an unknown one gets the next free number after `added` others.
    pub fn row(&self, tenant: &TenantId, added: usize) -> Result<TenantRow, StoreError> {
        if let Some(Tenant { number, head }) = self.0.get(tenant) {
            return Ok(TenantRow { number: *number, head: head.position, new: false });
        }
        let highest = self.0.values().map(|tenant| tenant.number).max().unwrap_or_default();
        let number = highest + 1 + i64::try_from(added).expect("a batch is small");
        if number > key::TENANT_MAX {
            return Err(StoreError::Damaged("a tenant's number"));
        }
        Ok(TenantRow { number, head: Position::START, new: true })
    }

    /// Takes in what a commit has made durable.
    pub fn advance(&mut self, tenant: &TenantId, row: TenantRow) {
        let fresh = || Tenant { number: row.number, head: Head { position: Position::START, restored_to: None } };
        self.0.entry(tenant.clone()).or_insert_with(fresh).head.position = row.head;
    }
}

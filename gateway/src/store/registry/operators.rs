//! Who may use the control socket, and for what.

use std::{fmt, str::FromStr};

use feldakte_core::ids::{IdError, OperatorName, TenantId};
use sha2::{Digest, Sha256};
use sqlx::SqliteConnection;

use super::RegistryStore;
use crate::store::{StoreError, sqlite::row::row};

/// Somebody at the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// What the audit log calls him.
    pub name: OperatorName,
    /// What he may do.
    pub roles: OperatorRoles,
    /// Whose affairs he may touch; everybody's when `None`.
    pub tenant: Option<TenantId>,
}

/// What an operator is for. Numbers stand on the disk, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperatorRole {
    /// Invites and revokes devices, closes and shreds cases.
    Operator = 1,
    /// Reads the audit log.
    Auditor = 2,
    /// Decides about evidence and reviews emergency access.
    Supervisor = 4,
}

/// A set of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OperatorRoles(u8);

/// SHA-256 of a token; the token itself is kept nowhere.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

/// An operator that could not be added.
#[derive(Debug, thiserror::Error)]
pub enum AddOperatorError {
    /// There is one of that name.
    #[error("there is an operator of that name already")]
    Exists,
    /// The registry failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RegistryStore {
    /// Adds an operator; durable when it returns.
    ///
    /// # Errors
    /// When there is one of that name.
    pub async fn add_operator(
        &self,
        operator: &Operator,
        token: TokenHash,
        now_ms: i64,
    ) -> Result<(), AddOperatorError> {
        let mut writing = self.file.begin().await?;
        let Operator { name, roles, tenant } = operator;
        let sql = "insert into operator (name, roles, tenant, token_hash, added_at) values (?, ?, ?, ?, ?)
            on conflict do nothing";
        let query = sqlx::query(sql).bind(name.as_str()).bind(i64::from(roles.0));
        let query = query.bind(tenant.as_ref().map(TenantId::as_str)).bind(&token.0[..]).bind(now_ms);
        let added = query.execute(writing.connection()).await.map_err(StoreError::from)?.rows_affected();
        if added == 0 {
            writing.undo().await?;
            return Err(AddOperatorError::Exists);
        }
        Ok(writing.commit().await?)
    }

    /// Removes an operator; his token is worth nothing when this returns. `None` when there is none of that name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn remove_operator(&self, name: &OperatorName) -> Result<Option<Operator>, StoreError> {
        let mut writing = self.file.begin().await?;
        let removed = rows(writing.connection()).await?.into_iter().find(|row| row.name == name.as_str());
        let sql = "delete from operator where name = ?";
        sqlx::query(sql).bind(name.as_str()).execute(writing.connection()).await?;
        writing.commit().await?;
        removed.map(OperatorRow::operator).transpose()
    }

    /// All operators, by name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn operators(&self) -> Result<Vec<Operator>, StoreError> {
        let rows = rows(&mut *self.file.read().await?).await?;
        rows.into_iter().map(|row| row.operator()).collect()
    }

    /// Whose token has that hash.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn operator_of(&self, token: TokenHash) -> Result<Option<Operator>, StoreError> {
        let rows = rows(&mut *self.file.read().await?).await?;
        // Every row is compared, each in constant time: how long it takes says nothing about any hash.
        let found = rows.into_iter().fold(None, |found, row| if token.is(&row.token_hash) { Some(row) } else { found });
        found.map(OperatorRow::operator).transpose()
    }
}

row! {
    struct OperatorRow {
        name: String,
        roles: i64,
        tenant: Option<String>,
        token_hash: Vec<u8>,
    }
}

async fn rows(connection: &mut SqliteConnection) -> Result<Vec<OperatorRow>, StoreError> {
    let sql = "select name, roles, tenant, token_hash from operator order by name";
    Ok(sqlx::query_as(sql).fetch_all(connection).await?)
}

impl OperatorRow {
    fn operator(self) -> Result<Operator, StoreError> {
        let damaged = || StoreError::Damaged("an operator");
        Ok(Operator {
            name: self.name.parse().map_err(|_| damaged())?,
            roles: u8::try_from(self.roles).map(OperatorRoles).map_err(|_| damaged())?,
            tenant: self.tenant.map(|tenant| tenant.parse()).transpose().map_err(|_| damaged())?,
        })
    }
}

impl TokenHash {
    /// The hash of what an operator shows.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    fn is(&self, stored: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, stored).is_ok()
    }
}

impl OperatorRole {
    /// All roles.
    pub const ALL: [OperatorRole; 3] = [OperatorRole::Operator, OperatorRole::Auditor, OperatorRole::Supervisor];

    /// The role's name on command lines.
    pub fn name(self) -> &'static str {
        match self {
            OperatorRole::Operator => "operator",
            OperatorRole::Auditor => "auditor",
            OperatorRole::Supervisor => "supervisor",
        }
    }
}

impl OperatorRoles {
    /// Whether the role is among them.
    pub fn contains(self, role: OperatorRole) -> bool {
        self.0 & role as u8 != 0
    }

    /// Those that are in the set, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = OperatorRole> {
        OperatorRole::ALL.into_iter().filter(move |role| self.contains(*role))
    }
}

impl FromIterator<OperatorRole> for OperatorRoles {
    fn from_iter<I: IntoIterator<Item = OperatorRole>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |set, role| set | role as u8))
    }
}

impl FromStr for OperatorRole {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = IdError { what: "role", why: "must be operator, auditor or supervisor" };
        OperatorRole::ALL.into_iter().find(|role| role.name() == text).ok_or(error)
    }
}

impl fmt::Display for OperatorRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

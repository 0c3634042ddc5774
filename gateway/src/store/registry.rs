//! Who belongs to the gateway: operators, devices and their certificates, invitations, and what awaits a second operator.
//!
//! A SQLite file of its own beside the log, small and rarely written. Codes and tokens stand in it as hashes alone. A
//! write that is given up half-way takes its connection with it; the next one opens the file anew.

use std::{path::Path, sync::Arc};

use super::{
    StoreError,
    sqlite::{
        connect::Purpose,
        migrate::Schema,
        side::{SideFile, Writing},
    },
};

pub mod approvals;
pub mod devices;
pub mod invites;
pub mod operators;
pub mod revocation;

pub use self::{
    approvals::{Approval, ApprovalError, NewApproval},
    devices::{Certificate, Device},
    invites::{Invite, NewInvite},
    operators::{Operator, OperatorRole, OperatorRoles, TokenHash},
    revocation::{Revocation, RevocationReason},
};

/// The registry of one gateway.
#[derive(Debug)]
pub struct RegistryStore {
    file: SideFile,
}

impl RegistryStore {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    /// When it is of a later release or not a registry, or SQLite does not take a setting.
    pub async fn open(path: &Path) -> Result<Arc<Self>, StoreError> {
        Ok(Arc::new(Self { file: SideFile::open(path, Purpose::Side, SCHEMA).await? }))
    }

    /// Writes a consistent copy of a registry, which another process may have open, to a file that must not exist yet.
    ///
    /// # Errors
    /// [`DatabaseError::TargetExists`](super::sqlite::DatabaseError::TargetExists) and its like, or what SQLite says.
    pub async fn backup(source: &Path, target: &Path) -> Result<(), StoreError> {
        SideFile::backup(source, target, SCHEMA).await
    }

    /// Lets go of the file. Nothing may be called afterwards.
    pub async fn close(&self) {
        self.file.close().await;
    }
}

/// "FELR": tells registries from the log and from other programs' files.
const SCHEMA: Schema =
    Schema { application_id: 0x4645_4c52, migrations: &[include_str!("registry/0001_registry.sql")] };

#[cfg(test)]
mod tests;

//! Backup and restore of a whole database.

use std::path::{Path, PathBuf};

use feldakte_core::ids::Epoch;
use sqlx::{Connection, Executor, SqliteConnection};

use super::{
    checkpoint::{self, Mode},
    connect::{self, Purpose},
    error::DatabaseError,
    schema,
};
use crate::store::StoreError;

/// Writes a consistent copy of the database at `source`, which may be in use, to `target`.
///
/// # Errors
/// [`DatabaseError::TargetExists`], or what SQLite says.
pub(super) async fn backup(source: &Path, target: &Path) -> Result<(), StoreError> {
    let mut connection = connect::connect(source, Purpose::Copy).await?;
    schema::SCHEMA.check_version(&mut connection).await?;
    copy(connection, target).await
}

/// Writes a consistent copy of what is open there to a file that must not exist yet.
///
/// # Errors
/// [`DatabaseError::TargetExists`], or what SQLite says.
pub(in crate::store) async fn copy(mut connection: SqliteConnection, target: &Path) -> Result<(), StoreError> {
    refuse_existing(target)?;
    let partial = sibling(target, ".partial");
    remove(&partial)?;
    let text = partial.to_str().ok_or(std::io::Error::from(std::io::ErrorKind::InvalidFilename))?;
    sqlx::query("vacuum into ?").bind(text).execute(&mut connection).await?;
    connection.close().await?;
    publish(&partial, target)
}

/// Makes a database at `target` from a backup: the same log in a new epoch, which remembers where it ended.
///
/// # Errors
/// [`DatabaseError::TargetExists`], [`DatabaseError::Integrity`], a schema that is not ours, or what SQLite says.
pub(super) async fn restore(backup: &Path, target: &Path, epoch: Epoch) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm"] {
        refuse_existing(&sibling(target, suffix))?;
    }
    let partial = sibling(target, ".partial");
    for suffix in ["", "-wal", "-shm"] {
        remove(&sibling(&partial, suffix))?;
    }
    let renewed = renew_copy(backup, &partial, epoch).await;
    if renewed.is_err() {
        remove(&partial)?;
    }
    renewed?;
    publish(&partial, target)
}

async fn renew_copy(backup: &Path, copy: &Path, epoch: Epoch) -> Result<(), StoreError> {
    tokio::fs::copy(backup, copy).await?;
    let mut connection = connect::connect(copy, Purpose::Log).await?;
    let renewed = renew(&mut connection, epoch).await;
    connection.close().await?;
    renewed
}

async fn renew(connection: &mut SqliteConnection, epoch: Epoch) -> Result<(), StoreError> {
    if schema::SCHEMA.check_version(connection).await? == 0 {
        return Err(DatabaseError::Foreign.into());
    }
    let verdict: String = sqlx::query_scalar("pragma integrity_check(1)").fetch_one(&mut *connection).await?;
    if verdict != "ok" {
        return Err(DatabaseError::Integrity.into());
    }
    schema::migrate(connection, epoch).await?;
    connection.execute("begin immediate").await?;
    let sql = "update tenant set restored_to =
        (select max(entry.id) from entry where entry.id between tenant.id << 44 and ((tenant.id + 1) << 44) - 1)";
    connection.execute(sql).await?;
    schema::write_epoch(connection, epoch).await?;
    connection.execute("commit").await?;
    checkpoint::checkpoint(connection, Mode::Truncate).await?;
    Ok(())
}

fn refuse_existing(path: &Path) -> Result<(), StoreError> {
    match path.try_exists()? {
        true => Err(DatabaseError::TargetExists.into()),
        false => Ok(()),
    }
}

/// Gives a complete file its name, so that nobody ever opens half a backup.
fn publish(partial: &Path, target: &Path) -> Result<(), StoreError> {
    std::fs::File::open(partial)?.sync_all()?;
    // Unlike a rename, a link never replaces a file that came into being meanwhile.
    std::fs::hard_link(partial, target)?;
    std::fs::remove_file(partial)?;
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(directory)?.sync_all()?;
    Ok(())
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

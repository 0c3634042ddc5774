//! Files of a tablet's directory, written so that a power cut leaves the old or the new content, and keys private.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use anyhow::Context;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its owner alone.
    Owner,
    /// Whom the system's default lets.
    Default,
}

/// Makes a directory for its owner alone. One that exists must be empty, so that nothing of anybody's is shut off.
pub fn create_private_dir(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let mut content = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    anyhow::ensure!(
        content.next().is_none(),
        "{} holds other files already; name a new directory with --data",
        dir.display()
    );
    #[cfg(unix)]
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .with_context(|| format!("cannot make {} private", dir.display()))?;
    Ok(())
}

/// Writes a whole file.
pub fn write(path: &Path, content: &[u8], readers: Readers) -> anyhow::Result<()> {
    let draft = path.with_extension("new");
    write_synced(&draft, content, readers)
        .and_then(|()| fs::rename(&draft, path))
        .with_context(|| format!("cannot write {}; check its owner and free space", path.display()))
}

/// Reads a whole file.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg_attr(not(unix), expect(unused_variables, reason = "other systems have no modes"))]
fn write_synced(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    if readers == Readers::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

//! The Unix socket of the control plane, and who is at its other end.

use std::{
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use axum::{extract::connect_info::Connected, serve::IncomingStream};
use tokio::net::{UnixListener, UnixStream};

/// A bound socket. Its file is removed when it is dropped.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

/// Who asks, as the kernel says.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The user; `None` when the kernel does not say.
    pub user: Option<u32>,
}

#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Binds the socket with that mode; one that a dead gateway left behind is replaced.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] when a gateway answers there, or what the system says.
    pub async fn bind(path: &Path, mode: u32) -> io::Result<Self> {
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        // Under another name until the mode is set: nobody else may connect in between.
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        remove(&fresh)?;
        let listener = UnixListener::bind(&fresh)?;
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(mode))?;
        let inode = std::fs::metadata(&fresh)?.ino();
        std::fs::rename(&fresh, path)?;
        Ok(Self { listener, file: SocketFile { path: path.to_owned(), inode } })
    }

    /// The user the gateway runs as.
    ///
    /// # Errors
    /// When somebody has removed the file.
    pub fn owner(&self) -> io::Result<u32> {
        Ok(std::fs::metadata(&self.file.path)?.uid())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // The next gateway may have put its own there.
        if std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { user: stream.io().peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_its_owner_may_connect_and_the_file_goes_with_the_gateway() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("feldakte.sock");
        let socket = Socket::bind(&path, 0o600).await.expect("bound");
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        assert_eq!(Socket::bind(&path, 0o600).await.expect_err("taken").kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_dead_gateway_left_behind_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("feldakte.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists());
        let socket = Socket::bind(&path, 0o600).await.expect("replaced");
        assert!(UnixStream::connect(&path).await.is_ok());
        drop(socket);
    }
}

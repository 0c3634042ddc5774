//! Files that an operator may change while the gateway runs, and whether they have been.

use std::{os::unix::fs::MetadataExt, path::PathBuf, time::SystemTime};

/// Files that are taken up together, and how they looked when they were.
#[derive(Debug)]
pub(crate) struct Watched {
    paths: Vec<PathBuf>,
    taken: Vec<Stamp>,
    last: Vec<Stamp>,
}

/// Modification time, length and inode; `None` when there is no such file.
type Stamp = Option<(SystemTime, u64, u64)>;

impl Watched {
    /// Files that are about to be read.
    pub(crate) fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        let stamps = stamps(&paths);
        Self { paths, taken: stamps.clone(), last: stamps }
    }

    /// Whether they have to be read again: they have changed, and not since the last look, so that nobody reads half
    /// of what is being written.
    pub(crate) fn has_settled(&mut self) -> bool {
        let now = stamps(&self.paths);
        let settled = now == self.last;
        self.last = now;
        if !settled || self.last == self.taken {
            return false;
        }
        self.taken.clone_from(&self.last);
        true
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    };
    paths.iter().map(stamp).collect()
}

//! Where an issuer's keys come from, a file or an address, and how they stay fresh.
//!
//! A set that cannot be had or used keeps the last good one in force. A token with an unknown key asks for a new set, at
//! most once in [`limits::JWKS_ASK_AGAIN`]: whoever makes up key ids costs the provider nothing.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use feldakte_core::limits;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    https::{FetchError, Remote},
    keys::{Key, KeySet, KeysError, TokenAlgorithm},
};
use crate::{metrics::Metrics, watched::Watched};

/// The keys of one issuer.
pub(super) struct KeySource {
    at: At,
    allowed: Vec<TokenAlgorithm>,
    keys: Mutex<KeySet>,
    asking: Mutex<Asking>,
    /// Somebody has a token with an unknown key.
    wanted: Notify,
    /// Counts attempts that have ended.
    attempts: watch::Sender<u64>,
}

pub(super) enum At {
    File(PathBuf),
    Remote(Remote),
}

#[derive(Default)]
struct Asking {
    under_way: bool,
    /// When a token last made us ask.
    last: Option<Instant>,
}

/// A set could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(transparent)]
    File(#[from] std::io::Error),
    #[error("longer than {} bytes", limits::JWKS_LEN_MAX)]
    TooLarge,
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl KeySource {
    /// Keys at an address are fetched by [`KeySource::watch`]: a provider that is down must not stop a gateway.
    ///
    /// # Errors
    /// When they are in a file that cannot be used.
    pub(super) fn open(at: At, allowed: Vec<TokenAlgorithm>) -> Result<Self, SourceError> {
        let keys = match &at {
            At::File(path) => read_file(path, &allowed)?,
            At::Remote(_) => KeySet::default(),
        };
        let (keys, asking) = (Mutex::new(keys), Mutex::default());
        Ok(Self { at, allowed, keys, asking, wanted: Notify::new(), attempts: watch::Sender::new(0) })
    }

    /// The key that a token asks for. Waits for a new set when none is known and the provider may be asked again.
    pub(super) async fn key(&self, id: Option<&str>) -> Option<Key> {
        if let Some(key) = self.known(id) {
            return Some(key);
        }
        let mut attempts = self.attempts.subscribe();
        if !self.ask() {
            return None;
        }
        let _ = tokio::time::timeout(limits::JWKS_WITHIN, attempts.changed()).await;
        self.known(id)
    }

    /// Keeps the set fresh until `stop`.
    pub(super) async fn watch(&self, metrics: &Metrics, stop: &CancellationToken) {
        let keep = async {
            match &self.at {
                At::File(path) => self.watch_file(path, metrics).await,
                At::Remote(remote) => self.watch_remote(remote, metrics).await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = keep => {}
        }
    }

    async fn watch_file(&self, path: &Path, metrics: &Metrics) {
        let mut file = Watched::new([path.to_owned()]);
        loop {
            tokio::time::sleep(FILE_LOOK_EVERY).await;
            if file.has_settled() {
                self.take(read_file(path, &self.allowed), metrics);
            }
        }
    }

    async fn watch_remote(&self, remote: &Remote, metrics: &Metrics) {
        loop {
            self.asking().under_way = true;
            let fetched = remote.fetch().await.map_err(SourceError::from);
            let fetched = fetched.and_then(|json| Ok(KeySet::parse(&json, &self.allowed)?));
            let again = if self.take(fetched, metrics) { limits::JWKS_REFRESH_EVERY } else { limits::JWKS_ASK_AGAIN };
            self.asking().under_way = false;
            self.attempts.send_modify(|attempts| *attempts += 1);
            tokio::select! {
                () = tokio::time::sleep(again) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    fn take(&self, read: Result<KeySet, SourceError>, metrics: &Metrics) -> bool {
        match read {
            Ok(keys) => {
                info!(keys = keys.len(), "keys of an issuer taken up");
                *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
                true
            }
            Err(error) => {
                warn!(%error, "an issuer's keys cannot be had; the last ones stay in force");
                metrics.issuer_keys_failed.inc();
                false
            }
        }
    }

    fn known(&self, id: Option<&str>) -> Option<Key> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).find(id).cloned()
    }

    /// Whether a new set is on its way.
    fn ask(&self) -> bool {
        if matches!(self.at, At::File(_)) {
            return false;
        }
        let mut asking = self.asking();
        if asking.under_way {
            return true;
        }
        if asking.last.is_some_and(|last| last.elapsed() < limits::JWKS_ASK_AGAIN) {
            return false;
        }
        *asking = Asking { under_way: true, last: Some(Instant::now()) };
        self.wanted.notify_one();
        true
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_file(path: &Path, allowed: &[TokenAlgorithm]) -> Result<KeySet, SourceError> {
    if std::fs::metadata(path)?.len() > limits::JWKS_LEN_MAX as u64 {
        return Err(SourceError::TooLarge);
    }
    Ok(KeySet::parse(&std::fs::read(path)?, allowed)?)
}

/// A change is taken up with the second look at it.
const FILE_LOOK_EVERY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;

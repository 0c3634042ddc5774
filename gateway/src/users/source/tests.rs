use std::sync::Arc;

use jsonwebtoken::Algorithm;
use tempfile::TempDir;

use super::*;
use crate::users::tests::mint::{Signer, jwks};

struct World {
    dir: TempDir,
    source: Arc<KeySource>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

impl World {
    /// Watches a file with the key `old`.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("jwks.json"), set("old")).unwrap();
        let at = At::File(dir.path().join("jwks.json"));
        let source = Arc::new(KeySource::open(at, vec![TokenAlgorithm::Es256]).unwrap());
        let (metrics, stop) = (Arc::new(Metrics::new()), CancellationToken::new());
        let (watched, counted, end) = (source.clone(), metrics.clone(), stop.clone());
        tokio::spawn(async move { watched.watch(&counted, &end).await });
        Self { dir, source, metrics, stop }
    }

    fn write(&self, text: &str) {
        std::fs::write(self.dir.path().join("jwks.json"), text).unwrap();
    }

    async fn until(&self, is_it: impl Fn() -> bool) {
        while !is_it() {
            tokio::time::sleep(FILE_LOOK_EVERY).await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn set(kid: &'static str) -> String {
    jwks(&[&Signer::new(kid, Algorithm::ES256)]).to_string()
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_replaces_the_keys() {
    let world = World::new();
    tokio::task::yield_now().await;
    assert!(world.source.key(Some("old")).await.is_some());
    assert!(world.source.key(Some("newer")).await.is_none());
    world.write(&set("newer"));
    world.until(|| world.source.known(Some("newer")).is_some()).await;
    assert!(world.source.key(Some("old")).await.is_none(), "a key that was taken away is not believed");
}

#[tokio::test(start_paused = true)]
async fn a_set_that_cannot_be_used_leaves_the_last_one_in_force_and_is_counted() {
    let world = World::new();
    tokio::task::yield_now().await;
    world.write("{}");
    world.until(|| world.metrics.issuer_keys_failed.get() == 1).await;
    assert!(world.source.key(Some("old")).await.is_some());
    world.write(&" ".repeat(limits::JWKS_LEN_MAX + 1));
    world.until(|| world.metrics.issuer_keys_failed.get() == 2).await;
    assert!(world.source.key(Some("old")).await.is_some());
}

#[test]
fn a_file_that_cannot_be_used_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    for text in [None, Some("{}"), Some("nothing")] {
        let path = dir.path().join("jwks.json");
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        assert!(KeySource::open(At::File(path), vec![TokenAlgorithm::Es256]).is_err());
    }
}

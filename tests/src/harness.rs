//! What end-to-end tests stand on: a PKI, gateways (in this process and as processes of their own), tablets with the
//! real SDK, and raw clients that may send anything.
//!
//! Everything runs on 127.0.0.1 in fresh directories, or over emulated links ([`region`]). Nothing waits for a span of time: it waits for an event, at most
//! [`PATIENCE`]. What fails here panics and says what was being waited for.

use std::{path::Path, time::Duration};

use feldakte_core::{
    access::{Principal, Role},
    ids::{CaseId, DeviceId, DocumentId, Epoch, Part},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

pub mod address;
pub mod again;
pub mod author;
pub mod caller;
pub mod control;
pub mod faulty_store;
pub mod http;
pub mod issuer;
pub mod local;
pub mod mission;
pub mod page;
pub mod pki;
pub mod process;
pub mod raw;
pub mod region;
pub mod scripted;
pub mod tablet;
pub mod team;
pub mod wire;

/// How long an event may take on a machine that is busy with other tests, and over a link that is gone for a minute.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for `event`.
///
/// # Panics
/// When it takes longer than [`PATIENCE`].
pub async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(result) => result,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// Waits for something that has no event of its own, by looking often.
pub async fn until(what: &str, is_it: impl Fn() -> bool) {
    until_answered(what, async || is_it()).await;
}

/// The same where the answer has to be awaited.
pub async fn until_answered(what: &str, is_it: impl AsyncFn() -> bool) {
    within(what, async {
        while !is_it().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
}

/// The files of a directory, not of those in it, that hold these bytes.
///
/// # Panics
/// When one cannot be read.
pub fn files_with(directory: &Path, wanted: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the directory is there") {
        let path = entry.expect("it can be listed").path();
        let bytes = if path.is_file() { std::fs::read(&path).expect("it can be read") } else { Vec::new() };
        if bytes.windows(wanted.len()).any(|window| window == wanted) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// A new ambulance crew's tablet in tenant `dortmund`.
pub fn crew(unit: &str) -> Principal {
    device("dortmund", unit, Role::AmbulanceCrew)
}

/// A new device.
pub fn device(tenant: &str, unit: &str, role: Role) -> Principal {
    Principal {
        tenant: tenant.parse().expect("a slug"),
        unit: unit.parse().expect("a slug"),
        device: DeviceId(random_uuid()),
        role,
        user: None,
    }
}

/// Text of that length that no compression makes much shorter; the same for the same seed.
pub fn noise(seed: u64, len: usize) -> String {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..len).map(|_| char::from(rng.random_range(b'!'..=b'~'))).collect()
}

/// The clinical document of a new case.
pub fn new_document() -> DocumentId {
    DocumentId { case: CaseId(random_uuid()), part: Part::Clinical }
}

/// A random epoch or store id.
pub fn new_epoch() -> Epoch {
    Epoch(random_uuid())
}

fn random_uuid() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

/// Between two looks at something without an event.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

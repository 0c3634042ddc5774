//! What a device does on the word of its gateway, and what it does without: tablets with the real SDK against gateways
//! that say what the test wants.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails, in its helpers too")]

use feldakte_client_sdk::store::SharedLocalStore;
use feldakte_core::ids::Epoch;
use feldakte_tests::harness::{
    crew,
    local::Site,
    new_epoch,
    pki::Enrolled,
    scripted::{self, Session},
    tablet::Tablet,
};
use quinn::Endpoint;

mod calls;
mod purge;
mod renewal;
mod storm;
mod switching;
mod users;
mod wipe;

/// A scripted gateway and a device that it knows.
struct World {
    site: Site,
    endpoint: Endpoint,
    enrolled: Enrolled,
    epoch: Epoch,
}

impl World {
    fn new() -> Self {
        let site = Site::new();
        let (endpoint, enrolled) = (scripted::endpoint(&site), site.pki.enrol(&crew("rtw-1")));
        Self { site, endpoint, enrolled, epoch: new_epoch() }
    }

    async fn tablet(&self, store: SharedLocalStore) -> Tablet {
        let tablet = Tablet::open(self.enrolled.identity(), self.endpoint.local_addr().unwrap(), store).await;
        tablet.client.go_online();
        tablet
    }

    async fn session(&self) -> Session {
        Session::accept(&self.endpoint, scripted::welcome(self.epoch), &[]).await
    }
}

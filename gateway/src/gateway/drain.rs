//! Down in order: sessions, snapshots, commits, the store. Nobody uses the store after it is closed.

use std::time::Duration;

use feldakte_core::limits;
use feldakte_proto::CloseCode;
use quinn::VarInt;
use tracing::{info, warn};

use super::Gateway;

impl Gateway {
    /// Takes no new session, closes the open ones (their devices come back later), writes the snapshots that lag
    /// behind, commits everything that was admitted, signs the audit log, and lets go of the store.
    ///
    /// Each step has [`limits::DRAIN_WITHIN`], which only a peer or a disk that hangs takes. Snapshots that are not
    /// written by then follow after the next start. On a full disk, or after the log has failed, what waits is not
    /// committed and its authors are told nothing: they push it again.
    pub async fn drain(self) {
        info!(connections = self.connections(), "draining");
        let Self { shared, endpoint, sessions, stop_sessions, fatal: _, projector, sequencer, scribe, exchange } = self;
        stop_sessions.cancel();
        sessions.close();
        in_time("sessions", sessions.wait()).await;
        shared.registry.close_all(CloseCode::Draining);
        exchange.end().await;
        // The projector writes marks into the log: the log goes on until it has ended.
        projector.end().await;
        sequencer.end().await;
        shared.tasks.close();
        // Sessions that had to be cut, and fetches of all of them.
        in_time("readers of the store", async { tokio::join!(sessions.wait(), shared.tasks.wait()) }).await;
        endpoint.close(VarInt::from_u32(CloseCode::Draining as u32), b"");
        // Gives the last close frames their way out; an unreachable peer must not hold up the end.
        let _ = tokio::time::timeout(LAST_FRAMES_WITHIN, endpoint.wait_idle()).await;
        // What the last sessions and commits have left.
        scribe.end().await;
        in_time("the matters", shared.matters.close()).await;
        in_time("the last checkpoint", shared.store.close()).await;
    }
}

async fn in_time(what: &str, step: impl Future) {
    if tokio::time::timeout(limits::DRAIN_WITHIN, step).await.is_err() {
        warn!(what, "did not end in time");
    }
}

const LAST_FRAMES_WITHIN: Duration = Duration::from_secs(1);

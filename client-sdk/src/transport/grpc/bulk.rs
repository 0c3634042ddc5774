//! The second connection of a session over gRPC: snapshots, the answer to each fetch a call of its own, and what else is in no
//! hurry.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use bytes::Bytes;
use feldakte_proto::grpc::{BULK_LEN_MAX, BulkRequest, Frame, SessionName, close_of};
use rustls::ClientConfig;
use tokio::sync::{Mutex, watch};
use tonic::{Code, Request, Status, Streaming};

use super::{BULK_WINDOWS, Line, content_of, judge};
use crate::{
    environment::Environment,
    transport::{Place, ReceiveError},
};

/// The second connection, and what is still to be called for.
pub(super) struct Bulk {
    environment: Environment,
    tls: Arc<ClientConfig>,
    place: Place,
    session: SessionName,
    fetches: Mutex<Fetches>,
    line: Mutex<Weak<Line>>,
}

struct Fetches {
    /// Those that the gateway was sent.
    sent: watch::Receiver<u64>,
    /// Those that were called for.
    called: u64,
    /// The connection that the last one came on, for a while.
    kept: Option<Arc<Line>>,
}

/// The answer to one fetch.
pub(in crate::transport) struct Snapshots {
    /// `None` when it was not to be had.
    stream: Option<Streaming<Frame>>,
}

impl Bulk {
    pub(super) fn new(
        environment: Environment,
        tls: Arc<ClientConfig>,
        place: Place,
        session: SessionName,
        fetches: watch::Receiver<u64>,
    ) -> Self {
        let fetches = Mutex::new(Fetches { sent: fetches, called: 0, kept: None });
        Self { environment, tls, place, session, fetches, line: Mutex::default() }
    }

    /// Waits for a fetch, then for the beginning of its answer.
    pub(super) async fn next_answer(&self) -> Snapshots {
        let mut fetches = self.fetches.lock().await;
        fetches.wait_for_next().await;
        fetches.called += 1;
        let request = BulkRequest { session: self.session.clone(), fetch: fetches.called };
        loop {
            match self.call(&request).await {
                Ok((snapshots, line)) => {
                    fetches.kept = Some(line);
                    return snapshots;
                }
                Err(Some(status)) if is_final(&status) => return Snapshots { stream: None },
                // The connection failed, not the call: the gateway waits for it.
                Err(_) => {
                    fetches.kept = None;
                    *self.line.lock().await = Weak::new();
                    tokio::time::sleep(AGAIN_AFTER.mul_f64(0.5 + self.environment.draw())).await;
                }
            }
        }
    }

    /// The connection; made when there is none. It ends with the last who holds it.
    pub(super) async fn line(&self) -> Option<Arc<Line>> {
        let mut line = self.line.lock().await;
        if let Some(line) = line.upgrade().filter(|line| line.is_open()) {
            return Some(line);
        }
        let dialled = Line::connect(&self.environment, &self.tls, &self.place, BULK_WINDOWS);
        let dialled = Arc::new(tokio::time::timeout(DIAL_WITHIN, dialled).await.ok()?.ok()?);
        *line = Arc::downgrade(&dialled);
        Some(dialled)
    }

    async fn call(&self, request: &BulkRequest) -> Result<(Snapshots, Arc<Line>), Option<Status>> {
        let line = self.line().await.ok_or(None)?;
        let mut client = line.client().max_decoding_message_size(BULK_LEN_MAX);
        let stream = client.bulk(Request::new(request.encode())).await.map_err(Some)?.into_inner();
        Ok((Snapshots { stream: Some(stream) }, line))
    }
}

/// Whether the gateway has said it, and not the path.
fn is_final(status: &Status) -> bool {
    close_of(status).is_some() || matches!(status.code(), Code::NotFound | Code::ResourceExhausted)
}

impl Fetches {
    /// Lets go of a connection that nobody needs: an idle device pays for one.
    async fn wait_for_next(&mut self) {
        let called = self.called;
        let is_due = |sent: &u64| *sent > called;
        if tokio::time::timeout(LINGER, self.sent.wait_for(is_due)).await.is_err() {
            self.kept = None;
        }
        if self.sent.wait_for(is_due).await.is_err() {
            // The session is over.
            std::future::pending::<()>().await;
        }
    }
}

impl Snapshots {
    pub(in crate::transport) async fn next_frame(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        let Some(stream) = &mut self.stream else { return Err(ReceiveError::Gone) };
        // How the session ends is said on its own connection.
        let closed = OnceLock::new();
        stream.message().await.map_err(|status| judge(&status, &closed, BULK_LEN_MAX)).and_then(content_of)
    }
}

/// As for a session.
const DIAL_WITHIN: Duration = Duration::from_secs(5);
/// Between two tries for the second connection.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How long the second connection stays without anything to do: a device fetches several times in a row.
const LINGER: Duration = Duration::from_secs(10);

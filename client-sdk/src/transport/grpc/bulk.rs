//! Snapshots over gRPC: the answer to each fetch is a call of its own, on a second connection.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use feldakte_proto::grpc::{BULK_LEN_MAX, BulkRequest, Frame, SessionName, close_code_of};
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
    state: Mutex<State>,
}

struct State {
    /// Fetches that the gateway was sent.
    fetches: watch::Receiver<u64>,
    /// Those that were called for.
    called: u64,
    line: Option<Line>,
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
        let state = Mutex::new(State { fetches, called: 0, line: None });
        Self { environment, tls, place, session, state }
    }

    /// Waits for a fetch, then for the beginning of its answer.
    pub(super) async fn next_answer(&self) -> Snapshots {
        let mut state = self.state.lock().await;
        state.wait_for_fetch().await;
        state.called += 1;
        let request = BulkRequest { session: self.session.clone(), fetch: state.called };
        loop {
            match self.call(&mut state, &request).await {
                Ok(stream) => return Snapshots { stream: Some(stream) },
                Err(Some(status)) if is_final(&status) => return Snapshots { stream: None },
                // The connection failed, not the call: the gateway waits for it.
                Err(_) => {
                    state.line = None;
                    tokio::time::sleep(AGAIN_AFTER.mul_f64(0.5 + self.environment.draw())).await;
                }
            }
        }
    }

    async fn call(&self, state: &mut State, request: &BulkRequest) -> Result<Streaming<Frame>, Option<Status>> {
        let line = match state.line.take().filter(Line::is_open) {
            Some(line) => line,
            None => {
                let dialled = Line::connect(&self.environment, &self.tls, &self.place, BULK_WINDOWS);
                let dialled = tokio::time::timeout(DIAL_WITHIN, dialled).await;
                dialled.map_err(|_| None)?.map_err(|_| None)?
            }
        };
        let line = state.line.insert(line);
        let mut client = line.client().max_decoding_message_size(BULK_LEN_MAX);
        let answer = client.bulk(Request::new(request.encode())).await;
        Ok(answer.map_err(Some)?.into_inner())
    }
}

/// Whether the gateway has said it, and not the path.
fn is_final(status: &Status) -> bool {
    close_code_of(status).is_some() || matches!(status.code(), Code::NotFound | Code::ResourceExhausted)
}

impl State {
    /// Lets go of a connection that nobody needs: an idle device pays for one.
    async fn wait_for_fetch(&mut self) {
        let called = self.called;
        let is_due = |fetches: &u64| *fetches > called;
        if tokio::time::timeout(LINGER, self.fetches.wait_for(is_due)).await.is_err() {
            self.line = None;
        }
        if self.fetches.wait_for(is_due).await.is_err() {
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

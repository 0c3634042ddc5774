//! One session from its beginning to its end, or to another one in its place.

use feldakte_core::lane::Lane;
use feldakte_proto::{CALLS_SINCE, ClientMessage, CloseCode, decode_bundle};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    Introduced, Link, LinkInput,
    beside::Beside,
    lanes::{Outbound, Queues},
};
use crate::transport::{Connection, LinkError, ReceiveError, Receiver, Sender, Session};

impl Link {
    /// Serves a session; gives back the one that takes its place.
    ///
    /// # Errors
    /// How it has ended, when no other one has come about.
    pub(super) async fn serve(
        &self,
        Introduced { session, number, path }: Introduced,
        wanted: &mut watch::Receiver<bool>,
        shutdown: &CancellationToken,
    ) -> Result<Introduced, LinkError> {
        let Session { connection, sender, receiver, welcome } = session;
        let (outbound, queues) = Outbound::new(welcome.version >= CALLS_SINCE);
        let up = LinkInput::Up { welcome, introduction: number, outbound };
        self.engine.send(up).await.map_err(|_| LinkError::Closed(CloseCode::Done))?;
        let beside = Beside::default();
        let mut introduction = self.control.introduction.subscribe();
        let served = {
            let another = self.beside((&connection, path.over), &beside);
            let carried = async {
                tokio::select! {
                    biased;
                    error = self.carry(&connection, (sender, receiver), queues) => error,
                    () = self.control.facts.measure(&connection, path) => LinkError::Unreachable,
                }
            };
            let passed_on = async {
                let _ = introduction.wait_for(|present| *present != number).await;
            };
            let unwanted = async {
                let _ = wanted.wait_for(|wanted| !*wanted).await;
            };
            tokio::pin!(another, carried, passed_on, unwanted);
            let mut is_carried = true;
            loop {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => break Err(LinkError::Closed(CloseCode::Done)),
                    () = &mut unwanted => break Err(LinkError::Closed(CloseCode::Done)),
                    () = &mut passed_on => break Err(LinkError::Introduced),
                    another = &mut another => break another,
                    error = &mut carried, if is_carried => {
                        let error = connection.end().unwrap_or(error);
                        if !beside.is_under_way() {
                            break Err(error);
                        }
                        // Another session is about to begin, and has perhaps ended this one.
                        is_carried = false;
                        beside.alone();
                        if self.engine.send(LinkInput::Down(LinkError::Silent)).await.is_err() {
                            break Err(LinkError::Closed(CloseCode::Done));
                        }
                    }
                }
            }
        };
        // However it ended: somebody else has signed in, and waits for a session of his own.
        let is_somebody_elses = served.is_err() && *self.control.introduction.borrow() != number;
        connection.close();
        self.control.facts.forget();
        if is_somebody_elses && *wanted.borrow() {
            self.control.hurry.notify_one();
            return Err(LinkError::Introduced);
        }
        served
    }

    /// Moves everything both ways until that cannot go on.
    async fn carry(
        &self,
        connection: &Connection,
        (sender, receiver): (Sender, Receiver),
        Queues { urgent, session, background, with_calls }: Queues,
    ) -> LinkError {
        tokio::select! {
            biased;
            error = self.receive(receiver) => error,
            error = self.carry_lane(connection, (Lane::Urgent, with_calls), urgent) => error,
            () = send(sender, session) => LinkError::Unreachable,
            error = self.carry_lane(connection, (Lane::Background, false), background) => error,
            error = self.receive_snapshots(connection) => error,
            () = self.credentials.keep_fresh(&self.engine) => LinkError::Unreachable,
        }
    }

    async fn receive(&self, mut receiver: Receiver) -> LinkError {
        loop {
            match receiver.next_message().await {
                Ok(Some(message)) => {
                    if self.engine.send(LinkInput::Message(message)).await.is_err() {
                        return LinkError::Closed(CloseCode::Done);
                    }
                }
                Ok(None) | Err(ReceiveError::Gone) => return LinkError::Unreachable,
                Err(ReceiveError::Decode(error)) => return error.into(),
            }
        }
    }

    async fn receive_snapshots(&self, connection: &Connection) -> LinkError {
        loop {
            let mut snapshots = match connection.accept_snapshots().await {
                Ok(snapshots) => snapshots,
                Err(error) => return error,
            };
            loop {
                let input = match snapshots.next_bundle().await {
                    Ok(Some(bundle)) => match self.environment.compute(|| decode_bundle(bundle)).await {
                        Ok(unbundled) => LinkInput::Snapshots(unbundled),
                        Err(error) => {
                            debug!(%error, "bundle");
                            LinkInput::FetchFailed
                        }
                    },
                    Ok(None) => LinkInput::FetchEnded,
                    Err(_) => LinkInput::FetchFailed,
                };
                let is_over = matches!(input, LinkInput::FetchFailed | LinkInput::FetchEnded);
                if self.engine.send(input).await.is_err() {
                    return LinkError::Closed(CloseCode::Done);
                }
                if is_over {
                    break;
                }
            }
        }
    }
}

async fn send(mut sender: Sender, mut queue: mpsc::Receiver<ClientMessage>) {
    while let Some(message) = queue.recv().await {
        if sender.send(&message).await.is_err() {
            return;
        }
    }
}

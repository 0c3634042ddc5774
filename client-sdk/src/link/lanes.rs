//! What a session sends, each message on its lane: what waits on one delays nothing on those before it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use feldakte_core::{
    call::Say,
    lane::{Lane, TAIL_AFTER},
};
use feldakte_proto::{ClientMessage, ServerMessage};
use tokio::sync::mpsc;
use tracing::debug;

use super::{Link, LinkInput};
use crate::{
    calls::{self, CallInput},
    transport::{Connection, LinkError, ReceiveError, Receiver},
};

/// Where the engine puts messages to the gateway.
#[derive(Debug, Clone)]
pub(crate) struct Outbound {
    urgent: mpsc::Sender<ClientMessage>,
    session: mpsc::Sender<ClientMessage>,
    background: mpsc::Sender<ClientMessage>,
}

/// The link has not taken a message: it is gone or its queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotTaken;

/// Where the link takes them.
pub(super) struct Queues {
    pub(super) urgent: mpsc::Receiver<ClientMessage>,
    pub(super) session: mpsc::Receiver<ClientMessage>,
    pub(super) background: mpsc::Receiver<ClientMessage>,
    /// Whether calls are made on the urgent lane: the gateway knows of them.
    pub(super) with_calls: bool,
}

impl Outbound {
    pub(super) fn new(with_calls: bool) -> (Self, Queues) {
        let (urgent, urgent_queue) = mpsc::channel(QUEUE);
        let (session, session_queue) = mpsc::channel(QUEUE);
        let (background, background_queue) = mpsc::channel(QUEUE);
        let queues = Queues { urgent: urgent_queue, session: session_queue, background: background_queue, with_calls };
        (Self { urgent, session, background }, queues)
    }

    /// On the session's own lane.
    ///
    /// # Errors
    /// When the link is gone or its queue is full.
    pub(crate) fn try_send(&self, message: ClientMessage) -> Result<(), NotTaken> {
        self.try_send_on(Lane::Session, message)
    }

    /// On that lane.
    ///
    /// # Errors
    /// When the link is gone or its queue is full.
    pub(crate) fn try_send_on(&self, lane: Lane, message: ClientMessage) -> Result<(), NotTaken> {
        self.queue(lane).try_send(message).map_err(|_| NotTaken)
    }

    /// Whether the lane's queue has room.
    pub(crate) fn has_room(&self, lane: Lane) -> bool {
        self.queue(lane).capacity() > 0
    }

    /// What has none of its own goes with the session.
    fn queue(&self, lane: Lane) -> &mpsc::Sender<ClientMessage> {
        match lane {
            Lane::Urgent => &self.urgent,
            Lane::Background => &self.background,
            _ => &self.session,
        }
    }
}

/// How a lane ended.
enum Ended {
    /// Nothing was left to say, and everything was answered.
    InPeace,
    /// It could not be had or was lost, and what it carried with it.
    Lost,
    /// The gateway sent something we do not understand.
    Error(LinkError),
    /// The session is over.
    Over,
}

impl Link {
    /// Serves a lane beside the session's for as long as that goes on. The urgent one is there from the beginning, for what
    /// the gateway has to say on it; the other while there is something to send.
    pub(super) async fn carry_lane(
        &self,
        connection: &Connection,
        (lane, with_calls): (Lane, bool),
        mut queue: mpsc::Receiver<ClientMessage>,
    ) -> LinkError {
        let mut first = None;
        loop {
            if lane != Lane::Urgent && first.is_none() {
                first = queue.recv().await;
                if first.is_none() {
                    return std::future::pending().await;
                }
            }
            let line = match &self.calls {
                Some(calls) if with_calls => Line::open(calls, &self.lanes).await,
                _ => Line::closed(),
            };
            match self.serve_lane((connection, lane), first.take(), &mut queue, line).await {
                Ended::InPeace if lane != Lane::Urgent => {}
                Ended::InPeace | Ended::Lost => {
                    debug!(?lane, "lane lost");
                    while queue.try_recv().is_ok() {}
                    if self.engine.send(LinkInput::LaneLost(lane)).await.is_err() {
                        return std::future::pending().await;
                    }
                    tokio::time::sleep(AGAIN_AFTER.mul_f64(0.5 + self.environment.draw())).await;
                }
                Ended::Error(error) => return error,
                // Whoever carries the session's own stream says how it ended.
                Ended::Over => return std::future::pending().await,
            }
        }
    }

    async fn serve_lane(
        &self,
        (connection, lane): (&Connection, Lane),
        first: Option<ClientMessage>,
        queue: &mut mpsc::Receiver<ClientMessage>,
        mut line: Line<'_>,
    ) -> Ended {
        let Ok((mut sender, mut receiver)) = connection.open_lane(lane).await else { return Ended::Lost };
        let send = async {
            if let Some(first) = first
                && sender.send(&first).await.is_err()
            {
                return Ended::Lost;
            }
            let mut is_tail_due = false;
            loop {
                let next = match lane {
                    Lane::Urgent if is_tail_due => {
                        match tokio::time::timeout(TAIL_AFTER, next_urgent(queue, &mut line.said)).await {
                            Ok(next) => next,
                            Err(_) => Some(ClientMessage::Tail),
                        }
                    }
                    Lane::Urgent => next_urgent(queue, &mut line.said).await,
                    _ => match tokio::time::timeout(LINGER, queue.recv()).await {
                        Ok(next) => next,
                        Err(_) => return Ended::InPeace,
                    },
                };
                let Some(next) = next else { return Ended::Over };
                is_tail_due = next != ClientMessage::Tail;
                if sender.send(&next).await.is_err() {
                    return Ended::Lost;
                }
            }
        };
        tokio::select! {
            biased;
            ended = self.receive_lane(&mut receiver, line.told) => return ended,
            ended = send => match ended {
                Ended::InPeace => {}
                ended => return ended,
            },
        }
        // The gateway still answers what it has taken, and then lets go as well.
        drop(sender);
        self.receive_lane(&mut receiver, line.told).await
    }

    /// Ends in peace when the gateway has let go.
    async fn receive_lane(&self, receiver: &mut Receiver, line: Option<(&mpsc::Sender<CallInput>, u64)>) -> Ended {
        loop {
            match receiver.next_message().await {
                Ok(Some(ServerMessage::Told(told))) => {
                    let Some((calls, lane)) = line else { continue };
                    if calls.send(CallInput::Told { lane, told }).await.is_err() {
                        return Ended::Over;
                    }
                }
                Ok(Some(message)) => {
                    if self.engine.send(LinkInput::Aside(message)).await.is_err() {
                        return Ended::Over;
                    }
                }
                Ok(None) => return Ended::InPeace,
                Err(ReceiveError::Gone) => return Ended::Lost,
                Err(ReceiveError::Decode(error)) => return Ended::Error(error.into()),
            }
        }
    }
}

/// The calls of an urgent lane, for as long as it is open.
struct Line<'c> {
    /// Where it is told.
    told: Option<(&'c mpsc::Sender<CallInput>, u64)>,
    said: Option<mpsc::Receiver<Say>>,
}

impl<'c> Line<'c> {
    async fn open(calls: &'c mpsc::Sender<CallInput>, lanes: &AtomicU64) -> Self {
        let (say, said) = mpsc::channel(calls::SAID);
        let lane = lanes.fetch_add(1, Ordering::Relaxed);
        match calls.send(CallInput::Up { lane, say }).await {
            Ok(()) => Self { told: Some((calls, lane)), said: Some(said) },
            Err(_) => Self::closed(),
        }
    }

    fn closed() -> Self {
        Self { told: None, said: None }
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let Some((calls, lane)) = self.told else { return };
        if let Err(mpsc::error::TrySendError::Full(input)) = calls.try_send(CallInput::Down { lane }) {
            // Rather late than never.
            let calls = calls.clone();
            tokio::spawn(async move { drop(calls.send(input).await) });
        }
    }
}

/// Calls first: what is said of them is small, and pushes wait for commits anyway.
async fn next_urgent(
    queue: &mut mpsc::Receiver<ClientMessage>,
    said: &mut Option<mpsc::Receiver<Say>>,
) -> Option<ClientMessage> {
    let Some(said) = said else { return queue.recv().await };
    tokio::select! {
        biased;
        Some(say) = said.recv() => Some(ClientMessage::Say(say)),
        next = queue.recv() => next,
    }
}

/// Messages that wait for each lane; the engine sends no more until there is room.
const QUEUE: usize = 64;
/// How long a lane with nothing to send stays.
const LINGER: Duration = Duration::from_secs(10);
/// Between two tries for a lane that was lost.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

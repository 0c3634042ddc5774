//! The gateway's side of a call: a session or a fetch puts frames in, HTTP/2 takes them out.
//!
//! One frame waits at most; whoever has the next one waits with it.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use feldakte_core::limits;
use feldakte_proto::{
    Close, CloseCode,
    grpc::{Frame, status_of},
};
use tokio::sync::{mpsc, watch};
use tonic::{Status, codegen::tokio_stream::Stream};

use super::{End, gauge::Gauge};
use crate::transport::SendError;

/// Where frames are put in.
#[derive(Debug)]
pub struct Sender {
    frames: mpsc::Sender<Frame>,
    verdict: Arc<OnceLock<CloseCode>>,
    gauge: Arc<Gauge>,
    /// What goes beside it on its connection does not hold it up.
    is_aside: bool,
}

/// Where they are taken out: the stream of a response.
pub struct Outgoing {
    frames: mpsc::Receiver<Frame>,
    verdict: Arc<OnceLock<CloseCode>>,
    session_end: Pin<Box<dyn Future<Output = End> + Send>>,
    first: Option<Frame>,
    is_over: bool,
    tells_end: Option<TellsEnd>,
}

/// Ends the session when the device has given up its call.
pub struct TellsEnd(pub watch::Sender<Option<End>>);

/// Both ends of a call on the connection that `gauge` counts, which ends with its session at the latest.
pub fn call(
    gauge: Arc<Gauge>,
    mut end: watch::Receiver<Option<End>>,
    tells_end: Option<TellsEnd>,
) -> (Sender, Outgoing) {
    let (frames, queue) = mpsc::channel(1);
    let verdict = Arc::<OnceLock<CloseCode>>::default();
    let session_end = Box::pin(async move {
        // Whoever would tell is gone, and with it the session.
        end.wait_for(Option::is_some).await.ok().and_then(|end| *end).unwrap_or(End::Gone)
    });
    let sender = Sender { frames, verdict: verdict.clone(), gauge, is_aside: false };
    (sender, Outgoing { frames: queue, verdict, session_end, first: None, is_over: false, tells_end })
}

/// The same for datagrams of live vitals: so many frames may wait, and nobody is told when they have gone.
pub fn live(
    gauge: Arc<Gauge>,
    end: watch::Receiver<Option<End>>,
    frames_max: usize,
) -> (mpsc::Sender<Frame>, Outgoing) {
    let (frames, queue) = mpsc::channel(frames_max);
    let (Sender { verdict, .. }, outgoing) = call(gauge, end, None);
    // When the session puts in no more, the call ends in peace.
    let _ = verdict.set(CloseCode::Done);
    (frames, Outgoing { frames: queue, ..outgoing })
}

impl Sender {
    /// Of a lane beside the session's.
    pub(super) fn aside(self) -> Self {
        Self { is_aside: true, ..self }
    }

    /// Returns when HTTP/2 has given it to TLS: what waits above is what a session has not decided to send. Beside
    /// another call nobody can tell, and it returns when there is room for the next one.
    pub(crate) async fn send(&mut self, frame: Bytes) -> Result<(), SendError> {
        let frame = Frame::of(&frame);
        let room = tokio::time::timeout(limits::WRITE_STALL_MAX, self.frames.reserve()).await;
        let room = room.map_err(|_| SendError::Stalled)?.map_err(|_| SendError::Gone)?;
        let handed_over = self.gauge.hand_over((PREFIX_LEN + frame.0.len()) as u64);
        room.send(frame);
        if self.is_aside {
            return Ok(());
        }
        tokio::select! {
            biased;
            carried = self.gauge.until_carried(handed_over, limits::WRITE_STALL_MAX) => {
                carried.map_err(|_| SendError::Stalled)
            }
            () = self.frames.closed() => Err(SendError::Gone),
        }
    }

    pub(crate) fn finish(self) {
        self.reset(CloseCode::Done);
    }

    pub(crate) fn reset(self, code: CloseCode) {
        // Both take the sender, so that nobody has decided before.
        let _ = self.verdict.set(code);
    }
}

impl Outgoing {
    /// Waits for the first frame, so that a call which comes to nothing is answered by its status alone.
    ///
    /// # Errors
    /// That status.
    pub async fn begun(mut self) -> Result<Self, Status> {
        match std::future::poll_fn(|cx| self.poll_frame(cx)).await {
            Some(Ok(frame)) => self.first = Some(frame),
            Some(Err(status)) => return Err(status),
            None => {}
        }
        Ok(self)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        // First: what waits may not be sent any more.
        if let Poll::Ready(end) = self.session_end.as_mut().poll(cx) {
            self.is_over = true;
            return Poll::Ready(match end {
                End::Closed(close) => over(close),
                End::Gone => over(CloseCode::Done.into()),
            });
        }
        if let Some(frame) = ready!(self.frames.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(frame)));
        }
        let verdict = self.verdict.get().copied();
        if verdict.is_none() && self.tells_end.is_some() {
            // A session that puts in no more says at its end why.
            return Poll::Pending;
        }
        self.is_over = true;
        // Merely dropped is not the end of what was to be sent.
        Poll::Ready(over(verdict.unwrap_or(CloseCode::StoreUnavailable).into()))
    }
}

fn over(close: Close) -> Option<Result<Frame, Status>> {
    (close.code != CloseCode::Done).then(|| Err(status_of(close)))
}

impl Stream for Outgoing {
    type Item = Result<Frame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.first.take() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => self.poll_frame(cx),
        }
    }
}

impl Drop for TellsEnd {
    fn drop(&mut self) {
        End::Gone.tell(&self.0);
    }
}

/// Before each message: whether it is compressed, and its length.
pub(super) const PREFIX_LEN: usize = 5;

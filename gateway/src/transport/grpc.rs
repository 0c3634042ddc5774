//! A device's session over gRPC: a call on one TCP connection, its urgent lane beside it, and on another connection its
//! background and calls for its snapshots.
//!
//! The second connection is bound to the session by the name that the session's answer carried and by the same device
//! certificate: see [`Connection::is_of`].

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use feldakte_core::limits;
use feldakte_proto::{Close, DecodeError, FrameError, grpc::Frame};
use rustls_pki_types::CertificateDer;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use self::call::TellsEnd;
pub use self::{
    call::{Outgoing, Sender},
    data::Counted,
    gauge::{Gauge, GaugeMark},
    live::{LiveReceiver, LiveSender},
    socket::Socket,
};
use super::ReceiveError;

mod call;
mod data;
mod gauge;
mod live;
mod socket;

/// A TCP connection as a session sees it.
#[derive(Debug, Clone)]
pub struct Line {
    /// The certificate that its peer has shown, and those above it.
    pub chain: Arc<[CertificateDer<'static>]>,
    /// What goes out on it.
    pub gauge: Arc<Gauge>,
    /// Ends it at once.
    pub cut: CancellationToken,
}

/// A session.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    line: Line,
    end: watch::Sender<Option<End>>,
    begun: Mutex<Option<(Sender, Receiver)>>,
    lanes: Mutex<Lanes>,
    lane_called: Notify,
    /// A stream for live vitals that the session has not taken yet; the newest.
    live: Mutex<Option<Box<(LiveSender, LiveReceiver)>>>,
    live_called: Notify,
    fetches: AtomicU64,
    bulk: Mutex<Bulk>,
    bulk_called: Notify,
}

/// Lanes that the device has called for, and the session has not taken yet.
#[derive(Debug, Default)]
struct Lanes(VecDeque<(Sender, Receiver)>);

/// Where snapshots go.
#[derive(Debug, Default)]
struct Bulk {
    /// Calls that wait for their fetch.
    calls: BTreeMap<u64, Sender>,
    /// The last fetch that was called for.
    last: u64,
    /// The connection that calls come from, and how many there were.
    line: Option<Line>,
    number: u64,
}

/// Whether the device has called for a fetch.
enum Called {
    For(Sender),
    /// It has given this one up.
    Beyond,
    NotYet,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By us.
    Closed(Close),
    /// By the device or the network.
    Gone,
}

/// A fetch that will be answered.
#[derive(Debug)]
pub struct Reserved {
    session: Arc<Inner>,
    fetch: u64,
}

/// What had been handed over on both connections.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    session: GaugeMark,
    bulk: GaugeMark,
    bulk_number: u64,
}

/// Messages of the device.
#[derive(Debug)]
pub struct Receiver {
    // On the heap: a session over QUIC would have to carry its room.
    stream: Box<Streaming<Frame>>,
    len_max: usize,
}

/// A call for bulk that is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAnswered {
    /// Its fetch has been answered or given up, or it has been called for already.
    Passed,
    /// Too many of them wait.
    TooMany,
}

impl End {
    /// The first one counts.
    pub fn tell(self, end: &watch::Sender<Option<End>>) {
        end.send_if_modified(|end| {
            let is_first = end.is_none();
            *end = end.or(Some(self));
            is_first
        });
    }
}

impl Connection {
    /// Begins with a call; what it returns is the response to it.
    pub fn begin(line: Line, messages: Streaming<Frame>) -> (Self, Outgoing) {
        let (end, ended) = watch::channel(None);
        let (sender, outgoing) = call::call(line.gauge.clone(), ended, Some(TellsEnd(end.clone())));
        let (begun, fetches, bulk) =
            (Mutex::new(Some((sender, Receiver::new(messages)))), AtomicU64::new(0), Mutex::default());
        let (lanes, lane_called, bulk_called) = (Mutex::default(), Notify::new(), Notify::new());
        let (live, live_called) = (Mutex::default(), Notify::new());
        let inner = Inner { line, end, begun, lanes, lane_called, live, live_called, fetches, bulk, bulk_called };
        (Self(Arc::new(inner)), outgoing)
    }

    /// Tells of its end.
    pub fn ended(&self) -> watch::Receiver<Option<End>> {
        self.0.end.subscribe()
    }

    /// Whether `line` is of the same device, by the same certificate.
    pub fn is_of(&self, line: &Line) -> bool {
        line.chain.first().is_some_and(|leaf| self.0.line.chain.first() == Some(leaf))
    }

    /// Answers the session's fetch of that number by a call on `line`; what it returns is the response.
    ///
    /// # Errors
    /// When nothing is to be had.
    pub fn answer(&self, line: &Line, fetch: u64) -> Result<Outgoing, NotAnswered> {
        let mut bulk = self.0.bulk();
        if fetch <= bulk.last {
            return Err(NotAnswered::Passed);
        }
        if bulk.calls.len() >= CALLS_MAX {
            return Err(NotAnswered::TooMany);
        }
        bulk.come_from(line);
        let (sender, outgoing) = call::call(line.gauge.clone(), self.ended(), None);
        bulk.calls.insert(fetch, sender);
        bulk.last = fetch;
        drop(bulk);
        self.0.bulk_called.notify_waiters();
        Ok(outgoing)
    }

    /// Whether `line` carries the session itself.
    pub fn is_on(&self, line: &Line) -> bool {
        Arc::ptr_eq(&self.0.line.gauge, &line.gauge)
    }

    /// Takes a call on `line` as a lane of the session; what it returns is the response.
    ///
    /// # Errors
    /// When too many of them wait.
    pub fn enter(&self, line: &Line, messages: Streaming<Frame>) -> Result<Outgoing, NotAnswered> {
        let mut lanes = self.0.lanes();
        if lanes.0.len() >= LANES_MAX {
            return Err(NotAnswered::TooMany);
        }
        match self.is_on(line) {
            true => line.gauge.share(),
            false => self.0.bulk().come_from(line),
        }
        let (sender, outgoing) = call::call(line.gauge.clone(), self.ended(), None);
        lanes.0.push_back((sender.aside(), Receiver::new(messages)));
        drop(lanes);
        self.0.lane_called.notify_one();
        Ok(outgoing)
    }

    /// Takes a call on the session's own line for its live vitals; what it returns is the response.
    pub fn enter_live(&self, messages: Streaming<Frame>) -> Outgoing {
        self.0.line.gauge.share();
        let (sender, receiver, outgoing) = live::open(&self.0.line.gauge, self.ended(), messages);
        *self.0.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new((sender, receiver)));
        self.0.live_called.notify_one();
        outgoing
    }

    pub(super) async fn accept_live(&self) -> (LiveSender, LiveReceiver) {
        loop {
            let called = self.0.live.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(live) = called {
                return *live;
            }
            self.0.live_called.notified().await;
        }
    }

    pub(super) async fn accept_lane(&self) -> Option<(Sender, Receiver)> {
        loop {
            if let Some(lane) = self.0.lanes().0.pop_front() {
                return Some(lane);
            }
            self.0.lane_called.notified().await;
        }
    }

    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.line.chain
    }

    pub(super) async fn accept_session(&self) -> Option<(Sender, Receiver)> {
        let begun = self.0.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        match begun {
            Some(begun) => Some(begun),
            // There is one session on a connection.
            None => {
                self.closed().await;
                None
            }
        }
    }

    pub(super) fn reserve_snapshots(&self) -> Reserved {
        let fetch = self.0.fetches.fetch_add(1, Ordering::Relaxed) + 1;
        Reserved { session: self.0.clone(), fetch }
    }

    pub(super) fn close(&self, close: Close) {
        End::Closed(close).tell(&self.0.end);
    }

    pub(super) async fn closed(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.ended().wait_for(Option::is_some).await;
    }

    pub(super) fn mark(&self) -> Mark {
        let bulk = self.0.bulk();
        let bulk_mark = bulk.line.as_ref().map(|line| line.gauge.mark()).unwrap_or_default();
        Mark { session: self.0.line.gauge.mark(), bulk: bulk_mark, bulk_number: bulk.number }
    }

    pub(super) fn has_left(&self, Mark { session, bulk: bulk_mark, bulk_number }: Mark) -> bool {
        let bulk = self.0.bulk();
        // A connection that was replaced is cut: nothing leaves on it any more.
        let is_cut = bulk.number != bulk_number;
        let bulk_has_left = bulk.line.as_ref().is_none_or(|line| line.gauge.has_left(bulk_mark));
        self.0.line.gauge.has_left(session) && (is_cut || bulk_has_left)
    }
}

impl Inner {
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bulk(&self) -> MutexGuard<'_, Bulk> {
        self.bulk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bulk {
    /// Calls come from this connection; the one before, if it was another, is cut.
    fn come_from(&mut self, line: &Line) {
        if self.line.as_ref().is_some_and(|last| Arc::ptr_eq(&last.gauge, &line.gauge)) {
            return;
        }
        self.number += 1;
        if let Some(last) = self.line.replace(line.clone()) {
            last.cut.cancel();
        }
        // Answers to several fetches and a lane go side by side.
        line.gauge.share();
    }

    fn call_for(&mut self, fetch: u64) -> Called {
        match self.calls.remove(&fetch) {
            Some(sender) => Called::For(sender),
            None if self.last >= fetch => Called::Beyond,
            None => Called::NotYet,
        }
    }
}

impl Reserved {
    /// Waits until the device calls for it. `None` when it never will.
    pub(super) async fn open(self) -> Option<Sender> {
        let Self { session, fetch } = self;
        let connection = Connection(session.clone());
        let called = async {
            loop {
                let called = session.bulk_called.notified();
                let call = session.bulk().call_for(fetch);
                match call {
                    Called::For(sender) => return Some(sender),
                    Called::Beyond => return None,
                    Called::NotYet => called.await,
                }
            }
        };
        tokio::select! {
            called = called => called,
            () = connection.closed() => None,
        }
    }
}

impl Receiver {
    /// What comes first has no more room than a hello.
    fn new(messages: Streaming<Frame>) -> Self {
        Self { stream: Box::new(messages), len_max: limits::HELLO_LEN_MAX }
    }

    pub(super) fn set_len_max(&mut self, len_max: usize) {
        self.len_max = len_max;
    }

    pub(super) async fn next_frame(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        let Some(Frame(content)) = self.stream.message().await.map_err(|status| judge(&status))? else {
            return Ok(None);
        };
        let (len, max) = (content.len(), self.len_max);
        match len {
            0 => Err(DecodeError::from(FrameError::Empty).into()),
            _ if len > max => Err(DecodeError::from(FrameError::TooLarge { len, max }).into()),
            _ => Ok(Some(content)),
        }
    }
}

/// What ended the device's messages. All but the first two come from the connection's end.
fn judge(status: &Status) -> ReceiveError {
    match status.code() {
        Code::OutOfRange => {
            let max = limits::FRAME_LEN_MAX;
            DecodeError::from(FrameError::TooLarge { len: max + 1, max }).into()
        }
        // Not a gRPC message, or the rest of one is missing.
        Code::Internal | Code::Unimplemented => ReceiveError::Truncated,
        _ => ReceiveError::Gone,
    }
}

/// Lanes beside the session's that wait to be taken.
const LANES_MAX: usize = 2;
/// As many as a session may have fetches under way.
const CALLS_MAX: usize = 4;

//! Frames over a QUIC stream: the thin shell between quinn and the sans-IO codec.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use feldakte_core::{ids::Position, limits};
use feldakte_proto::{CloseCode, DecodeError, FrameDecoder};
use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt};

/// Reads frames off a stream.
#[derive(Debug)]
pub struct FrameReader {
    stream: RecvStream,
    decoder: FrameDecoder,
}

/// The stream gave no frame.
#[derive(Debug, thiserror::Error)]
pub enum ReadFrameError {
    /// What came is not a frame we take.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
    /// The connection or stream failed.
    #[error(transparent)]
    Stream(#[from] ReadError),
}

impl FrameReader {
    /// Refuses frames of more than `len_max` bytes.
    pub fn new(stream: RecvStream, len_max: usize) -> Self {
        Self { stream, decoder: FrameDecoder::new(len_max) }
    }

    /// Changes the limit, once the peer is known.
    pub fn set_len_max(&mut self, len_max: usize) {
        self.decoder.set_len_max(len_max);
    }

    /// The next frame; `None` when the peer has finished the stream. Cancel-safe.
    ///
    /// # Errors
    /// When the stream fails, ends inside a frame, or announces too much.
    pub async fn next_frame(&mut self) -> Result<Option<Bytes>, ReadFrameError> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(DecodeError::from)? {
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(READ_AT_ONCE, true).await? {
                Some(chunk) => self.decoder.extend(&chunk.bytes),
                None if self.decoder.is_mid_frame() => return Err(ReadFrameError::Truncated),
                None => return Ok(None),
            }
        }
    }
}

/// A connection's way out. Knows what was handed to the transport and when, so that it can be told whether what was
/// under way at some moment has left.
#[derive(Debug)]
pub struct Outlet {
    connection: Connection,
    state: Mutex<OutletState>,
}

#[derive(Debug, Default)]
struct OutletState {
    /// Bytes the transport has taken.
    handed_over: u64,
    frames_begun: u64,
    /// Frames the transport has not taken whole.
    open: BTreeSet<u64>,
    /// Entries up to here have been handed over.
    sent: Position,
}

/// What was under way when a grant ended at `position`.
#[derive(Debug, Clone, Copy)]
pub struct UnderWay {
    position: Position,
    handed_over: u64,
    frames_begun: u64,
}

impl Outlet {
    /// Of this connection.
    pub fn new(connection: Connection) -> Arc<Self> {
        Arc::new(Self { connection, state: Mutex::default() })
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Sends one frame, header included.
    ///
    /// # Errors
    /// When the peer takes no byte for [`limits::WRITE_STALL_MAX`], or the stream fails. However slow a peer is, as
    /// long as it takes some it is served.
    pub async fn send_frame(&self, stream: &mut SendStream, frame: Bytes) -> Result<(), SendFrameError> {
        let number = self.state().begin();
        let sent = self.send_whole(stream, frame).await;
        self.state().open.remove(&number);
        sent
    }

    async fn send_whole(&self, stream: &mut SendStream, frame: Bytes) -> Result<(), SendFrameError> {
        let mut rest = [frame];
        while !rest[0].is_empty() {
            match tokio::time::timeout(limits::WRITE_STALL_MAX, stream.write_chunks(&mut rest)).await {
                Ok(written) => self.state().handed_over += written?.bytes as u64,
                Err(_) => return Err(SendFrameError::Stalled),
            }
        }
        Ok(())
    }

    /// Every entry up to here that the device may see has been handed over.
    pub fn passed(&self, position: Position) {
        let mut state = self.state();
        state.sent = state.sent.max(position);
    }

    /// What is under way at this moment, at which a grant ended.
    pub fn under_way(&self, position: Position) -> UnderWay {
        let OutletState { handed_over, frames_begun, .. } = *self.state();
        UnderWay { position, handed_over, frames_begun }
    }

    /// Whether all of that has gone out on the network, and what waited before it. What is sent twice counts twice, so
    /// that a lossy path may seem to have taken a little more than it has.
    pub fn has_left(&self, UnderWay { position, handed_over, frames_begun }: UnderWay) -> bool {
        let state = self.state();
        let is_taken = state.open.first().is_none_or(|frame| *frame >= frames_begun) && state.sent >= position;
        is_taken && self.connection.stats().udp_tx.bytes >= handed_over
    }

    fn state(&self) -> MutexGuard<'_, OutletState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutletState {
    fn begin(&mut self) -> u64 {
        let number = self.frames_begun;
        self.frames_begun += 1;
        self.open.insert(number);
        number
    }
}

/// A frame could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendFrameError {
    /// The peer takes no bytes.
    #[error("the peer takes no bytes")]
    Stalled,
    /// The connection or stream failed.
    #[error(transparent)]
    Stream(#[from] quinn::WriteError),
}

/// Closes a connection with a code the device understands.
pub fn close(connection: &Connection, code: CloseCode) {
    connection.close(VarInt::from_u32(code as u32), b"");
}

/// Bytes taken from the transport at once.
const READ_AT_ONCE: usize = 64 << 10;

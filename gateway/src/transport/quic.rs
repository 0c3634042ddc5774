//! A device's connection over QUIC: the session is its first bidirectional stream, other lanes are the next ones, snapshots
//! come on unidirectional ones.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use feldakte_core::{lane::Lane, limits, live};
use feldakte_proto::{Close, CloseCode, DecodeError, FrameDecoder};
use quinn::{RecvStream, SendStream, VarInt};
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;

use super::{ReceiveError, SendError};

#[derive(Debug, Clone)]
pub(super) struct Connection {
    quic: quinn::Connection,
    chain: Arc<[CertificateDer<'static>]>,
    /// Bytes that the transport has taken, over all streams and in datagrams.
    handed_over: Arc<AtomicU64>,
}

pub(super) struct Receiver {
    stream: RecvStream,
    decoder: FrameDecoder,
}

pub(super) struct LiveSender {
    quic: quinn::Connection,
    handed_over: Arc<AtomicU64>,
    /// Nothing is sent before.
    next_at: Instant,
}

pub(super) struct LiveReceiver(quinn::Connection);

pub(super) struct Sender {
    stream: SendStream,
    handed_over: Arc<AtomicU64>,
}

impl Connection {
    pub(super) fn new(quic: quinn::Connection) -> Self {
        let chain = quic.peer_identity().and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
        let chain = chain.map(|chain| chain.as_slice().into()).unwrap_or_default();
        Self { quic, chain, handed_over: Arc::default() }
    }

    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(super) async fn accept_stream(&self) -> Option<(Sender, Receiver)> {
        let (out, stream) = self.quic.accept_bi().await.ok()?;
        Some((self.sender(out), Receiver { stream, decoder: FrameDecoder::new(limits::HELLO_LEN_MAX) }))
    }

    pub(super) async fn open_snapshots(&self) -> Option<Sender> {
        let stream = self.quic.open_uni().await.ok()?;
        let sender = self.sender(stream);
        sender.set_lane(Lane::Snapshots);
        Some(sender)
    }

    /// Datagrams need nothing opened.
    pub(super) fn live(&self) -> (LiveSender, LiveReceiver) {
        let (quic, handed_over) = (self.quic.clone(), self.handed_over.clone());
        (LiveSender { quic, handed_over, next_at: Instant::now() }, LiveReceiver(self.quic.clone()))
    }

    fn sender(&self, stream: SendStream) -> Sender {
        Sender { stream, handed_over: self.handed_over.clone() }
    }

    pub(super) fn close(&self, close: Close) {
        self.quic.close(number(close.code), close.reason().as_bytes());
    }

    pub(super) async fn closed(&self) {
        self.quic.closed().await;
    }

    pub(super) fn handed_over(&self) -> u64 {
        self.handed_over.load(Ordering::Relaxed)
    }

    /// What is sent twice counts twice, so that a lossy path may seem to have taken a little more than it has.
    pub(super) fn has_left(&self, handed_over: u64) -> bool {
        self.quic.stats().udp_tx.bytes >= handed_over
    }
}

impl LiveSender {
    pub(super) async fn ready(&mut self) -> Result<(), SendError> {
        tokio::time::sleep_until(self.next_at).await;
        // Nobody tells when there is room again; a path that is dead is looked at no more than fifty times a second.
        while self.quic.datagram_send_buffer_space() < limits::LIVE_PACKET_LEN_MAX {
            tokio::time::sleep((self.quic.rtt() / 4).clamp(LOOK_AGAIN_MIN, LOOK_AGAIN_MAX)).await;
        }
        Ok(())
    }

    /// The transport drops its oldest for it. What it cannot send (a path that takes less, a device that takes none) is lost.
    pub(super) fn send(&mut self, datagram: Bytes) {
        let len = datagram.len();
        if self.quic.send_datagram(datagram).is_ok() {
            self.handed_over.fetch_add(len as u64, Ordering::Relaxed);
            let window = self.quic.stats().path.cwnd;
            self.next_at = Instant::now() + live::pace::pause(len, window, self.quic.rtt());
        }
    }
}

impl LiveReceiver {
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        self.0.read_datagram().await.map(Some).map_err(|_| ReceiveError::Gone)
    }
}

impl Receiver {
    pub(super) fn set_len_max(&mut self, len_max: usize) {
        self.decoder.set_len_max(len_max);
    }

    pub(super) async fn next_frame(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(DecodeError::from)? {
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(READ_AT_ONCE, true).await.map_err(|_| ReceiveError::Gone)? {
                Some(chunk) => self.decoder.extend(&chunk.bytes),
                None if self.decoder.is_mid_frame() => return Err(ReceiveError::Truncated),
                None => return Ok(None),
            }
        }
    }
}

impl Sender {
    pub(super) async fn send(&mut self, frame: Bytes) -> Result<(), SendError> {
        let mut rest = [frame];
        while !rest[0].is_empty() {
            match tokio::time::timeout(limits::WRITE_STALL_MAX, self.stream.write_chunks(&mut rest)).await {
                Ok(Ok(written)) => self.handed_over.fetch_add(written.bytes as u64, Ordering::Relaxed),
                Ok(Err(_)) => return Err(SendError::Gone),
                Err(_) => return Err(SendError::Stalled),
            };
        }
        Ok(())
    }

    pub(super) fn set_lane(&self, lane: Lane) {
        // Fails only when the connection is gone, which the next write tells.
        let _ = self.stream.set_priority(lane.priority());
    }

    /// A connection that is gone already needs no end.
    pub(super) fn finish(mut self) {
        let _ = self.stream.finish();
    }

    /// A stream that is merely dropped ends as if all had been sent.
    pub(super) fn reset(mut self, code: CloseCode) {
        let _ = self.stream.reset(number(code));
    }
}

fn number(code: CloseCode) -> VarInt {
    VarInt::from_u32(code as u32)
}

/// A datagram of 1,200 bytes at 10 Mbit/s.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(1);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(20);
/// Bytes taken from the transport at once.
const READ_AT_ONCE: usize = 64 << 10;

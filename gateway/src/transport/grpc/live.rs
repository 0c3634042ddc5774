//! Live vitals over gRPC: a call of its own, on which old datagrams wait nowhere. Each side says of every datagram that it has
//! taken it, and has only so many under way; whatever comes beyond that stays with the one who decides what is newest.

use std::sync::Arc;

use bytes::Bytes;
use feldakte_core::limits;
use feldakte_proto::grpc::{Frame, LIVE_UNDER_WAY_MAX};
use tokio::sync::{Semaphore, mpsc, watch};
use tonic::Streaming;

use super::{
    End,
    call::{self, Outgoing},
    gauge::Gauge,
};
use crate::transport::{ReceiveError, SendError};

/// Datagrams to the device.
#[derive(Debug)]
pub struct LiveSender {
    out: Out,
    /// As many as may be sent before the device says more.
    room: Arc<Semaphore>,
}

/// Datagrams from the device.
#[derive(Debug)]
pub struct LiveReceiver {
    // On the heap: a session over QUIC would have to carry its room.
    messages: Box<Streaming<Frame>>,
    out: Out,
    room: Arc<Semaphore>,
}

/// Frames to the device, counted as what goes on its connection is.
#[derive(Debug, Clone)]
struct Out {
    frames: mpsc::Sender<Frame>,
    gauge: Arc<Gauge>,
}

impl Out {
    /// Whether there was room.
    fn put(&self, frame: Frame) -> bool {
        let Ok(room) = self.frames.try_reserve() else { return false };
        self.gauge.hand_over((call::PREFIX_LEN + frame.0.len()) as u64);
        room.send(frame);
        true
    }
}

/// Both of them, and the response of the call that carries them.
pub(super) fn open(
    gauge: &Arc<Gauge>,
    end: watch::Receiver<Option<End>>,
    messages: Streaming<Frame>,
) -> (LiveSender, LiveReceiver, Outgoing) {
    let (frames, outgoing) = call::live(gauge.clone(), end, 2 * LIVE_UNDER_WAY_MAX);
    let room = Arc::new(Semaphore::new(LIVE_UNDER_WAY_MAX));
    let out = Out { frames, gauge: gauge.clone() };
    let sender = LiveSender { out: out.clone(), room: room.clone() };
    (sender, LiveReceiver { messages: Box::new(messages), out, room }, outgoing)
}

impl LiveSender {
    pub(in crate::transport) async fn ready(&mut self) -> Result<(), SendError> {
        tokio::select! {
            // It is not taken here: who sends does.
            room = self.room.acquire() => room.map(drop).map_err(|_| SendError::Gone),
            () = self.out.frames.closed() => Err(SendError::Gone),
        }
    }

    pub(in crate::transport) fn send(&mut self, datagram: Bytes) {
        if let Ok(room) = self.room.try_acquire()
            && self.out.put(Frame(datagram))
        {
            room.forget();
        }
    }
}

impl LiveReceiver {
    pub(in crate::transport) async fn next(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        loop {
            // However it ends, the session's own stream says how that does.
            let Ok(Some(frame)) = self.messages.message().await else { return Ok(None) };
            if frame.is_taken() {
                if self.room.available_permits() < LIVE_UNDER_WAY_MAX {
                    self.room.add_permits(1);
                }
                continue;
            }
            // A device that reads none of it gets no further.
            let _ = self.out.put(Frame::taken());
            if frame.0.len() <= limits::LIVE_PACKET_LEN_MAX {
                return Ok(Some(frame.0));
            }
        }
    }
}

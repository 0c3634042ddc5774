//! Live vitals over gRPC: a call of its own, on which old datagrams wait nowhere. Each side says of every datagram that it has
//! taken it, and has only so many under way; whatever comes beyond that stays with the one who decides what is newest.

use std::sync::Arc;

use bytes::Bytes;
use feldakte_core::limits;
use feldakte_proto::grpc::{Frame, LIVE_UNDER_WAY_MAX, SessionName};
use tokio::sync::{Semaphore, mpsc};
use tonic::{Request, Streaming};

use super::{Gone, Line, Messages};

/// Datagrams to the gateway.
pub(in crate::transport) struct LiveSender {
    frames: mpsc::Sender<Frame>,
    /// As many as may be sent before the gateway says more.
    room: Arc<Semaphore>,
}

/// Datagrams from the gateway.
pub(in crate::transport) struct LiveReceiver {
    messages: Streaming<Frame>,
    frames: mpsc::Sender<Frame>,
    room: Arc<Semaphore>,
}

/// Calls for both of them.
pub(super) async fn open(line: &Line, session: &SessionName) -> Result<(LiveSender, LiveReceiver), Gone> {
    let (frames, queue) = mpsc::channel(2 * LIVE_UNDER_WAY_MAX);
    let mut request = Request::new(Messages(queue));
    session.write(request.metadata_mut());
    let mut client = line.client().max_decoding_message_size(limits::LIVE_PACKET_LEN_MAX);
    let messages = client.live(request).await.map_err(|_| Gone)?.into_inner();
    let room = Arc::new(Semaphore::new(LIVE_UNDER_WAY_MAX));
    let sender = LiveSender { frames: frames.clone(), room: room.clone() };
    Ok((sender, LiveReceiver { messages, frames, room }))
}

impl LiveSender {
    pub(in crate::transport) async fn ready(&mut self) -> Result<(), Gone> {
        tokio::select! {
            // It is not taken here: who sends does.
            room = self.room.acquire() => room.map(drop).map_err(|_| Gone),
            () = self.frames.closed() => Err(Gone),
        }
    }

    pub(in crate::transport) fn send(&mut self, datagram: Bytes) {
        if let Ok(room) = self.room.try_acquire()
            && self.frames.try_send(Frame(datagram)).is_ok()
        {
            room.forget();
        }
    }
}

impl LiveReceiver {
    pub(in crate::transport) async fn next(&mut self) -> Result<Bytes, Gone> {
        loop {
            let Ok(Some(frame)) = self.messages.message().await else { return Err(Gone) };
            if frame.is_taken() {
                if self.room.available_permits() < LIVE_UNDER_WAY_MAX {
                    self.room.add_permits(1);
                }
                continue;
            }
            // A gateway that reads none of it gets no further.
            let _ = self.frames.try_send(Frame::taken());
            return Ok(frame.0);
        }
    }
}

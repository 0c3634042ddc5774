//! Datagrams of live vitals, whatever carries them.

use bytes::Bytes;

use super::{ReceiveError, SendError, grpc, quic};

/// Datagrams of live vitals to the device.
pub struct LiveSender(pub(super) LiveOut);

pub(super) enum LiveOut {
    Quic(quic::LiveSender),
    Grpc(grpc::LiveSender),
}

/// Datagrams of live vitals from the device.
pub struct LiveReceiver(pub(super) LiveIn);

pub(super) enum LiveIn {
    Quic(quic::LiveReceiver),
    Grpc(grpc::LiveReceiver),
}

impl LiveSender {
    /// Waits until the path has room for one: what comes meanwhile may be newer. Cancel-safe.
    ///
    /// # Errors
    /// When the connection is gone, or the device has let go.
    pub async fn ready(&mut self) -> Result<(), SendError> {
        match &mut self.0 {
            LiveOut::Quic(sender) => sender.ready().await,
            LiveOut::Grpc(sender) => sender.ready().await,
        }
    }

    /// Sends one, which may be lost. Where there was no room for it, it or an older one is.
    pub fn send(&mut self, datagram: Bytes) {
        match &mut self.0 {
            LiveOut::Quic(sender) => sender.send(datagram),
            LiveOut::Grpc(sender) => sender.send(datagram),
        }
    }
}

impl LiveReceiver {
    /// The next one; `None` when the device has let go. Cancel-safe.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        match &mut self.0 {
            LiveIn::Quic(receiver) => receiver.next().await,
            LiveIn::Grpc(receiver) => Box::pin(receiver.next()).await,
        }
    }
}

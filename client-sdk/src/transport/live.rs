//! Datagrams of live vitals, whatever carries them.

use bytes::Bytes;

use super::{Gone, grpc, quic};

/// Datagrams of live vitals to the gateway.
pub struct LiveSender(pub(super) LiveOut);

pub(super) enum LiveOut {
    Quic(quic::LiveSender),
    Grpc(grpc::LiveSender),
}

/// Datagrams of live vitals from the gateway.
pub struct LiveReceiver(pub(super) LiveIn);

pub(super) enum LiveIn {
    Quic(quic::LiveReceiver),
    Grpc(Box<grpc::LiveReceiver>),
}

impl LiveSender {
    /// Waits until the path has room for one: what comes meanwhile may be newer. Cancel-safe.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn ready(&mut self) -> Result<(), Gone> {
        match &mut self.0 {
            LiveOut::Quic(sender) => sender.ready().await,
            LiveOut::Grpc(sender) => sender.ready().await,
        }
    }

    /// Sends one as soon as the transport takes it.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn push(&mut self, datagram: Bytes) -> Result<(), Gone> {
        match &mut self.0 {
            LiveOut::Quic(sender) => sender.push(datagram).await,
            LiveOut::Grpc(sender) => {
                sender.ready().await?;
                sender.send(datagram);
                Ok(())
            }
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
    /// The next one. Cancel-safe.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn next(&mut self) -> Result<Bytes, Gone> {
        match &mut self.0 {
            LiveIn::Quic(receiver) => receiver.next().await,
            LiveIn::Grpc(receiver) => receiver.next().await,
        }
    }
}

//! A device's connection as sessions see it: who is at the other end, messages in, messages and snapshots out, the end.
//!
//! What carries it is known below this file and by those who accept connections. Nothing else may tell transports apart.

use bytes::Bytes;
use feldakte_proto::{ClientMessage, CloseCode, DecodeError};
use rustls_pki_types::CertificateDer;

mod quic;

/// A connection whose peer has proved to hold a device's certificate. Cheap to clone: all clones are the same connection.
#[derive(Debug, Clone)]
pub struct Connection(Carrier);

#[derive(Debug, Clone)]
enum Carrier {
    Quic(quic::Connection),
}

/// Messages of the device.
pub struct Receiver(quic::Receiver);

/// A way to the device: the session's own, or one beside it for snapshots.
pub struct Sender(quic::Sender);

/// What was under way to the device at some moment.
#[derive(Debug, Clone, Copy)]
pub struct Mark(u64);

/// No message came.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// What came is not a message we take.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The device ended inside a message.
    #[error("the stream ended inside a frame")]
    Truncated,
    /// The connection is gone.
    #[error("the connection is gone")]
    Gone,
}

/// A frame could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The device takes no bytes.
    #[error("the device takes no bytes")]
    Stalled,
    /// The connection is gone.
    #[error("the connection is gone")]
    Gone,
}

impl Connection {
    /// Over QUIC.
    pub fn quic(connection: quinn::Connection) -> Self {
        Self(Carrier::Quic(quic::Connection::new(connection)))
    }

    /// The certificate that the device has shown, and those above it.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        let Carrier::Quic(connection) = &self.0;
        connection.chain()
    }

    /// The certificate that the device has proved to hold.
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.chain().first()
    }

    /// Waits for the device to begin the session.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn accept_session(&self) -> Result<(Sender, Receiver), ReceiveError> {
        let Carrier::Quic(connection) = &self.0;
        let (sender, receiver) = connection.accept_session().await.ok_or(ReceiveError::Gone)?;
        Ok((Sender(sender), Receiver(receiver)))
    }

    /// A new way to the device for snapshots, which nothing of the session waits for.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn open_snapshots(&self) -> Result<Sender, SendError> {
        let Carrier::Quic(connection) = &self.0;
        connection.open_snapshots().await.map(Sender).ok_or(SendError::Gone)
    }

    /// Ends it with a code that the device understands. What waits inside the transport is taken back.
    pub fn close(&self, code: CloseCode) {
        let Carrier::Quic(connection) = &self.0;
        connection.close(code);
    }

    /// Waits for its end, whoever brings it about.
    pub async fn closed(&self) {
        let Carrier::Quic(connection) = &self.0;
        connection.closed().await;
    }

    /// What has been handed over until now.
    pub fn mark(&self) -> Mark {
        let Carrier::Quic(connection) = &self.0;
        Mark(connection.handed_over())
    }

    /// Whether all of that has gone out on the network.
    pub fn has_left(&self, Mark(handed_over): Mark) -> bool {
        let Carrier::Quic(connection) = &self.0;
        connection.has_left(handed_over)
    }
}

impl Receiver {
    /// Refuses messages of more than `len_max` bytes from here on.
    pub fn set_len_max(&mut self, len_max: usize) {
        self.0.set_len_max(len_max);
    }

    /// The next message; `None` when the device has ended the session. Cancel-safe.
    ///
    /// # Errors
    /// When the connection is gone, or what came is no message that we take.
    pub async fn next_message(&mut self) -> Result<Option<ClientMessage>, ReceiveError> {
        match self.0.next_frame().await? {
            Some(frame) => Ok(Some(ClientMessage::decode(frame)?)),
            None => Ok(None),
        }
    }
}

impl Sender {
    /// Sends one frame, header included; returns when the transport has taken it.
    ///
    /// # Errors
    /// When the device takes no byte for [`feldakte_core::limits::WRITE_STALL_MAX`], or the connection is gone. However
    /// slow a device is, as long as it takes some it is served.
    pub async fn send(&mut self, frame: Bytes) -> Result<(), SendError> {
        self.0.send(frame).await
    }

    /// All has been sent.
    pub fn finish(self) {
        self.0.finish();
    }

    /// Not all will be sent: the device must not take what it has for the whole.
    pub fn reset(self, code: CloseCode) {
        self.0.reset(code);
    }
}

//! A device's connection as sessions see it: who is at the other end, messages in, messages and snapshots out, the end.
//!
//! What carries it is known below this file and by those who accept connections. Nothing else may tell transports apart.

use bytes::Bytes;
use feldakte_core::lane::Lane;
use feldakte_proto::{ClientMessage, Close, CloseCode, DecodeError};
use rustls_pki_types::CertificateDer;

pub mod grpc;
mod live;
mod quic;

use self::live::{LiveIn, LiveOut};
pub use self::live::{LiveReceiver, LiveSender};

/// A connection whose peer has proved to hold a device's certificate. Cheap to clone: all clones are the same connection.
#[derive(Debug, Clone)]
pub struct Connection(Carrier);

#[derive(Debug, Clone)]
enum Carrier {
    Quic(quic::Connection),
    Grpc(grpc::Connection),
}

/// Messages of the device.
pub struct Receiver(Incoming);

enum Incoming {
    Quic(quic::Receiver),
    Grpc(grpc::Receiver),
}

/// A way to the device: the session's own, or one beside it.
pub struct Sender(Outgoing);

enum Outgoing {
    Quic(quic::Sender),
    Grpc(grpc::Sender),
}

/// A way for snapshots that will be opened: ways come about in the order in which they were reserved.
pub struct Reserved(Beside);

enum Beside {
    Quic(quic::Connection),
    Grpc(grpc::Reserved),
}

/// What was under way to the device at some moment.
#[derive(Debug, Clone, Copy)]
pub struct Mark(HandedOver);

#[derive(Debug, Clone, Copy)]
enum HandedOver {
    Quic(u64),
    Grpc(grpc::Mark),
}

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

    /// Over gRPC.
    pub fn grpc(connection: grpc::Connection) -> Self {
        Self(Carrier::Grpc(connection))
    }

    /// The certificate that the device has shown, and those above it.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        match &self.0 {
            Carrier::Quic(connection) => connection.chain(),
            Carrier::Grpc(connection) => connection.chain(),
        }
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
        let accepted = match &self.0 {
            Carrier::Quic(connection) => {
                let accepted = connection.accept_stream().await;
                accepted.map(|(out, messages)| (Outgoing::Quic(out), Incoming::Quic(messages)))
            }
            Carrier::Grpc(connection) => {
                let accepted = connection.accept_session().await;
                accepted.map(|(out, messages)| (Outgoing::Grpc(out), Incoming::Grpc(messages)))
            }
        };
        accepted.map(|(out, messages)| (Sender(out), Receiver(messages))).ok_or(ReceiveError::Gone)
    }

    /// Waits for the device to open a stream beside the session's. What lane it is, it says first.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn accept_lane(&self) -> Result<(Sender, Receiver), ReceiveError> {
        let accepted = match &self.0 {
            Carrier::Quic(connection) => {
                let accepted = connection.accept_stream().await;
                accepted.map(|(out, messages)| (Outgoing::Quic(out), Incoming::Quic(messages)))
            }
            Carrier::Grpc(connection) => {
                let accepted = connection.accept_lane().await;
                accepted.map(|(out, messages)| (Outgoing::Grpc(out), Incoming::Grpc(messages)))
            }
        };
        accepted.map(|(out, messages)| (Sender(out), Receiver(messages))).ok_or(ReceiveError::Gone)
    }

    /// Waits until datagrams of live vitals can pass. Where they need a stream it is the device that opens one.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn accept_live(&self) -> Result<(LiveSender, LiveReceiver), ReceiveError> {
        match &self.0 {
            Carrier::Quic(connection) => {
                let (sender, receiver) = connection.live();
                Ok((LiveSender(LiveOut::Quic(sender)), LiveReceiver(LiveIn::Quic(receiver))))
            }
            Carrier::Grpc(connection) => {
                let (sender, receiver) = connection.accept_live().await;
                Ok((LiveSender(LiveOut::Grpc(sender)), LiveReceiver(LiveIn::Grpc(receiver))))
            }
        }
    }

    /// A new way to the device for snapshots, which nothing of the session waits for.
    pub fn reserve_snapshots(&self) -> Reserved {
        Reserved(match &self.0 {
            Carrier::Quic(connection) => Beside::Quic(connection.clone()),
            Carrier::Grpc(connection) => Beside::Grpc(connection.reserve_snapshots()),
        })
    }

    /// Ends it with a code that the device understands. What waits inside the transport is taken back.
    pub fn close(&self, close: impl Into<Close>) {
        match &self.0 {
            Carrier::Quic(connection) => connection.close(close.into()),
            Carrier::Grpc(connection) => connection.close(close.into()),
        }
    }

    /// Waits for its end, whoever brings it about.
    pub async fn closed(&self) {
        match &self.0 {
            Carrier::Quic(connection) => connection.closed().await,
            Carrier::Grpc(connection) => Box::pin(connection.closed()).await,
        }
    }

    /// What has been handed over until now.
    pub fn mark(&self) -> Mark {
        Mark(match &self.0 {
            Carrier::Quic(connection) => HandedOver::Quic(connection.handed_over()),
            Carrier::Grpc(connection) => HandedOver::Grpc(connection.mark()),
        })
    }

    /// Whether all of that has gone out on the network.
    pub fn has_left(&self, Mark(handed_over): Mark) -> bool {
        match (&self.0, handed_over) {
            (Carrier::Quic(connection), HandedOver::Quic(handed_over)) => connection.has_left(handed_over),
            (Carrier::Grpc(connection), HandedOver::Grpc(mark)) => connection.has_left(mark),
            // Of another connection: nothing is known of it.
            _ => false,
        }
    }
}

impl Reserved {
    /// Opens it.
    ///
    /// # Errors
    /// When the connection is gone, or the device wants it no more.
    pub async fn open(self) -> Result<Sender, SendError> {
        let sender = match self.0 {
            Beside::Quic(connection) => connection.open_snapshots().await.map(Outgoing::Quic),
            Beside::Grpc(reserved) => Box::pin(reserved.open()).await.map(Outgoing::Grpc),
        };
        sender.map(Sender).ok_or(SendError::Gone)
    }
}

impl Receiver {
    /// Refuses messages of more than `len_max` bytes from here on.
    pub fn set_len_max(&mut self, len_max: usize) {
        match &mut self.0 {
            Incoming::Quic(receiver) => receiver.set_len_max(len_max),
            Incoming::Grpc(receiver) => receiver.set_len_max(len_max),
        }
    }

    /// The next message; `None` when the device has ended the session. Cancel-safe.
    ///
    /// # Errors
    /// When the connection is gone, or what came is no message that we take.
    pub async fn next_message(&mut self) -> Result<Option<ClientMessage>, ReceiveError> {
        let frame = match &mut self.0 {
            Incoming::Quic(receiver) => receiver.next_frame().await?,
            Incoming::Grpc(receiver) => Box::pin(receiver.next_frame()).await?,
        };
        Ok(frame.map(ClientMessage::decode).transpose()?)
    }
}

impl Sender {
    /// Sends one frame, header included; returns when the transport has taken it.
    ///
    /// # Errors
    /// When the device takes no byte for [`feldakte_core::limits::WRITE_STALL_MAX`], or the connection is gone. However
    /// slow a device is, as long as it takes some it is served.
    pub async fn send(&mut self, frame: Bytes) -> Result<(), SendError> {
        match &mut self.0 {
            Outgoing::Quic(sender) => sender.send(frame).await,
            // On the heap, as below: a session over QUIC would have to carry its room.
            Outgoing::Grpc(sender) => Box::pin(sender.send(frame)).await,
        }
    }

    /// From here on it goes before and behind what its lane does. Over TCP that is decided by what shares a connection.
    pub fn set_lane(&self, lane: Lane) {
        match &self.0 {
            Outgoing::Quic(sender) => sender.set_lane(lane),
            Outgoing::Grpc(_) => {}
        }
    }

    /// All has been sent.
    pub fn finish(self) {
        match self.0 {
            Outgoing::Quic(sender) => sender.finish(),
            Outgoing::Grpc(sender) => sender.finish(),
        }
    }

    /// Not all will be sent: the device must not take what it has for the whole.
    pub fn reset(self, code: CloseCode) {
        match self.0 {
            Outgoing::Quic(sender) => sender.reset(code),
            Outgoing::Grpc(sender) => sender.reset(code),
        }
    }
}

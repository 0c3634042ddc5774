//! A session with the gateway as the link sees it: the dial, messages both ways, snapshots, the end.
//!
//! What carries it is known below this file alone.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use feldakte_core::lane::Lane;
use feldakte_proto::{ClientMessage, Hello, ServerMessage, VERSION_PLAIN, Welcome, quic::first_connection_id};

use crate::{environment::Environment, error::SdkError, identity::Identity};

mod error;
mod grpc;
mod live;
mod quic;

use self::live::{LiveIn, LiveOut};
pub use self::{
    error::{Gone, LinkError, ReceiveError},
    live::{LiveReceiver, LiveSender},
};

/// A session that the gateway has welcomed.
pub struct Session {
    /// The connection.
    pub connection: Connection,
    /// Towards the gateway.
    pub sender: Sender,
    /// From the gateway.
    pub receiver: Receiver,
    /// Its answer.
    pub welcome: Welcome,
}

/// What a device dials with: certificate, key and trust as transports want them. No tickets, no 0-RTT.
#[derive(Debug, Clone)]
pub struct DialConfig {
    /// For QUIC.
    pub quic: quinn::ClientConfig,
    /// For gRPC.
    pub grpc: Arc<rustls::ClientConfig>,
}

/// What carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// QUIC over UDP.
    Quic,
    /// gRPC over HTTP/2 and TCP.
    Grpc,
}

/// Which of them a client may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transports {
    /// QUIC alone.
    Quic,
    /// gRPC alone.
    Grpc,
    /// Whichever works; QUIC is preferred.
    #[default]
    Both,
}

/// A gateway to be dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What is to carry the session.
    pub over: Transport,
    /// Where it listens.
    pub address: SocketAddr,
    /// The name in its certificate.
    pub server_name: String,
}

/// A connection on which nobody has said hello yet. Closed when it is dropped.
pub struct Connected(Reached);

enum Reached {
    Quic(quic::Connection),
    Grpc(Box<grpc::Connected>),
}

/// Dials gateways.
pub struct Dialler {
    quic: quic::Dialler,
    grpc: grpc::Dialler,
}

/// A connection in session. Closed when all of its session is dropped.
pub struct Connection(
    Carrier,
    /// The version of the protocol that both have agreed on.
    u32,
);

enum Carrier {
    Quic(quic::Connection),
    Grpc(Box<grpc::Connection>),
}

/// Towards the gateway.
pub struct Sender {
    out: Outgoing,
    /// Of the protocol, as both have agreed.
    version: u32,
}

enum Outgoing {
    Quic(quic::Sender),
    Grpc(grpc::Sender),
}

/// From the gateway.
pub struct Receiver(Incoming);

enum Incoming {
    Quic(quic::Receiver),
    Grpc(grpc::Receiver),
}

/// Snapshots that answer one `Fetch`.
pub struct Snapshots(Bundles);

enum Bundles {
    Quic(quic::Receiver),
    Grpc(grpc::Snapshots),
}

/// What the path has carried so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Grows with whatever comes from the gateway.
    pub received: u64,
    /// Grows with what the gateway's side confirms at once: content, and the probes for lost content.
    pub asked: u64,
}

/// What a connection has counted since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes to the gateway, as the transport hands them to the network.
    pub sent: u64,
    /// Bytes from the gateway.
    pub received: u64,
    /// Packets to the gateway and how many of them were lost; TCP does not tell.
    pub packets: Option<(u64, u64)>,
    /// Bytes that may be under way to the gateway at once, by the congestion control; TCP does not tell.
    pub window: Option<u64>,
}

impl DialConfig {
    /// # Errors
    /// When certificate and key do not fit.
    pub fn new(identity: &Identity) -> Result<Self, SdkError> {
        Ok(Self { quic: quic::client_config(identity)?, grpc: grpc::client_config(identity)? })
    }

    /// The same of a device that is on a mission, or is not.
    #[must_use]
    pub fn with_mission(mut self, on_mission: bool) -> Self {
        self.quic.initial_dst_cid_provider(Arc::new(move || first_connection_id(on_mission)));
        self
    }
}

impl Dialler {
    /// # Errors
    /// When no socket can be opened.
    pub fn new(environment: &Environment) -> io::Result<Self> {
        let quic = quic::Dialler::new(environment.network().endpoint()?);
        Ok(Self { quic, grpc: grpc::Dialler::new(environment.clone()) })
    }

    /// Connects. Dropped before, it takes everything back.
    ///
    /// # Errors
    /// When nobody answers, or the gateway does not want this device.
    pub async fn connect(&self, config: &DialConfig, place: &Place) -> Result<Connected, LinkError> {
        let reached = match place.over {
            Transport::Quic => self.quic.connect(config.quic.clone(), place).await.map(Reached::Quic),
            Transport::Grpc => self.grpc.connect(&config.grpc, place).await.map(Box::new).map(Reached::Grpc),
        };
        reached.map(Connected)
    }

    /// The network is another one: connections that can go on over a new socket.
    pub fn network_changed(&self, environment: &Environment) {
        self.quic.rebind(environment.network());
    }
}

impl Connected {
    /// Says hello; returns when the gateway has answered.
    ///
    /// Hello rides with the last flight of the handshake. A TLS 1.3 client believes it is connected before its
    /// certificate has been judged, so only the answer counts.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub async fn begin(self, hello: Hello) -> Result<Session, LinkError> {
        let hello = ClientMessage::Hello(hello);
        let (connection, sender, receiver, first) = match self.0 {
            Reached::Quic(connection) => {
                let (sender, receiver, first) = connection.begin(&hello).await?;
                (Carrier::Quic(connection), Outgoing::Quic(sender), Incoming::Quic(receiver), first)
            }
            Reached::Grpc(connected) => {
                let (connection, sender, receiver, first) = connected.begin(&hello).await?;
                (Carrier::Grpc(Box::new(connection)), Outgoing::Grpc(sender), Incoming::Grpc(receiver), first)
            }
        };
        let ServerMessage::Welcome(welcome) = first else { return Err(LinkError::Unexpected) };
        let sender = Sender { out: sender, version: welcome.version };
        let (connection, receiver) = (Connection(connection, welcome.version), Receiver(receiver));
        Ok(Session { connection, sender, receiver, welcome })
    }
}

impl Connection {
    /// Waits for snapshots: they come in the order in which they were asked for, and are read one after the other.
    ///
    /// # Errors
    /// When the connection has ended, and how.
    pub async fn accept_snapshots(&self) -> Result<Snapshots, LinkError> {
        let bundles = match &self.0 {
            Carrier::Quic(connection) => connection.accept_snapshots().await.map(Bundles::Quic),
            Carrier::Grpc(connection) => Ok(Bundles::Grpc(connection.accept_snapshots().await)),
        };
        bundles.map(Snapshots)
    }

    /// Opens a lane beside the session's.
    ///
    /// # Errors
    /// When it cannot be had: over TCP the session may go on without.
    pub async fn open_lane(&self, lane: Lane) -> Result<(Sender, Receiver), Gone> {
        // What is urgent is as large as it may be unpacked.
        let version = if lane == Lane::Urgent { VERSION_PLAIN } else { self.1 };
        let speak = |out| Sender { out, version };
        match &self.0 {
            Carrier::Quic(connection) => {
                let (sender, receiver) = connection.open_lane(lane).await?;
                Ok((speak(Outgoing::Quic(sender)), Receiver(Incoming::Quic(receiver))))
            }
            Carrier::Grpc(connection) => {
                let (sender, receiver) = connection.open_lane(lane).await?;
                Ok((speak(Outgoing::Grpc(sender)), Receiver(Incoming::Grpc(receiver))))
            }
        }
    }

    /// Opens a way for datagrams of live vitals.
    ///
    /// # Errors
    /// When it cannot be had: the session may go on without.
    pub async fn open_live(&self) -> Result<(LiveSender, LiveReceiver), Gone> {
        match &self.0 {
            Carrier::Quic(connection) => {
                let (sender, receiver) = connection.live();
                Ok((LiveSender(LiveOut::Quic(sender)), LiveReceiver(LiveIn::Quic(receiver))))
            }
            Carrier::Grpc(connection) => {
                let (sender, receiver) = connection.open_live().await?;
                Ok((LiveSender(LiveOut::Grpc(sender)), LiveReceiver(LiveIn::Grpc(Box::new(receiver)))))
            }
        }
    }

    /// How it has ended; `None` while it has not.
    pub fn end(&self) -> Option<LinkError> {
        match &self.0 {
            Carrier::Quic(connection) => connection.end(),
            Carrier::Grpc(connection) => connection.end(),
        }
    }

    /// What the path has carried so far.
    pub fn heard(&self) -> Heard {
        match &self.0 {
            Carrier::Quic(connection) => connection.heard(),
            Carrier::Grpc(connection) => connection.heard(),
        }
    }

    /// Whether the transport tells nothing of what has arrived, so that only [`Connection::probe`] finds out.
    pub fn must_ask(&self) -> bool {
        matches!(self.0, Carrier::Grpc(_))
    }

    /// Asks the gateway's side for a sign of life, where the transport does not do it by itself.
    pub fn probe(&self) {
        match &self.0 {
            // What was sent is confirmed, and asked for until it is.
            Carrier::Quic(_) => {}
            Carrier::Grpc(connection) => connection.probe(),
        }
    }

    /// Time there and back, smoothed.
    pub fn rtt(&self) -> Duration {
        match &self.0 {
            Carrier::Quic(connection) => connection.rtt(),
            Carrier::Grpc(connection) => connection.rtt(),
        }
    }

    /// What it has counted so far.
    pub fn traffic(&self) -> Traffic {
        match &self.0 {
            Carrier::Quic(connection) => connection.traffic(),
            Carrier::Grpc(connection) => {
                let Heard { received, asked } = connection.heard();
                Traffic { sent: asked, received, packets: None, window: None }
            }
        }
    }

    /// Ends it.
    pub fn close(&self) {
        match &self.0 {
            Carrier::Quic(connection) => connection.close(),
            Carrier::Grpc(connection) => connection.close(),
        }
    }
}

impl Sender {
    /// Sends a message; returns when the transport has taken it.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, message: &ClientMessage) -> Result<(), Gone> {
        let frame = message.encode_for(self.version);
        match &mut self.out {
            Outgoing::Quic(sender) => sender.send(frame).await,
            Outgoing::Grpc(sender) => {
                sender.send(&frame).await?;
                if let ClientMessage::Fetch(_) = message {
                    sender.fetches();
                }
                Ok(())
            }
        }
    }
}

impl Receiver {
    /// The next message; `None` when the gateway has ended the session. Cancel-safe.
    ///
    /// # Errors
    /// When the connection is gone or what came is no message that we take.
    pub async fn next_message(&mut self) -> Result<Option<ServerMessage>, ReceiveError> {
        let frame = match &mut self.0 {
            Incoming::Quic(receiver) => receiver.next_frame().await?,
            Incoming::Grpc(receiver) => receiver.next_frame().await?,
        };
        Ok(frame.map(ServerMessage::decode).transpose()?)
    }
}

impl Snapshots {
    /// The next bundle, undecoded; `None` when all have come. Cancel-safe.
    ///
    /// # Errors
    /// When not all of them came.
    pub async fn next_bundle(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        match &mut self.0 {
            Bundles::Quic(receiver) => receiver.next_frame().await,
            Bundles::Grpc(snapshots) => snapshots.next_frame().await,
        }
    }
}

//! A device's session without a store behind it: dial, say hello, push, read; and count every byte.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use feldakte_core::{
    ids::{Cursor, DocumentId},
    limits,
};
use feldakte_proto::{
    ClientMessage, CloseCode, Fetch, FrameDecoder, Hello, Push, ServerMessage, VERSIONS, Welcome,
    quic::first_connection_id,
};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::time::timeout;

use crate::load::fleet::{Device, GATEWAY_NAME};

/// An open session.
#[derive(Debug)]
pub struct Session {
    /// What the gateway said first.
    pub welcome: Welcome,
    /// For statistics and snapshot streams.
    pub connection: Connection,
    /// Towards the gateway.
    pub sender: Sender,
    /// From the gateway.
    pub receiver: Receiver,
}

/// The device's half of the session stream.
#[derive(Debug)]
pub struct Sender {
    stream: SendStream,
    next_push: u64,
    bytes: u64,
}

/// The gateway's half of the session stream.
#[derive(Debug)]
pub struct Receiver {
    stream: RecvStream,
    decoder: FrameDecoder,
    bytes: u64,
}

/// Bytes from the device's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// To the device.
    pub bytes_in: u64,
    /// From the device.
    pub bytes_out: u64,
}

impl Session {
    /// Connects, introduces the device and waits for the welcome.
    ///
    /// # Errors
    /// When the gateway does not welcome the device in time.
    pub async fn dial(device: &Device, gateway: SocketAddr, cursor: Option<Cursor>) -> Result<Session> {
        let dialled = timeout(DIAL_WITHIN, Self::dial_as(device, gateway, cursor, false)).await;
        dialled.context("no welcome in time")?
    }

    /// The same, on a mission or not, for as long as the caller waits.
    ///
    /// # Errors
    /// When the gateway does not welcome the device.
    pub async fn dial_as(
        device: &Device,
        gateway: SocketAddr,
        cursor: Option<Cursor>,
        on_mission: bool,
    ) -> Result<Session> {
        let mut config = device.config.clone();
        config.initial_dst_cid_provider(Arc::new(move || first_connection_id(on_mission)));
        let connection = device.endpoint.connect_with(config, gateway, GATEWAY_NAME)?.await?;
        let (stream, recv) = connection.open_bi().await?;
        let mut sender = Sender { stream, next_push: 1, bytes: 0 };
        let decoder = FrameDecoder::new(limits::FRAME_LEN_MAX);
        let mut receiver = Receiver { stream: recv, decoder, bytes: 0 };
        let hello =
            Hello { versions: VERSIONS.to_vec(), build: BUILD.to_owned(), cursor, on_mission, ..Hello::default() };
        sender.send(&ClientMessage::Hello(hello)).await?;
        match receiver.next().await? {
            ServerMessage::Welcome(welcome) => Ok(Session { welcome, connection, sender, receiver }),
            _ => bail!("the first frame was not a welcome"),
        }
    }

    /// Frames on the session stream, lengths included; snapshot streams are not among them.
    pub fn frame_traffic(&self) -> Traffic {
        Traffic { bytes_in: self.receiver.bytes, bytes_out: self.sender.bytes }
    }

    /// UDP payloads of the connection, handshake and acknowledgements included.
    pub fn udp_traffic(&self) -> Traffic {
        udp_traffic(&self.connection)
    }

    /// Ends the session.
    pub fn close(self) {
        close(&self.connection);
    }
}

impl Sender {
    /// The number the next push will carry.
    pub fn next_push(&self) -> u64 {
        self.next_push
    }

    /// Pushes changes of a document.
    ///
    /// # Errors
    /// When the session is over.
    pub async fn push(&mut self, document: DocumentId, changes: &[Bytes]) -> Result<()> {
        let push = Push { push: self.next_push, document, changes: changes.to_vec(), user: None };
        self.next_push += 1;
        self.send(&ClientMessage::Push(push)).await
    }

    /// Asks for documents as snapshots.
    ///
    /// # Errors
    /// When the session is over.
    pub async fn fetch(&mut self, documents: &[DocumentId]) -> Result<()> {
        for page in documents.chunks(limits::FETCH_DOCUMENTS_MAX) {
            self.send(&ClientMessage::Fetch(Fetch { documents: page.to_vec() })).await?;
        }
        Ok(())
    }

    async fn send(&mut self, message: &ClientMessage) -> Result<()> {
        let frame = message.encode();
        self.bytes += frame.len() as u64;
        Ok(self.stream.write_chunk(frame).await?)
    }
}

impl Receiver {
    /// The next message. Cancel-safe.
    ///
    /// # Errors
    /// When the session is over or the gateway says something that is not a message.
    pub async fn next(&mut self) -> Result<ServerMessage> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(ServerMessage::decode(frame)?);
            }
            let Some(chunk) = self.stream.read_chunk(usize::MAX, true).await? else {
                bail!("the gateway ended the session stream");
            };
            self.bytes += chunk.bytes.len() as u64;
            self.decoder.extend(&chunk.bytes);
        }
    }
}

/// How the connection ended that an error is about.
pub fn connection_error(error: &anyhow::Error) -> Option<&ConnectionError> {
    error.chain().find_map(|cause| cause.downcast_ref::<ConnectionError>())
}

/// UDP payloads of a connection so far.
pub fn udp_traffic(connection: &Connection) -> Traffic {
    let stats = connection.stats();
    Traffic { bytes_in: stats.udp_rx.bytes, bytes_out: stats.udp_tx.bytes }
}

/// Says goodbye.
pub fn close(connection: &Connection) {
    connection.close((CloseCode::Done as u32).into(), b"");
}

/// A dial that takes longer has failed.
const DIAL_WITHIN: Duration = Duration::from_secs(30);
const BUILD: &str = concat!("load ", env!("CARGO_PKG_VERSION"));

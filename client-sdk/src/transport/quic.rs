//! A session over QUIC: messages on its one bidirectional stream, snapshots on unidirectional ones.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use feldakte_certs::policy;
use feldakte_core::{lane::Lane, limits, live};
use feldakte_proto::{ClientMessage, Close, CloseCode, DecodeError, FrameDecoder, ServerMessage, quic};
use quinn::{
    ClientConfig, Endpoint, IdleTimeout, RecvStream, SendDatagramError, SendStream, TransportConfig,
    TransportErrorCode, VarInt, crypto::rustls::QuicClientConfig,
};
use tokio::time::Instant;
use tracing::debug;

use super::{Gone, Heard, LinkError, Place, ReceiveError, Traffic};
use crate::{environment::Network, error::SdkError, identity::Identity};

pub(super) struct Dialler(Endpoint);

pub(super) struct Connection(quinn::Connection);

pub(super) struct Sender(SendStream);

pub(super) struct LiveSender {
    quic: quinn::Connection,
    /// Nothing is sent before.
    next_at: Instant,
}

pub(super) struct LiveReceiver(quinn::Connection);

pub(super) struct Receiver {
    stream: RecvStream,
    decoder: FrameDecoder,
}

pub(super) fn client_config(identity: &Identity) -> Result<ClientConfig, SdkError> {
    let bad = |error: &dyn std::fmt::Display| SdkError::Identity(error.to_string());
    let Identity { roots, chain, key, .. } = identity;
    let tls = policy::client_config(roots.clone(), chain.clone(), key.clone_key()).map_err(|error| bad(&error))?;
    let quic = QuicClientConfig::try_from(tls).map_err(|error| bad(&error))?;
    let mut config = ClientConfig::new(Arc::new(quic));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(limits::IDLE_TIMEOUT).expect("far below the largest QUIC integer");
    quic::take_datagrams(quic::configure(&mut transport))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(8))
        .keep_alive_interval(Some(limits::KEEP_ALIVE))
        .max_idle_timeout(Some(idle));
    transport
}

impl Dialler {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self(endpoint)
    }

    pub(super) async fn connect(
        &self,
        config: ClientConfig,
        Place { over: _, address, server_name }: &Place,
    ) -> Result<Connection, LinkError> {
        let connecting = self.0.connect_with(config, *address, server_name).map_err(|_| LinkError::Unreachable)?;
        connecting.await.map(Connection).map_err(|error| judge(&error))
    }

    /// Without another socket the old one goes on: it may reach the new network as well.
    pub(super) fn rebind(&self, network: &dyn Network) {
        if let Err(error) = network.rebind(&self.0) {
            debug!(kind = %error.kind(), "no new socket");
        }
    }
}

impl Connection {
    /// The session and the gateway's first message.
    pub(super) async fn begin(&self, hello: &ClientMessage) -> Result<(Sender, Receiver, ServerMessage), LinkError> {
        let (out, stream) = self.0.open_bi().await.map_err(|error| judge(&error))?;
        let (mut sender, mut receiver) = (Sender(out), Receiver::new(stream));
        // An end without an answer says nothing about this device: the gateway may just have died.
        let lost = || self.end().unwrap_or(LinkError::Unreachable);
        sender.send(hello.encode()).await.map_err(|_| lost())?;
        match receiver.next_frame().await {
            Ok(Some(frame)) => Ok((sender, receiver, ServerMessage::decode(frame)?)),
            Ok(None) | Err(ReceiveError::Gone) => Err(lost()),
            Err(ReceiveError::Decode(error)) => Err(error.into()),
        }
    }

    pub(super) async fn open_lane(&self, lane: Lane) -> Result<(Sender, Receiver), Gone> {
        let (out, stream) = self.0.open_bi().await.map_err(|_| Gone)?;
        out.set_priority(lane.priority()).map_err(|_| Gone)?;
        let mut sender = Sender(out);
        sender.send(ClientMessage::Enter(lane).encode()).await?;
        Ok((sender, Receiver::new(stream)))
    }

    /// Datagrams need nothing opened.
    pub(super) fn live(&self) -> (LiveSender, LiveReceiver) {
        (LiveSender { quic: self.0.clone(), next_at: Instant::now() }, LiveReceiver(self.0.clone()))
    }

    pub(super) fn traffic(&self) -> Traffic {
        let stats = self.0.stats();
        Traffic {
            sent: stats.udp_tx.bytes,
            received: stats.udp_rx.bytes,
            packets: Some((stats.path.sent_packets, stats.path.lost_packets)),
            window: Some(stats.path.cwnd),
        }
    }

    pub(super) fn rtt(&self) -> Duration {
        self.0.rtt()
    }

    pub(super) async fn accept_snapshots(&self) -> Result<Receiver, LinkError> {
        self.0.accept_uni().await.map(Receiver::of_bundles).map_err(|error| judge(&error))
    }

    pub(super) fn end(&self) -> Option<LinkError> {
        self.0.close_reason().as_ref().map(judge)
    }

    pub(super) fn heard(&self) -> Heard {
        let stats = self.0.stats();
        // Probes are PINGs, or IMMEDIATE_ACKs where the gateway knows those; a probe need not repeat the content.
        let probes = stats.frame_tx.ping + stats.frame_tx.immediate_ack;
        Heard { received: stats.udp_rx.datagrams, asked: stats.frame_tx.stream + probes }
    }

    pub(super) fn close(&self) {
        self.0.close(VarInt::from_u32(CloseCode::Done as u32), b"");
    }
}

/// What a lost connection means.
fn judge(error: &quinn::ConnectionError) -> LinkError {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            Close::read(close.error_code.into_inner(), &close.reason).into()
        }
        // TLS alerts arrive as QUIC crypto errors (RFC 9001, 4.8).
        quinn::ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            LinkError::Busy
        }
        quinn::ConnectionError::ConnectionClosed(close) if is_crypto(u64::from(close.error_code)) => LinkError::Refused,
        quinn::ConnectionError::TransportError(error) if is_crypto(u64::from(error.code)) => LinkError::Refused,
        _ => LinkError::Unreachable,
    }
}

fn is_crypto(code: u64) -> bool {
    (0x100..0x200).contains(&code)
}

impl Sender {
    pub(super) async fn send(&mut self, frame: Bytes) -> Result<(), Gone> {
        self.0.write_chunk(frame).await.map_err(|_| Gone)
    }
}

impl LiveSender {
    pub(super) async fn ready(&mut self) -> Result<(), Gone> {
        tokio::time::sleep_until(self.next_at).await;
        // Nobody tells when there is room again; a path that is dead is looked at no more than fifty times a second.
        while self.quic.datagram_send_buffer_space() < limits::LIVE_PACKET_LEN_MAX {
            tokio::time::sleep((self.quic.rtt() / 4).clamp(LOOK_AGAIN_MIN, LOOK_AGAIN_MAX)).await;
        }
        Ok(())
    }

    pub(super) async fn push(&mut self, datagram: Bytes) -> Result<(), Gone> {
        match self.quic.send_datagram_wait(datagram).await {
            Err(SendDatagramError::ConnectionLost(_)) => Err(Gone),
            _ => Ok(()),
        }
    }

    /// The transport drops its oldest for it. What it cannot send (a path that takes less, a gateway that takes none) is lost.
    pub(super) fn send(&mut self, datagram: Bytes) {
        let len = datagram.len();
        if self.quic.send_datagram(datagram).is_ok() {
            let window = self.quic.stats().path.cwnd;
            self.next_at = Instant::now() + live::pace::pause(len, window, self.quic.rtt());
        }
    }
}

impl LiveReceiver {
    pub(super) async fn next(&mut self) -> Result<Bytes, Gone> {
        self.0.read_datagram().await.map_err(|_| Gone)
    }
}

impl Receiver {
    fn new(stream: RecvStream) -> Self {
        // A frame of the gateway may exceed what a device may send: a page of entries plus one large entry.
        Self { stream, decoder: FrameDecoder::new(2 * limits::FRAME_LEN_MAX) }
    }

    fn of_bundles(stream: RecvStream) -> Self {
        Self { stream, decoder: FrameDecoder::new(limits::BUNDLE_LEN_MAX) }
    }

    pub(super) async fn next_frame(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(DecodeError::from)? {
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(READ_AT_ONCE, true).await {
                Ok(Some(chunk)) => self.decoder.extend(&chunk.bytes),
                Ok(None) if self.decoder.is_mid_frame() => return Err(ReceiveError::Gone),
                Ok(None) => return Ok(None),
                Err(_) => return Err(ReceiveError::Gone),
            }
        }
    }
}

/// A datagram of 1,200 bytes at 10 Mbit/s.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(1);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(20);
/// Bytes taken from the transport at once.
const READ_AT_ONCE: usize = 64 << 10;

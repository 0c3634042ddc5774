//! Frames over a QUIC stream, and the dial: everything of the session that knows quinn.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use feldakte_certs::policy;
use feldakte_core::limits;
use feldakte_proto::{ClientMessage, CloseCode, DecodeError, FrameDecoder, Hello, ServerMessage, Welcome};
use quinn::{
    ClientConfig, Connection, Endpoint, IdleTimeout, RecvStream, SendStream, TransportConfig, VarInt,
    crypto::rustls::QuicClientConfig,
};

use crate::{error::SdkError, identity::Identity};

/// A session that the gateway has welcomed.
pub struct Session {
    /// The connection.
    pub connection: Connection,
    /// Towards the gateway.
    pub out: SendStream,
    /// From the gateway.
    pub frames: FrameReader,
    /// Its answer.
    pub welcome: Welcome,
}

/// No session came about, or it ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The gateway cannot be reached right now.
    #[error("the gateway cannot be reached")]
    Unreachable,
    /// The gateway closed with a code.
    #[error("the gateway closed the session: {0:?}")]
    Closed(CloseCode),
    /// TLS failed: the gateway does not take this device, or is not the one we trust.
    #[error("the handshake was refused")]
    Refused,
    /// The path is dead: nothing came back for too long.
    #[error("the path is silent")]
    Silent,
    /// The gateway sent something we do not understand.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Somebody else uses the device: the next session is his.
    #[error("another user")]
    Introduced,
    /// A message came where none of its kind may come.
    #[error("unexpected message from the gateway")]
    Unexpected,
}

impl LinkError {
    /// Whether dialling again can help without somebody acting first.
    pub fn is_retryable(&self) -> bool {
        match self {
            LinkError::Closed(code) => code.is_retryable(),
            LinkError::Refused => false,
            _ => true,
        }
    }
}

/// TLS and QUIC configuration of a device: no tickets, no 0-RTT.
///
/// # Errors
/// When certificate and key do not fit.
pub fn client_config(identity: &Identity) -> Result<ClientConfig, SdkError> {
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
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(8))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(limits::KEEP_ALIVE))
        .max_idle_timeout(Some(idle));
    transport
}

/// Dials and says hello; returns when the gateway has answered.
///
/// Hello rides with the last flight of the handshake: the answer is one round trip away. A TLS 1.3 client believes
/// it is connected before its certificate has been judged, so only the answer counts.
///
/// # Errors
/// When there is no answer, or it is a refusal.
pub async fn dial(
    endpoint: &Endpoint,
    config: ClientConfig,
    address: SocketAddr,
    server_name: &str,
    hello: Hello,
) -> Result<Session, LinkError> {
    let connecting = endpoint.connect_with(config, address, server_name).map_err(|_| LinkError::Unreachable)?;
    let greeted = tokio::time::timeout(DIAL_WITHIN, greet(connecting, hello)).await;
    greeted.map_err(|_| LinkError::Unreachable)?
}

async fn greet(connecting: quinn::Connecting, hello: Hello) -> Result<Session, LinkError> {
    let connection = connecting.await.map_err(|error| connection_error(&error))?;
    let lost = |connection: &Connection| match connection.close_reason() {
        Some(error) => connection_error(&error),
        None => LinkError::Unreachable,
    };
    let (mut out, stream) = connection.open_bi().await.map_err(|error| connection_error(&error))?;
    let mut frames = FrameReader::new(stream);
    let hello = ClientMessage::Hello(hello).encode();
    out.write_chunk(hello).await.map_err(|_| lost(&connection))?;
    let first = match frames.next_message().await {
        Ok(Some(message)) => message,
        // An end without an answer says nothing about this device: the gateway may just have died.
        Ok(None) | Err(ReadFrameError::Stream) => return Err(lost(&connection)),
        Err(ReadFrameError::Decode(error)) => return Err(error.into()),
    };
    match first {
        ServerMessage::Welcome(welcome) => Ok(Session { connection, out, frames, welcome }),
        _ => Err(LinkError::Unexpected),
    }
}

/// What a lost connection means.
pub fn connection_error(error: &quinn::ConnectionError) -> LinkError {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            let code = CloseCode::from_number(close.error_code.into_inner());
            LinkError::Closed(code.unwrap_or(CloseCode::Protocol))
        }
        // TLS alerts arrive as QUIC crypto errors (RFC 9001, 4.8).
        quinn::ConnectionError::ConnectionClosed(close) if is_crypto(u64::from(close.error_code)) => LinkError::Refused,
        quinn::ConnectionError::TransportError(error) if is_crypto(u64::from(error.code)) => LinkError::Refused,
        _ => LinkError::Unreachable,
    }
}

fn is_crypto(code: u64) -> bool {
    (0x100..0x200).contains(&code)
}

/// Reads messages off the session stream.
#[derive(Debug)]
pub struct FrameReader {
    stream: RecvStream,
    decoder: FrameDecoder,
}

/// The stream gave no frame.
#[derive(Debug, thiserror::Error)]
pub enum ReadFrameError {
    /// What came is not a message we take.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The stream or connection is gone.
    #[error("the stream is gone")]
    Stream,
}

impl FrameReader {
    fn new(stream: RecvStream) -> Self {
        // A frame of the gateway may exceed what a device may send: a page of entries plus one large entry.
        Self { stream, decoder: FrameDecoder::new(2 * limits::FRAME_LEN_MAX) }
    }

    /// For a snapshot stream.
    pub fn for_bundles(stream: RecvStream) -> Self {
        Self { stream, decoder: FrameDecoder::new(limits::BUNDLE_LEN_MAX) }
    }

    /// The next frame's content; `None` at the end of the stream.
    ///
    /// # Errors
    /// When the stream is gone or a frame is too large.
    pub async fn next_frame(&mut self) -> Result<Option<Bytes>, ReadFrameError> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(DecodeError::from)? {
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(READ_AT_ONCE, true).await {
                Ok(Some(chunk)) => self.decoder.extend(&chunk.bytes),
                Ok(None) if self.decoder.is_mid_frame() => return Err(ReadFrameError::Stream),
                Ok(None) => return Ok(None),
                Err(_) => return Err(ReadFrameError::Stream),
            }
        }
    }

    /// The next message of the session stream; `None` at its end.
    ///
    /// # Errors
    /// When the stream is gone or a message is malformed.
    pub async fn next_message(&mut self) -> Result<Option<ServerMessage>, ReadFrameError> {
        match self.next_frame().await? {
            Some(frame) => Ok(Some(ServerMessage::decode(frame)?)),
            None => Ok(None),
        }
    }
}

/// From the first packet to the gateway's answer; a dead path is dialled again rather than waited for.
const DIAL_WITHIN: Duration = Duration::from_secs(5);
/// Bytes taken from the transport at once.
const READ_AT_ONCE: usize = 64 << 10;

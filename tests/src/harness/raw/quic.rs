//! A raw client over QUIC.

use std::net::SocketAddr;

use bytes::Bytes;
use feldakte_core::limits;
use feldakte_proto::{CloseCode, FrameDecoder};
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};

use super::close_code;
use crate::harness::{pki::GATEWAY_NAME, within};

/// A connection with a session stream.
pub struct QuicPipe {
    /// The connection.
    pub connection: Connection,
    /// Towards the gateway.
    pub out: SendStream,
    input: RecvStream,
    decoder: FrameDecoder,
}

impl QuicPipe {
    pub(super) async fn connect(
        endpoint: &Endpoint,
        config: quinn::ClientConfig,
        gateway: SocketAddr,
    ) -> Result<Self, ConnectionError> {
        let connecting = endpoint.connect_with(config, gateway, GATEWAY_NAME).expect("a valid configuration");
        let connection = within("the handshake ends", connecting).await?;
        let (out, input) = connection.open_bi().await?;
        let decoder = FrameDecoder::new(2 * limits::FRAME_LEN_MAX);
        Ok(Self { connection, out, input, decoder })
    }

    pub(super) async fn send(&mut self, bytes: Bytes) {
        let _ = self.out.write_chunk(bytes).await;
    }

    /// `None` at the end.
    pub(super) async fn next_frame(&mut self, received: &mut u64) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("the gateway's frames are well-formed") {
                return Some(frame);
            }
            let chunk = within("the gateway says something", self.input.read_chunk(usize::MAX, true)).await.ok()??;
            *received += chunk.bytes.len() as u64;
            self.decoder.extend(&chunk.bytes);
        }
    }

    /// What is whole when something more has arrived.
    pub(super) async fn read_once(&mut self, received: &mut u64) -> Vec<Bytes> {
        let chunk = within("the gateway sends", self.input.read_chunk(usize::MAX, true)).await;
        let chunk = chunk.expect("the session lives").expect("the stream is open");
        *received += chunk.bytes.len() as u64;
        self.decoder.extend(&chunk.bytes);
        whole(&mut self.decoder)
    }

    pub(super) async fn receive_snapshots(&mut self) -> Vec<Bytes> {
        let stream = within("a stream of snapshots opens", self.connection.accept_uni()).await;
        let mut stream = stream.expect("the session lives");
        let (mut decoder, mut all) = (FrameDecoder::new(limits::BUNDLE_LEN_MAX), Vec::new());
        while let Some(chunk) =
            within("the snapshots arrive", stream.read_chunk(usize::MAX, true)).await.expect("the session lives")
        {
            decoder.extend(&chunk.bytes);
            all.extend(whole(&mut decoder));
        }
        all
    }

    pub(super) async fn closed(&self) -> Option<CloseCode> {
        close_code(&within("the gateway closes", self.connection.closed()).await)
    }
}

fn whole(decoder: &mut FrameDecoder) -> Vec<Bytes> {
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next_frame().expect("the gateway's frames are well-formed") {
        frames.push(frame);
    }
    frames
}

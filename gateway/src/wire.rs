//! Frames over a QUIC stream: the thin shell between quinn and the sans-IO codec.

use bytes::Bytes;
use feldakte_core::limits;
use feldakte_proto::{CloseCode, DecodeError, FrameDecoder};
use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt};

/// Reads frames off a stream.
#[derive(Debug)]
pub struct FrameReader {
    stream: RecvStream,
    decoder: FrameDecoder,
}

/// The stream gave no frame.
#[derive(Debug, thiserror::Error)]
pub enum ReadFrameError {
    /// What came is not a frame we take.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
    /// The connection or stream failed.
    #[error(transparent)]
    Stream(#[from] ReadError),
}

impl FrameReader {
    /// Refuses frames of more than `len_max` bytes.
    pub fn new(stream: RecvStream, len_max: usize) -> Self {
        Self { stream, decoder: FrameDecoder::new(len_max) }
    }

    /// Changes the limit, once the peer is known.
    pub fn set_len_max(&mut self, len_max: usize) {
        self.decoder.set_len_max(len_max);
    }

    /// The next frame; `None` when the peer has finished the stream. Cancel-safe.
    ///
    /// # Errors
    /// When the stream fails, ends inside a frame, or announces too much.
    pub async fn next_frame(&mut self) -> Result<Option<Bytes>, ReadFrameError> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(DecodeError::from)? {
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(READ_AT_ONCE, true).await? {
                Some(chunk) => self.decoder.extend(&chunk.bytes),
                None if self.decoder.is_mid_frame() => return Err(ReadFrameError::Truncated),
                None => return Ok(None),
            }
        }
    }
}

/// Sends one frame, header included.
///
/// # Errors
/// When the peer takes no byte for [`limits::WRITE_STALL_MAX`], or the stream fails. However slow a peer is, as long as
/// it takes some it is served.
pub async fn send_frame(stream: &mut SendStream, frame: Bytes) -> Result<(), SendFrameError> {
    let mut rest = [frame];
    while !rest[0].is_empty() {
        match tokio::time::timeout(limits::WRITE_STALL_MAX, stream.write_chunks(&mut rest)).await {
            Ok(written) => written?,
            Err(_) => return Err(SendFrameError::Stalled),
        };
    }
    Ok(())
}

/// A frame could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendFrameError {
    /// The peer takes no bytes.
    #[error("the peer takes no bytes")]
    Stalled,
    /// The connection or stream failed.
    #[error(transparent)]
    Stream(#[from] quinn::WriteError),
}

/// Closes a connection with a code the device understands.
pub fn close(connection: &Connection, code: CloseCode) {
    connection.close(VarInt::from_u32(code as u32), b"");
}

/// Bytes taken from the transport at once.
const READ_AT_ONCE: usize = 64 << 10;

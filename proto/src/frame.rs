//! Length-delimited frames, sans-IO: bytes in, whole frames out. Size is checked before content.
//!
//! A frame is a length of four bytes, big-endian, and that many bytes. Length 0 is malformed: every message has
//! at least a tag.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

/// Bytes of the length before a frame.
pub const HEADER_LEN: usize = 4;

/// A frame that is refused from its length alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Announces more than is allowed here.
    #[error("a frame of {len} bytes, limit {max}")]
    TooLarge {
        /// What the header says.
        len: usize,
        /// What is allowed.
        max: usize,
    },
    /// Announces nothing.
    #[error("an empty frame")]
    Empty,
}

/// Collects received bytes until a frame is whole.
#[cfg_attr(test, derive(Debug))]
pub struct FrameDecoder {
    buffer: BytesMut,
    len_max: usize,
}

feldakte_core::hide_content! { FrameDecoder }

impl FrameDecoder {
    /// Refuses frames of more than `len_max` bytes.
    pub fn new(len_max: usize) -> Self {
        Self { buffer: BytesMut::new(), len_max }
    }

    /// Changes the limit, once the peer is known.
    pub fn set_len_max(&mut self, len_max: usize) {
        self.len_max = len_max;
    }

    /// Takes in received bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the next frame's length is not acceptable; the stream cannot go on after it.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(header) = self.buffer.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes(*header) as usize;
        if len == 0 {
            return Err(FrameError::Empty);
        }
        if len > self.len_max {
            return Err(FrameError::TooLarge { len, max: self.len_max });
        }
        if self.buffer.len() < HEADER_LEN + len {
            return Ok(None);
        }
        self.buffer.advance(HEADER_LEN);
        let frame = self.buffer.split_to(len).freeze();
        if self.buffer.is_empty() {
            // An idle session must not hold on to the memory of its largest frame.
            self.buffer = BytesMut::new();
        }
        Ok(Some(frame))
    }

    /// Whether bytes of an unfinished frame are waiting: an end of stream now is a truncation.
    pub fn is_mid_frame(&self) -> bool {
        !self.buffer.is_empty()
    }
}

/// Encodes a message as one frame.
pub(crate) fn frame_of(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut out = BytesMut::with_capacity(HEADER_LEN + len);
    out.put_u32(u32::try_from(len).expect("limits keep frames far below 4 GiB"));
    message.encode(&mut out).expect("the buffer grows");
    out.freeze()
}

/// Puts a header before bytes that are already encoded.
pub fn encode_frame(body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_LEN + body.len());
    out.put_u32(u32::try_from(body.len()).expect("limits keep frames far below 4 GiB"));
    out.put_slice(body);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn size_is_checked_before_content_arrives() {
        let mut decoder = FrameDecoder::new(100);
        decoder.extend(&101u32.to_be_bytes());
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLarge { len: 101, max: 100 }));
    }

    #[test]
    fn an_empty_frame_is_refused() {
        let mut decoder = FrameDecoder::new(100);
        decoder.extend(&[0; 4]);
        assert_eq!(decoder.next_frame(), Err(FrameError::Empty));
    }

    proptest! {
        #[test]
        fn frames_survive_any_fragmentation(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..8),
            cuts in prop::collection::vec(1usize..50, 1..200),
        ) {
            let stream: Vec<u8> = bodies.iter().flat_map(|body| encode_frame(body).to_vec()).collect();
            let mut decoder = FrameDecoder::new(300);
            let mut frames = Vec::new();
            let mut rest = stream.as_slice();
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let cut = (*cuts.next().expect("cycles")).min(rest.len());
                decoder.extend(&rest[..cut]);
                rest = &rest[cut..];
                while let Some(frame) = decoder.next_frame()? {
                    frames.push(frame.to_vec());
                }
            }
            prop_assert_eq!(frames, bodies);
            prop_assert!(!decoder.is_mid_frame());
        }
    }
}

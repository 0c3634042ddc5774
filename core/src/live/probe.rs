//! What a path carries, asked with a few datagrams: the gateway echoes each, and says when it came.
//!
//! | Field | Bytes | Meaning |
//! |---|---|---|
//! | kind | 1 | `02` asks, `03` answers |
//! | train | 4 | drawn for each train; datagrams of one belong together |
//! | index | 1 | which of them |
//! | since | 4 | answers: microseconds from the first of the train to this one by the gateway's clock; asks: 0 |
//! | filling | the rest | zeros, as long as the question |

use bytes::{BufMut, Bytes, BytesMut};

use super::{LiveError, bits::Reader};
use crate::limits;

/// One datagram of a train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Which train.
    pub train: u32,
    /// Which of its datagrams.
    pub index: u8,
    /// When it came to the gateway, in microseconds since the first one; `None` in a question.
    pub since_us: Option<u32>,
    /// How long it is.
    pub len: usize,
}

impl Probe {
    /// As it goes over the wire.
    pub fn encode(self) -> Bytes {
        let Self { train, index, since_us, len } = self;
        let len = len.clamp(HEAD_LEN, limits::LIVE_PACKET_LEN_MAX);
        let mut bytes = BytesMut::with_capacity(len);
        bytes.put_u8(if since_us.is_some() { ANSWER } else { QUESTION });
        bytes.put_u32(train);
        bytes.put_u8(index);
        bytes.put_u32(since_us.unwrap_or(0));
        bytes.put_bytes(0, len - HEAD_LEN);
        bytes.freeze()
    }

    /// `None` when it is something else.
    ///
    /// # Errors
    /// When it is no whole probe.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, LiveError> {
        let mut reader = Reader { bytes };
        let is_answer = match reader.byte()? {
            QUESTION => false,
            ANSWER => true,
            _ => return Ok(None),
        };
        if bytes.len() > limits::LIVE_PACKET_LEN_MAX {
            return Err(LiveError::Malformed("a probe longer than a datagram"));
        }
        let number = |reader: &mut Reader<'_>| {
            reader.take(4).map(|bytes| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
        };
        let (train, index, since) = (number(&mut reader)?, reader.byte()?, number(&mut reader)?);
        if !is_answer && since != 0 {
            return Err(LiveError::Malformed("a question with a time"));
        }
        if reader.bytes.iter().any(|byte| *byte != 0) {
            return Err(LiveError::Malformed("a probe with a filling of its own"));
        }
        Ok(Some(Self { train, index, since_us: is_answer.then_some(since), len: bytes.len() }))
    }
}

const QUESTION: u8 = 2;
const ANSWER: u8 = 3;
const HEAD_LEN: usize = 10;

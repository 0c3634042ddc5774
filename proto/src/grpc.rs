//! The session over gRPC: its service, its frames, and how close codes and the session's name travel.
//!
//! A gRPC message is the content of one frame, byte for byte, so that both transports read and write the same.

use bytes::{Buf, BufMut, Bytes};
use feldakte_core::limits;
use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{MetadataMap, MetadataValue},
};

use crate::{close::Close, error::CloseCode, error::DecodeError, frame::HEADER_LEN, pb, shape};

/// Generated from `schema/service.proto`.
mod service {
    #![allow(missing_docs, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/grpc/feldakte.v1.rs"));
}

pub use service::{
    sync_client::SyncClient,
    sync_server::{SERVICE_NAME, Sync as SyncService, SyncServer},
};

/// The schema as reflection shows it, an encoded `FileDescriptorSet`.
pub const SCHEMA: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/grpc/schema.bin"));

/// The content of one frame.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(pub Bytes);

feldakte_core::hide_content! { Frame }

impl Frame {
    /// Of a frame with its header, as messages are encoded.
    pub fn of(encoded: &Bytes) -> Self {
        Self(encoded.slice(HEADER_LEN..))
    }
}

/// Passes frames as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameCodec;

impl Codec for FrameCodec {
    type Encode = Frame;
    type Decode = Frame;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for FrameCodec {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, Frame(content): Frame, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(content);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Frame>, Status> {
        Ok(Some(Frame(from.copy_to_bytes(from.remaining()))))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

impl Frame {
    /// Says on a stream of live vitals that a datagram was taken.
    pub fn taken() -> Self {
        Self(Bytes::from_static(&[TAKEN]))
    }

    /// Whether it says so.
    pub fn is_taken(&self) -> bool {
        self.0[..] == [TAKEN]
    }
}

/// No datagram begins with it.
const TAKEN: u8 = 0;

/// Datagrams on a stream of live vitals that were not said to be taken. At ten a second it fills a path of 0.8 s there and
/// back, and a path that has died holds as many.
pub const LIVE_UNDER_WAY_MAX: usize = 8;

/// Names a session towards its own device: whoever knows it and holds the session's certificate is given its bulk.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionName(pub [u8; SESSION_NAME_LEN]);

impl SessionName {
    /// Into the metadata of the session's answer.
    pub fn write(&self, metadata: &mut MetadataMap) {
        metadata.insert_bin(SESSION_NAME, MetadataValue::from_bytes(&self.0));
    }

    /// Out of it.
    pub fn read(metadata: &MetadataMap) -> Option<Self> {
        let name = metadata.get_bin(SESSION_NAME)?.to_bytes().ok()?;
        name.as_ref().try_into().ok().map(Self)
    }
}

/// Asks for the answer to a `Fetch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkRequest {
    /// Of which session.
    pub session: SessionName,
    /// Which of its fetches, counted from 1.
    pub fetch: u64,
}

impl BulkRequest {
    /// As a call takes it.
    pub fn encode(&self) -> Frame {
        let Self { session, fetch } = self;
        let request = pb::BulkRequest { session: Bytes::copy_from_slice(&session.0), fetch: *fetch };
        Frame(request.encode_to_vec().into())
    }

    /// As a call brings it.
    ///
    /// # Errors
    /// When it is no such request.
    pub fn decode(Frame(content): Frame) -> Result<Self, DecodeError> {
        let pb::BulkRequest { session, fetch } = shape::decode(content, "bulk request", &shape::BULK_REQUEST)?;
        let session = session.as_ref().try_into().map(SessionName);
        Ok(Self { session: session.map_err(|_| DecodeError::UnknownValue("session"))?, fetch })
    }
}

impl std::fmt::Debug for SessionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionName")
    }
}

/// How the end of a session looks as the status of a call.
pub fn status_of(close: impl Into<Close>) -> Status {
    let close = close.into();
    let kind = match close.code {
        CloseCode::Done => tonic::Code::Ok,
        CloseCode::Protocol => tonic::Code::InvalidArgument,
        CloseCode::TooLarge => tonic::Code::OutOfRange,
        CloseCode::Version => tonic::Code::FailedPrecondition,
        CloseCode::NotPermitted => tonic::Code::PermissionDenied,
        CloseCode::HelloTimeout => tonic::Code::DeadlineExceeded,
        CloseCode::Draining | CloseCode::StoreUnavailable => tonic::Code::Unavailable,
        CloseCode::Stalled | CloseCode::Superseded | CloseCode::Lapsed => tonic::Code::Aborted,
        CloseCode::SignInEnded => tonic::Code::Unauthenticated,
        CloseCode::Crowded | CloseCode::Busy => tonic::Code::ResourceExhausted,
    };
    let mut metadata = MetadataMap::new();
    metadata.insert(CLOSE_CODE, MetadataValue::from(close.code as u32));
    if let Ok(reason) = MetadataValue::try_from(close.reason())
        && !reason.is_empty()
    {
        metadata.insert(CLOSE_REASON, reason);
    }
    Status::with_metadata(kind, "", metadata)
}

/// How a session ended, from a status; `None` in one that no session ended with.
pub fn close_of(status: &Status) -> Option<Close> {
    let number = status.metadata().get(CLOSE_CODE)?.to_str().ok()?;
    let reason = status.metadata().get(CLOSE_REASON).map(MetadataValue::as_bytes).unwrap_or_default();
    number.parse().ok().map(|number: u64| Close::read(number, reason))
}

/// The code alone.
pub fn close_code_of(status: &Status) -> Option<CloseCode> {
    close_of(status).map(|close| close.code)
}

/// What a call makes room for before anything comes: the messages of most sessions are small, and most are idle. The second
/// is how much of several small messages goes out at once.
fn buffers() -> BufferSettings {
    BufferSettings::new(512, 16 << 10)
}

/// Bytes of a session's name: as hard to guess as a key.
pub const SESSION_NAME_LEN: usize = 32;

/// A message of bulk.
pub const BULK_LEN_MAX: usize = limits::BUNDLE_LEN_MAX;

/// A message to the device may exceed what it may send: a page of entries and one large entry.
pub const SERVER_FRAME_LEN_MAX: usize = 2 * limits::FRAME_LEN_MAX;

const SESSION_NAME: &str = "feldakte-session-bin";
const CLOSE_CODE: &str = "feldakte-close-code";
const CLOSE_REASON: &str = "feldakte-close-reason";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn how_a_session_ends_survives_a_status() {
        for number in 0..=13 {
            let code = CloseCode::from_number(number).expect("a code");
            assert_eq!(close_of(&status_of(code)), Some(code.into()));
        }
        let busy = Close::busy(Duration::from_millis(1_500));
        assert_eq!(close_of(&status_of(busy)), Some(busy));
        assert_eq!(close_of(&Status::unavailable("a proxy's")), None);
    }

    #[test]
    fn a_code_of_a_later_version_is_a_protocol_error() {
        let mut status = status_of(CloseCode::Lapsed);
        status.metadata_mut().insert(CLOSE_CODE, MetadataValue::from(4_000_u32));
        assert_eq!(close_of(&status), Some(CloseCode::Protocol.into()));
    }

    #[test]
    fn a_sessions_name_survives_metadata_and_request() {
        let name = SessionName([7; SESSION_NAME_LEN]);
        let mut metadata = MetadataMap::new();
        name.write(&mut metadata);
        assert_eq!(SessionName::read(&metadata).as_ref(), Some(&name));
        assert_eq!(SessionName::read(&MetadataMap::new()), None);
        let request = BulkRequest { session: name, fetch: 3 };
        assert_eq!(BulkRequest::decode(request.encode()), Ok(request));
        let short = pb::BulkRequest { session: Bytes::from_static(b"short"), fetch: 1 };
        assert!(BulkRequest::decode(Frame(short.encode_to_vec().into())).is_err());
    }
}

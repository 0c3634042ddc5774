//! What stands on the wire and in the log: schema, frame codec, and conversions between protobuf and core types.
//!
//! Nothing generated leaves this crate: callers see [`ClientMessage`], [`ServerMessage`], [`Snapshot`] and
//! [`feldakte_core::log::Entry`]. A wire type is read by destructuring every field, so a new one breaks the build
//! here instead of being ignored in silence.

#[cfg(test)]
mod arbitrary;
mod authority;
mod bundle;
mod call;
mod close;
mod convert;
pub mod enrolment;
mod entry;
mod error;
mod frame;
pub mod grpc;
mod message;
mod packed;
pub mod quic;
mod shape;

/// Generated from `schema/`.
mod pb {
    #![allow(missing_docs, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/feldakte.v1.rs"));
}

pub use authority::{
    Answer, BreakGlass, Credential, Login, LoginEvent, OpenedOffline, Outcome, Receipts, Renew, Renewed, Seen, Share,
    SignInRefusal, SignedIn, WipeOrder,
};
pub use bundle::{Bundler, Snapshot, SnapshotError, Unbundled, decode_bundle};
pub use close::Close;
pub use convert::{Reason, Refused};
pub use entry::{decode_entry, encode_entry};
pub use error::{CloseCode, DecodeError};
pub use frame::{FrameDecoder, FrameError, HEADER_LEN, encode_frame};
pub use message::{
    CALLS_SINCE, ChangesFrame, ClientMessage, Durable, Fetch, Hello, Push, RawEntry, ServerMessage, VERSION,
    VERSION_PLAIN, VERSIONS, Welcome, negotiate,
};

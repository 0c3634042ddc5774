//! How a session ends, in the words of the wire, the audit log and the metrics.

use feldakte_core::audit;
use feldakte_proto::{Close, CloseCode, DecodeError};

use crate::{
    ledgers::LedgerError,
    store::StoreError,
    transport::{ReceiveError, SendError},
    turnstile::NotNow,
};

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The device sent something we do not take.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A message came where none of its kind may come.
    #[error("unexpected message: {0}")]
    Unexpected(&'static str),
    /// The certificate does not name a device, has expired or is denied.
    #[error("not permitted")]
    NotPermitted,
    /// No protocol version in common.
    #[error("no version in common")]
    Version,
    /// No complete `Hello` in time.
    #[error("no hello in time")]
    HelloTimeout,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The device takes no bytes.
    #[error("the device takes no bytes")]
    Stalled,
    /// A grant ended, and bytes that were under way did not leave in time.
    #[error("a grant ended while bytes were under way")]
    Lapsed,
    /// A user's sign-in ended while the session began.
    #[error("a sign-in has ended")]
    SignInEnded,
    /// Too many sessions begin.
    #[error(transparent)]
    NotNow(#[from] NotNow),
    /// The gateway is going down.
    #[error("draining")]
    Draining,
    /// The connection is gone.
    #[error("the connection is gone")]
    Gone,
}

impl SessionError {
    /// How the device is told.
    pub(crate) fn close(&self) -> Close {
        match self {
            SessionError::NotNow(NotNow::Busy { retry_after }) => Close::busy(*retry_after),
            error => error.close_code().into(),
        }
    }

    fn close_code(&self) -> CloseCode {
        match self {
            SessionError::Decode(error) => CloseCode::from(error),
            SessionError::Unexpected(_) => CloseCode::Protocol,
            SessionError::NotPermitted => CloseCode::NotPermitted,
            SessionError::Version => CloseCode::Version,
            SessionError::HelloTimeout => CloseCode::HelloTimeout,
            SessionError::Store(_) | SessionError::Ledger(_) => CloseCode::StoreUnavailable,
            SessionError::Stalled => CloseCode::Stalled,
            SessionError::Lapsed => CloseCode::Lapsed,
            SessionError::SignInEnded => CloseCode::SignInEnded,
            SessionError::NotNow(NotNow::Busy { .. }) => CloseCode::Busy,
            SessionError::NotNow(NotNow::Replaced) => CloseCode::Superseded,
            SessionError::Draining => CloseCode::Draining,
            SessionError::Gone => CloseCode::Done,
        }
    }

    /// What the audit log says of it; nothing of who was told to come back before anything else was said.
    pub(crate) fn audit_reason(&self) -> Option<audit::Reason> {
        Some(match self {
            SessionError::Decode(_) | SessionError::Unexpected(_) => audit::Reason::Protocol,
            SessionError::NotPermitted => audit::Reason::NotPermitted,
            SessionError::SignInEnded => audit::Reason::Expired,
            SessionError::Version => audit::Reason::Version,
            SessionError::HelloTimeout => audit::Reason::HelloTimeout,
            SessionError::Store(_) | SessionError::Ledger(_) => audit::Reason::StoreUnavailable,
            SessionError::Stalled => audit::Reason::Stalled,
            SessionError::Lapsed => audit::Reason::Lapsed,
            SessionError::Draining => audit::Reason::Draining,
            SessionError::Gone => audit::Reason::Gone,
            SessionError::NotNow(_) => return None,
        })
    }

    /// For metrics: one word, from a closed set.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            SessionError::Decode(_) | SessionError::Unexpected(_) => "protocol",
            SessionError::NotPermitted => "not_permitted",
            SessionError::Version => "version",
            SessionError::HelloTimeout => "hello_timeout",
            SessionError::Store(_) | SessionError::Ledger(_) => "store",
            SessionError::Stalled => "stalled",
            SessionError::Lapsed => "lapsed",
            SessionError::SignInEnded => "sign_in_ended",
            SessionError::NotNow(NotNow::Busy { .. }) => "sent_away",
            SessionError::NotNow(NotNow::Replaced) => "superseded",
            SessionError::Draining => "draining",
            SessionError::Gone => "gone",
        }
    }
}

impl From<ReceiveError> for SessionError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Decode(error) => SessionError::Decode(error),
            ReceiveError::Truncated => SessionError::Unexpected("the stream ended inside a frame"),
            ReceiveError::Gone => SessionError::Gone,
        }
    }
}

impl From<SendError> for SessionError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Stalled => SessionError::Stalled,
            SendError::Gone => SessionError::Gone,
        }
    }
}

//! How sessions and their streams end.

use std::time::Duration;

use feldakte_proto::{Close, CloseCode, DecodeError};

/// No session came about, or it ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// The gateway cannot be reached right now.
    #[error("the gateway cannot be reached")]
    Unreachable,
    /// The gateway has no room at the moment.
    #[error("the gateway has no room at the moment")]
    Busy,
    /// The gateway has no room at the moment, and said when it will have some.
    #[error("the gateway has no room for {} ms", .retry_after.as_millis())]
    SentAway {
        /// It is not dialled again before.
        retry_after: Duration,
    },
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

impl From<Close> for LinkError {
    fn from(Close { code, retry_after }: Close) -> Self {
        match (code, retry_after) {
            (CloseCode::Busy, Some(retry_after)) => LinkError::SentAway { retry_after },
            (CloseCode::Busy, None) => LinkError::Busy,
            (code, _) => LinkError::Closed(code),
        }
    }
}

/// The connection is gone.
#[derive(Debug, thiserror::Error)]
#[error("the connection is gone")]
pub struct Gone;

/// Nothing came that could be taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// What came is not a message we take.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The stream or connection is gone.
    #[error("the stream is gone")]
    Gone,
}

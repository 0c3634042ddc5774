//! What the SDK cannot do, as an app sees it: a variant per thing the app could do differently.

use std::time::Duration;

use feldakte_core::{call::Refusal, case::schema::SchemaError};
use feldakte_proto::SignInRefusal;

use crate::{pin::WeakPin, store::LocalStoreError};

/// An operation of the SDK failed. No variant carries case content.
#[derive(Debug, thiserror::Error)]
pub enum SdkError {
    /// The key does not open the local store: ask the user to unlock again.
    #[error("the key does not open the local store")]
    WrongKey,
    /// The local store was written by a newer app: update.
    #[error("the local store was written by a newer app")]
    NewerStore,
    /// Another process has the local store open.
    #[error("the local store is open in another process")]
    StoreInUse,
    /// No room: the edit was not saved. Free space and save again.
    #[error("the device's storage is full; nothing was saved")]
    StorageFull,
    /// The local store is damaged or fails.
    #[error("the local store failed")]
    Store(#[source] LocalStoreError),
    /// The device holds no such case.
    #[error("the device holds no such case")]
    UnknownCase,
    /// The device may no longer write this case.
    #[error("access to this case has ended")]
    AccessEnded,
    /// The edit does not fit the case.
    #[error("the edit does not fit the case: {0}")]
    Edit(&'static str),
    /// A value has not the type that the catalogue gives its field.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A newer app has marked the case as one that only newer apps may write: update.
    #[error("this case may only be written by a newer version of the app: update, then edit again")]
    AppTooOld,
    /// The device's certificate, key or the gateway's address cannot be used.
    #[error("the device's identity cannot be used: {0}")]
    Identity(String),
    /// No socket can be opened.
    #[error("no network socket can be opened")]
    Network(#[source] std::io::Error),
    /// There is no session: ask again when there is one.
    #[error("the gateway cannot be reached")]
    NotConnected,
    /// The device or its user may not.
    #[error("this is not permitted")]
    NotPermitted,
    /// The gateway cannot do it at the moment: ask again later.
    #[error("the gateway cannot do this at the moment")]
    Unavailable,
    /// The text for the supervisor is too long: shorten it.
    #[error("the text is longer than {} bytes", feldakte_core::limits::BREAK_GLASS_TEXT_MAX)]
    TextTooLong,
    /// There is a session: ask the gateway, with [`Client::break_glass`](crate::Client::break_glass).
    #[error("the gateway can be asked")]
    InSession,
    /// Asked too often within an hour.
    #[error("this was asked for too often")]
    TooOften,
    /// The device was ordered to destroy everything: nothing can be read or written. Sign in on another one.
    #[error("this device was wiped")]
    Wiped,
    /// The PIN is not that one, or nobody has that login.
    #[error("the PIN is wrong")]
    WrongPin,
    /// Too many wrong PINs: try again later.
    #[error("too many wrong PINs: try again in {} s", wait.as_secs())]
    PinLocked {
        /// How long the app must run until then.
        wait: Duration,
    },
    /// The new PIN is too easy.
    #[error(transparent)]
    WeakPin(#[from] WeakPin),
    /// What was given is not a token.
    #[error("this is not a token")]
    BadToken,
    /// The gateway does not believe the token.
    #[error("the gateway does not believe the token: {0:?}")]
    SignInRefused(SignInRefusal),
    /// Only the gateway can do this, and it cannot be reached.
    #[error("this needs the gateway, which cannot be reached")]
    Offline,
    /// The gateway does not do with the call what was wanted.
    #[error("the call is not as it would have to be: {0}")]
    CallRefused(Refusal),
    /// What was given is not a telephone number.
    #[error("this is not a telephone number")]
    NotAPhone,
    /// A message for the other side of a call is too long.
    #[error("a message for the other side of a call is longer than {} bytes", feldakte_core::limits::SIGNAL_LEN_MAX)]
    SignalTooLong,
    /// The client has been shut down.
    #[error("the client has been shut down")]
    ShutDown,
}

impl From<LocalStoreError> for SdkError {
    fn from(error: LocalStoreError) -> Self {
        match error {
            LocalStoreError::WrongKey => SdkError::WrongKey,
            LocalStoreError::NewerSchema { .. } => SdkError::NewerStore,
            LocalStoreError::InUse => SdkError::StoreInUse,
            LocalStoreError::Full => SdkError::StorageFull,
            error => SdkError::Store(error),
        }
    }
}

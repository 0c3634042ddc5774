//! What an app can do about a failure; one variant each.

use feldakte_client_sdk::{SdkError, store::LocalStoreError};

/// An operation of the SDK failed. No variant carries case content.
#[derive(Debug, thiserror::Error, uniffi::Error)]
#[uniffi(flat_error)]
pub enum FfiError {
    /// The key does not open the local store: ask the user to unlock again.
    #[error("the key does not open the local store")]
    WrongKey,
    /// The key source gave no key: ask again after the user has unlocked the device.
    #[error("the key of the local store is not available")]
    NoKey,
    /// The local store was written by a newer app: update.
    #[error("the local store was written by a newer app")]
    NewerStore,
    /// Another process has the local store open.
    #[error("the local store is open in another process")]
    StoreInUse,
    /// No room: nothing was saved. Free space and save again.
    #[error("the device's storage is full; nothing was saved")]
    StorageFull,
    /// The local store is damaged or fails.
    #[error("the local store failed")]
    Store,
    /// The device holds no such case.
    #[error("the device holds no such case")]
    UnknownCase,
    /// The device may no longer write this case.
    #[error("access to this case has ended")]
    AccessEnded,
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
    #[error("the text is too long")]
    TextTooLong,
    /// There is a session: ask the gateway, with `break_glass`.
    #[error("the gateway can be asked")]
    InSession,
    /// Asked too often within an hour.
    #[error("this was asked for too often")]
    TooOften,
    /// The device was ordered to destroy everything: nothing can be read or written.
    #[error("this device was wiped")]
    Wiped,
    /// The PIN is not that one, or nobody has that login.
    #[error("the PIN is wrong")]
    WrongPin,
    /// Too many wrong PINs: try again later.
    #[error("too many wrong PINs: try again in {seconds} s")]
    PinLocked {
        /// How long the app must run until then.
        seconds: u64,
    },
    /// The new PIN is too easy.
    #[error("the PIN is too easy")]
    WeakPin,
    /// The token is none, or the gateway does not believe it.
    #[error("the token is not believed")]
    SignInRefused,
    /// Only the gateway can do this, and it cannot be reached.
    #[error("this needs the gateway, which cannot be reached")]
    Offline,
    /// The edit does not fit the case.
    #[error("the edit does not fit the case: {0}")]
    Edit(String),
    /// A newer app has marked the case as one that only newer apps may write: update.
    #[error("this case may only be written by a newer version of the app")]
    AppTooOld,
    /// An argument cannot be used.
    #[error("an argument cannot be used: {0}")]
    Argument(String),
    /// Certificate, key or address cannot be used.
    #[error("the device's identity cannot be used: {0}")]
    Identity(String),
    /// No network socket can be opened.
    #[error("no network socket can be opened")]
    Network,
    /// The gateway does not do with the call what was wanted.
    #[error("the call is not as it would have to be: {why}")]
    CallRefused {
        /// Such as `taken`, `not_now` or `nobody_there`.
        why: String,
    },
    /// The client has been shut down.
    #[error("the client has been shut down")]
    ShutDown,
    /// A defect of the SDK; please report it.
    #[error("internal error")]
    Internal,
}

impl From<SdkError> for FfiError {
    fn from(error: SdkError) -> Self {
        match error {
            SdkError::WrongKey => FfiError::WrongKey,
            SdkError::NewerStore => FfiError::NewerStore,
            SdkError::StoreInUse => FfiError::StoreInUse,
            SdkError::StorageFull => FfiError::StorageFull,
            SdkError::Store(_) => FfiError::Store,
            SdkError::UnknownCase => FfiError::UnknownCase,
            SdkError::AccessEnded => FfiError::AccessEnded,
            SdkError::NotConnected => FfiError::NotConnected,
            SdkError::NotPermitted => FfiError::NotPermitted,
            SdkError::Unavailable => FfiError::Unavailable,
            SdkError::TextTooLong => FfiError::TextTooLong,
            SdkError::InSession => FfiError::InSession,
            SdkError::TooOften => FfiError::TooOften,
            SdkError::Wiped => FfiError::Wiped,
            SdkError::WrongPin => FfiError::WrongPin,
            SdkError::PinLocked { wait } => FfiError::PinLocked { seconds: wait.as_secs() },
            SdkError::WeakPin(_) => FfiError::WeakPin,
            SdkError::BadToken | SdkError::SignInRefused(_) => FfiError::SignInRefused,
            SdkError::Offline => FfiError::Offline,
            SdkError::Edit(why) => FfiError::Edit(why.to_owned()),
            SdkError::Schema(why) => FfiError::Edit(why.to_string()),
            SdkError::AppTooOld => FfiError::AppTooOld,
            SdkError::Identity(why) => FfiError::Identity(why),
            SdkError::Network(_) => FfiError::Network,
            SdkError::CallRefused(refusal) => FfiError::CallRefused { why: refusal.name().to_owned() },
            SdkError::NotAPhone => FfiError::Argument("that is not a telephone number".to_owned()),
            SdkError::SignalTooLong => FfiError::Argument("that is too long for a signal".to_owned()),
            SdkError::ShutDown => FfiError::ShutDown,
        }
    }
}

impl From<LocalStoreError> for FfiError {
    fn from(error: LocalStoreError) -> Self {
        SdkError::from(error).into()
    }
}

/// What an app's own code may answer when the SDK calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum CallbackError {
    /// The key is not available until the user has unlocked the device.
    #[error("the key store is locked")]
    Locked,
    /// Anything else, unexpected exceptions included.
    #[error("the app's code failed")]
    Failed,
}

impl From<uniffi::UnexpectedUniFFICallbackError> for CallbackError {
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        CallbackError::Failed
    }
}

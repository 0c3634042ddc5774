//! The SDK as Kotlin, Swift and Python see it, through UniFFI. No logic lives here: types and threads only.
//!
//! Every function returns a `Result` and runs on a runtime of our own; a panic becomes [`FfiError::Internal`]
//! instead of ending the app.

mod calls;
mod client;
mod convert;
mod error;
mod runtime;
mod types;

pub use client::{FeldakteClient, KeySource, OpenOptions, Watcher};
pub use error::{CallbackError, FfiError};
pub use runtime::end_threads;
pub use types::{
    CaseDocument, CaseOverview, CaseSafety, ClientStatus, ConnectionState, Edit, EmergencyReason, Entry, Fact,
    FactValue, FieldValue, Happening, OrderStep, OrderView, ParkedChange, Part, Safety, Value, WholeCase, WipeProgress,
};

uniffi::setup_scaffolding!();

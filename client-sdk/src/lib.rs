//! The offline-first client: an encrypted local store, a session that resumes, and the case as an app sees it.
//!
//! Everything works without a network. [`Client`] takes commands, [`view::Observer`] receives events; an edit is
//! saved on the device when its call returns, and [`view::CaseSync`] tells how much safer than that it is.

pub mod client;
mod engine;
pub mod environment;
pub mod error;
pub mod identity;
mod intent;
pub mod key;
mod link;
mod notify;
pub mod store;
pub mod view;
pub mod wire;
pub mod witness;

pub use client::{Client, ClientOptions};
pub use error::SdkError;
pub use identity::Identity;

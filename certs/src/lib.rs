//! Who may speak, and how: device identity in certificates, the authority that issues them, and the TLS policy.
//!
//! A device makes its key ([`request`]), the authority signs it ([`authority`]; for development a whole PKI in a
//! directory, [`development`]), and both ends of a connection take their rustls configuration from [`policy`]
//! alone. The gateway learns who speaks from the certificate ([`identity`]) and refuses who is denied ([`deny`],
//! [`crl`], [`verifier`]).
//!
//! Nothing in this crate reads a clock: whoever issues says what time it is, and rustls asks the `time_provider` of
//! its configuration. Private keys are wiped when dropped and stand in no error, log line or debug output. The one
//! crypto provider is aws-lc-rs; no process-wide default is installed or needed.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod authority;
pub mod crl;
pub mod deny;
pub mod development;
pub mod identity;
pub mod key;
pub mod pem;
pub mod pinned;
pub mod policy;
pub mod renewal;
pub mod request;
pub mod signing;
pub mod verifier;

#[cfg(test)]
mod testing;

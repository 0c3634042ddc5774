//! What gateway and device share, kept pure: the case model, admission, access, limits and back-off.
//!
//! Nothing in this crate does IO, reads a clock or draws randomness: time, entropy and bytes come in as
//! arguments, effects go out as values. That is what lets the same code run in a gateway, on a tablet and in a
//! simulation that repeats to the byte.

pub mod access;
pub mod admission;
pub mod audit;
pub mod backoff;
pub mod call;
pub mod case;
pub mod change;
pub mod code;
pub mod congestion;
pub mod crdt;
pub mod hex;
mod hidden;
pub mod ids;
pub mod lane;
pub mod limits;
pub mod log;
pub mod rate;
pub mod turnstile;

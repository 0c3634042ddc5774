//! Seeded simulation of the whole path: real gateway, real client, real QUIC and TLS on a simulated network, clock and
//! disks. Everything a run does follows from its seed.
//!
//! [`driver::run`] plays one seed; [`witness::Invariant`] says what must hold at every moment of it.

mod authority;
pub mod campaign;
pub mod driver;
mod edits;
mod gateway;
mod network;
mod pki;
pub mod plan;
pub mod regressions;
mod tablet;
pub mod trace;
mod verdict;
mod watched_local_store;
mod watched_store;
pub mod witness;
pub mod world;

//! One file per command besides `serve`.

pub mod backup;
pub mod demo;
pub mod pki;

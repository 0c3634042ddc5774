//! One file per command besides `serve`.

pub mod audit;
pub mod backup;
pub mod case;
pub mod control;
pub mod demo;
pub mod device;
pub mod keys;
pub mod operator;
pub mod pki;
pub mod review;

//! Teleconsultations, between real SDKs through a real gateway.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails, in its helpers too")]

mod bars;
mod readiness;
mod vitals;

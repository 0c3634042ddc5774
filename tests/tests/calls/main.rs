//! Calls: who is rung, who takes them, signalling, vitals, browsers, and media that flows.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails, in its helpers too")]

mod bars;
mod media;
mod pages;
mod readiness;
mod signalling;
mod simulation;
mod vitals;
mod vitals_bars;
mod web;

//! Calls: who is rung, who takes them, signalling, browsers, and media that flows.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails, in its helpers too")]

mod bars;
mod media;
mod pages;
mod signalling;
mod simulation;
mod web;

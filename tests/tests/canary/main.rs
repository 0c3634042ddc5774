//! A patient's name and a user's login are pushed through whatever a gateway and a tablet have, and are looked for in
//! whatever comes out: every error and what caused it, every log line at every level, metrics, panics, the audit log.
//!
//! A user has a pseudonym, the `UserId` that is made of issuer and subject. By design it stands in the audit log and in
//! messages; here it is looked for in logs, metrics, errors and panics like the login itself, and in the audit log only the
//! login is. What an operator types on a command line is quoted to his own terminal by the parser of arguments, and
//! `feldakte review show` prints to a supervisor what it is for; both are not looked at.
//!
//! Errors that hold no text need no run: [`errors`] proves by their types that they cannot. Those that can are provoked,
//! one by one, and a new one does not compile before it has been placed.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails, in its helpers too")]

mod content;
mod control;
mod errors;
mod search;
mod sources;
mod whole;

//! The gateway: a durable, authenticated, ordered log of CRDT changes, and the sessions that append and read it.
//!
//! Two things must be exactly right: *order* (persist, then speak: [`sequencer`]) and *authority* (no permit, no
//! bytes: [`session`], [`snapshots`], `feldakte_core::access`). Everything else may fail by closing; devices
//! reconnect and resume from their cursor.

pub mod addresses;
pub mod allocator;
pub mod audit;
pub mod catch_up;
pub mod census;
pub mod config;
pub mod control;
pub mod enrolment;
pub mod environment;
pub mod exchange;
pub mod gateway;
pub mod grpc;
pub mod handshake;
pub mod hub;
pub mod keys;
pub mod ledgers;
pub mod live;
pub mod mailbox;
pub mod metrics;
pub mod ops;
pub mod outlet;
pub mod panics;
mod permit;
pub mod projector;
mod pushes;
pub mod quotas;
pub mod registry;
pub mod relay;
mod renewals;
pub mod requests;
mod secret_file;
pub mod sequencer;
pub mod serve;
pub mod session;
pub mod snapshots;
pub mod speaker;
pub mod store;
mod tcp;
pub mod tls;
pub mod transport;
pub mod trust;
pub mod turnstile;
pub mod users;
mod watched;
pub mod web;
mod wipes;

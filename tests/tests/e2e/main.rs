//! The whole path as its users see it: tablets with the real SDK and raw readers against real gateways, over QUIC
//! and gRPC.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails, in its helpers too")]

mod authority;
mod cases;
mod damage;
mod emergencies;
mod ending;
mod enrolment;
mod giving;
mod grpc;
mod kills;
mod lanes;
mod logs;
mod long;
mod marks;
mod operation;
mod projector;
mod quarantine;
mod radio;
mod readers;
mod receipts;
mod reconnect;
mod reload;
mod restart;
mod sharing;
mod shredding;
mod storm;
mod supervision;
mod users;
mod users_on_devices;

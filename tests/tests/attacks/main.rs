//! What a hostile device or network may try. Each gets its typed refusal or close code, and nobody else notices.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails, in its helpers too")]

mod admission;
mod bystander;
mod certificates;
mod enrolment;
mod flood;
mod frames;
mod grpc;
mod half_open;
mod lanes;
mod lapse;
mod malicious_gateway;
mod shares;
mod sign_in;
mod slow;
mod storm;
mod tls;

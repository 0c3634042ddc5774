//! What works on a good network works on a bad one: devices and gateways in namespaces of their own, over emulated links.
//!
//! Real time and real sockets; nothing waits for a span of time where it can wait for an event.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails, in its helpers too")]

mod emulator;

use feldakte_tests::{
    netns::{self, network::Network},
    skipped,
};

/// A network for the test at hand, or nothing where none can be made, which is said.
fn network() -> Option<Network> {
    if let Some(why) = netns::unavailable() {
        skipped(&why);
        return None;
    }
    Some(Network::new().expect("it was possible a moment ago"))
}

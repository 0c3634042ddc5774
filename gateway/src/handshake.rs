//! Connections that are nobody's yet: how many handshakes are under way at once, and what becomes of the rest.
//!
//! Until a handshake ends its peer has proved nothing, not even its address: what it may cost is bounded here.

use std::sync::Arc;

use feldakte_core::limits;
use quinn::{Connection, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

use crate::metrics::Metrics;

/// All handshakes of an endpoint.
pub struct Handshakes {
    slots: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// One that may go on. It holds its place until it is complete or dropped.
pub struct Handshake {
    incoming: Incoming,
    slot: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
}

/// What is known of the address a first packet came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Address {
    /// Anybody may have written it into the packet.
    Claimed,
    /// Its peer has answered a Retry.
    Proven,
}

/// What becomes of a first packet.
enum Admission {
    Proceed(OwnedSemaphorePermit),
    /// Prove the address first. Costs a packet, no memory, and an honest device a round trip.
    Retry,
    /// Come back later.
    Refuse,
}

impl Handshakes {
    /// None under way.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { slots: Arc::new(Semaphore::new(limits::HANDSHAKES_MAX)), metrics }
    }

    /// Lets a first packet begin a handshake, or answers it without keeping anything.
    pub fn admit(&self, incoming: Incoming) -> Option<Handshake> {
        let address = if incoming.remote_address_validated() { Address::Proven } else { Address::Claimed };
        match self.judge(address) {
            Admission::Proceed(slot) => return Some(Handshake { incoming, slot, metrics: self.metrics.clone() }),
            Admission::Retry => {
                self.metrics.handshakes_retried.inc();
                incoming.retry().expect("an address that is not proven may be asked for a proof");
            }
            Admission::Refuse => {
                self.metrics.rejected.get_or_create(&vec![("reason", "busy")]).inc();
                incoming.refuse();
            }
        }
        None
    }

    fn judge(&self, address: Address) -> Admission {
        let under_way = limits::HANDSHAKES_MAX - self.slots.available_permits();
        let Ok(slot) = self.slots.clone().try_acquire_owned() else { return Admission::Refuse };
        match address {
            Address::Claimed if under_way >= limits::HANDSHAKES_UNPROVEN_MAX => Admission::Retry,
            Address::Claimed | Address::Proven => Admission::Proceed(slot),
        }
    }
}

impl Handshake {
    /// The connection, when the peer is an enrolled device and was quick enough.
    pub async fn complete(self) -> Option<Connection> {
        let Self { incoming, slot: _slot, metrics } = self;
        let rejected = |reason| metrics.rejected.get_or_create(&vec![("reason", reason)]).inc();
        match tokio::time::timeout(limits::HELLO_WITHIN, incoming).await {
            Ok(Ok(connection)) => Some(connection),
            Ok(Err(error)) => {
                rejected("handshake");
                debug!(%error, "handshake failed");
                None
            }
            Err(_) => {
                rejected("handshake_timeout");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Admitted, told to retry, refused, of `count` in a row that never end.
    fn rush(handshakes: &Handshakes, address: Address, count: usize) -> (Vec<OwnedSemaphorePermit>, usize, usize) {
        let (mut slots, mut retried, mut refused) = (Vec::new(), 0, 0);
        for _ in 0..count {
            match handshakes.judge(address) {
                Admission::Proceed(slot) => slots.push(slot),
                Admission::Retry => retried += 1,
                Admission::Refuse => refused += 1,
            }
        }
        (slots, retried, refused)
    }

    #[test]
    fn claimed_addresses_hold_a_quarter_and_proven_ones_the_rest() {
        let handshakes = Handshakes::new(Arc::default());
        let (claimed, retried, refused) = rush(&handshakes, Address::Claimed, 2 * limits::HANDSHAKES_MAX);
        assert_eq!(claimed.len(), limits::HANDSHAKES_UNPROVEN_MAX);
        assert_eq!((claimed.len() + retried, refused), (2 * limits::HANDSHAKES_MAX, 0));
        let (proven, retried, refused) = rush(&handshakes, Address::Proven, limits::HANDSHAKES_MAX);
        assert_eq!(claimed.len() + proven.len(), limits::HANDSHAKES_MAX);
        assert_eq!((retried, refused), (0, limits::HANDSHAKES_UNPROVEN_MAX));
    }

    #[test]
    fn a_handshake_that_ends_leaves_its_place_to_the_next() {
        let handshakes = Handshakes::new(Arc::default());
        let (mut slots, ..) = rush(&handshakes, Address::Proven, limits::HANDSHAKES_MAX);
        assert!(matches!(handshakes.judge(Address::Proven), Admission::Refuse));
        slots.pop();
        assert!(matches!(handshakes.judge(Address::Claimed), Admission::Retry));
        assert!(matches!(handshakes.judge(Address::Proven), Admission::Proceed(_)));
    }
}

//! Which transport works in which network, as far as it was seen.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::transport::Transport;

/// The winners of past races, by the device's own address in each network.
#[derive(Default)]
pub(crate) struct Ways(Mutex<BTreeMap<Option<IpAddr>, Transport>>);

impl Ways {
    /// What to begin with.
    pub(super) fn preferred(&self, network: Option<IpAddr>) -> Transport {
        self.lock().get(&network).copied().unwrap_or(Transport::Quic)
    }

    /// That one gave a session.
    pub(super) fn won(&self, network: Option<IpAddr>, over: Transport) {
        let mut winners = self.lock();
        if winners.len() >= NETWORKS_MAX && !winners.contains_key(&network) {
            winners.pop_first();
        }
        winners.insert(network, over);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Option<IpAddr>, Transport>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A crew's shift sees a handful.
const NETWORKS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_winner_is_remembered_for_its_network_alone() {
        let ways = Ways::default();
        let [hospital, street] = [[10, 0, 0, 7], [100, 64, 3, 1]].map(|address| Some(IpAddr::from(address)));
        ways.won(hospital, Transport::Grpc);
        assert_eq!((ways.preferred(hospital), ways.preferred(street)), (Transport::Grpc, Transport::Quic));
        ways.won(hospital, Transport::Quic);
        assert_eq!(ways.preferred(hospital), Transport::Quic, "the last one counts");
    }

    #[test]
    fn networks_without_end_are_not_remembered() {
        let ways = Ways::default();
        for n in 0..10 * NETWORKS_MAX as u32 {
            ways.won(Some(IpAddr::from(n.to_be_bytes())), Transport::Grpc);
        }
        assert_eq!(ways.lock().len(), NETWORKS_MAX);
    }
}

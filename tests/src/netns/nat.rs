//! The address translation of a radio network: it may give every conversation another port at any moment.
//!
//! Until the first rebinding nothing is translated, and everything passes.

use std::collections::BTreeMap;

use super::packet::{Endpoint, Packet, Port};

/// Ports that the gateway sees instead of the device's.
#[derive(Debug, Default)]
pub struct Nat {
    /// The last port given out; `None` before the first rebinding.
    last_port: Option<u16>,
    outside: BTreeMap<Endpoint, u16>,
    inside: BTreeMap<Endpoint, u16>,
}

impl Nat {
    /// Forgets every conversation: each gets another port when the device sends again, and until then what comes back
    /// for it is lost.
    pub fn rebind(&mut self) {
        self.last_port.get_or_insert(FIRST_PORT);
        self.outside.clear();
        self.inside.clear();
    }

    /// A packet of the device's on its way to the gateway.
    pub fn translate_up(&mut self, packet: &mut Packet) {
        let (Some(last), Some(inner)) = (self.last_port, packet.endpoint(Port::Source)) else { return };
        let outer = *self.outside.entry(inner).or_insert_with(|| {
            let port = if last == u16::MAX { FIRST_PORT } else { last + 1 };
            self.last_port = Some(port);
            self.inside.insert(Endpoint { port, ..inner }, inner.port);
            port
        });
        packet.set_port(Port::Source, outer);
    }

    /// A packet for the device; whether it is known whom it is for.
    pub fn translate_down(&self, packet: &mut Packet) -> bool {
        let (Some(_), Some(outer)) = (self.last_port, packet.endpoint(Port::Destination)) else { return true };
        let Some(port) = self.inside.get(&outer) else { return false };
        packet.set_port(Port::Destination, *port);
        true
    }
}

/// Below what kernels give to sockets, so that a port shows whether it was translated.
const FIRST_PORT: u16 = 10_000;

#[cfg(test)]
mod tests {
    use super::{super::packet::tests::datagram, *};

    fn seen_by_the_gateway(nat: &mut Nat) -> u16 {
        let mut packet = datagram(50_123, 4433);
        nat.translate_up(&mut packet);
        packet.endpoint(Port::Source).unwrap().port
    }

    /// An answer of the gateway's to that port of the device's address.
    fn answer_to(port: u16) -> Packet {
        let mut bytes = datagram(4433, port).bytes().to_vec();
        bytes[16..20].copy_from_slice(&[10, 9, 1, 2]);
        Packet::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn a_conversation_keeps_its_port_until_the_next_rebinding() {
        let mut nat = Nat::default();
        assert_eq!(seen_by_the_gateway(&mut nat), 50_123);
        nat.rebind();
        let first = seen_by_the_gateway(&mut nat);
        assert_ne!(first, 50_123);
        assert_eq!(seen_by_the_gateway(&mut nat), first);
        nat.rebind();
        assert_ne!(seen_by_the_gateway(&mut nat), first);
    }

    #[test]
    fn answers_find_the_device_and_those_to_a_forgotten_port_are_lost() {
        let mut nat = Nat::default();
        assert!(nat.translate_down(&mut answer_to(50_123)));
        nat.rebind();
        assert!(!nat.translate_down(&mut answer_to(50_123)));
        let port = seen_by_the_gateway(&mut nat);
        let mut answer = answer_to(port);
        assert!(nat.translate_down(&mut answer));
        assert_eq!(answer.endpoint(Port::Destination).unwrap().port, 50_123);
        nat.rebind();
        assert!(!nat.translate_down(&mut answer_to(port)));
    }
}

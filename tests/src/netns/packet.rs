//! An IPv4 packet, as far as an emulator must look into it: protocol and ports.

/// A well-formed IPv4 packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet(Vec<u8>);

/// Which of the two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// The sender's.
    Source,
    /// The receiver's.
    Destination,
}

/// What tells one conversation of a host from its others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// UDP or TCP.
    pub protocol: u8,
    /// The host.
    pub address: [u8; 4],
    /// Its port.
    pub port: u16,
}

impl Packet {
    /// `None` for anything but a whole IPv4 packet.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [first, _, len @ ..] = bytes.first_chunk::<4>()?;
        let is_whole = usize::from(u16::from_be_bytes(*len)) == bytes.len();
        let header_len = usize::from(first & 0x0f) * 4;
        let is_ipv4 = first >> 4 == 4 && (HEADER_LEN_MIN..=bytes.len()).contains(&header_len);
        (is_ipv4 && is_whole).then(|| Self(bytes.to_vec()))
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its length with the IP header.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it carries UDP.
    pub fn is_udp(&self) -> bool {
        self.protocol() == UDP
    }

    /// Who sent it or whom it is for; `None` where there are no ports: ICMP, and fragments after the first.
    pub fn endpoint(&self, which: Port) -> Option<Endpoint> {
        let port = u16::from_be_bytes(self.0[self.port_at(which)?..][..2].try_into().ok()?);
        let at = if which == Port::Source { 12 } else { 16 };
        Some(Endpoint { protocol: self.protocol(), address: self.0[at..][..4].try_into().ok()?, port })
    }

    /// Replaces a port and corrects the checksum. Does nothing where there are no ports.
    pub fn set_port(&mut self, which: Port, port: u16) {
        let Some(at) = self.port_at(which) else { return };
        let before = self.word(at);
        self.set_word(at, port);
        let at = self.header_len() + if self.is_udp() { 6 } else { 16 };
        // A UDP checksum of zero says that there is none.
        if at + 2 <= self.0.len() && !(self.is_udp() && self.word(at) == 0) {
            self.set_word(at, corrected(self.word(at), before, port));
        }
    }

    fn protocol(&self) -> u8 {
        self.0[9]
    }

    fn header_len(&self) -> usize {
        usize::from(self.0[0] & 0x0f) * 4
    }

    fn port_at(&self, which: Port) -> Option<usize> {
        let is_later_fragment = self.word(6) & 0x1fff != 0;
        let at = self.header_len() + if which == Port::Source { 0 } else { 2 };
        let has_ports = matches!(self.protocol(), UDP | TCP) && !is_later_fragment && at + 2 <= self.0.len();
        has_ports.then_some(at)
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    fn set_word(&mut self, at: usize, word: u16) {
        self.0[at..at + 2].copy_from_slice(&word.to_be_bytes());
    }
}

/// The checksum after one word of what it covers has changed (RFC 1624, equation 3).
fn corrected(checksum: u16, before: u16, after: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!before) + u32::from(after);
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

const HEADER_LEN_MIN: usize = 20;
const TCP: u8 = 6;
const UDP: u8 = 17;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A datagram of 28 + 4 bytes from 10.9.1.2 to 10.9.0.1, without its IP header's checksum.
    pub fn datagram(source: u16, destination: u16) -> Packet {
        let mut bytes = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, UDP, 0, 0, 10, 9, 1, 2, 10, 9, 0, 1];
        bytes.extend(source.to_be_bytes());
        bytes.extend(destination.to_be_bytes());
        bytes.extend([0, 12, 0, 0, b'F', b'e', b'l', b'd']);
        let mut packet = Packet::from_bytes(&bytes).unwrap();
        packet.set_word(26, !sum_of(&packet));
        packet
    }

    /// The ones' complement sum that a UDP checksum complements: pseudo header and datagram.
    fn sum_of(packet: &Packet) -> u16 {
        let words = (6..packet.len() / 2).map(|n| u32::from(packet.word(2 * n)));
        let sum = words.sum::<u32>() + u32::from(UDP) + (packet.len() as u32 - 20);
        (((sum & 0xffff) + (sum >> 16)) & 0xffff) as u16 + u16::from((sum & 0xffff) + (sum >> 16) > 0xffff)
    }

    #[test]
    fn a_replaced_port_leaves_a_right_checksum() {
        for port in [0, 1, 443, 0x7fff, 0xfffe, 0xffff] {
            let mut packet = datagram(50_123, 4433);
            packet.set_port(Port::Source, port);
            assert_eq!(packet.endpoint(Port::Source).unwrap().port, port);
            assert_eq!(sum_of(&packet), 0xffff, "port {port}");
        }
    }

    #[test]
    fn what_is_not_whole_or_not_ipv4_is_no_packet() {
        let packet = datagram(1, 2);
        let bytes = packet.bytes();
        assert!(Packet::from_bytes(&bytes[..31]).is_none());
        assert!(Packet::from_bytes(&[]).is_none());
        let mut version_6 = bytes.to_vec();
        version_6[0] = 0x60;
        assert!(Packet::from_bytes(&version_6).is_none());
    }

    #[test]
    fn a_later_fragment_has_no_ports() {
        let mut packet = datagram(1, 2);
        packet.set_word(6, 100);
        assert_eq!(packet.endpoint(Port::Source), None);
    }
}

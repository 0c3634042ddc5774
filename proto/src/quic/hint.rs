//! What a device's first packet says about it: the length of the connection id that it makes up for the gateway.
//!
//! Nothing proves it, and whoever watches the line can read it. It decides who waits longer for a handshake, and nothing else.

use quinn_proto::{ConnectionId, ConnectionIdGenerator, RandomConnectionIdGenerator};

/// How a device that is on a mission, or is not, calls a gateway that has not answered yet. As unpredictable as RFC 9000 (7.2)
/// wants it.
pub fn first_connection_id(on_mission: bool) -> ConnectionId {
    RandomConnectionIdGenerator::new(if on_mission { ON_MISSION_LEN } else { LEN }).generate_cid()
}

/// Whether who calls the gateway so says that it is on a mission.
pub fn says_on_mission(first: &ConnectionId) -> bool {
    first.len() == ON_MISSION_LEN
}

/// As long as it can be, as quinn's are.
const LEN: usize = 20;
const ON_MISSION_LEN: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_packet_says_whether_it_is_of_a_mission() {
        assert!(says_on_mission(&first_connection_id(true)));
        assert!(!says_on_mission(&first_connection_id(false)));
        assert_ne!(first_connection_id(true), first_connection_id(true));
    }
}

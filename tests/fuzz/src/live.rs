//! Everything that reads datagrams of live vitals: packets, probes, and the receiver that puts packets together.
//!
//! Invariants: no panic; what decodes, encodes to the same bytes; nothing is shown twice, and no more than came.

use feldakte_core::{
    ids::CallId,
    limits,
    live::{Receiver, call_of, decode, encode, probe::Probe},
};
use uuid::Uuid;

/// Reads datagrams one behind the other: two bytes say how much later one comes, two how long it is, and it is decoded as
/// everything. The call of the first is the one that is watched.
pub fn run(mut data: &[u8]) {
    let (mut now_ms, mut receiver, mut came) = (0_u64, None, 0_u64);
    while let Some((head, rest)) = data.split_at_checked(4) {
        now_ms += u64::from(u16::from_be_bytes([head[0], head[1]]));
        let len = usize::from(u16::from_be_bytes([head[2], head[3]])).min(limits::LIVE_PACKET_LEN_MAX + 1);
        let (datagram, rest) = rest.split_at(len.min(rest.len()));
        data = rest;
        check(datagram);
        let call = call_of(datagram).unwrap_or(CallId(Uuid::nil()));
        let receiver = receiver.get_or_insert_with(|| Receiver::new(call));
        if receiver.take(now_ms, 20, datagram).is_ok() {
            came += limits::LIVE_PIECES_MAX as u64;
        }
        if now_ms % 3 == 0 {
            let shown = std::iter::from_fn(|| receiver.poll(now_ms)).count() as u64;
            assert!(shown <= came, "more was shown than came");
            came -= shown;
        }
    }
}

fn check(datagram: &[u8]) {
    if let Ok(packet) = decode(datagram) {
        assert_eq!(call_of(datagram), Ok(packet.call));
        assert_eq!(encode(&packet).as_deref(), Ok(datagram), "there is one way to write a packet");
    }
    if let Ok(Some(probe)) = Probe::decode(datagram) {
        assert_eq!(probe.encode(), datagram, "there is one way to write a probe");
    }
}

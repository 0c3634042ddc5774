//! What both ends of a QUIC connection share: how much is in flight, and how soon it is acknowledged.

mod congestion;
mod hint;

use feldakte_core::congestion::ACK_DELAY;
use quinn_proto::{AckFrequencyConfig, TransportConfig, VarInt};

pub use congestion::{Control, ControlFactory};
pub use hint::{first_connection_id, says_on_mission};

/// Sets what both ends have in common; windows, streams and timers are each end's own.
pub fn configure(transport: &mut TransportConfig) -> &mut TransportConfig {
    transport
        .congestion_controller_factory(ControlFactory::shared())
        .ack_frequency_config(Some(acknowledgements()))
        // Packets of 1,200 bytes, which pass everywhere. A search for larger ones costs 11 KB each way and connection where the
        // path takes less than 1,452, and saves 0.6 %: bytes that a device that often dials again does not win back.
        .mtu_discovery_config(None)
}

/// Datagrams of live vitals, bounded both ways. A sender's buffer holds two: it drops the oldest for a newer one, and what
/// waits in front of it is the sender's own choice. quinn counts what an empty datagram takes as well (since 0.11.16), drops the
/// oldest beyond the receiver's, and nobody keeps a connection's datagrams unread.
pub fn take_datagrams(transport: &mut TransportConfig) -> &mut TransportConfig {
    transport.datagram_receive_buffer_size(Some(DATAGRAMS_RECEIVED)).datagram_send_buffer_size(DATAGRAMS_SENT)
}

/// What comes while its task does not get to run: a dozen calls' worth of one round of datagrams.
const DATAGRAMS_RECEIVED: usize = 16 << 10;
/// Two of the largest, with what quinn counts for each.
const DATAGRAMS_SENT: usize = 2 * (1_150 + 64);

/// What is asked of the other end. Lone messages are acknowledged sooner than by default: what is lost is sent again
/// sooner, and the delay tells more of the queue.
fn acknowledgements() -> AckFrequencyConfig {
    let mut acknowledgements = AckFrequencyConfig::default();
    // As without this extension (RFC 9000, 13.2.1): a gap is told at once.
    acknowledgements.max_ack_delay(Some(ACK_DELAY)).reordering_threshold(VarInt::from_u32(1));
    acknowledgements
}

//! The transports that are compared.

use clap::ValueEnum;

/// How bulk and echo get to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// QUIC with our congestion control; bulk on the lowest lane, the echo on the highest, each message with a tail.
    Quic,
    /// Two lanes without tails, with quinn's CUBIC.
    QuicCubic,
    /// One TCP connection with CUBIC that carries both in frames of 16 KB at most, as HTTP/2 does.
    Tcp,
    /// Two TCP connections with BBR, one for each, and tails, as sessions over gRPC where the system has BBR.
    TcpPair,
    /// The same with CUBIC.
    TcpPairCubic,
}

impl Contender {
    /// Every one, in the table's order.
    pub const ALL: [Contender; 5] = [Self::Quic, Self::QuicCubic, Self::Tcp, Self::TcpPair, Self::TcpPairCubic];

    /// How far from the bars it may be: over the fallback twice as far as over QUIC. `None` for those that are measured beside
    /// ours.
    pub fn bars_factor(self) -> Option<u32> {
        match self {
            Self::Quic => Some(1),
            Self::TcpPair => Some(2),
            _ => None,
        }
    }

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quic => "QUIC",
            Self::QuicCubic => "QUIC, CUBIC",
            Self::Tcp => "one TCP connection",
            Self::TcpPair => "two TCP connections, BBR",
            Self::TcpPairCubic => "two TCP connections",
        }
    }
}

//! What each channel needs. The only table of its kind; where a number has a source, it stands beside it.

use super::{Channel, FRESH_FOR_MS, Fact, Verdict};

/// What a fact is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Green up to the first, yellow up to the second.
    AtMost(u64, u64),
    /// Green from the first on, yellow from the second on.
    AtLeast(u64, u64),
}

/// What a channel needs: green, then yellow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    rtt_ms: (u32, u32),
    loss_permille: (u32, u32),
    up_kbit_s: (u32, u32),
    down_kbit_s: (u32, u32),
}

impl Limit {
    /// What follows from a fact.
    pub fn judge(self, measured: u64) -> Verdict {
        let (is_green, is_yellow) = match self {
            Limit::AtMost(green, yellow) => (measured <= green, measured <= yellow),
            Limit::AtLeast(green, yellow) => (measured >= green, measured >= yellow),
        };
        match (is_green, is_yellow) {
            (true, _) => Verdict::Green,
            (false, true) => Verdict::Yellow,
            (false, false) => Verdict::Red,
        }
    }
}

impl Need {
    /// Of a channel.
    pub fn of(channel: Channel) -> Self {
        match channel {
            // ITU-T G.114: up to 150 ms one way nobody notices, beyond 400 ms nobody should plan with. Opus conceals 10 % of loss
            // with its own redundancy, audibly (RFC 7587, 3.1.1; RFC 6716). Rates: Opus speech at 24 and 12 kbit/s, 20 ms
            // packets, and 16 kbit/s of RTP, SRTP, UDP and IP around it.
            Channel::Voice => {
                Self { rtt_ms: (300, 800), loss_permille: (30, 100), up_kbit_s: (40, 28), down_kbit_s: (40, 28) }
            }
            // Ours: 200 bytes a second, and headers; numbers of the last second still tell something after three.
            Channel::Vitals => {
                Self { rtt_ms: (1_000, 3_000), loss_permille: (100, 300), up_kbit_s: (8, 4), down_kbit_s: (4, 1) }
            }
            // Live curves take 20 to 96 kbit/s (DOMAIN, Numbers). Each piece is sent twice, so that 5 % of independent loss leave
            // 0.25 % of gaps. That a curve is half a second old is ours.
            Channel::Ecg => {
                Self { rtt_ms: (500, 1_500), loss_permille: (50, 150), up_kbit_s: (96, 40), down_kbit_s: (8, 2) }
            }
            // 800 KB (DOMAIN, Numbers) within half a minute and within three; ours.
            Channel::Photo => {
                Self { rtt_ms: (1_500, 5_000), loss_permille: (50, 150), up_kbit_s: (220, 36), down_kbit_s: (16, 4) }
            }
            // 640 × 480 at 15 pictures a second: 500 kbit/s of VP8, half of it at a third of the pictures; ours. Delay as for voice,
            // which it must keep in step with.
            Channel::Video => {
                Self { rtt_ms: (300, 800), loss_permille: (20, 50), up_kbit_s: (600, 250), down_kbit_s: (40, 16) }
            }
        }
    }

    /// The least that it takes to the gateway.
    pub fn up_least(&self) -> u32 {
        self.up_kbit_s.1
    }

    /// The least that it takes from the gateway.
    pub fn down_least(&self) -> u32 {
        self.down_kbit_s.1
    }

    pub(super) fn limits(&self) -> [(Fact, Limit); 5] {
        let Self { rtt_ms, loss_permille, up_kbit_s, down_kbit_s } = *self;
        let at_most = |(green, yellow): (u32, u32)| Limit::AtMost(green.into(), yellow.into());
        let at_least = |(green, yellow): (u32, u32)| Limit::AtLeast(green.into(), yellow.into());
        [
            (Fact::Age, Limit::AtMost(FRESH_FOR_MS, STALE_FOR_MS)),
            (Fact::Rtt, at_most(rtt_ms)),
            (Fact::Loss, at_most(loss_permille)),
            (Fact::Up, at_least(up_kbit_s)),
            (Fact::Down, at_least(down_kbit_s)),
        ]
    }
}

/// Of a link of which nothing was heard for so long nothing is known: it may be gone.
const STALE_FOR_MS: u64 = 15_000;

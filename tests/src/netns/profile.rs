//! The networks that crews have, by their letters: every functional test runs under them.
//!
//! The numbers are requirements. What the requirements leave open is our estimate, and says so.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    conditions::{Conditions, Path},
    jitter::Jitter,
    loss::Loss,
};

/// A kind of network.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its letter.
    pub name: &'static str,
    /// What it is like while there is one.
    pub radio: Radio,
    /// Where it does not stay the same: the other network, and how often they take turns.
    pub alternates: Option<(Radio, Duration)>,
    /// For how long there is none at first.
    pub begins_without: Option<RangeInclusive<Duration>>,
    /// Another address every so often.
    pub address_changes_every: Option<Duration>,
    /// Other ports every so often, without a word to the device.
    pub nat_rebinds_every: Option<Duration>,
    /// Whether UDP passes.
    pub passes_udp: bool,
    /// The largest packet that passes.
    pub mtu: u16,
}

/// What a radio link is like.
#[derive(Debug, Clone, PartialEq)]
pub struct Radio {
    /// How long a small packet takes to the gateway and back, on average.
    pub round_trip: Duration,
    /// By how much a round trip is shorter or longer than that at the most.
    pub jitter: Duration,
    /// What is lost, each way.
    pub loss: Loss,
    /// Bits per second from the device.
    pub up: u64,
    /// Bits per second to the device.
    pub down: u64,
    /// How long the link is gone at a time, and for how long it is there in between.
    pub gaps: Option<(RangeInclusive<Duration>, Duration)>,
}

impl Profile {
    /// `U`: urban.
    pub const URBAN: Profile = Profile::of("U", URBAN);
    /// `M`: a moving vehicle.
    pub const MOVING: Profile =
        Profile { address_changes_every: Some(Duration::from_secs(5 * 60)), ..Profile::of("M", MOVING) };
    /// `R`: rural.
    pub const RURAL: Profile = Profile::of("R", RURAL);
    /// `G`: EDGE. For small messages only.
    pub const EDGE: Profile = Profile::of("G", EDGE);
    /// `B`: a basement, then the vehicle again.
    pub const BASEMENT: Profile = Profile {
        begins_without: Some(Duration::from_secs(10 * 60)..=Duration::from_secs(40 * 60)),
        name: "B",
        ..Self::MOVING
    };
    /// `X`: hostile to everything but TCP.
    pub const HOSTILE: Profile = Profile {
        nat_rebinds_every: Some(Duration::from_secs(30)),
        passes_udp: false,
        mtu: 1_280,
        name: "X",
        ..Self::MOVING
    };
    /// `D`: two SIM cards of which one fails after the other. The device routes through one at a time: to its sockets
    /// that is another address and another network.
    pub const DUAL: Profile = Profile { alternates: Some((RURAL, TURN)), ..Profile::of("D", MOVING) };

    /// All of them.
    pub const ALL: [Profile; 7] =
        [Self::URBAN, Self::MOVING, Self::RURAL, Self::EDGE, Self::BASEMENT, Self::HOSTILE, Self::DUAL];

    const fn of(name: &'static str, radio: Radio) -> Self {
        Self {
            name,
            radio,
            alternates: None,
            begins_without: None,
            address_changes_every: None,
            nat_rebinds_every: None,
            passes_udp: true,
            mtu: Conditions::PERFECT.mtu,
        }
    }

    /// The one of that letter.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name == name)
    }

    /// A link of this kind, while it is there.
    pub fn conditions(&self) -> Conditions {
        self.conditions_with(&self.radio)
    }

    /// The same while that radio is used.
    pub fn conditions_with(&self, radio: &Radio) -> Conditions {
        Conditions {
            up: radio.path(radio.up),
            down: radio.path(radio.down),
            is_up: true,
            passes_udp: self.passes_udp,
            mtu: self.mtu,
        }
    }
}

impl Radio {
    fn path(&self, rate: u64) -> Path {
        // The round trip varies by `jitter` to both sides of its average, half of it each way.
        let delay = self.round_trip.saturating_sub(self.jitter) / 2;
        let queue = (rate / 8 * QUEUE.as_millis() as u64 / 1_000) as usize;
        Path {
            delay,
            jitter: Jitter::Wave(self.jitter),
            loss: self.loss,
            rate: Some(rate),
            queue: queue.max(QUEUE_LEN_MIN),
        }
    }
}

const URBAN: Radio = Radio {
    round_trip: Duration::from_millis(40),
    jitter: Duration::from_millis(10),
    loss: Loss::Random(0.002),
    up: 10_000_000,
    down: 40_000_000,
    gaps: None,
};

const MOVING: Radio = Radio {
    round_trip: Duration::from_millis(80),
    jitter: Duration::from_millis(40),
    loss: Loss::Fading { share: 0.01, fade: FADE },
    up: 2_000_000,
    down: 10_000_000,
    gaps: Some((Duration::from_secs(1)..=Duration::from_secs(5), Duration::from_secs(60))),
};

const RURAL: Radio = Radio {
    round_trip: Duration::from_millis(180),
    jitter: Duration::from_millis(80),
    loss: Loss::Fading { share: 0.03, fade: FADE },
    up: 300_000,
    down: 1_000_000,
    gaps: Some((Duration::from_secs(5)..=Duration::from_secs(60), RARELY)),
};

const EDGE: Radio = Radio {
    round_trip: Duration::from_millis(700),
    jitter: Duration::from_millis(200),
    loss: Loss::Random(0.02),
    up: 40_000,
    down: 100_000,
    gaps: Some((Duration::from_secs(10)..=Duration::from_secs(60), RARELY)),
};

/// How long a fade is where losses are bursty. Our estimate: a few slots of a radio's scheduler.
const FADE: Duration = Duration::from_millis(40);
/// How long a link without a number of its own is there between two gaps. Our estimate.
const RARELY: Duration = Duration::from_secs(120);
/// How long one of two SIM cards lasts: the path change of the bars.
const TURN: Duration = Duration::from_secs(20);
/// What a radio's own buffer holds. Our estimate: short for a phone, long enough to spoil every delay bar.
const QUEUE: Duration = Duration::from_millis(400);
/// Ten packets, however slow the link.
const QUEUE_LEN_MIN: usize = 15_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// The requirements' line, and what it comes to: round trip / jitter ms, loss, up / down Mbit/s.
    #[test]
    fn profiles_have_the_numbers_of_the_requirements() {
        let lines = Profile::ALL.map(|Profile { name, radio, .. }| {
            let (loss, kind) = match radio.loss {
                Loss::None => (0.0, ""),
                Loss::Random(share) => (share, ""),
                Loss::Bursty { share, .. } | Loss::Fading { share, .. } => (share, " bursty"),
            };
            let [round_trip, jitter] = [radio.round_trip, radio.jitter].map(|span| span.as_millis());
            let [up, down] = [radio.up, radio.down].map(|rate| rate as f64 / 1e6);
            format!("{name} {round_trip}/{jitter} ms, {:.1} %{kind}, {up}/{down}", loss * 100.0)
        });
        let moving = |name| format!("{name} 80/40 ms, 1.0 % bursty, 2/10");
        assert_eq!(
            lines,
            [
                "U 40/10 ms, 0.2 %, 10/40".to_owned(),
                moving("M"),
                "R 180/80 ms, 3.0 % bursty, 0.3/1".to_owned(),
                "G 700/200 ms, 2.0 %, 0.04/0.1".to_owned(),
                moving("B"),
                moving("X"),
                moving("D"),
            ]
        );
    }

    #[test]
    fn profiles_break_off_as_the_requirements_say() {
        let gaps = |radio: &Radio| {
            let seconds = |gaps: &RangeInclusive<Duration>| gaps.start().as_secs()..=gaps.end().as_secs();
            radio.gaps.as_ref().map(|(length, _)| seconds(length))
        };
        let every = [Profile::URBAN, Profile::MOVING, Profile::RURAL, Profile::EDGE].map(|it| gaps(&it.radio));
        assert_eq!(every, [None, Some(1..=5), Some(5..=60), Some(10..=60)]);
        assert_eq!(MOVING.gaps.unwrap().1, Duration::from_secs(60));
        assert_eq!(Profile::MOVING.address_changes_every, Some(Duration::from_secs(300)));
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(Profile::BASEMENT.begins_without, Some(minutes(10)..=minutes(40)));
        let Profile { passes_udp, mtu, nat_rebinds_every, .. } = Profile::HOSTILE;
        assert_eq!((passes_udp, mtu, nat_rebinds_every), (false, 1_280, Some(Duration::from_secs(30))));
        assert_eq!(Profile::DUAL.alternates.unwrap().0, RURAL);
    }

    #[test]
    fn a_round_trip_varies_to_both_sides_of_its_average() {
        let Conditions { up, down, .. } = Profile::EDGE.conditions();
        let Jitter::Wave(span) = up.jitter else { panic!("it keeps the order") };
        assert_eq!(up.delay + down.delay, Duration::from_millis(500));
        assert_eq!(up.delay + down.delay + 2 * span, Duration::from_millis(900));
    }

    #[test]
    fn letters_name_profiles() {
        assert_eq!(Profile::named("X"), Some(Profile::HOSTILE));
        assert_eq!(Profile::named("x"), None);
    }
}

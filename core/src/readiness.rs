//! Whether the link suffices, channel by channel: measured facts in, a verdict with its reasons out.
//!
//! The crew decides on it before each teleconsultation, and it is written into the case. So nothing is guessed: what was not
//! measured is said to be unknown and makes nothing green, and what is older than [`FRESH_FOR_MS`] is no fact any more.
//!
//! Channels give way in one order: video to voice, photos to both. See [`Readiness::carried`].

use crate::crdt::Value;

mod needs;

pub use needs::{Limit, Need};

/// What was measured of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Milliseconds there and back.
    pub rtt_ms: u32,
    /// How much that varies, in milliseconds; `None` when it was measured once.
    pub jitter_ms: Option<u32>,
    /// Of a thousand packets, how many were lost; `None` when none were counted.
    pub loss_permille: Option<u32>,
    /// Kilobits a second that were seen to get to the gateway; `None` when nothing was sent that would tell.
    pub up_kbit_s: Option<u32>,
    /// The same from the gateway.
    pub down_kbit_s: Option<u32>,
    /// Milliseconds since it was measured.
    pub age_ms: u64,
}

/// What a teleconsultation is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Speech, both ways.
    Voice,
    /// Numbers once a second.
    Vitals,
    /// Twelve leads, live.
    Ecg,
    /// A photo within half a minute.
    Photo,
    /// A moving picture.
    Video,
}

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Does not suffice.
    Red,
    /// Suffices with losses, or it is not known.
    Yellow,
    /// Suffices.
    Green,
}

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact {
    /// Whether there is a session, and how old what is known of it is: milliseconds.
    Age,
    /// Milliseconds there and back.
    Rtt,
    /// Of a thousand packets, those that were lost.
    Loss,
    /// Kilobits a second to the gateway.
    Up,
    /// Kilobits a second from the gateway.
    Down,
}

/// One fact, and what it was held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// Which fact.
    pub fact: Fact,
    /// What it was; `None` when it is not known.
    pub measured: Option<u64>,
    /// What it is held against.
    pub limit: Limit,
    /// What follows from it alone.
    pub verdict: Verdict,
}

/// What is said of a channel, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Which channel.
    pub channel: Channel,
    /// The worst that a fact says.
    pub verdict: Verdict,
    /// Each fact that counts for it.
    pub reasons: Vec<Reason>,
}

/// What is said of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// What was measured; `None` without a session.
    pub facts: Option<Facts>,
    /// Every channel, in the order of [`Channel::ALL`].
    pub channels: Vec<Judged>,
}

impl Channel {
    /// All of them. Whoever comes later gives way to those before.
    pub const ALL: [Channel; 5] = [Channel::Voice, Channel::Vitals, Channel::Ecg, Channel::Video, Channel::Photo];

    /// As the case and apps name it.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Voice => "voice",
            Channel::Vitals => "vitals",
            Channel::Ecg => "ecg",
            Channel::Photo => "photo",
            Channel::Video => "video",
        }
    }
}

impl Verdict {
    /// As the case and apps name it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Red => "red",
            Verdict::Yellow => "yellow",
            Verdict::Green => "green",
        }
    }
}

impl Fact {
    /// As apps name it.
    pub fn name(self) -> &'static str {
        match self {
            Fact::Age => "age_ms",
            Fact::Rtt => "rtt_ms",
            Fact::Loss => "loss_permille",
            Fact::Up => "up_kbit_s",
            Fact::Down => "down_kbit_s",
        }
    }
}

impl Facts {
    fn of(&self, fact: Fact) -> Option<u64> {
        match fact {
            Fact::Age => Some(self.age_ms),
            Fact::Rtt => Some(self.rtt_ms.into()),
            Fact::Loss => self.loss_permille.map(u64::from),
            Fact::Up => self.up_kbit_s.map(u64::from),
            Fact::Down => self.down_kbit_s.map(u64::from),
        }
    }
}

impl Readiness {
    /// Of a link of which this was measured; `None` without a session, over which nothing gets through.
    pub fn of(facts: Option<Facts>) -> Self {
        let channels = Channel::ALL.into_iter().map(|channel| judge(channel, facts.as_ref())).collect();
        Self { facts, channels }
    }

    /// What is said of a channel.
    pub fn verdict(&self, channel: Channel) -> Verdict {
        let judged = self.channels.iter().find(|judged| judged.channel == channel);
        judged.map_or(Verdict::Red, |judged| judged.verdict)
    }

    /// Which of the wanted channels are to be on: none that is red, voice whatever is said of it, and no more than what the
    /// link was seen to carry, in the order in which they give way. A rate that is not known stops nothing that is not red.
    pub fn carried(&self, wanted: &[Channel]) -> Vec<Channel> {
        let Some(facts) = self.facts else { return Vec::new() };
        let (mut up, mut down) = (facts.up_kbit_s, facts.down_kbit_s);
        let mut carried = Vec::new();
        for channel in Channel::ALL.into_iter().filter(|channel| wanted.contains(channel)) {
            let need = Need::of(channel);
            let fits = |rate: Option<u32>, least: u32| rate.is_none_or(|rate| rate >= least);
            let suffices =
                self.verdict(channel) > Verdict::Red && fits(up, need.up_least()) && fits(down, need.down_least());
            if suffices || channel == Channel::Voice {
                carried.push(channel);
                up = up.map(|rate| rate.saturating_sub(need.up_least()));
                down = down.map(|rate| rate.saturating_sub(need.down_least()));
            }
        }
        carried
    }

    /// As the fields of an entry `readiness` of a mission: every channel with its verdict and what was measured.
    pub fn fields(&self) -> Vec<(String, Value)> {
        let data = [("usable".to_owned(), Value::Boolean(self.facts.is_some()))].into_iter().chain(self.measured());
        let mut fields = vec![("data".to_owned(), Value::Record(data.collect()))];
        fields.extend(self.channels.iter().map(|Judged { channel, verdict, .. }| {
            let usable = ("usable".to_owned(), Value::Boolean(*verdict > Verdict::Red));
            let verdict = ("verdict".to_owned(), Value::Text(verdict.name().to_owned()));
            let members = [usable, verdict].into_iter().chain(self.measured()).collect();
            (channel.name().to_owned(), Value::Record(members))
        }));
        fields
    }

    /// Not what is unknown.
    fn measured(&self) -> Vec<(String, Value)> {
        let Some(Facts { rtt_ms, jitter_ms, loss_permille, up_kbit_s, down_kbit_s, age_ms }) = self.facts else {
            return Vec::new();
        };
        let decimal = |number: u32| Value::Decimal(f64::from(number));
        let members = [
            Some(("rtt_ms", Value::Integer(rtt_ms.into()))),
            jitter_ms.map(|jitter| ("jitter_ms", Value::Integer(jitter.into()))),
            loss_permille.map(|loss| ("loss_percent", Value::Decimal(f64::from(loss) / 10.0))),
            up_kbit_s.map(|rate| ("up_kbit_s", decimal(rate))),
            down_kbit_s.map(|rate| ("down_kbit_s", decimal(rate))),
            Some(("age_ms", Value::Integer(i64::try_from(age_ms).unwrap_or(i64::MAX)))),
        ];
        members.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn judge(channel: Channel, facts: Option<&Facts>) -> Judged {
    let limits = Need::of(channel).limits();
    let reason = |(fact, limit): (Fact, Limit)| {
        let measured = facts.and_then(|facts| facts.of(fact));
        let verdict = match (facts, measured) {
            (None, _) => Verdict::Red,
            (Some(_), None) => Verdict::Yellow,
            (Some(_), Some(measured)) => limit.judge(measured),
        };
        Reason { fact, measured, limit, verdict }
    };
    let reasons: Vec<Reason> = limits.into_iter().map(reason).collect();
    let verdict = reasons.iter().map(|reason| reason.verdict).min().unwrap_or(Verdict::Red);
    Judged { channel, verdict, reasons }
}

/// What is older is measured again: the crew decides on what the link is like, not on what it was.
pub const FRESH_FOR_MS: u64 = 5_000;

#[cfg(test)]
mod tests;

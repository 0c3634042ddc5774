//! Whether the link suffices: looked at, and where too little flows to tell, asked with a few datagrams.
//!
//! A train of datagrams is echoed by the gateway with the times at which they came; how far they were pulled apart on their
//! way tells what the path carries. The first train is a pair; a longer one follows only where it will be through within a
//! tenth of a second, so that an order that comes meanwhile waits no longer. At most 16 KB go each way.

use std::{collections::BTreeMap, time::Duration};

use feldakte_core::{
    case::Edit,
    ids::{CaseId, EntryId, Part},
    limits,
    live::probe::Probe,
    readiness::{FRESH_FOR_MS, Facts, Readiness},
};
use tokio::time::{Instant, timeout, timeout_at};

use super::Client;
use crate::{
    error::SdkError,
    link::{Answer, Kind},
    transport::Transport,
    view::LinkFacts,
};

impl Client {
    /// Whether the link suffices for each part of a teleconsultation, with the facts behind it. Measured within the last five
    /// seconds: what is older, or was never measured, is measured now, which takes up to three seconds on the worst paths.
    pub async fn readiness(&self) -> Readiness {
        let Some(link) = self.link().await else { return Readiness::of(None) };
        // One measures, and the others take what he has found.
        let mut last = self.control.live.measured.lock().await;
        let known = last.filter(|(gateway, at, _)| *gateway == link.gateway && at.elapsed() < FRESH_FOR);
        let (_, at, facts) = match known {
            Some(known) => known,
            None => *last.insert((link.gateway, Instant::now(), self.measure(&link).await)),
        };
        let age_ms = facts.age_ms.saturating_add(millis(at.elapsed()));
        Readiness::of(Some(Facts { age_ms, ..facts }))
    }

    /// Writes a readiness into the case, as an entry of its operations.
    ///
    /// # Errors
    /// When it could not be saved.
    pub async fn note_readiness(&self, case: CaseId, readiness: &Readiness) -> Result<EntryId, SdkError> {
        let (part, id, fields) = (Part::Operations, self.new_entry_id(), readiness.fields());
        self.edit(case, vec![Edit::AddEntry { part, id, kind: "readiness".to_owned(), fields }]).await?;
        Ok(id)
    }

    async fn measure(&self, link: &LinkFacts) -> Facts {
        let _wanted = self.control.want_live();
        // Without a way no train has an answer, which says enough.
        let _ = timeout(ANSWER_WITHIN_MAX, self.control.live.open()).await;
        let mut trains = Vec::new();
        for len in TRAINS {
            let train = self.ride(len, link.rtt).await;
            let is_quick = train.span().is_some_and(|span| span * 2 <= SPAN_MAX) && train.is_whole();
            trains.push(train);
            if !is_quick {
                break;
            }
        }
        // Of the longest that tells: over more datagrams the jitter of one weighs less.
        let of_longest = |figure: fn(&Train) -> Option<u32>| trains.iter().rev().find_map(figure);
        let flowed = |rate: Option<u64>| rate.and_then(|bytes| u32::try_from(bytes * 8 / 1_000).ok());
        let rtts = || trains.iter().filter_map(Train::rtt);
        let (sent, lost) = trains.iter().fold((0, 0), |(sent, lost), train| (sent + train.len, lost + train.lost()));
        let is_answered = rtts().next().is_some();
        let counts_losses = is_answered && link.transport == Transport::Quic;
        Facts {
            rtt_ms: to_u32(millis(rtts().min().unwrap_or(link.rtt))),
            jitter_ms: rtts()
                .max()
                .zip(rtts().min())
                .filter(|_| trains.len() > 1)
                .map(|(max, min)| to_u32(millis(max - min))),
            // TCP repeats what is lost, and does not tell.
            loss_permille: counts_losses.then(|| lost as u32 * 1_000 / sent as u32),
            up_kbit_s: of_longest(Train::up_kbit_s).max(flowed(link.up)).filter(|_| is_answered),
            down_kbit_s: of_longest(Train::down_kbit_s).max(flowed(link.down)).filter(|_| is_answered),
            age_ms: if is_answered { 0 } else { millis(link.age) },
        }
    }

    /// Sends a train and waits for its answers.
    async fn ride(&self, len: usize, rtt: Duration) -> Train {
        let live = &self.control.live;
        let number = u32::from_be_bytes(self.environment.random());
        let mut answers = live.answers(number);
        let began = Instant::now();
        for index in 0..len {
            let probe = Probe { train: number, index: index as u8, since_us: None, len: limits::LIVE_PACKET_LEN_MAX };
            live.send(Kind::Probe, probe.encode());
        }
        let until = began + (4 * rtt + ANSWER_WITHIN_MIN).min(ANSWER_WITHIN_MAX);
        let mut train = Train { len, began, answers: BTreeMap::new() };
        while train.answers.len() < len
            && let Ok(Some(answer)) = timeout_at(until, answers.recv()).await
        {
            train.take(answer);
        }
        train
    }
}

/// What came of a train.
struct Train {
    len: usize,
    began: Instant,
    /// By index: when each came to the gateway, since the first, and when its answer came here.
    answers: BTreeMap<u8, (Duration, Instant)>,
}

impl Train {
    fn take(&mut self, (probe, came): Answer) {
        if let Some(since_us) = probe.since_us
            && usize::from(probe.index) < self.len
        {
            self.answers.entry(probe.index).or_insert((Duration::from_micros(since_us.into()), came));
        }
    }

    fn is_whole(&self) -> bool {
        self.answers.len() == self.len
    }

    fn lost(&self) -> usize {
        self.len - self.answers.len()
    }

    /// Of the first, which waited for none of the others.
    fn rtt(&self) -> Option<Duration> {
        self.answers.get(&0).map(|(_, came)| *came - self.began)
    }

    /// From the first to the last, on the slower way.
    fn span(&self) -> Option<Duration> {
        let (up, down) = self.spans()?;
        Some(up.max(down))
    }

    fn spans(&self) -> Option<(Duration, Duration)> {
        let span = |times: Vec<Duration>| Some(*times.iter().max()? - *times.iter().min()?);
        let up = span(self.answers.values().map(|(since, _)| *since).collect())?;
        let down = span(self.answers.values().map(|(_, came)| *came - self.began).collect())?;
        (self.answers.len() > 1).then_some((up, down))
    }

    fn up_kbit_s(&self) -> Option<u32> {
        self.spans().map(|(up, _)| self.rate(up))
    }

    fn down_kbit_s(&self) -> Option<u32> {
        self.spans().map(|(_, down)| self.rate(down))
    }

    /// What was between the first and the last took that long.
    fn rate(&self, span: Duration) -> u32 {
        let bits = (self.answers.len() - 1) * (limits::LIVE_PACKET_LEN_MAX + HEADERS_LEN) * 8;
        to_u32((bits as u128 * 1_000 / span.as_micros().max(1)).try_into().unwrap_or(u64::MAX))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn to_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

const FRESH_FOR: Duration = Duration::from_millis(FRESH_FOR_MS);
/// Datagrams of each train; no more than a fresh connection may have under way.
const TRAINS: [usize; 3] = [2, 4, 8];
/// How long the longest train may take on the path.
const SPAN_MAX: Duration = Duration::from_millis(100);
/// UDP, IP and QUIC.
const HEADERS_LEN: usize = 60;
/// On a quick path.
const ANSWER_WITHIN_MIN: Duration = Duration::from_millis(300);
/// On EDGE: a time there and back of 0.7 s, and half a second for a pair.
const ANSWER_WITHIN_MAX: Duration = Duration::from_millis(1_500);

#[cfg(test)]
mod tests {
    use super::*;

    fn train(len: usize, answers: &[(u8, u64, u64)]) -> Train {
        let mut train = Train { len, began: Instant::now(), answers: BTreeMap::new() };
        for (index, up_us, down_us) in answers {
            let probe = Probe { train: 1, index: *index, since_us: Some(*up_us as u32), len: 1_150 };
            train.take((probe, train.began + Duration::from_micros(*down_us)));
        }
        train
    }

    #[test]
    fn rates_are_what_pulled_a_train_apart() {
        // 1,210 bytes take 32.27 ms at 300 kbit/s and 9.68 ms at 1 Mbit/s.
        let train = train(3, &[(0, 0, 180_000), (1, 32_267, 212_267), (2, 64_533, 244_533)]);
        assert_eq!((train.up_kbit_s(), train.down_kbit_s()), (Some(300), Some(300)));
        assert_eq!((train.rtt(), train.lost(), train.is_whole()), (Some(Duration::from_millis(180)), 0, true));
        assert_eq!(train.span(), Some(Duration::from_micros(64_533)));
    }

    #[test]
    fn what_did_not_come_is_lost_and_one_alone_tells_no_rate() {
        let one = train(4, &[(2, 0, 90_000)]);
        assert_eq!((one.up_kbit_s(), one.lost(), one.rtt(), one.span()), (None, 3, None, None));
        let none = train(2, &[]);
        assert_eq!((none.down_kbit_s(), none.lost()), (None, 2));
    }

    #[test]
    fn an_index_beyond_the_train_and_a_repeated_one_count_for_nothing() {
        let train = train(2, &[(0, 0, 10_000), (0, 5, 20_000), (9, 9, 30_000)]);
        assert_eq!((train.answers.len(), train.rtt()), (1, Some(Duration::from_millis(10))));
    }
}

//! The receiver's side: packets become what is shown, with its age and with what is missing.

use std::collections::VecDeque;

use super::{
    LiveError, Numeric, Numerics, Packet, Piece, Trace,
    codec::decode,
    delay::Delay,
    waves::{Came, InOrder},
};
use crate::{ids::CallId, limits};

/// Follows the vitals of one call. Whoever asks seldom gets the newest, and is told what he has missed.
pub struct Receiver {
    call: CallId,
    run: Option<u64>,
    /// Runs that have ended: what comes of them is late.
    past: VecDeque<u64>,
    delay: Delay,
    last_numerics: Option<u32>,
    numerics: Option<Shown<Vec<Numeric>>>,
    order: InOrder,
    waves: VecDeque<Shown<(u32, Vec<Trace>)>>,
    heard_at_ms: Option<u64>,
    counts: Quality,
}

struct Shown<T> {
    content: T,
    at_ms: u64,
    /// Of the oldest of it, at that time.
    age_ms: u64,
    lost_before: u64,
}

/// What is to be shown next.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub enum Seen {
    /// The newest numbers.
    Numerics {
        /// The numbers.
        values: Vec<Numeric>,
        /// Milliseconds since they were measured.
        age_ms: u64,
    },
    /// The next stretch of the curves.
    Waves {
        /// Microseconds from sample to sample.
        period_us: u32,
        /// The curves.
        traces: Vec<Trace>,
        /// Milliseconds since the first sample was measured.
        age_ms: u64,
        /// Pieces that are missing between the stretch before and this one.
        missing: u64,
    },
}

#[cfg(not(test))]
impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, age_ms) = match self {
            Seen::Numerics { values: _, age_ms } => ("Numerics", age_ms),
            Seen::Waves { age_ms, .. } => ("Waves", age_ms),
        };
        f.debug_struct(name).field("age_ms", age_ms).finish_non_exhaustive()
    }
}

/// What became of the pieces of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Came for the first time.
    pub received: u64,
    /// Were given up.
    pub lost: u64,
    /// Came when they had been given up, or when something newer had been shown.
    pub late: u64,
    /// Came again. Waves are sent twice.
    pub repeated: u64,
    /// Came, and were replaced by newer ones before anybody asked for them.
    pub skipped: u64,
}

/// How good what is shown is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quality {
    /// Of the numbers.
    pub numerics: Counts,
    /// Of the curves.
    pub waves: Counts,
    /// Packets that could not be read.
    pub unreadable: u64,
}

impl Receiver {
    /// Nothing has come.
    pub fn new(call: CallId) -> Self {
        Self {
            call,
            run: None,
            past: VecDeque::new(),
            delay: Delay::default(),
            last_numerics: None,
            numerics: None,
            order: InOrder::default(),
            waves: VecDeque::new(),
            heard_at_ms: None,
            counts: Quality::default(),
        }
    }

    /// Takes what came at `now_ms` of the caller's clock, which only ever goes forward. `path_ms` is half of the caller's own
    /// time there and back to the gateway.
    ///
    /// # Errors
    /// When it is no packet of this call; it is counted, and nothing else has changed.
    pub fn take(&mut self, now_ms: u64, path_ms: u16, bytes: &[u8]) -> Result<(), LiveError> {
        let packet = decode(bytes).and_then(|packet| match packet.call == self.call {
            true => Ok(packet),
            false => Err(LiveError::OtherCall),
        });
        let Packet { call: _, run, sent_ms, path_ms: of_publisher, pieces } =
            packet.inspect_err(|_| self.counts.unreadable += 1)?;
        if self.past.contains(&run) {
            self.counts.numerics.late +=
                pieces.iter().filter(|piece| matches!(piece, Piece::Numerics(_))).count() as u64;
            self.counts.waves.late += pieces.iter().filter(|piece| matches!(piece, Piece::Waves(_))).count() as u64;
            return Ok(());
        }
        if self.run != Some(run) {
            self.begin(run);
        }
        self.heard_at_ms = Some(now_ms);
        let on_its_way = self.delay.note(now_ms, sent_ms) + u64::from(of_publisher) + u64::from(path_ms);
        for piece in pieces {
            match piece {
                Piece::Numerics(numerics) => self.take_numerics(now_ms, on_its_way, numerics),
                Piece::Waves(waves) => {
                    let age_ms = on_its_way + u64::from(waves.ago_ms);
                    let lost = self.counts.waves.lost;
                    let came = self.order.take(Came { waves, at_ms: now_ms, age_ms }, &mut self.counts.waves);
                    self.show(came, lost);
                }
            }
        }
        Ok(())
    }

    /// What is to be shown next at `now_ms`, each once.
    pub fn poll(&mut self, now_ms: u64) -> Option<Seen> {
        let lost = self.counts.waves.lost;
        let came = self.order.poll(now_ms, &mut self.counts.waves);
        self.show(came, lost);
        if let Some(Shown { content, at_ms, age_ms, .. }) = self.numerics.take() {
            return Some(Seen::Numerics {
                values: content,
                age_ms: age_ms.saturating_add(now_ms.saturating_sub(at_ms)),
            });
        }
        let Shown { content: (period_us, traces), at_ms, age_ms, lost_before } = self.waves.pop_front()?;
        Some(Seen::Waves {
            period_us,
            traces,
            age_ms: age_ms.saturating_add(now_ms.saturating_sub(at_ms)),
            missing: lost_before,
        })
    }

    /// When [`Receiver::poll`] may have something although nothing has come: that of a gap in the curves nobody waits for the end.
    pub fn wake_at_ms(&self) -> Option<u64> {
        self.order.give_up_at()
    }

    /// What has been counted so far.
    pub fn quality(&self) -> Quality {
        self.counts
    }

    /// Milliseconds since anything came; `None` before that.
    pub fn silence_ms(&self, now_ms: u64) -> Option<u64> {
        self.heard_at_ms.map(|heard| now_ms.saturating_sub(heard))
    }

    fn begin(&mut self, run: u64) {
        if let Some(before) = self.run.replace(run) {
            self.past.push_back(before);
        }
        if self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
        (self.delay, self.order, self.last_numerics) = (Delay::default(), InOrder::default(), None);
    }

    fn take_numerics(&mut self, now_ms: u64, on_its_way: u64, Numerics { sequence, ago_ms, values }: Numerics) {
        let counts = &mut self.counts.numerics;
        match self.last_numerics {
            Some(last) if sequence == last => return counts.repeated += 1,
            Some(last) if sequence < last => {
                counts.lost = counts.lost.saturating_sub(1);
                return counts.late += 1;
            }
            Some(last) => counts.lost += u64::from(sequence - last - 1),
            None => {}
        }
        self.last_numerics = Some(sequence);
        counts.received += 1;
        let shown = Shown { content: values, at_ms: now_ms, age_ms: on_its_way + u64::from(ago_ms), lost_before: 0 };
        counts.skipped += u64::from(self.numerics.replace(shown).is_some());
    }

    fn show(&mut self, came: Vec<Came>, lost_before: u64) {
        let mut missing = self.counts.waves.lost - lost_before;
        for Came { waves, at_ms, age_ms } in came {
            if self.waves.len() >= limits::LIVE_SHOWN_MAX
                && let Some(skipped) = self.waves.pop_front()
            {
                self.counts.waves.skipped += 1;
                let carried = skipped.lost_before + 1;
                match self.waves.front_mut() {
                    Some(next) => next.lost_before += carried,
                    None => missing += carried,
                }
            }
            let content = (waves.period_us, waves.traces);
            self.waves.push_back(Shown { content, at_ms, age_ms, lost_before: std::mem::take(&mut missing) });
        }
    }
}

/// Runs that are remembered: a crew whose device begins anew time and again.
const PAST_MAX: usize = 8;

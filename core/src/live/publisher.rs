//! The publisher's side: what a monitor measures becomes packets.

use bytes::Bytes;

use super::{
    LiveError, Numeric, Numerics, Packet, Piece, Trace, Waves,
    codec::{HEADER_LEN_MAX, check_period, check_traces, encode, waves_len},
};
use crate::{ids::CallId, limits};

/// Counts one run of a monitor in one call.
#[cfg_attr(test, derive(Debug))]
pub struct Publisher {
    call: CallId,
    run: u64,
    numerics: u32,
    waves: u32,
    /// The last piece of waves, and when its first sample was measured, to be sent once more.
    last: Option<(Waves, u64)>,
}

crate::hide_content! { Publisher { call, run, numerics, waves } }

/// When something is sent, since the run began, and how far the gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the run began.
    pub now_ms: u64,
    /// Half of the time there and back, in milliseconds.
    pub path_ms: u16,
    /// Milliseconds since it was measured: of curves, their first sample.
    pub ago_ms: u32,
}

impl Publisher {
    /// Nothing has been sent. `run` is drawn anew for each.
    pub fn new(call: CallId, run: u64) -> Self {
        Self { call, run, numerics: 0, waves: 0, last: None }
    }

    /// What the monitor showed at one time.
    ///
    /// # Errors
    /// When a value cannot stand in a packet, or there are too many; nothing is counted then.
    pub fn numerics(&mut self, moment: Moment, values: Vec<Numeric>) -> Result<Bytes, LiveError> {
        let numerics = Numerics { sequence: self.numerics, ago_ms: moment.ago_ms, values };
        let packet = self.packet(moment, vec![Piece::Numerics(numerics)])?;
        self.numerics = self.numerics.wrapping_add(1);
        Ok(packet)
    }

    /// Curves from one sample on; packets in the order in which they are to be sent. What is longer than
    /// [`limits::LIVE_PIECE_SPAN_MS`] or does not fit into one packet is cut.
    ///
    /// # Errors
    /// When a trace cannot stand in a packet; nothing is counted then.
    pub fn waves(&mut self, moment: Moment, period_us: u32, traces: &[Trace]) -> Result<Vec<Bytes>, LiveError> {
        let mut packets = Vec::new();
        for (offset_ms, traces) in cut(period_us, traces)? {
            let ago_ms = moment.ago_ms.saturating_sub(offset_ms);
            let measured_ms = moment.now_ms.wrapping_sub(u64::from(ago_ms));
            let waves = Waves { sequence: self.waves, ago_ms, period_us, traces };
            let again = self.last.take().map(|(last, first_ms)| {
                let ago_ms = u32::try_from(moment.now_ms.wrapping_sub(first_ms)).unwrap_or(u32::MAX);
                Waves { ago_ms, ..last }
            });
            packets.extend(self.with_the_last(moment, again, waves.clone())?);
            self.waves = self.waves.wrapping_add(1);
            self.last = Some((waves, measured_ms));
        }
        Ok(packets)
    }

    /// One packet, or two where both do not fit into one.
    fn with_the_last(&self, moment: Moment, again: Option<Waves>, waves: Waves) -> Result<Vec<Bytes>, LiveError> {
        let Some(again) = again else { return Ok(vec![self.packet(moment, vec![Piece::Waves(waves)])?]) };
        if waves_len(&again)? + waves_len(&waves)? <= limits::LIVE_PACKET_LEN_MAX - HEADER_LEN_MAX {
            return Ok(vec![self.packet(moment, vec![Piece::Waves(again), Piece::Waves(waves)])?]);
        }
        let newest = self.packet(moment, vec![Piece::Waves(waves)])?;
        Ok(vec![newest, self.packet(moment, vec![Piece::Waves(again)])?])
    }

    fn packet(&self, moment: Moment, pieces: Vec<Piece>) -> Result<Bytes, LiveError> {
        let Moment { now_ms, path_ms, ago_ms: _ } = moment;
        encode(&Packet { call: self.call, run: self.run, sent_ms: now_ms, path_ms, pieces })
    }
}

/// Into pieces that fit, each with the milliseconds from the first sample of all to its own.
fn cut(period_us: u32, traces: &[Trace]) -> Result<Vec<(u32, Vec<Trace>)>, LiveError> {
    check_period(period_us)?;
    let count = traces.first().map_or(0, |trace| trace.samples.len());
    if traces.iter().any(|trace| trace.samples.len() != count) {
        return Err(LiveError::Uneven);
    }
    if count > PUBLISHED_AT_ONCE_MAX {
        return Err(LiveError::Count { what: "samples", found: count, max: PUBLISHED_AT_ONCE_MAX });
    }
    let mut len = (limits::LIVE_PIECE_SPAN_MS * 1_000 / period_us).max(1) as usize;
    len = len.min(limits::LIVE_SAMPLES_MAX);
    let (mut pieces, mut from) = (Vec::new(), 0);
    loop {
        let until = count.min(from + len);
        let part = |trace: &Trace| Trace { samples: trace.samples[from..until].to_vec(), ..trace.clone() };
        let piece: Vec<Trace> = traces.iter().map(part).collect();
        check_traces(&piece)?;
        let offset_ms = (from as u64 * u64::from(period_us) / 1_000) as u32;
        let waves = Waves { sequence: u32::MAX, ago_ms: u32::MAX, period_us, traces: piece };
        if waves_len(&waves)? > limits::LIVE_PACKET_LEN_MAX - HEADER_LEN_MAX && len > 1 {
            len /= 2;
            continue;
        }
        pieces.push((offset_ms, waves.traces));
        from = until;
        if from == count {
            return Ok(pieces);
        }
    }
}

/// Samples of each trace in one go: a monitor reports several times a second, and 5 s at 500 Hz are no longer live.
const PUBLISHED_AT_ONCE_MAX: usize = 2_500;

//! Live vitals: what a monitor shows this moment, on its way to who watches. Newest wins, and what is lost stays lost: the
//! record is in the case.
//!
//! Nothing here interprets a number or a curve. A [`Publisher`] makes packets, a [`Receiver`] puts them together again and
//! tells how old what it shows is and what is missing. Neither trusts the other's clock: the publisher says how long ago
//! something was measured when it was sent, the receiver adds what the way took beyond its shortest time, and the shortest
//! time itself as half of what both ends have measured there and back.
//!
//! # The packet, version 1
//!
//! One datagram, at most [`LIVE_PACKET_LEN_MAX`](crate::limits::LIVE_PACKET_LEN_MAX) bytes. A *varint* is unsigned LEB128 in
//! its shortest form, *zigzag* maps 0, −1, 1, −2 … to 0, 1, 2, 3 …; both as in a block of vitals ([`crate::case::vitals`]).
//!
//! | Field | Bytes | Meaning |
//! |---|---|---|
//! | version | 1 | `01` |
//! | call | 16 | whose |
//! | run | 8 | drawn when a publisher begins; its sequence numbers and its time begin with it |
//! | sent | 1–10, varint | milliseconds since the run began |
//! | path | 1–3, varint | half of the publisher's time there and back to the gateway, milliseconds |
//! | pieces | the rest | one to [`LIVE_PIECES_MAX`](crate::limits::LIVE_PIECES_MAX), one behind the other |
//!
//! A piece of *numerics* is what a monitor showed at one time:
//!
//! | Field | Bytes | Meaning |
//! |---|---|---|
//! | kind | 1 | `01` |
//! | sequence | 1–5, varint | of the run's numerics |
//! | ago | 1–5, varint | milliseconds before `sent` at which it was measured |
//! | values | 1 | how many follow, 1 to 32; each: code and unit (length 1 to 48, then `!` to `~`), scale, zigzag varint |
//!
//! A piece of *waves* is a stretch of curves on one grid of time:
//!
//! | Field | Bytes | Meaning |
//! |---|---|---|
//! | kind | 1 | `02` |
//! | sequence | 1–5, varint | of the run's waves |
//! | ago | 1–5, varint | milliseconds before `sent` at which the first sample was measured |
//! | period | 1–3, varint | microseconds from sample to sample |
//! | samples | 1–2, varint | of each trace, 1 to 250 |
//! | traces | 1 | how many follow, 1 to 16; each as below, none twice |
//!
//! A trace is its kind (one byte, [`TraceKind`]), billionths of its unit per step (varint, at least 1), the first sample
//! (zigzag varint), a width *w* of 0 to 17 (one byte), and for each further sample the zigzag of its difference to the one
//! before in *w* bits, lowest first, filled up with zeros to a byte. *w* is the least that holds them all.
//!
//! Each piece of waves is carried twice, in consecutive packets: beside its successor, or on its own where there is no room.

use crate::ids::CallId;

mod bits;
mod codec;
mod delay;
pub mod pace;
pub mod probe;
mod publisher;
mod receiver;
mod waves;

pub use codec::{call_of, decode, encode};
pub use publisher::{Moment, Publisher};
pub use receiver::{Counts, Quality, Receiver, Seen};

/// What one datagram carries.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    /// Whose call.
    pub call: CallId,
    /// Which beginning of the publisher.
    pub run: u64,
    /// Milliseconds since the run began.
    pub sent_ms: u64,
    /// Half of the publisher's time there and back, in milliseconds.
    pub path_ms: u16,
    /// What was measured; older ones first.
    pub pieces: Vec<Piece>,
}

/// A part of a packet.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub enum Piece {
    /// Numbers.
    Numerics(Numerics),
    /// Curves.
    Waves(Waves),
}

/// What a monitor showed at one time.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Numerics {
    /// Grows by one from piece to piece.
    pub sequence: u32,
    /// Milliseconds from the measurement to the sending.
    pub ago_ms: u32,
    /// The numbers; a code is there once.
    pub values: Vec<Numeric>,
}

/// One measured number.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Numeric {
    /// What is measured, such as LOINC `8867-4`, heart rate.
    pub code: String,
    /// Its UCUM unit, such as `/min`.
    pub unit: String,
    /// Decimal digits after the point.
    pub scale: u8,
    /// The number without its point: 366 with scale 1 is 36.6.
    pub value: i32,
}

/// A stretch of curves on one grid of time.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Waves {
    /// Grows by one from piece to piece.
    pub sequence: u32,
    /// Milliseconds from the measurement of the first sample to the sending.
    pub ago_ms: u32,
    /// Microseconds from sample to sample.
    pub period_us: u32,
    /// The curves, all of one length. A lead that is off is not there.
    pub traces: Vec<Trace>,
}

/// One curve.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Trace {
    /// Which one.
    pub kind: TraceKind,
    /// Billionths of its unit per step: nanovolts for a lead.
    pub step_nano: u32,
    /// What was measured, in steps.
    pub samples: Vec<i16>,
}

crate::hide_content! { Packet { call, run, sent_ms, path_ms }, Numerics { sequence, ago_ms }, Numeric,
Waves { sequence, ago_ms, period_us }, Trace }

/// Which curve. Numbers are wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TraceKind {
    /// ECG lead I, volts.
    I = 1,
    /// ECG lead II, volts.
    II = 2,
    /// ECG lead III, volts.
    III = 3,
    /// ECG lead aVR, volts.
    AVR = 4,
    /// ECG lead aVL, volts.
    AVL = 5,
    /// ECG lead aVF, volts.
    AVF = 6,
    /// ECG lead V1, volts.
    V1 = 7,
    /// ECG lead V2, volts.
    V2 = 8,
    /// ECG lead V3, volts.
    V3 = 9,
    /// ECG lead V4, volts.
    V4 = 10,
    /// ECG lead V5, volts.
    V5 = 11,
    /// ECG lead V6, volts.
    V6 = 12,
    /// Plethysmogram of pulse oximetry, as the monitor scales it.
    Pleth = 13,
    /// Carbon dioxide in the breath, `mm[Hg]`.
    Co2 = 14,
    /// Respiration by impedance, ohms.
    Respiration = 15,
    /// Invasive pressure, `mm[Hg]`.
    Pressure = 16,
}

impl TraceKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [TraceKind; 16] = {
        use TraceKind::{AVF, AVL, AVR, Co2, I, II, III, Pleth, Pressure, Respiration, V1, V2, V3, V4, V5, V6};
        [I, II, III, AVR, AVL, AVF, V1, V2, V3, V4, V5, V6, Pleth, Co2, Respiration, Pressure]
    };

    /// The name on a screen.
    pub fn name(self) -> &'static str {
        match self {
            TraceKind::I => "I",
            TraceKind::II => "II",
            TraceKind::III => "III",
            TraceKind::AVR => "aVR",
            TraceKind::AVL => "aVL",
            TraceKind::AVF => "aVF",
            TraceKind::V1 => "V1",
            TraceKind::V2 => "V2",
            TraceKind::V3 => "V3",
            TraceKind::V4 => "V4",
            TraceKind::V5 => "V5",
            TraceKind::V6 => "V6",
            TraceKind::Pleth => "pleth",
            TraceKind::Co2 => "co2",
            TraceKind::Respiration => "respiration",
            TraceKind::Pressure => "pressure",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The one of that number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// Why bytes are not a packet, or something cannot stand in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LiveError {
    /// Sent by a newer app.
    #[error("live vitals of unknown version {0}")]
    UnknownVersion(u8),
    /// The bytes are not a packet.
    #[error("not a packet of live vitals: {0}")]
    Malformed(&'static str),
    /// There is none of something, or more than [`crate::limits`] allow.
    #[error("{what}: {found}, must be 1 to {max}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// A code or unit has characters other than `!` to `~`.
    #[error("the {0} of a value has other characters than printable ASCII")]
    Name(&'static str),
    /// More decimal digits than [`crate::limits::VITALS_SCALE_MAX`].
    #[error("a value with {0} decimal digits")]
    Scale(u8),
    /// A code or trace is there twice.
    #[error("something is there twice")]
    Repeated,
    /// Traces of one piece differ in length.
    #[error("traces of one piece differ in length")]
    Uneven,
    /// It is of another call.
    #[error("of another call")]
    OtherCall,
}

#[cfg(test)]
mod tests;

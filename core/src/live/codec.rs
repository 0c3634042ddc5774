//! A packet to bytes and back, as the module above describes it.
//!
//! Bytes come from anywhere: a count is checked before it is believed, and only the one way to write a packet is read.

use bytes::Bytes;

use super::{
    LiveError, Numeric, Numerics, Packet, Piece, Trace, TraceKind, Waves,
    bits::{Reader, put_samples, put_varint, zigzag},
};
use crate::{ids::CallId, limits};

/// Packs it.
///
/// # Errors
/// When it is outside of [`limits`], or longer than one datagram.
pub fn encode(packet: &Packet) -> Result<Bytes, LiveError> {
    let Packet { call, run, sent_ms, path_ms, pieces } = packet;
    check_count("pieces", pieces.len(), limits::LIVE_PIECES_MAX)?;
    let mut bytes = Vec::with_capacity(HEADER_LEN_MAX);
    bytes.push(VERSION);
    bytes.extend_from_slice(call.as_bytes());
    bytes.extend_from_slice(&run.to_be_bytes());
    put_varint(&mut bytes, *sent_ms);
    put_varint(&mut bytes, u64::from(*path_ms));
    for piece in pieces {
        match piece {
            Piece::Numerics(numerics) => put_numerics(&mut bytes, numerics)?,
            Piece::Waves(waves) => put_waves(&mut bytes, waves)?,
        }
    }
    check_count(BYTES, bytes.len(), limits::LIVE_PACKET_LEN_MAX)?;
    Ok(bytes.into())
}

/// Unpacks it.
///
/// # Errors
/// [`LiveError::UnknownVersion`] for one of a newer app; any other for bytes that [`encode`] never wrote.
pub fn decode(bytes: &[u8]) -> Result<Packet, LiveError> {
    let (call, mut reader) = header_of(bytes)?;
    let run = reader.take(RUN_LEN)?.iter().fold(0, |run, byte| run << 8 | u64::from(*byte));
    let (sent_ms, path_ms) = (reader.varint()?, reader.number()?);
    let mut pieces = Vec::new();
    while !reader.bytes.is_empty() || pieces.is_empty() {
        check_count("pieces", pieces.len() + 1, limits::LIVE_PIECES_MAX)?;
        pieces.push(match reader.byte()? {
            NUMERICS => Piece::Numerics(numerics(&mut reader)?),
            WAVES => Piece::Waves(waves(&mut reader)?),
            _ => return Err(LiveError::Malformed("a piece of unknown kind")),
        });
    }
    Ok(Packet { call, run, sent_ms, path_ms, pieces })
}

/// Whose call a packet is of, without a look at what it carries.
///
/// # Errors
/// When it cannot be a packet.
pub fn call_of(bytes: &[u8]) -> Result<CallId, LiveError> {
    header_of(bytes).map(|(call, _)| call)
}

fn header_of(bytes: &[u8]) -> Result<(CallId, Reader<'_>), LiveError> {
    let mut reader = Reader { bytes };
    match reader.byte()? {
        VERSION => {}
        version => return Err(LiveError::UnknownVersion(version)),
    }
    check_count(BYTES, bytes.len(), limits::LIVE_PACKET_LEN_MAX)?;
    let call =
        CallId::from_slice(reader.take(CALL_LEN)?).map_err(|_| LiveError::Malformed("a call of another length"))?;
    Ok((call, reader))
}

/// Bytes of a piece that carries waves.
pub(super) fn waves_len(waves: &Waves) -> Result<usize, LiveError> {
    let mut bytes = Vec::new();
    put_waves(&mut bytes, waves)?;
    Ok(bytes.len())
}

fn put_numerics(bytes: &mut Vec<u8>, Numerics { sequence, ago_ms, values }: &Numerics) -> Result<(), LiveError> {
    check_values(values)?;
    bytes.push(NUMERICS);
    put_varint(bytes, u64::from(*sequence));
    put_varint(bytes, u64::from(*ago_ms));
    bytes.push(values.len() as u8);
    for Numeric { code, unit, scale, value } in values {
        for name in [code, unit] {
            bytes.push(name.len() as u8);
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes.push(*scale);
        put_varint(bytes, zigzag(i64::from(*value)));
    }
    Ok(())
}

fn put_waves(bytes: &mut Vec<u8>, Waves { sequence, ago_ms, period_us, traces }: &Waves) -> Result<(), LiveError> {
    let samples = check_traces(traces)?;
    check_period(*period_us)?;
    bytes.push(WAVES);
    put_varint(bytes, u64::from(*sequence));
    put_varint(bytes, u64::from(*ago_ms));
    put_varint(bytes, u64::from(*period_us));
    put_varint(bytes, samples as u64);
    bytes.push(traces.len() as u8);
    for Trace { kind, step_nano, samples } in traces {
        bytes.push(*kind as u8);
        put_varint(bytes, u64::from(*step_nano));
        put_samples(bytes, samples);
    }
    Ok(())
}

fn numerics(reader: &mut Reader<'_>) -> Result<Numerics, LiveError> {
    let (sequence, ago_ms) = (reader.number()?, reader.number()?);
    let count = usize::from(reader.byte()?);
    check_count("values", count, limits::VITALS_CHANNELS_MAX)?;
    let values = (0..count).map(|_| numeric(reader)).collect::<Result<Vec<_>, _>>()?;
    check_values(&values)?;
    Ok(Numerics { sequence, ago_ms, values })
}

fn numeric(reader: &mut Reader<'_>) -> Result<Numeric, LiveError> {
    let (code, unit) = (name(reader)?, name(reader)?);
    Ok(Numeric { code, unit, scale: reader.byte()?, value: reader.signed()? })
}

fn name(reader: &mut Reader<'_>) -> Result<String, LiveError> {
    let len = usize::from(reader.byte()?);
    check_count("characters", len, limits::VITALS_NAME_LEN_MAX)?;
    let bytes = reader.take(len)?;
    // Checked with the values to be printable ASCII.
    Ok(bytes.iter().map(|byte| char::from(*byte)).collect())
}

fn waves(reader: &mut Reader<'_>) -> Result<Waves, LiveError> {
    let (sequence, ago_ms, period_us) = (reader.number()?, reader.number()?, reader.number()?);
    check_period(period_us)?;
    let samples: usize = reader.number()?;
    check_count("samples", samples, limits::LIVE_SAMPLES_MAX)?;
    let count = usize::from(reader.byte()?);
    check_count("traces", count, limits::LIVE_TRACES_MAX)?;
    let traces = (0..count).map(|_| trace(reader, samples)).collect::<Result<Vec<_>, _>>()?;
    check_traces(&traces)?;
    Ok(Waves { sequence, ago_ms, period_us, traces })
}

fn trace(reader: &mut Reader<'_>, samples: usize) -> Result<Trace, LiveError> {
    let kind = TraceKind::from_number(reader.byte()?).ok_or(LiveError::Malformed("an unknown trace"))?;
    Ok(Trace { kind, step_nano: reader.number()?, samples: reader.samples(samples)? })
}

fn check_values(values: &[Numeric]) -> Result<(), LiveError> {
    check_count("values", values.len(), limits::VITALS_CHANNELS_MAX)?;
    for (index, Numeric { code, unit, scale, value: _ }) in values.iter().enumerate() {
        for (what, name) in [("code", code), ("unit", unit)] {
            check_count("characters", name.len(), limits::VITALS_NAME_LEN_MAX)?;
            if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(LiveError::Name(what));
            }
        }
        if *scale > limits::VITALS_SCALE_MAX {
            return Err(LiveError::Scale(*scale));
        }
        if values[..index].iter().any(|other| other.code == *code) {
            return Err(LiveError::Repeated);
        }
    }
    Ok(())
}

/// How many samples each has.
pub(super) fn check_traces(traces: &[Trace]) -> Result<usize, LiveError> {
    check_count("traces", traces.len(), limits::LIVE_TRACES_MAX)?;
    let count = traces.first().map_or(0, |trace| trace.samples.len());
    check_count("samples", count, limits::LIVE_SAMPLES_MAX)?;
    for (index, Trace { kind, step_nano, samples }) in traces.iter().enumerate() {
        if *step_nano == 0 {
            return Err(LiveError::Malformed("a step of nothing"));
        }
        if samples.len() != count {
            return Err(LiveError::Uneven);
        }
        if traces[..index].iter().any(|other| other.kind == *kind) {
            return Err(LiveError::Repeated);
        }
    }
    Ok(count)
}

pub(super) fn check_period(period_us: u32) -> Result<(), LiveError> {
    check_count("microseconds", period_us as usize, PERIOD_US_MAX)
}

fn check_count(what: &'static str, found: usize, max: usize) -> Result<(), LiveError> {
    if (1..=max).contains(&found) { Ok(()) } else { Err(LiveError::Count { what, found, max }) }
}

/// Of a packet without its pieces.
pub(super) const HEADER_LEN_MAX: usize = 1 + CALL_LEN + RUN_LEN + 10 + 3;
pub(super) const VERSION: u8 = 1;
const CALL_LEN: usize = 16;
const RUN_LEN: usize = 8;
const NUMERICS: u8 = 1;
const WAVES: u8 = 2;
const BYTES: &str = "bytes";
/// One sample a second.
const PERIOD_US_MAX: usize = 1_000_000;

//! Walks the operation columns of a change: every row is counted, none is unrolled.

use super::{ChangeError, reader::Reader};
use crate::limits;

/// Reads column metadata and column data up to the end of the chunk; returns the number of operations.
///
/// `actors` is how many actors the change may refer to by index, its own included.
pub(super) fn walk(reader: &mut Reader<'_>, actors: usize) -> Result<u32, ChangeError> {
    let specs = read_specs(reader)?;
    let mut rows = Rows::default();
    for spec in &specs {
        let mut data = Reader::new(reader.take(spec.len)?);
        rows.walk_column(spec.id, &mut data, actors)?;
    }
    let has = |id: &u32| specs.iter().any(|spec| spec.id == *id);
    if rows.ops > 0 && !ALWAYS_PRESENT.iter().all(has) {
        return Err(ChangeError::Malformed("a column is missing"));
    }
    // What follows the columns is the writer's extension area: bounded by the chunk's own size, never interpreted.
    rows.check()
}

struct Spec {
    id: u32,
    len: usize,
}

const DEFLATE_BIT: u32 = 0b1000;
const COLUMNS_MAX: usize = 32;

fn read_specs(reader: &mut Reader<'_>) -> Result<Vec<Spec>, ChangeError> {
    let count = reader.length(2)?;
    if count > COLUMNS_MAX {
        return Err(ChangeError::TooMany("columns"));
    }
    let mut specs: Vec<Spec> = Vec::with_capacity(count);
    let mut total = 0u64;
    for _ in 0..count {
        let id = u32::try_from(reader.unsigned()?).map_err(|_| ChangeError::Malformed("a column id is too large"))?;
        if id & DEFLATE_BIT != 0 {
            return Err(ChangeError::CompressedColumn);
        }
        if specs.last().is_some_and(|last| last.id >= id) {
            return Err(ChangeError::Malformed("columns must ascend"));
        }
        let len = reader.unsigned()?;
        total = total.saturating_add(len);
        if total > limits::CHANGE_LEN_MAX as u64 {
            return Err(ChangeError::Malformed("columns reach beyond the end"));
        }
        specs.push(Spec { id, len: len as usize });
    }
    Ok(specs)
}

// Column specifications: id << 4 | type (0 group, 1 actor, 2 integer, 3 delta, 4 boolean, 5 string, 6 value meta, 7 value).
/// Actor of the object an operation is in; null at the root.
pub const OBJECT_ACTOR: u32 = 0x01;
/// Counter of the object an operation is in; null at the root.
pub const OBJECT_COUNTER: u32 = 0x02;
/// Actor of the list element an operation refers to.
pub const KEY_ACTOR: u32 = 0x11;
/// Counter of the list element an operation refers to; 0 is the head.
pub const KEY_COUNTER: u32 = 0x13;
/// Key of a map.
pub const KEY_STRING: u32 = 0x15;
/// Whether an operation makes a list element.
pub const INSERT: u32 = 0x34;
/// What an operation does.
pub const ACTION: u32 = 0x42;
/// Type and length of an operation's value.
pub const VALUE_META: u32 = 0x56;
/// The values, one after the other.
pub const VALUE: u32 = 0x57;
/// How many operations an operation overwrites.
pub const PREDECESSOR_GROUP: u32 = 0x70;
/// Actors of the overwritten operations.
pub const PREDECESSOR_ACTOR: u32 = 0x71;
/// Counters of the overwritten operations.
pub const PREDECESSOR_COUNTER: u32 = 0x73;
/// Whether a mark grows at its ends.
pub const EXPAND: u32 = 0x94;
/// Name of a mark.
pub const MARK_NAME: u32 = 0xa5;

/// Columns that every writer writes as soon as there is one operation; readers fail without them.
const ALWAYS_PRESENT: [u32; 4] = [INSERT, ACTION, VALUE_META, PREDECESSOR_GROUP];

/// The highest action an operation may have (7 is `mark`).
const ACTION_MAX: u64 = 7;

#[derive(Default)]
struct Rows {
    /// Rows of the action column: the number of operations.
    ops: u64,
    /// Rows of each other column that has one row per operation.
    per_op: Vec<u64>,
    /// Predecessors all operations together have, and the rows of the columns that hold them.
    predecessors: u64,
    per_predecessor: Vec<u64>,
    /// Bytes the value-meta column says the value column has.
    value_bytes: u64,
    value_len: u64,
}

impl Rows {
    fn walk_column(&mut self, id: u32, data: &mut Reader<'_>, actors: usize) -> Result<(), ChangeError> {
        let actor_index = |reader: &mut Reader<'_>, _: u64| match reader.unsigned()? {
            index if index < actors as u64 => Ok(()),
            _ => Err(ChangeError::Malformed("an actor index is out of range")),
        };
        match id {
            OBJECT_ACTOR | KEY_ACTOR => self.per_op.push(runs(data, Nulls::Allowed, actor_index)?),
            OBJECT_COUNTER => self.per_op.push(runs(data, Nulls::Allowed, counter)?),
            KEY_COUNTER => self.per_op.push(runs(data, Nulls::Allowed, deltas())?),
            KEY_STRING | MARK_NAME => self.per_op.push(strings(data)?),
            INSERT | EXPAND => self.per_op.push(booleans(data)?),
            ACTION => self.ops = runs(data, Nulls::Refused, action)?,
            VALUE_META => {
                let mut sum = 0u64;
                let rows = runs(data, Nulls::Refused, |reader, count| {
                    sum = sum.saturating_add((reader.unsigned()? >> 4).saturating_mul(count));
                    Ok(())
                })?;
                self.per_op.push(rows);
                self.value_bytes = sum;
            }
            VALUE => self.value_len = data.remaining() as u64,
            PREDECESSOR_GROUP => {
                let mut sum = 0u64;
                let rows = runs(data, Nulls::Refused, |reader, count| {
                    sum = sum.saturating_add(reader.unsigned()?.saturating_mul(count));
                    Ok(())
                })?;
                self.per_op.push(rows);
                self.predecessors = sum;
            }
            PREDECESSOR_ACTOR => self.per_predecessor.push(runs(data, Nulls::Refused, actor_index)?),
            PREDECESSOR_COUNTER => self.per_predecessor.push(runs(data, Nulls::Refused, deltas())?),
            _ => return Err(ChangeError::Malformed("a column is unknown")),
        }
        Ok(())
    }

    fn check(self) -> Result<u32, ChangeError> {
        let limit = u64::from(limits::CHANGE_OPS_MAX);
        if self.ops > limit || self.predecessors > limit {
            return Err(ChangeError::TooManyOperations);
        }
        if self.per_op.iter().any(|rows| *rows != self.ops) {
            return Err(ChangeError::Malformed("columns differ in length"));
        }
        if self.per_predecessor.iter().any(|rows| *rows != self.predecessors) {
            return Err(ChangeError::Malformed("predecessors differ in length"));
        }
        let columns = if self.predecessors == 0 { 0 } else { 2 };
        if self.per_predecessor.len() != columns {
            return Err(ChangeError::Malformed("predecessors lack a column"));
        }
        if self.value_bytes != self.value_len {
            return Err(ChangeError::Malformed("values differ from their lengths"));
        }
        Ok(self.ops as u32)
    }
}

/// Whether a row of a column may be without a value.
#[derive(Clone, Copy, PartialEq)]
enum Nulls {
    Allowed,
    Refused,
}

/// Adds up the rows of a run-length encoded column. `item` reads one value that stands for `count` rows.
fn runs(
    data: &mut Reader<'_>,
    nulls: Nulls,
    mut item: impl FnMut(&mut Reader<'_>, u64) -> Result<(), ChangeError>,
) -> Result<u64, ChangeError> {
    let mut rows = 0u64;
    while !data.is_empty() {
        let count = data.signed()?;
        match count {
            0 if nulls == Nulls::Refused => return Err(ChangeError::Malformed("a row has no value")),
            0 => rows = add_rows(rows, data.unsigned()?)?,
            1.. => {
                rows = add_rows(rows, count.unsigned_abs())?;
                item(data, count.unsigned_abs())?;
            }
            _ => {
                rows = add_rows(rows, count.unsigned_abs())?;
                for _ in 0..count.unsigned_abs() {
                    item(data, 1)?;
                }
            }
        }
    }
    Ok(rows)
}

fn add_rows(rows: u64, more: u64) -> Result<u64, ChangeError> {
    if more == 0 {
        return Err(ChangeError::Malformed("an empty run"));
    }
    match rows.checked_add(more) {
        Some(sum) if sum <= u64::from(limits::CHANGE_OPS_MAX) => Ok(sum),
        _ => Err(ChangeError::TooManyOperations),
    }
}

fn strings(data: &mut Reader<'_>) -> Result<u64, ChangeError> {
    let mut unrolled = 0u64;
    runs(data, Nulls::Allowed, |reader, count| {
        let len = reader.length(1)?;
        unrolled = unrolled.saturating_add(count.saturating_mul(len as u64));
        if unrolled > limits::CHANGE_UNROLLED_MAX {
            return Err(ChangeError::TooManyOperations);
        }
        std::str::from_utf8(reader.take(len)?).map_err(|_| ChangeError::Malformed("a key is not UTF-8"))?;
        Ok(())
    })
}

/// Boolean columns alternate lengths of false and true runs; only the first may be empty.
fn booleans(data: &mut Reader<'_>) -> Result<u64, ChangeError> {
    let mut rows = 0u64;
    let mut first = true;
    while !data.is_empty() {
        let count = data.unsigned()?;
        if count != 0 || !first {
            rows = add_rows(rows, count)?;
        }
        first = false;
    }
    Ok(rows)
}

fn counter(reader: &mut Reader<'_>, _: u64) -> Result<(), ChangeError> {
    match reader.unsigned()? {
        value if value < limits::OP_COUNTER_MAX => Ok(()),
        _ => Err(ChangeError::CounterRange),
    }
}

/// Checks a column of differences: each counter they lead to is in range. Within a run counters are monotone,
/// so looking at its end is enough.
fn deltas() -> impl FnMut(&mut Reader<'_>, u64) -> Result<(), ChangeError> {
    let mut counter = 0i64;
    move |reader, count| {
        let step = reader.signed()?;
        let reach = i64::try_from(count).ok().and_then(|count| step.checked_mul(count));
        match reach.and_then(|reach| counter.checked_add(reach)) {
            Some(next) if (0..limits::OP_COUNTER_MAX as i64).contains(&next) => counter = next,
            _ => return Err(ChangeError::CounterRange),
        }
        Ok(())
    }
}

fn action(reader: &mut Reader<'_>, _: u64) -> Result<(), ChangeError> {
    match reader.unsigned()? {
        value if value <= ACTION_MAX => Ok(()),
        _ => Err(ChangeError::Malformed("an action is unknown")),
    }
}

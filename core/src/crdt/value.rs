//! Values as the case model knows them, and as automerge does.

use std::borrow::Cow;

use automerge::ScalarValue;
use bytes::Bytes;

/// A value of a field. Times are milliseconds since 1970-01-01 UTC.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A measured number.
    Decimal(f64),
    /// Yes or no.
    Boolean(bool),
    /// A point in time, milliseconds since 1970-01-01 UTC.
    Timestamp(i64),
    /// Packed content with a format of its own, such as a block of vitals.
    Bytes(Bytes),
    /// Named values that belong together and are only ever replaced together, such as a coded diagnosis. Values in it
    /// are plain; ascending by name.
    Record(Vec<(String, Value)>),
    /// Asked and known to be absent.
    Null,
}

crate::hide_content! { Value }

impl Value {
    /// Whether both say the same. What is not a number is the same as itself here, unlike in arithmetic.
    pub fn is_same(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Decimal(one), Value::Decimal(other)) => one.to_bits() == other.to_bits() || one == other,
            (Value::Record(some), Value::Record(others)) => {
                let same =
                    |(one, other): (&(String, Value), &(String, Value))| one.0 == other.0 && one.1.is_same(&other.1);
                some.len() == others.len() && some.iter().zip(others).all(same)
            }
            (one, other) => one == other,
        }
    }

    /// Whether every decimal in it is a finite number.
    pub(super) fn is_finite(&self) -> bool {
        match self {
            Value::Decimal(number) => number.is_finite(),
            Value::Record(fields) => fields.iter().all(|(_, value)| value.is_finite()),
            _ => true,
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number or the point in time, if it is one.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Integer(number) | Value::Timestamp(number) => Some(*number),
            _ => None,
        }
    }

    /// The bytes, if it is packed content.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// As automerge stores it; `None` for a record, which is an object there.
    pub(super) fn to_scalar(&self) -> Option<ScalarValue> {
        Some(match self {
            Value::Text(text) => ScalarValue::Str(text.as_str().into()),
            Value::Integer(number) => ScalarValue::Int(*number),
            Value::Decimal(number) => ScalarValue::F64(*number),
            Value::Boolean(flag) => ScalarValue::Boolean(*flag),
            Value::Timestamp(ms) => ScalarValue::Timestamp(*ms),
            Value::Bytes(bytes) => ScalarValue::Bytes(bytes.to_vec()),
            Value::Null => ScalarValue::Null,
            Value::Record(_) => return None,
        })
    }

    /// What automerge stores; `None` for what the case model does not know.
    pub(super) fn of_scalar(value: &automerge::Value<'_>) -> Option<Value> {
        let automerge::Value::Scalar(scalar) = value else {
            return None;
        };
        Some(match Cow::as_ref(scalar) {
            ScalarValue::Str(text) => Value::Text(text.to_string()),
            ScalarValue::Int(number) => Value::Integer(*number),
            ScalarValue::Uint(number) => Value::Integer(i64::try_from(*number).ok()?),
            ScalarValue::F64(number) => Value::Decimal(*number),
            ScalarValue::Boolean(flag) => Value::Boolean(*flag),
            ScalarValue::Timestamp(ms) => Value::Timestamp(*ms),
            ScalarValue::Bytes(bytes) => Value::Bytes(Bytes::copy_from_slice(bytes)),
            ScalarValue::Null => Value::Null,
            _ => return None,
        })
    }
}

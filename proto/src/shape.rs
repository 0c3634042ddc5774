//! Counts a message's fields before they are decoded: decoding makes up to 120 bytes of memory out of two on the wire.
//!
//! Every message that comes from outside is decoded through [`decode`]. It adds a pass that skips content and costs
//! some nanoseconds per field.

use bytes::{Buf, Bytes};
use prost::{
    Message,
    encoding::{WireType, decode_key, decode_varint},
};

use crate::error::DecodeError;

/// Which fields of a message are messages themselves. A field that is missing here is caught by a test.
pub(crate) struct Shape(&'static [(u32, &'static Shape)]);

pub(crate) const CLIENT_FRAME: Shape = Shape(&[
    (1, &HELLO),
    (2, &PUSH),
    (3, &LEAF),
    (4, &LEAF),
    (5, &SHARE),
    (6, &RECEIPTS),
    (7, &LEAF),
    (8, &LEAF),
    (9, &LEAF),
    (10, &SAY),
]);
pub(crate) const SERVER_FRAME: Shape =
    Shape(&[(1, &WELCOME), (2, &DURABLE), (3, &CHANGES), (4, &LEAF), (5, &LEAF), (6, &LEAF), (7, &LEAF), (8, &TOLD)]);
pub(crate) const ENTRY: Shape = Shape(&[(2, &GRANT), (3, &SUBJECT), (4, &LEAF), (5, &LEAF)]);
pub(crate) const BUNDLE: Shape = LEAF;
pub(crate) const CHUNKS: Shape = LEAF;
pub(crate) const RUN: Shape = Shape(&[(1, &LEAF)]);
pub(crate) const BULK_REQUEST: Shape = LEAF;
pub(crate) const SNAPSHOTS: Shape = Shape(&[(1, &SNAPSHOT)]);
const HELLO: Shape = Shape(&[(3, &LEAF), (5, &LEAF), (6, &LEAF)]);
const WELCOME: Shape = Shape(&[(8, &LEAF), (9, &LEAF)]);
const SHARE: Shape = Shape(&[(4, &SUBJECT)]);
const RECEIPTS: Shape = Shape(&[(4, &LEAF), (5, &LEAF), (6, &LEAF)]);
const SUBJECT: Shape = Shape(&[(4, &LEAF)]);
const DURABLE: Shape = Shape(&[(4, &LEAF)]);
const CHANGES: Shape = Shape(&[(2, &LEAF), (5, &LEAF)]);
const PUSH: Shape = Shape(&[(5, &LEAF)]);
const GRANT: Shape = Shape(&[(1, &SUBJECT)]);
const SNAPSHOT: Shape = Shape(&[(4, &LEAF), (5, &LEAF)]);
const SAY: Shape = Shape(&[(1, &LEAF), (2, &LEAF), (3, &INTENT), (4, &LEAF), (5, &LEAF)]);
const INTENT: Shape = Shape(&[(8, &LEAF)]);
const TOLD: Shape = Shape(&[(1, &LEAF), (2, &FACT), (3, &LEAF), (4, &LEAF), (5, &LEAF), (6, &LEAF)]);
const FACT: Shape = Shape(&[(12, &LEAF), (13, &LEG)]);
const LEG: Shape = Shape(&[(2, &LEAF)]);
const LEAF: Shape = Shape(&[]);

/// Decodes `bytes`, once it is known that the result is not out of proportion.
///
/// # Errors
/// [`DecodeError::TooMany`] beyond [`FIELDS_MAX`] fields, [`DecodeError::Protobuf`] when it is no such message.
pub(crate) fn decode<M: Message + Default>(bytes: Bytes, what: &'static str, shape: &Shape) -> Result<M, DecodeError> {
    let mut left = FIELDS_MAX;
    count(&bytes, shape, &mut left).map_err(|fault| match fault {
        Fault::Malformed => DecodeError::Protobuf(what),
        Fault::TooMany => DecodeError::TooMany { what, count: FIELDS_MAX + 1, max: FIELDS_MAX },
    })?;
    M::decode(bytes).map_err(|_| DecodeError::Protobuf(what))
}

enum Fault {
    Malformed,
    TooMany,
}

impl From<prost::DecodeError> for Fault {
    fn from(_: prost::DecodeError) -> Self {
        Fault::Malformed
    }
}

/// Takes one off `left` for each field with a length: only those make memory of more than their own size.
fn count(mut bytes: &[u8], shape: &Shape, left: &mut usize) -> Result<(), Fault> {
    while bytes.has_remaining() {
        let (field, wire_type) = decode_key(&mut bytes)?;
        let len = match wire_type {
            WireType::Varint => decode_varint(&mut bytes).map(|_| 0)?,
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => decode_varint(&mut bytes)?,
            // Groups are not part of proto3.
            WireType::StartGroup | WireType::EndGroup => return Err(Fault::Malformed),
        };
        let len = usize::try_from(len).ok().filter(|len| *len <= bytes.len()).ok_or(Fault::Malformed)?;
        let (content, rest) = bytes.split_at(len);
        bytes = rest;
        if wire_type == WireType::LengthDelimited {
            *left = left.checked_sub(1).ok_or(Fault::TooMany)?;
            if let Some((_, nested)) = shape.0.iter().find(|(number, _)| *number == field) {
                count(content, nested, left)?;
            }
        }
    }
    Ok(())
}

/// Fields with a length in one message, nested ones included. The most an honest one has are two for each
/// quarantined change of a snapshot or entry of a catch-up; at 120 bytes each this is 15 MiB, and twice that while
/// a list grows.
pub(crate) const FIELDS_MAX: usize = 1 << 17;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost::encoding::{encode_key, encode_varint};

    use super::*;
    use crate::pb;

    /// Nested messages by message name: field number and type.
    type Schema = BTreeMap<String, Vec<(u32, String)>>;

    fn schema() -> Schema {
        let files = protox::compile(["service.proto"], ["schema"]).expect("the schema compiles");
        let messages = files.file.iter().flat_map(|file| &file.message_type);
        let nested = |message: &protox::prost_reflect::prost_types::DescriptorProto| {
            let fields = message.field.iter().filter(|field| field.type_name().starts_with(".feldakte"));
            let fields = fields.filter(|field| field.r#type() == MESSAGE);
            fields.map(|field| (field.number() as u32, last(field.type_name()))).collect()
        };
        messages.map(|message| (message.name().to_owned(), nested(message))).collect()
    }

    const MESSAGE: protox::prost_reflect::prost_types::field_descriptor_proto::Type =
        protox::prost_reflect::prost_types::field_descriptor_proto::Type::Message;

    fn last(path: &str) -> String {
        path.rsplit('.').next().unwrap_or_default().to_owned()
    }

    fn assert_shape(schema: &Schema, message: &str, shape: &Shape) {
        let expected = &schema[message];
        let numbers: Vec<_> = shape.0.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, expected.iter().map(|(number, _)| *number).collect::<Vec<_>>(), "{message}");
        for ((_, nested), (_, name)) in shape.0.iter().zip(expected) {
            assert_shape(schema, name, nested);
        }
    }

    #[test]
    fn shapes_name_every_nested_message_of_the_schema() {
        let schema = schema();
        let roots = [
            ("ClientFrame", CLIENT_FRAME),
            ("ServerFrame", SERVER_FRAME),
            ("Entry", ENTRY),
            ("Bundle", BUNDLE),
            ("Chunks", CHUNKS),
            ("Run", RUN),
            ("BulkRequest", BULK_REQUEST),
            ("Snapshots", SNAPSHOTS),
        ];
        roots.iter().for_each(|(message, shape)| assert_shape(&schema, message, shape));
    }

    /// `count` empty fields of that number, inside the fields of `path`.
    fn empties(path: &[u32], field: u32, count: usize) -> Bytes {
        let mut body = Vec::new();
        for _ in 0..count {
            encode_key(field, WireType::LengthDelimited, &mut body);
            encode_varint(0, &mut body);
        }
        for outer in path.iter().rev() {
            let mut message = Vec::new();
            encode_key(*outer, WireType::LengthDelimited, &mut message);
            encode_varint(body.len() as u64, &mut message);
            message.extend(body);
            body = message;
        }
        body.into()
    }

    #[test]
    fn empty_items_are_refused_before_memory_is_made_for_them() {
        let refused = |path: &[u32], field, shape: &Shape| {
            let bytes = empties(path, field, FIELDS_MAX + 1);
            assert!(bytes.len() < feldakte_core::limits::FRAME_LEN_MAX, "it would pass as a frame");
            let result = decode::<pb::Entry>(bytes, "it", shape);
            let expected = DecodeError::TooMany { what: "it", count: FIELDS_MAX + 1, max: FIELDS_MAX };
            assert_eq!(result, Err(expected), "{path:?}/{field}");
        };
        refused(&[2], 3, &CLIENT_FRAME); // changes of a push
        refused(&[3], 1, &CLIENT_FRAME); // documents of a fetch
        refused(&[2], 4, &SERVER_FRAME); // refusals
        refused(&[3], 2, &SERVER_FRAME); // entries
        refused(&[3], 3, &SERVER_FRAME); // documents to fetch
        for list in [2, 3, 4, 5, 6] {
            refused(&[], list, &ENTRY);
        }
        refused(&[], 1, &CHUNKS);
        refused(&[], 1, &RUN);
        refused(&[3], 5, &SERVER_FRAME); // packed runs
        refused(&[], 1, &SNAPSHOTS);
        refused(&[], 2, &SNAPSHOTS);
        refused(&[1], 4, &SNAPSHOTS); // bindings of one snapshot
        refused(&[1], 5, &SNAPSHOTS);
        refused(&[], 99, &LEAF); // unknown fields are skipped, but not without end
    }

    #[test]
    fn the_most_fields_that_pass_make_at_most_64_mib() {
        let largest = [
            size_of::<pb::Snapshot>(),
            size_of::<pb::Binding>(),
            size_of::<pb::Quarantine>(),
            size_of::<pb::Grant>(),
            size_of::<pb::Subject>(),
            size_of::<pb::Positioned>(),
            size_of::<pb::Packed>(),
            size_of::<pb::Refused>(),
            size_of::<pb::Leg>(),
            size_of::<Bytes>(),
        ];
        let largest = largest.into_iter().max().expect("not empty");
        // While a list grows, its old half is still there.
        assert!(FIELDS_MAX * largest * 3 <= 64 << 20, "{largest} bytes per field");
    }

    #[test]
    fn groups_and_lengths_beyond_the_end_are_malformed() {
        for bytes in [&[0x0b][..], &[0x0c], &[0x0a, 5, 0], &[0x0a, 0xff], &[0x09, 1, 2], &[0x0d, 1], &[0x07]] {
            let result = decode::<pb::Entry>(Bytes::copy_from_slice(bytes), "entry", &ENTRY);
            assert_eq!(result, Err(DecodeError::Protobuf("entry")), "{bytes:?}");
        }
    }
}

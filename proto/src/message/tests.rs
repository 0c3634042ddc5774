use proptest::{collection::vec, prelude::*};
use prost::Message;

use super::*;
use crate::{
    arbitrary::{client_message, content, server_message, with_unknown_fields, wrap},
    bundle::decode_bundle,
    entry::decode_entry,
};

proptest! {
    #[test]
    fn client_messages_round_trip(message in client_message()) {
        prop_assert_eq!(ClientMessage::decode(content(message.encode())), Ok(message));
    }

    #[test]
    fn server_messages_round_trip(message in server_message()) {
        prop_assert_eq!(ServerMessage::decode(content(message.encode())), Ok(message));
    }

    #[test]
    fn random_bytes_panic_no_decoder(bytes in vec(any::<u8>(), 0..400)) {
        decode_as_everything(&bytes.into());
    }

    #[test]
    fn damaged_messages_panic_no_decoder(
        message in client_message(),
        other in server_message(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for frame in [message.encode(), other.encode()] {
            let mut bytes = content(frame).to_vec();
            for (index, byte) in &edits {
                let index = index.index(bytes.len());
                bytes[index] = *byte;
            }
            decode_as_everything(&bytes.into());
        }
    }

    #[test]
    fn a_cut_message_is_an_error_or_a_shorter_message(message in client_message(), other in server_message()) {
        for frame in [message.encode(), other.encode()] {
            let whole = content(frame);
            (0..whole.len()).for_each(|len| decode_as_everything(&whole.slice(..len)));
        }
    }

    #[test]
    fn unknown_fields_are_skipped(message in client_message(), other in server_message()) {
        let later = with_unknown_fields(&content(message.encode()));
        prop_assert_eq!(ClientMessage::decode(later), Ok(message));
        let later = with_unknown_fields(&content(other.encode()));
        prop_assert_eq!(ServerMessage::decode(later), Ok(other));
    }
}

/// Whatever a decoder takes must be a message: it encodes, and reads back as the same one.
fn decode_as_everything(bytes: &Bytes) {
    if let Ok(message) = ClientMessage::decode(bytes.clone()) {
        assert_eq!(ClientMessage::decode(content(message.encode())), Ok(message));
    }
    if let Ok(message) = ServerMessage::decode(bytes.clone()) {
        assert_eq!(ServerMessage::decode(content(message.encode())), Ok(message));
    }
    if let Ok(entry) = decode_entry(bytes.clone()) {
        assert_eq!(decode_entry(crate::encode_entry(&entry)), Ok(entry));
    }
    // A bundle is packed: random bytes do not get far. bundle/tests.rs damages the inside.
    let _ = decode_bundle(bytes.clone());
}

#[test]
fn unknown_fields_inside_a_message_are_skipped() {
    let hello = Hello { build: "0.1.0".to_owned(), ..hello() };
    let later = wrap(1, &with_unknown_fields(&pb::Hello::from(&hello).encode_to_vec()));
    assert_eq!(ClientMessage::decode(later), Ok(ClientMessage::Hello(hello)));
}

#[test]
fn a_frame_without_a_body_we_know_is_refused() {
    for bytes in [Bytes::new(), with_unknown_fields(&[]), wrap(15, b"a message of a later version")] {
        assert_eq!(ClientMessage::decode(bytes.clone()), Err(DecodeError::MissingField("body")));
        assert_eq!(ServerMessage::decode(bytes), Err(DecodeError::MissingField("body")));
    }
}

#[test]
fn messages_without_their_ids_are_refused() {
    let id_of = |result: Result<(), DecodeError>| match result {
        Err(DecodeError::Id(error)) => error.what,
        other => panic!("expected a refused id, not {other:?}"),
    };
    let client = |body| id_of(ClientMessage::decode(encoded(&pb::ClientFrame { body: Some(body) })).map(drop));
    let server = |body| id_of(ServerMessage::decode(encoded(&pb::ServerFrame { body: Some(body) })).map(drop));
    let id = || Bytes::from_static(&[7; 16]);

    let cursor = pb::Cursor { epoch: Bytes::new(), position: 1 };
    let hello = pb::Hello { versions: vec![1], cursor: Some(cursor), ..Default::default() };
    assert_eq!(client(pb::client_frame::Body::Hello(hello)), "epoch");
    assert_eq!(client(pb::client_frame::Body::Push(pb::Push::default())), "document");
    let fetch = pb::Fetch { documents: vec![id()] };
    assert_eq!(client(pb::client_frame::Body::Fetch(fetch)), "document");
    assert_eq!(server(pb::server_frame::Body::Welcome(pb::Welcome::default())), "session");
    let welcome = pb::Welcome { session: id(), ..Default::default() };
    assert_eq!(server(pb::server_frame::Body::Welcome(welcome)), "epoch");
    let changes = pb::Changes { bootstrap: vec![Bytes::from_static(&[9; 17])], ..Default::default() };
    assert_eq!(server(pb::server_frame::Body::Changes(changes)), "document");
}

#[test]
fn lists_beyond_their_limit_are_refused() {
    let document = convert::document_to_pb(DocumentId::from_slice(&DOCUMENT).expect("17 bytes"));
    let too_many = |what, max| Err(DecodeError::TooMany { what, count: max + 1, max });
    let client = |body| ClientMessage::decode(encoded(&pb::ClientFrame { body: Some(body) })).map(drop);

    let hello = pb::Hello { versions: vec![1; VERSIONS_MAX + 1], ..Default::default() };
    assert_eq!(client(pb::client_frame::Body::Hello(hello)), too_many("versions", VERSIONS_MAX));
    let hello = pb::Hello { build: "b".repeat(BUILD_LEN_MAX + 1), ..Default::default() };
    assert_eq!(client(pb::client_frame::Body::Hello(hello)), too_many("build", BUILD_LEN_MAX));
    let changes = vec![Bytes::new(); limits::PUSH_CHANGES_MAX + 1];
    let push = pb::Push { push: 1, document: document.clone(), changes, ..Default::default() };
    assert_eq!(client(pb::client_frame::Body::Push(push)), too_many("changes", limits::PUSH_CHANGES_MAX));
    let fetch = pb::Fetch { documents: vec![document; limits::FETCH_DOCUMENTS_MAX + 1] };
    assert_eq!(client(pb::client_frame::Body::Fetch(fetch)), too_many("documents", limits::FETCH_DOCUMENTS_MAX));
    let login = pb::Login { user: Bytes::from_static(&[1; 16]), what: 1, at_ms: 1 };
    let receipts = pb::Receipts { logins: vec![login; limits::RECEIPTS_MAX + 1], ..Default::default() };
    assert_eq!(client(pb::client_frame::Body::Receipts(receipts)), too_many("logins", limits::RECEIPTS_MAX));
    let refused = vec![pb::Refused { index: 0, reason: 1, expected: 0 }; limits::PUSH_CHANGES_MAX + 1];
    let durable = pb::server_frame::Body::Durable(pb::Durable { refused, ..Default::default() });
    let server = ServerMessage::decode(encoded(&pb::ServerFrame { body: Some(durable) })).map(drop);
    assert_eq!(server, too_many("refused", limits::PUSH_CHANGES_MAX));
}

#[test]
fn lists_at_their_limit_pass() {
    let document = DocumentId::from_slice(&DOCUMENT).expect("17 bytes");
    let messages = [
        ClientMessage::Push(Push {
            push: 1,
            document,
            changes: vec![Bytes::new(); limits::PUSH_CHANGES_MAX],
            user: None,
        }),
        ClientMessage::Fetch(Fetch { documents: vec![document; limits::FETCH_DOCUMENTS_MAX] }),
    ];
    for message in messages {
        assert_eq!(ClientMessage::decode(content(message.encode())), Ok(message));
    }
}

#[test]
fn a_hello_fits_the_limit_that_holds_before_the_device_is_known() {
    let epoch = Epoch::from_slice(&[0xff; 16]).expect("16 bytes");
    let cursor = Some(Cursor { epoch, position: Position(u64::MAX) });
    let build = "ä".repeat(BUILD_LEN_MAX / 2);
    let largest = ClientMessage::Hello(Hello {
        versions: vec![u32::MAX; VERSIONS_MAX],
        build,
        cursor,
        tenant: Some("t".repeat(63).parse().expect("a slug")),
        active: Some(Credential::Token("t".repeat(limits::TOKEN_LEN_MAX))),
        delivers: vec![Credential::Ticket(vec![0; limits::TICKET_LEN_MAX].into()); limits::DELIVERS_MAX],
        in_use: vec![CaseId::from_slice(&[0xff; 16]).expect("16 bytes"); limits::IN_USE_MAX],
        on_mission: true,
    });
    assert!(largest.encode().len() <= limits::HELLO_LEN_MAX);
    assert_eq!(ClientMessage::decode(content(largest.encode())), Ok(largest));
}

#[test]
fn the_devices_first_known_version_is_taken() {
    assert_eq!(negotiate(&[7, VERSION, 3]), Some(VERSION));
    assert_eq!(negotiate(&[]), None);
    assert_eq!(negotiate(&[0, VERSION + 1]), None);
}

/// A hello of a device without a past.
fn hello() -> Hello {
    Hello { versions: vec![1], ..Hello::default() }
}

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

const DOCUMENT: [u8; 17] = [1; 17];

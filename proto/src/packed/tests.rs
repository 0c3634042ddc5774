use bytes::Bytes;
use feldakte_core::{
    ids::{DocumentId, Position},
    limits,
    log::Entry,
};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    ChangesFrame, ClientMessage, DecodeError, Push, RawEntry, ServerMessage,
    arbitrary::{client_message, content, server_message},
    encode_entry,
};

proptest! {
    #[test]
    fn messages_round_trip_in_every_version(client in client_message(), server in server_message(), version in 0..4_u32) {
        prop_assert_eq!(ClientMessage::decode(content(client.encode_for(version))), Ok(client));
        if let ServerMessage::Changes(changes) = &server {
            // Those of a log ascend.
            prop_assume!(changes.entries.is_sorted_by_key(|entry| entry.position));
        }
        prop_assert_eq!(ServerMessage::decode(content(server.encode_for(version))), Ok(server));
    }

    #[test]
    fn damaged_packings_panic_nothing(edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let (push, changes) = (push_of(&similar(40)), changes_of(&[(1, 20), (2, 20)]));
        for frame in [push.encode_for(2), changes.encode_for(2)] {
            let mut bytes = content(frame).to_vec();
            for (index, byte) in &edits {
                let index = index.index(bytes.len());
                bytes[index] = *byte;
            }
            let _ = ClientMessage::decode(bytes.clone().into());
            let _ = ServerMessage::decode(bytes.into());
        }
    }
}

#[test]
fn similar_changes_are_packed_for_those_who_can_read_them() {
    let push = push_of(&similar(40));
    let (plain, packed) = (push.encode_for(1), push.encode_for(2));
    assert_eq!(plain, push.encode());
    assert!(packed.len() * 2 < plain.len(), "{} of {}", packed.len(), plain.len());
    assert_eq!(ClientMessage::decode(content(packed)), Ok(push));
}

#[test]
fn entries_of_several_documents_come_back_in_the_order_of_the_log() {
    let changes = changes_of(&[(1, 30), (2, 1), (3, 30)]);
    let (plain, packed) = (changes.encode_for(1), changes.encode_for(2));
    assert!(packed.len() * 2 < plain.len(), "{} of {}", packed.len(), plain.len());
    assert_eq!(ServerMessage::decode(content(packed)), Ok(changes));
}

/// The attack: with what one document repeats of another, a shorter frame.
#[test]
fn a_guess_in_one_document_shows_nothing_of_another() {
    let secret = b"Diagnose: Fraktur des linken Oberschenkels, Patientin Erika Mustermann".repeat(20);
    let guess = secret.clone();
    let lens = |documents: &[(u8, Vec<u8>)]| {
        packed_frame(documents).packed.iter().map(|run| run.packed.len()).collect::<Vec<_>>()
    };
    let alone = [lens(&[(1, secret.clone())]), lens(&[(2, guess.clone())])].concat();
    assert_eq!(alone.len(), 2, "they do pack");
    assert_eq!(lens(&[(1, secret), (2, guess)]), alone);
}

#[test]
fn a_bomb_is_refused_before_it_unpacks() {
    let bomb = |raw_len: usize| {
        let packed = zstd::bulk::compress(&vec![0; 64 << 20], 1).expect("memory");
        assert!(packed.len() < 16 << 10, "it would pass even as a hello");
        pb::Packed { raw_len: raw_len as u32, packed: packed.into() }
    };
    let max = limits::FRAME_LEN_MAX;
    let too_large = |len, max, what| Some(DecodeError::TooLarge { what, len, max });
    assert_eq!(unpacked_changes(Vec::new(), Some(bomb(64 << 20))).err(), too_large(64 << 20, max, "changes"));
    assert_eq!(unpacked_changes(Vec::new(), Some(bomb(max))), Err(DecodeError::Packing("changes")));
    assert_eq!(unpacked_changes(Vec::new(), Some(bomb(0))), Err(DecodeError::Packing("changes")));
    let entries = unpacked_entries(Vec::new(), vec![bomb(2 * max + 1)]);
    assert_eq!(entries.err(), too_large(2 * max + 1, 2 * max, "entries"));
}

#[test]
fn many_small_bombs_are_refused_like_a_large_one() {
    // Empty entries: as short packed as they are many.
    let run = pb::Run { entries: vec![pb::Positioned { position: 0, entry: Bytes::from(vec![0; 1 << 16]) }; 8] };
    let raw = run.encode_to_vec();
    let packed: Bytes = zstd::bulk::compress(&raw, 1).expect("memory").into();
    let small = pb::Packed { raw_len: raw.len() as u32, packed };
    let refused = unpacked_entries(Vec::new(), vec![small; 100]).map(drop);
    assert!(matches!(refused, Err(DecodeError::TooLarge { what: "entries", .. })), "{refused:?}");
}

#[test]
fn a_window_of_gigabytes_is_refused() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).expect("memory");
    encoder.window_log(27).expect("it is known");
    io::Write::write_all(&mut encoder, &[0; 4_096]).expect("memory");
    let packed = encoder.finish().expect("memory").into();
    let refused = unpacked_changes(Vec::new(), Some(pb::Packed { raw_len: 4_096, packed }));
    assert_eq!(refused, Err(DecodeError::Packing("changes")));
}

#[test]
fn a_push_is_either_packed_or_not() {
    let packed = pack(&pb::Chunks { changes: similar(40) });
    let both = unpacked_changes(similar(1), packed);
    assert_eq!(both, Err(DecodeError::Packing("changes")));
}

#[test]
fn the_document_of_an_entry_is_where_it_is_looked_for() {
    let document = document(7);
    let entry = encode_entry(&Entry::new(document));
    assert_eq!(document_of(&entry).as_ref().map(|bytes| DocumentId::from_slice(bytes)), Some(Ok(document)));
    for bytes in [&[][..], &[DOCUMENT_KEY], &[DOCUMENT_KEY, 17, 1, 2], &[0x12, 17]] {
        assert_eq!(document_of(bytes), None);
    }
}

fn document(case: u8) -> DocumentId {
    DocumentId::from_slice(&[[case; 16].as_slice(), &[3]].concat()).expect("17 bytes")
}

fn similar(count: usize) -> Vec<Bytes> {
    (0..count).map(|number| format!("Blutdruck 120 zu 80, Puls 72, Messung {number}").into()).collect()
}

fn push_of(changes: &[Bytes]) -> ClientMessage {
    ClientMessage::Push(Push { push: 1, document: document(1), changes: changes.to_vec(), user: None })
}

/// Documents with so many entries each, which take turns in the log.
fn changes_of(documents: &[(u8, usize)]) -> ServerMessage {
    let most = documents.iter().map(|(_, count)| *count).max().expect("not empty");
    let turns =
        (0..most).flat_map(|turn| documents.iter().filter(move |(_, count)| turn < *count).map(|(case, _)| *case));
    let entry = |case| encode_entry(&Entry { changes: similar(1), ..Entry::new(document(case)) });
    let raw = |(index, case)| RawEntry { position: Position(index as u64 + 1), entry: entry(case) };
    let entries = turns.enumerate().map(raw).collect();
    ServerMessage::Changes(ChangesFrame { entries, caught_up: true, ..ChangesFrame::default() })
}

fn run(case: u8, written: &[u8]) -> pb::Run {
    let entry = Entry { changes: vec![Bytes::copy_from_slice(written)], ..Entry::new(document(case)) };
    pb::Run { entries: vec![pb::Positioned { position: u64::from(case), entry: encode_entry(&entry) }] }
}

fn packed_frame(documents: &[(u8, Vec<u8>)]) -> pb::Changes {
    let entries = documents.iter().flat_map(|(case, written)| run(*case, written).entries).collect();
    changes(pb::Changes { entries, ..Default::default() })
}

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::arbitrary::{content, unbundled, with_unknown_fields};

proptest! {
    #[test]
    fn bundles_round_trip(unbundled in unbundled()) {
        prop_assert_eq!(open_all(bundled(&unbundled)), unbundled);
    }

    #[test]
    fn damaged_and_cut_bundles_panic_nothing(
        unbundled in unbundled(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for frame in bundled(&unbundled) {
            let whole = content(frame);
            for len in 0..whole.len() {
                let _ = decode_bundle(whole.slice(..len));
            }
            let mut damaged = whole.to_vec();
            for (index, byte) in &edits {
                let index = index.index(damaged.len());
                damaged[index] = *byte;
            }
            let _ = decode_bundle(damaged.into());
        }
    }

    #[test]
    fn damage_inside_the_packing_panics_nothing(raw in vec(any::<u8>(), 0..400)) {
        let _ = decode_bundle(packed(&raw, raw.len()));
    }

    #[test]
    fn unknown_fields_are_skipped(unbundled in unbundled()) {
        for frame in bundled(&unbundled) {
            let whole = content(frame);
            prop_assert_eq!(decode_bundle(with_unknown_fields(&whole)), decode_bundle(whole));
        }
    }
}

/// Frames of a bundler that was given all of it.
fn bundled(unbundled: &Unbundled) -> Vec<Bytes> {
    let Unbundled { snapshots, unavailable } = unbundled;
    let mut bundler = Bundler::default();
    let mut frames: Vec<Bytes> = snapshots.iter().filter_map(|snapshot| bundler.push(snapshot)).collect();
    unavailable.iter().for_each(|document| bundler.push_unavailable(*document));
    frames.extend(bundler.finish());
    assert_eq!(bundler.finish(), None, "nothing is sent twice");
    frames
}

fn open_all(frames: Vec<Bytes>) -> Unbundled {
    let mut all = Unbundled::default();
    for frame in frames {
        let Unbundled { snapshots, unavailable } = decode_bundle(content(frame)).expect("our own bundle opens");
        all.snapshots.extend(snapshots);
        all.unavailable.extend(unavailable);
    }
    all
}

/// A bundle that says it is `raw_len` long and holds `raw`.
fn packed(raw: &[u8], raw_len: usize) -> Bytes {
    let packed = zstd::bulk::compress(raw, ZSTD_LEVEL).expect("memory").into();
    pb::Bundle { raw_len: raw_len as u32, packed }.encode_to_vec().into()
}

fn snapshot(case: u8, chunks: Bytes) -> Snapshot {
    let document = DocumentId::from_slice(&[[case; 16].as_slice(), &[3]].concat()).expect("17 bytes");
    Snapshot { document, position: Position(1), chunks, bindings: Vec::new(), quarantined: Vec::new() }
}

/// Bytes that do not pack: a bundle of them is as long as its content.
fn noise(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn small_documents_share_a_bundle_and_large_ones_travel_alone() {
    let small = noise(limits::BUNDLE_TARGET / 4);
    let large = noise(limits::BUNDLE_TARGET * 2);
    let chunks = [&small, &small, &small, &large, &small, &small];
    let snapshots = (0u8..).zip(chunks).map(|(case, chunks)| snapshot(case, chunks.clone())).collect();
    let unbundled = Unbundled { snapshots, unavailable: Vec::new() };
    let frames = bundled(&unbundled);
    let counts: Vec<_> = frames.iter().map(|frame| open_all(vec![frame.clone()]).snapshots.len()).collect();
    assert_eq!(counts, [3, 1, 2]);
    assert_eq!(open_all(frames), unbundled);
}

#[test]
fn a_document_larger_than_the_unpackers_window_opens() {
    let unbundled = Unbundled { snapshots: vec![snapshot(1, noise(9 << 20))], unavailable: Vec::new() };
    assert_eq!(open_all(bundled(&unbundled)), unbundled);
}

#[test]
fn a_bundle_that_claims_too_much_is_refused_unopened() {
    let max = limits::BUNDLE_RAW_MAX;
    for len in [max + 1, u32::MAX as usize] {
        assert_eq!(decode_bundle(packed(b"", len)), Err(SnapshotError::TooLarge { len, max }));
    }
}

#[test]
fn a_bundle_that_lies_about_its_length_is_damaged() {
    let raw = pb::Snapshots { snapshots: Vec::new(), unavailable: vec![vec![1; 17].into()] }.encode_to_vec();
    assert!(decode_bundle(packed(&raw, raw.len())).is_ok());
    for claim in [0, raw.len() - 1, raw.len() + 1, limits::BUNDLE_RAW_MAX] {
        assert_eq!(decode_bundle(packed(&raw, claim)), Err(SnapshotError::Damaged), "{claim}");
    }
}

#[test]
fn a_bomb_unpacks_to_no_more_than_it_claims() {
    let bomb = packed(&vec![0; 128 << 20], 100);
    assert!(bomb.len() < 64 << 10, "it is small: {}", bomb.len());
    assert_eq!(decode_bundle(bomb.clone()), Err(SnapshotError::Damaged));
    let pb::Bundle { raw_len: _, packed } = pb::Bundle::decode(bomb).expect("a bundle");
    let raw = unpack(&packed, 100, ZSTD_WINDOW_LOG_MAX).expect("what is read of it is sound");
    assert_eq!(raw.len(), 101);
    assert!(raw.capacity() <= 4 << 10, "{} bytes were allocated", raw.capacity());
}

#[test]
fn a_small_bundle_allocates_little_whatever_it_claims() {
    let packed = zstd::bulk::compress(b"small", ZSTD_LEVEL).expect("memory");
    let raw = unpack(&packed, limits::BUNDLE_RAW_MAX, ZSTD_WINDOW_LOG_MAX).expect("sound");
    assert_eq!(raw, b"small");
    assert!(raw.capacity() <= 4 << 10, "{} bytes were allocated", raw.capacity());
}

#[test]
fn a_frame_that_wants_a_larger_window_than_ours_is_damaged() {
    // Magic, then a descriptor without content size, then a window of 2 GiB, then one empty last block.
    let greedy = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
    assert!(unpack(&greedy, 100, ZSTD_WINDOW_LOG_MAX).is_err());
    let modest = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0x00, 0x00];
    assert_eq!(unpack(&modest, 100, ZSTD_WINDOW_LOG_MAX).expect("8 MiB are allowed"), b"");
}

#[test]
fn many_empty_snapshots_are_refused_before_memory_is_made_for_them() {
    let raw = [0x0a, 0x00].repeat(limits::BUNDLE_RAW_MAX / 2);
    let bomb = packed(&raw, raw.len());
    assert!(bomb.len() < 64 << 10, "it is small: {}", bomb.len());
    assert!(matches!(decode_bundle(bomb), Err(SnapshotError::Decode(DecodeError::TooMany { .. }))));
}

#[test]
fn snapshots_without_their_document_are_refused() {
    let raw = pb::Snapshots { snapshots: vec![pb::Snapshot::default()], unavailable: Vec::new() }.encode_to_vec();
    let result = decode_bundle(packed(&raw, raw.len()));
    assert!(matches!(result, Err(SnapshotError::Decode(DecodeError::Id(id))) if id.what == "document"));
}

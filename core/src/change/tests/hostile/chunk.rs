use super::*;

#[test]
fn one_flipped_bit_that_turns_120_80_into_920_80() {
    let mut bytes = honest_reading().to_vec();
    let at = bytes.windows(6).position(|window| window == b"120/80").expect("the value stands in the bytes");
    bytes[at] ^= b'1' ^ b'9';
    assert_eq!(refusal(bytes.clone()), ChangeError::Checksum);
    // The check is what refuses it: with the checksum recomputed it is a change like any other.
    assert!(Change::parse(craft::reseal(&bytes)).is_ok());
}

#[test]
fn every_flipped_bit_of_a_change_is_noticed() {
    let honest = honest_reading();
    for bit in 0..honest.len() * 8 {
        let mut bytes = honest.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Change::parse(bytes.into()).is_err(), "bit {bit}");
    }
}

#[test]
fn compressed_document_and_bundle_chunks() {
    for kind in [craft::CHUNK_DOCUMENT, craft::CHUNK_COMPRESSED, craft::CHUNK_BUNDLE, 4, 0xff] {
        assert_eq!(refusal(craft::chunk(kind, &draft().body())), ChangeError::ChunkType(kind));
    }
}

#[test]
fn a_snapshot_sent_as_a_change() {
    let mut team = Team::new(1);
    let saved = team.members[0].document.save(crate::crdt::Packing::Deflated);
    assert_eq!(refusal(saved), ChangeError::ChunkType(craft::CHUNK_DOCUMENT));
}

#[test]
fn an_empty_payload() {
    assert_eq!(refusal(Bytes::new()), ChangeError::Malformed("cut short"));
}

#[test]
fn bytes_that_are_no_chunk() {
    assert_eq!(refusal(vec![0; 64]), ChangeError::Malformed("not an automerge chunk"));
}

#[test]
fn truncated_at_every_offset() {
    let honest = honest_reading();
    for len in 0..honest.len() {
        assert!(matches!(refusal(honest.slice(..len)), ChangeError::Malformed(_)), "{len} bytes");
    }
}

/// Here the attacker makes length and checksum fit, so that every later read must notice by itself.
#[test]
fn truncated_bodies_with_valid_checksums() {
    for draft in [draft(), draft().with_nested_maps("m", 5)] {
        let body = draft.body();
        for len in 0..body.len() {
            let error = refusal(craft::chunk(craft::CHUNK_CHANGE, &body[..len]));
            assert!(matches!(error, ChangeError::Malformed(_)), "{len} bytes: {error:?}");
        }
    }
}

#[test]
fn trailing_garbage_after_the_chunk() {
    let bytes = [draft().chunk().as_ref(), &[0]].concat();
    assert_eq!(refusal(bytes), ChangeError::Malformed("the chunk's length is not its own"));
    let two = [draft().chunk(), draft().chunk()].concat();
    assert_eq!(refusal(two), ChangeError::Malformed("the chunk's length is not its own"));
}

#[test]
fn larger_than_allowed() {
    let with_extra = |len| Draft { extra: vec![0; len], ..draft() }.chunk();
    let overhead = with_extra(limits::CHANGE_LEN_MAX / 2).len() - limits::CHANGE_LEN_MAX / 2;
    let fits = with_extra(limits::CHANGE_LEN_MAX - overhead);
    assert_eq!(fits.len(), limits::CHANGE_LEN_MAX);
    assert!(Change::parse(fits).is_ok());
    assert_eq!(refusal(with_extra(limits::CHANGE_LEN_MAX - overhead + 1)), ChangeError::TooLarge);
}

#[test]
fn a_length_that_is_not_in_its_shortest_form() {
    let body = draft().body();
    assert!(body.len() < 128, "one byte is the shortest form");
    let hashed = [&[craft::CHUNK_CHANGE, body.len() as u8 | 0x80, 0], body.as_slice()].concat();
    assert_eq!(refusal(craft::seal(&hashed)), ChangeError::Malformed("a number is not in its shortest form"));
}

#[test]
fn numbers_in_columns_that_are_not_in_their_shortest_form() {
    let overlong = [(craft::ACTION, vec![0x83, 0x00, 1]), (craft::INSERT, vec![0x83, 0x00])];
    for (column, data) in overlong {
        let attack = draft().with_column(column, data);
        assert_eq!(malformed(&attack), "a number is not in its shortest form");
    }
}

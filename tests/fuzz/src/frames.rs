//! Everything that reads bytes of a peer: the frame codec, messages both ways, entries and snapshot bundles.
//!
//! Invariants: no panic; fragmentation changes nothing; what decodes, encodes to what decodes to the same.

use bytes::Bytes;
use feldakte_core::limits;
use feldakte_proto::{
    Bundler, ClientMessage, FrameDecoder, FrameError, HEADER_LEN, ServerMessage, Unbundled, decode_bundle,
    decode_entry, encode_entry,
};

/// Reads the first byte as fragment length and the rest as a stream of frames, and once more as one content.
pub fn run(data: &[u8]) {
    let Some((fragment_len, stream)) = data.split_first() else {
        return;
    };
    let (frames, end) = read_frames(stream.chunks(usize::from(*fragment_len) + 1));
    assert_eq!(read_frames([stream]), (frames.clone(), end), "fragmentation changed what was read");
    frames.into_iter().for_each(decode_as_everything);
    decode_as_everything(Bytes::copy_from_slice(stream));
}

fn read_frames<'a>(fragments: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Bytes>, Option<FrameError>) {
    let mut decoder = FrameDecoder::new(limits::FRAME_LEN_MAX);
    let mut frames = Vec::new();
    for fragment in fragments {
        decoder.extend(fragment);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fn decode_as_everything(bytes: Bytes) {
    if let Ok(message) = ClientMessage::decode(bytes.clone()) {
        assert_eq!(ClientMessage::decode(content(message.encode())), Ok(message));
    }
    if let Ok(message) = ServerMessage::decode(bytes.clone()) {
        if let ServerMessage::Changes(changes) = &message {
            changes.entries.iter().for_each(|raw| check_entry(raw.entry.clone()));
        }
        assert_eq!(ServerMessage::decode(content(message.encode())), Ok(message));
    }
    check_entry(bytes.clone());
    check_bundle(stored_bundle(&bytes));
    check_bundle(bytes);
}

fn check_entry(bytes: Bytes) {
    if let Ok(entry) = decode_entry(bytes) {
        assert_eq!(decode_entry(encode_entry(&entry)), Ok(entry));
    }
}

fn check_bundle(bytes: Bytes) {
    let Ok(Unbundled { snapshots, unavailable }) = decode_bundle(bytes) else {
        return;
    };
    let mut bundler = Bundler::default();
    let mut frames: Vec<Bytes> = snapshots.iter().filter_map(|snapshot| bundler.push(snapshot)).collect();
    unavailable.iter().for_each(|document| bundler.push_unavailable(*document));
    frames.extend(bundler.finish());
    let mut again = Unbundled::default();
    for frame in frames {
        let opened = decode_bundle(content(frame)).expect("our own bundle opens");
        again.snapshots.extend(opened.snapshots);
        again.unavailable.extend(opened.unavailable);
    }
    assert_eq!(again, Unbundled { snapshots, unavailable });
}

fn content(frame: Bytes) -> Bytes {
    frame.slice(HEADER_LEN..)
}

/// `raw` as a bundle that is packed without compression, so that mutations reach what is inside.
fn stored_bundle(raw: &[u8]) -> Bytes {
    const BLOCK_LEN_MAX: usize = 128 << 10;
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    const SINGLE_SEGMENT_WITH_LENGTH_OF_4: u8 = 0b1010_0000;
    let len = raw.len() as u32;
    let mut packed = MAGIC.to_vec();
    packed.push(SINGLE_SEGMENT_WITH_LENGTH_OF_4);
    packed.extend(len.to_le_bytes());
    for block in raw.chunks(BLOCK_LEN_MAX) {
        packed.extend(&((block.len() as u32) << 3).to_le_bytes()[..3]);
        packed.extend(block);
    }
    packed.extend([1, 0, 0]); // an empty last block
    let mut bundle = vec![0x08];
    bundle.extend(varint(len));
    bundle.push(0x12);
    bundle.extend(varint(packed.len() as u32));
    bundle.extend(packed);
    bundle.into()
}

fn varint(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

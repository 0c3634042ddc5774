//! What compressing frames would gain, and cost: `cargo run --release -p feldakte-tests --example packing -- WORKLOAD`, with the
//! directory of the case files for more than the missions of `core`'s benchmarks.
//!
//! Each frame is compressed for itself: what stands in one never shows in the length of another.

use std::{env, io::Write, path::Path, time::Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use feldakte_core::{
    crdt::{Document, Packing},
    ids::{ActorId, CaseId, DocumentId, Part},
};
use feldakte_proto::{ClientMessage, Push};
use feldakte_tests::load;
use flate2::{Compression, write::DeflateEncoder};
use uuid::Uuid;

#[path = "../../core/benches/case/mission.rs"]
#[expect(dead_code, reason = "the benchmarks use the rest")]
mod mission;
#[path = "../../core/benches/case/two_hours.rs"]
mod two_hours;

/// A way to compress.
struct Codec {
    name: &'static str,
    pack: fn(&[u8]) -> Vec<u8>,
}

/// Frames as they would be sent.
struct Traffic {
    name: String,
    frames: Vec<Bytes>,
}

fn main() -> Result<()> {
    let mut logs = vec![
        ("mission".to_owned(), mission::busy(300).changes.into_iter().map(|change| change.bytes).collect::<Vec<_>>()),
        ("two hours".to_owned(), two_hours::mission().changes.into_iter().map(|change| change.bytes).collect()),
    ];
    if let Some(dir) = env::args().nth(1) {
        let [small, large] = load::cases_in(Path::new(&dir), document())?;
        logs.extend([("small case".to_owned(), small), ("large case".to_owned(), large)]);
    }
    println!("{:34} {:>9} {}", "frames of", "bytes", CODECS.map(|codec| format!("{:>26}", codec.name)).concat());
    for (name, changes) in &logs {
        for traffic in [
            singly(name, changes),
            in_pushes(name, changes, 16),
            in_pushes(name, changes, 512),
            snapshot(name, changes)?,
        ] {
            print(&traffic);
        }
    }
    Ok(())
}

/// As they are saved while there is a link.
fn singly(name: &str, changes: &[Bytes]) -> Traffic {
    in_pushes(name, changes, 1)
}

/// As they are delivered after a time without one, and as others catch up.
fn in_pushes(name: &str, changes: &[Bytes], each: usize) -> Traffic {
    let push = |changes: &[Bytes]| {
        let push = Push { push: 7, document: document(), changes: changes.to_vec(), user: None };
        ClientMessage::Push(push).encode()
    };
    Traffic { name: format!("{name}, {each} a push"), frames: changes.chunks(each).map(push).collect() }
}

/// The document as the projector stores it.
fn snapshot(name: &str, changes: &[Bytes]) -> Result<Traffic> {
    let mut document = Document::load(&changes.concat(), ActorId([8; 16])).context("it loads")?;
    Ok(Traffic { name: format!("{name}, snapshot"), frames: vec![document.save(Packing::Plain).into()] })
}

fn print(Traffic { name, frames }: &Traffic) {
    let len: usize = frames.iter().map(Bytes::len).sum();
    let cells = CODECS.map(|Codec { pack, .. }| {
        let begun = Instant::now();
        let mut packed = 0;
        for _ in 0..ROUNDS {
            // A frame that does not become smaller is sent as it is.
            packed = frames.iter().map(|frame| pack(frame).len().min(frame.len())).sum::<usize>();
        }
        let each = begun.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS) / frames.len() as f64;
        format!("{:>12} {:>4.0} % {:>6.0} µs", packed, 100.0 * packed as f64 / len as f64, each)
    });
    println!("{:34} {:>9} {}", format!("{name} ({})", frames.len()), len, cells.concat());
}

fn deflate(frame: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(frame).expect("memory");
    encoder.finish().expect("memory")
}

fn document() -> DocumentId {
    DocumentId { case: CaseId(Uuid::from_u128(7)), part: Part::Clinical }
}

const CODECS: [Codec; 3] = [
    Codec { name: "deflate 6", pack: deflate },
    Codec { name: "zstd 1", pack: |frame| zstd::bulk::compress(frame, 1).expect("memory") },
    Codec { name: "zstd 3", pack: |frame| zstd::bulk::compress(frame, 3).expect("memory") },
];
const ROUNDS: u32 = 20;

//! Writes the seeds of the corpus: `cargo run --example seed -- ../corpus`. Same seeds every time.

use std::{fs, io, path::Path};

use bytes::Bytes;
use feldakte_core::{
    access::{Access, Grant, Role, Subject},
    case::{self, Edit},
    change::craft::{self, Draft},
    crdt::{Document, Value},
    ids::{ActorId, CallId, ChangeHash, Cursor, DeviceId, EntryId, Epoch, Part, Position, SessionId},
    live::{Moment, Numeric, Publisher, Trace, TraceKind, probe::Probe},
    log::{Binding, Entry, Quarantine, QuarantineReason},
};
use feldakte_fuzz::admission::{COLUMNS, actor, document};
use feldakte_proto::{
    ChangesFrame, ClientMessage, Durable, Fetch, HEADER_LEN, Hello, Push, RawEntry, Reason, Refused, ServerMessage,
    Welcome, encode_entry, encode_frame,
};
use uuid::Uuid;

fn main() -> io::Result<()> {
    let corpus = std::env::args().nth(1).ok_or_else(|| io::Error::other("which directory?"))?;
    write(&Path::new(&corpus).join("frames"), frames())?;
    write(&Path::new(&corpus).join("admission"), scripts())?;
    write(&Path::new(&corpus).join("live"), datagrams())
}

fn write(directory: &Path, seeds: Vec<(&str, Vec<u8>)>) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    seeds.into_iter().try_for_each(|(name, seed)| fs::write(directory.join(format!("seed-{name}")), seed))
}

/// Each datagram behind how much later it comes and how long it is.
fn datagrams() -> Vec<(&'static str, Vec<u8>)> {
    let call = CallId(Uuid::from_u128(7));
    let mut publisher = Publisher::new(call, 1);
    let moment = |now_ms| Moment { now_ms, path_ms: 20, ago_ms: 100 };
    let number = |code: &str, value| Numeric { code: code.to_owned(), unit: "/min".to_owned(), scale: 0, value };
    let numerics = (1..4).map(|second| {
        let values = vec![number("8867-4", 80 + second as i32), number("9279-1", -16)];
        publisher.numerics(moment(second * 1_000), values).expect("fits")
    });
    let numerics: Vec<Bytes> = numerics.collect();
    let lead = |kind| Trace { kind, step_nano: 2_500, samples: (0..25).map(|sample| sample * 37 % 41 - 20).collect() };
    let leads: Vec<Trace> = TraceKind::ALL.into_iter().take(3).map(lead).collect();
    let waves = (1..6).flat_map(|tenth| publisher.waves(moment(tenth * 100), 4_000, &leads).expect("fits"));
    let waves: Vec<Bytes> = waves.collect();
    let probe = |index, since_us| Probe { train: 9, index, since_us, len: 40 }.encode();
    let scattered = [0, 2, 4, 1, 3, 3].map(|index| waves[index].clone());
    vec![
        ("numerics", script(&numerics)),
        ("waves", script(&waves)),
        ("waves-scattered", script(&scattered)),
        ("probes", script(&[probe(0, None), probe(0, Some(0)), probe(1, Some(77))])),
    ]
}

fn script(datagrams: &[Bytes]) -> Vec<u8> {
    let one = |datagram: &Bytes| [&99_u16.to_be_bytes()[..], &(datagram.len() as u16).to_be_bytes(), datagram].concat();
    datagrams.iter().flat_map(one).collect()
}

/// The first byte is the fragment length; then frames, or one content without a header.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let clinical = document(Part::Clinical);
    let epoch = Epoch(Uuid::from_u128(1));
    let changes: Vec<Bytes> = honest_changes(Part::Clinical);
    let hello = ClientMessage::Hello(Hello {
        versions: vec![1],
        build: "0.1.0".to_owned(),
        cursor: Some(Cursor { epoch, position: Position(300) }),
        in_use: vec![clinical.case],
        on_mission: true,
        ..Hello::default()
    });
    let push = ClientMessage::Push(Push { push: 1, document: clinical, changes: changes.clone(), user: None });
    let fetch = ClientMessage::Fetch(Fetch { documents: Part::ALL.map(document).to_vec() });
    let welcome = ServerMessage::Welcome(Welcome {
        version: 1,
        session: SessionId(Uuid::from_u128(2)),
        epoch,
        head: Position(300),
        caught_up: true,
        server_time_ms: 1_700_000_000_000,
        restored_to: Some(Position(299)),
    });
    let refused = vec![Refused { index: 1, reason: Reason::SequenceGap, expected: 2 }];
    let durable =
        ServerMessage::Durable(Durable { push: 1, position: Position(301), cursor: Some(Position(301)), refused });
    let stored = encode_entry(&entry(changes));
    let news = ServerMessage::Changes(ChangesFrame {
        to: Some(Position(302)),
        entries: vec![RawEntry { position: Position(302), entry: stored.clone() }],
        bootstrap: vec![document(Part::Identity)],
        caught_up: true,
    });
    let fragmented = |frames: &[Bytes]| [vec![6], frames.concat()].concat();
    let content = |bytes: &[u8]| [vec![255], bytes.to_vec()].concat();
    vec![
        ("device-to-gateway", fragmented(&[hello.encode(), push.encode(), fetch.encode()])),
        ("gateway-to-device", fragmented(&[welcome.encode(), durable.encode(), news.encode()])),
        ("entry", content(&stored)),
        ("hello", content(&hello.encode()[HEADER_LEN..])),
        ("snapshots", content(&snapshots(&case::genesis(Part::Clinical).bytes))),
        ("empty-frame", fragmented(&[encode_frame(&[])])),
        ("too-large-frame", content(&[0x00, 0x10, 0x00, 0x01, 0x0a])),
        ("cut-frame", fragmented(&[hello.encode().slice(..10)])),
        ("many-empty-changes", content(&field(2, &[0x1a, 0x00].repeat(2000)))),
    ]
}

fn entry(changes: Vec<Bytes>) -> Entry {
    let unit = "rtw-1-83-1".parse::<feldakte_core::ids::UnitId>().expect("a slug");
    let device = DeviceId(Uuid::from_u128(3));
    let mut entry = Entry::new(document(Part::Clinical));
    entry.grants = vec![Grant { subject: Subject::Unit(unit.clone()), access: Access::Write }];
    entry.revoked = vec![Subject::Device(device)];
    entry.bindings = vec![Binding { actor: actor(0), device, unit, role: Role::AmbulanceCrew }];
    entry.quarantined = vec![Quarantine { change: ChangeHash([0xbb; 32]), reason: QuarantineReason::TooDeep }];
    entry.changes = changes;
    entry
}

/// What a bundle holds when it is unpacked.
fn snapshots(chunks: &[u8]) -> Vec<u8> {
    let id = document(Part::Clinical).to_bytes();
    let binding = [field(1, &[0x11; 16]), field(2, &[3; 16]), field(3, b"rtw-1-83-1"), vec![0x20, 1]].concat();
    let quarantine = [field(1, &[0xbb; 32]), vec![0x10, 3]].concat();
    let snapshot = [field(1, &id), vec![0x10, 5], field(3, chunks), field(4, &binding), field(5, &quarantine)].concat();
    [field(1, &snapshot), field(2, &id)].concat()
}

fn field(number: u64, content: &[u8]) -> Vec<u8> {
    [craft::unsigned(number << 3 | 2), craft::unsigned(content.len() as u64), content.to_vec()].concat()
}

/// Scripts of `feldakte_fuzz::admission`: the part, then steps.
fn scripts() -> Vec<(&'static str, Vec<u8>)> {
    let script = |steps: &[Vec<u8>]| [vec![2, GENESIS], steps.concat()].concat();
    let changes = honest_changes(Part::Clinical);
    let (first, second) = (&changes[0], &changes[1]);
    let genesis = case::genesis(Part::Clinical).hash;
    let late = Draft::new(actor(0)).at([genesis], 1, (1 << 31) - 1).with_puts("x", 1).chunk();
    let flipped = |at: usize| [&first[..at], &[first[at] ^ 1], &first[at + 1..]].concat();
    vec![
        ("honest-device", script(&[honest(0, "Penicillin"), honest(1, "Übelkeit"), honest(2, "Pat. wach. ")])),
        ("honest-chunks", script(&changes.iter().map(|change| raw(change)).collect::<Vec<_>>())),
        ("two-devices", script(&[columns(first, 0), columns(first, DEVICE_B), honest(0, "keine"), columns(second, 0)])),
        ("without-genesis", [vec![2], raw(first)].concat()),
        ("genesis-of-another-part", [vec![1], raw(&case::genesis(Part::Clinical).bytes)].concat()),
        ("stranger-first", [vec![0, GENESIS | STRANGER], honest(0, "x"), raw(first)].concat()),
        ("foreign-actor", script(&[columns(first, 0), vec![DRAFT | DEVICE_B | OF_A, PUTS, 1]])),
        ("wrong-checksum", script(&[raw_unsealed(&flipped(40))])),
        ("sequence-reused", script(&[columns(first, 0), twisted(0, 0xff, 0)])),
        ("sequence-gap", script(&[twisted(0, 1, 0)])),
        ("counter-too-far", script(&[twisted(0, 0, 0x7f)])),
        ("unknown-dependency", script(&[raw(second)])),
        ("no-dependencies", script(&[twisted(0xff, 0, 0)])),
        ("compressed", script(&[raw(&craft::chunk(craft::CHUNK_COMPRESSED, &first[10..]))])),
        ("document-chunk", script(&[raw(&craft::chunk(craft::CHUNK_DOCUMENT, &first[10..]))])),
        ("many-puts", script(&[vec![DRAFT, PUTS, 255], honest(0, "x")])),
        ("million-puts", script(&[raw(&Draft::new(actor(0)).with_puts("x", 4_000_000).chunk())])),
        ("deep", script(&[vec![DRAFT, NESTED, 100], honest(0, "x"), vec![DRAFT, PUTS, 1]])),
        ("fairly-deep", script(&[vec![DRAFT, NESTED, 6], honest(0, "x")])),
        ("actors-not-used", script(&[vec![DRAFT | EVERYBODY, PUTS, 1], honest(0, "x")])),
        ("pushed-twice", script(&[raw(first), raw(first), vec![GENESIS | DEVICE_B]])),
        ("counter-out-of-range", script(&[raw(&late)])),
        ("every-column", script(&changes.iter().map(|change| columns(change, 0)).collect::<Vec<_>>())),
        ("identity", [vec![1, GENESIS], honest(0, "Erika"), honest(2, "Ä")].concat()),
    ]
}

const GENESIS: u8 = 0;
const RAW: u8 = 1;
const DRAFT: u8 = 2;
const HONEST: u8 = 3;
const DEVICE_B: u8 = 1 << 2;
const STRANGER: u8 = 2 << 2;
/// For device `b`: the first actor of device `a`.
const OF_A: u8 = 3 << 4;
const TWISTED: u8 = 1 << 6;
const EVERYBODY: u8 = 1 << 7;
const PUTS: u8 = 0;
const NESTED: u8 = 1;
const COLUMNS_AS_THEY_COME: u8 = 2;

fn honest(kind: u8, text: &str) -> Vec<u8> {
    [vec![HONEST, kind, text.len() as u8], text.as_bytes().to_vec()].concat()
}

fn raw(chunk: &[u8]) -> Vec<u8> {
    [vec![RAW], (chunk.len() as u16).to_be_bytes().to_vec(), chunk.to_vec()].concat()
}

fn raw_unsealed(chunk: &[u8]) -> Vec<u8> {
    [vec![RAW | TWISTED], (chunk.len() as u16).to_be_bytes().to_vec(), chunk.to_vec()].concat()
}

fn twisted(keep: u8, seq: u8, start_op: u8) -> Vec<u8> {
    vec![DRAFT | TWISTED, keep, seq, start_op, PUTS, 1]
}

/// A draft with the columns of an honest change.
fn columns(change: &[u8], flags: u8) -> Vec<u8> {
    let columns = read_columns(change);
    let mut step = vec![DRAFT | flags, COLUMNS_AS_THEY_COME, columns.len() as u8];
    for (spec, data) in columns {
        let number = COLUMNS.iter().position(|known| u64::from(*known) == spec).expect("an honest column is known");
        step.extend([number as u8, data.len() as u8]);
        step.extend(data);
    }
    step
}

/// Column specifications and data of an honest chunk.
fn read_columns(chunk: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut chunk = Chunk { bytes: chunk, at: craft::HEADER_LEN + 1 };
    chunk.number(); // its length
    let deps = chunk.number() as usize;
    chunk.take(deps * 32);
    chunk.prefixed(); // actor
    chunk.number(); // sequence number
    chunk.number(); // counter of the first operation
    chunk.number(); // time
    chunk.prefixed(); // message
    for _ in 0..chunk.number() {
        chunk.prefixed(); // another actor
    }
    let specs: Vec<(u64, usize)> = (0..chunk.number()).map(|_| (chunk.number(), chunk.number() as usize)).collect();
    specs.into_iter().map(|(spec, len)| (spec, chunk.take(len).to_vec())).collect()
}

struct Chunk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Chunk<'a> {
    fn number(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.take(1)[0];
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        self.at += len;
        &self.bytes[self.at - len..self.at]
    }

    fn prefixed(&mut self) -> &'a [u8] {
        let len = self.number() as usize;
        self.take(len)
    }
}

/// One change of each kind by the first actor, each on the one before it.
fn honest_changes(part: Part) -> Vec<Bytes> {
    let edits = [
        Edit::SetFact { part, name: "allergy".to_owned(), value: Value::Text("Penicillin".to_owned()) },
        Edit::AddEntry {
            id: EntryId(Uuid::from_u128(7)),
            part,
            kind: "vitals".to_owned(),
            fields: vec![
                ("heart_rate".to_owned(), Value::Integer(104)),
                ("temperature".to_owned(), Value::Decimal(36.8)),
                ("oxygen".to_owned(), Value::Boolean(true)),
                ("at".to_owned(), Value::Timestamp(1_700_000_000_000)),
                ("note".to_owned(), Value::Null),
            ],
        },
        Edit::Narrate { part, at: None, delete: 0, insert: "Pat. kaltschweißig, Übelkeit. ".to_owned() },
        Edit::SetFact { part, name: "allergy".to_owned(), value: Value::Text("keine bekannt".to_owned()) },
        Edit::Narrate { part, at: Some(5), delete: 4, insert: "blass".to_owned() },
    ];
    let writer: ActorId = actor(0);
    let mut document = Document::load(&case::genesis(part).bytes, writer).expect("genesis loads");
    let mut change =
        |edit: &Edit| document.edit(feldakte_core::crdt::Stamp::default(), |edits| edit.apply(edits)).expect("an edit").expect("a change").bytes;
    edits.iter().map(&mut change).collect()
}

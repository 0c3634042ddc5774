//! What one change costs on its way through the gateway, step by step, in CPU time of this process.
//!
//! `cargo run --release -p feldakte-gateway --example hot_path` prints the table of tests/README.md. Each step is
//! measured alone, over the same 64 documents of which each pushes sixteen changes at a time, as scenario M2 does.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use feldakte_core::{
    access::{Policy, Principal, Role, Rules},
    admission::{self, Ledger},
    case::{self, Edit},
    crdt::{Document, Stamp, Value},
    ids::{CaseId, DeviceId, DocumentId, EntryId, Epoch, Part, Position},
};
use feldakte_gateway::{
    environment::Environment,
    store::{Append, Store, sqlite::SqliteStore},
};
use feldakte_proto::{ChangesFrame, ClientMessage, Durable, FrameDecoder, Push, RawEntry, ServerMessage, encode_entry};
use uuid::Uuid;

const DOCUMENTS: usize = 64;
const PUSHES: usize = 12;
const CHANGES_PER_PUSH: usize = 16;
const CHANGES: usize = DOCUMENTS * PUSHES * CHANGES_PER_PUSH;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let principal = Principal {
        tenant: "dortmund".parse()?,
        unit: "rtw-1".parse()?,
        device: DeviceId(Uuid::from_u128(1)),
        role: Role::AmbulanceCrew,
        user: None,
    };
    let frames = frames()?;
    let bytes: usize = frames.iter().map(Bytes::len).sum();
    println!("{CHANGES} changes in {} pushes, {} bytes a change on the wire", frames.len(), bytes / CHANGES);

    let (messages, decode) = measure(|| frames.iter().map(decode_frame).collect::<Vec<_>>());
    let (parsed, parse) = measure(|| {
        let parse = |push: &Push| (push.document, admission::parse(push.changes.iter().cloned()));
        messages.iter().map(parse).collect::<Vec<_>>()
    });
    let policy = Policy::default();
    let rules = Rules { policy: &policy, log: &principal.tenant, now_ms: 0 };
    let mut ledgers: std::collections::HashMap<DocumentId, Ledger> = std::collections::HashMap::new();
    let (entries, admit) = measure(|| {
        let mut entries = Vec::with_capacity(parsed.len());
        for (document, changes) in parsed {
            let new = || Ledger::new(principal.tenant.clone(), document);
            let admitted =
                ledgers.entry(document).or_insert_with(new).admit(rules, &principal, admission::Opening::Free, changes);
            assert!(admitted.refused.is_empty(), "honest changes were refused");
            entries.extend(admitted.entry);
        }
        entries
    });
    let (appends, encode) = measure(|| {
        let append = |entry: feldakte_core::log::Entry| {
            let encoded = encode_entry(&entry);
            Append { tenant: principal.tenant.clone(), entry, encoded }
        };
        entries.into_iter().map(append).collect::<Vec<_>>()
    });
    let directory = tempfile::tempdir()?;
    let store = SqliteStore::open(&directory.path().join("log.sqlite"), Environment::system().epoch()).await?;
    let before = cpu();
    for batch in appends.chunks(DOCUMENTS) {
        store.append(batch).await?;
    }
    let commit = cpu() - before;
    let (_, publish) = measure(|| {
        let frame = |append: &Append| {
            let entries = vec![RawEntry { position: Position(1), entry: append.encoded.clone() }];
            let changes = ChangesFrame { to: Some(Position(1)), entries, ..ChangesFrame::default() };
            let answer = Durable { push: 1, position: Position(1), cursor: Some(Position(1)), refused: Vec::new() };
            (ServerMessage::Changes(changes).encode(), ServerMessage::Durable(answer).encode())
        };
        appends.iter().map(frame).collect::<Vec<_>>()
    });
    store.close().await;
    let steps = [
        ("frame and protobuf decoded", decode),
        ("parsed, hashed, checked", parse),
        ("admitted against the ledger", admit),
        ("entry encoded", encode),
        ("committed (SQLite, 64 entries a batch, fsync)", commit),
        ("answer and frame for one reader encoded", publish),
    ];
    for (step, cost) in steps {
        println!("{step:<48} {:>6.2} µs", micros(cost));
    }
    let sum: Duration = steps.iter().map(|(_, cost)| *cost).sum();
    println!("{:<48} {:>6.2} µs", "sum; the rest of M2 is QUIC, TLS and scheduling", micros(sum));
    Ok(())
}

fn frames() -> Result<Vec<Bytes>, Box<dyn Error>> {
    let mut frames: Vec<Vec<Bytes>> = Vec::new();
    for number in 0..DOCUMENTS {
        let id = DocumentId { case: CaseId(Uuid::from_u128(number as u128 + 1)), part: Part::Clinical };
        let actor = case::actor(DeviceId(Uuid::from_u128(1)), id, Epoch(Uuid::nil()), 0);
        let genesis = case::genesis(Part::Clinical).bytes.clone();
        let mut document = Document::load(&genesis, actor)?;
        let mut changes = vec![genesis];
        while changes.len() < PUSHES * CHANGES_PER_PUSH {
            let vitals = vitals(changes.len() as i64);
            let change = document.edit(Stamp::at(1_000 * changes.len() as i64), |edits| vitals.apply(edits))?;
            changes.push(change.ok_or("an entry is a change")?.bytes);
        }
        let pushes = changes.chunks(CHANGES_PER_PUSH).enumerate().map(|(push, changes)| {
            let push = Push { push: push as u64 + 1, document: id, changes: changes.to_vec(), user: None };
            ClientMessage::Push(push).encode()
        });
        frames.push(pushes.collect());
    }
    // As they arrive: every document's first push, then every document's second.
    Ok((0..PUSHES).flat_map(|push| frames.iter().map(move |of_document| of_document[push].clone())).collect())
}

fn vitals(n: i64) -> Edit {
    let field = |name: &str, value: i64| (name.to_owned(), Value::Integer(value));
    let fields = vec![
        field("t", n * 1000),
        field("hr", 60 + n % 80),
        field("spo2", 88 + n % 12),
        field("sys", 90 + n % 70),
        field("dia", 50 + n % 40),
        field("rr", 8 + n % 20),
        ("temp".to_owned(), Value::Decimal(36.0 + (n % 40) as f64 / 10.0)),
    ];
    let id = EntryId(Uuid::from_u128(n as u128));
    Edit::AddEntry { part: Part::Clinical, id, kind: "vitals".to_owned(), fields }
}

fn decode_frame(frame: &Bytes) -> Push {
    let mut decoder = FrameDecoder::new(feldakte_core::limits::FRAME_LEN_MAX);
    decoder.extend(frame);
    let body = decoder.next_frame().expect("an honest length").expect("a whole frame");
    match ClientMessage::decode(body).expect("an honest message") {
        ClientMessage::Push(push) => push,
        _ => unreachable!("only pushes were encoded"),
    }
}

fn measure<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = cpu();
    let result = work();
    (result, cpu() - before)
}

fn micros(cost: Duration) -> f64 {
    cost.as_secs_f64() * 1e6 / CHANGES as f64
}

/// User and system time of the whole process, SQLite's threads included.
#[expect(unsafe_code, reason = "getrusage has no safe wrapper among our dependencies")]
fn cpu() -> Duration {
    // SAFETY: getrusage fills the zeroed struct it is given and keeps no pointer to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let of = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    of(usage.ru_utime) + of(usage.ru_stime)
}

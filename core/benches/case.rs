//! What a case costs, by the length of its clinical document, and beside it what the library alone would cost.
//!
//! `…/library` makes the same bytes or reads the same values with bare calls: no index, no checks, no paths.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use automerge::{
    AutoCommit, LoadOptions, OnPartialLoad, ROOT, ReadDoc, ScalarValue, TextEncoding, VerificationMode,
    transaction::{CommitOptions, Transactable},
};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use feldakte_core::{
    case::{self, Authors, DocumentView, Edit, order},
    crdt::{Document, Packing, Stamp, Value},
    ids::{ActorId, DeviceId},
};
use uuid::Uuid;

#[path = "case/mission.rs"]
mod mission;
#[path = "case/two_hours.rs"]
mod two_hours;

const SIZES: [usize; 3] = [100, 1_000, 5_000];
const READER: ActorId = ActorId([7; 16]);
/// What is written in one document before it is loaded anew: it must not grow while it is measured.
const ROUND: usize = 16;

/// A document of one size, as stored, and what somebody else writes next.
struct Stored {
    size: usize,
    snapshot: Vec<u8>,
    next: Vec<Bytes>,
    authors: Authors,
}

impl Stored {
    fn all() -> Vec<Stored> {
        let mission = mission::busy(SIZES[SIZES.len() - 1]);
        let of_size = |size: usize| {
            let chunks: Vec<u8> = mission.changes[..size].iter().flat_map(|change| change.bytes.to_vec()).collect();
            let device = DeviceId(Uuid::from_u128(99));
            let mut document = Document::load(&chunks, mission::actor_of(device)).expect("a prefix loads");
            let snapshot = document.save(Packing::Deflated);
            let next = (0..=ROUND).map(|number| {
                let change = document.edit(stamp(number), |edits| new_vitals(number).apply(edits));
                change.expect("an edit").expect("a change").bytes
            });
            let next = next.collect();
            Stored { size, snapshot, next, authors: mission.authors.clone() }
        };
        SIZES.into_iter().map(of_size).collect()
    }

    fn open(&self) -> Document {
        Document::load(&self.snapshot, READER).expect("it loads")
    }

    /// Opened and shown, as on a screen.
    fn shown(&self) -> Document {
        let mut document = self.open();
        document.history();
        document
    }

    fn view(&self, document: &mut Document) -> DocumentView {
        DocumentView::of(mission::PART, document, &self.authors)
    }

    #[expect(clippy::disallowed_methods, reason = "the library's own constructor is what is measured")]
    fn open_bare(&self) -> AutoCommit {
        let options = LoadOptions::new()
            .on_partial_load(OnPartialLoad::Error)
            .verification_mode(VerificationMode::Check)
            .text_encoding(TextEncoding::UnicodeCodePoint);
        let loaded = AutoCommit::load_with_options(&self.snapshot, options).expect("it loads");
        loaded.with_actor(automerge::ActorId::from(READER.0.to_vec()))
    }
}

fn stamp(number: usize) -> Stamp {
    Stamp { time_ms: mission::START_MS + number as i64 * 1_001, clock_offset_ms: Some(-40) }
}

fn new_vitals(number: usize) -> Edit {
    mission::vitals(1_000_000 + number, number as i64)
}

/// Time of `iters` acts, each on a document that is at most [`ROUND`] acts older than when it was loaded. The first act
/// after loading is not counted.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn timed<D>(iters: u64, load: impl Fn() -> D, act: impl Fn(&mut D, usize)) -> Duration {
    let mut left = usize::try_from(iters).expect("few");
    let mut total = Duration::ZERO;
    while left > 0 {
        let mut document = load();
        act(&mut document, 0);
        let round = left.min(ROUND);
        let begun = Instant::now();
        (1..=round).for_each(|number| act(&mut document, number));
        total += begun.elapsed();
        left -= round;
    }
    total
}

fn open(criterion: &mut Criterion, stored: &Stored) {
    let mut group = criterion.benchmark_group("open");
    group.bench_function(BenchmarkId::new("case", stored.size), |bencher| bencher.iter(|| stored.open()));
    group.bench_function(BenchmarkId::new("library", stored.size), |bencher| bencher.iter(|| stored.open_bare()));
    group.finish();
}

fn edit(criterion: &mut Criterion, stored: &Stored) {
    let mut group = criterion.benchmark_group("edit");
    let ours = |document: &mut Document, number: usize| {
        black_box(document.edit(stamp(number), |edits| new_vitals(number).apply(edits)).expect("an edit"));
    };
    group.bench_function(BenchmarkId::new("case", stored.size), |bencher| {
        bencher.iter_custom(|iters| timed(iters, || stored.shown(), ours));
    });
    group.bench_function(BenchmarkId::new("library", stored.size), |bencher| {
        bencher.iter_custom(|iters| timed(iters, || stored.open_bare(), edit_bare));
    });
    group.finish();
}

/// The operations of [`new_vitals`], and the bytes to be sent.
fn edit_bare(document: &mut AutoCommit, number: usize) {
    let Edit::AddEntry { id, kind, fields, .. } = new_vitals(number) else { unreachable!("vitals are an entry") };
    let (_, entries) = document.get(ROOT, "entries").expect("it reads").expect("the genesis has it");
    let end = document.length(&entries);
    let map = document.insert_object(&entries, end, automerge::ObjType::Map).expect("it inserts");
    document.put(&map, "id", ScalarValue::Bytes(id.as_bytes().to_vec())).expect("it puts");
    document.put(&map, "kind", kind).expect("it puts");
    for (name, value) in fields {
        let Value::Integer(value) = value else { unreachable!("vitals are whole numbers") };
        document.put(&map, name, value).expect("it puts");
    }
    let options = CommitOptions::default().with_time(1_767_225_600).with_message("1 -40");
    let hash = document.commit_with(options).expect("a change");
    black_box(Bytes::copy_from_slice(document.get_change_by_hash(&hash).expect("just made").raw_bytes()));
}

fn apply(criterion: &mut Criterion, stored: &Stored) {
    let mut group = criterion.benchmark_group("apply");
    let ours = |document: &mut Document, number: usize| document.apply([&stored.next[number]]).expect("it applies");
    group.bench_function(BenchmarkId::new("case", stored.size), |bencher| {
        bencher.iter_custom(|iters| timed(iters, || stored.shown(), ours));
    });
    let observed = |document: &mut Document, number: usize| {
        let paths = case::apply_observed(document, [&stored.next[number]]).expect("it applies");
        assert_eq!(paths.len(), 1);
    };
    group.bench_function(BenchmarkId::new("case, with paths", stored.size), |bencher| {
        bencher.iter_custom(|iters| timed(iters, || stored.shown(), observed));
    });
    let bare = |document: &mut AutoCommit, number: usize| {
        let change = automerge::Change::from_bytes(stored.next[number].to_vec()).expect("it parses");
        document.apply_changes([change]).expect("it applies");
    };
    group.bench_function(BenchmarkId::new("library", stored.size), |bencher| {
        bencher.iter_custom(|iters| timed(iters, || stored.open_bare(), bare));
    });
    group.finish();
}

fn provenance(criterion: &mut Criterion, stored: &Stored) {
    let mut group = criterion.benchmark_group("provenance of 50 fields");
    let form: Vec<String> = (0..50).map(mission::field).collect();
    let read = |document: &mut Document| {
        for name in &form {
            let field = document.field("facts", name).expect("the form was filled in");
            let origin = field.values.last().expect("a value").origin;
            assert!(black_box(stored.authors.provenance(origin)).author.is_some());
        }
    };
    let mut document = stored.shown();
    group.bench_function(BenchmarkId::new("case", stored.size), |bencher| bencher.iter(|| read(&mut document)));
    group.bench_function(BenchmarkId::new("case, first time", stored.size), |bencher| {
        bencher.iter_batched(|| stored.open(), |mut document| read(&mut document), criterion::BatchSize::PerIteration);
    });
    let mut bare = stored.open_bare();
    let (_, facts) = bare.get(ROOT, "facts").expect("it reads").expect("the genesis has it");
    group.bench_function(BenchmarkId::new("library", stored.size), |bencher| {
        bencher.iter(|| {
            for name in &form {
                let (_, id) = bare.get(&facts, name.as_str()).expect("it reads").expect("the form was filled in");
                let hash = bare.hash_for_opid(&id).expect("a change");
                black_box(bare.get_change_meta_by_hash(&hash).expect("a change").timestamp);
            }
        });
    });
    group.finish();
}

fn read(criterion: &mut Criterion, stored: &Stored) {
    let mut group = criterion.benchmark_group("read");
    let mut document = stored.shown();
    group.bench_function(BenchmarkId::new("view", stored.size), |bencher| bencher.iter(|| stored.view(&mut document)));
    let bare = stored.open_bare();
    group.bench_function(BenchmarkId::new("library", stored.size), |bencher| bencher.iter(|| bare.hydrate(ROOT, None)));
    let view = stored.view(&mut document);
    group.bench_function(BenchmarkId::new("orders", stored.size), |bencher| {
        bencher.iter(|| order::fold(&view.events, document.history()));
    });
    group.bench_function(BenchmarkId::new("outcome", stored.size), |bencher| {
        bencher.iter(|| view.outcome(&mut document, &stored.authors));
    });
    group.bench_function(BenchmarkId::new("sign", stored.size), |bencher| {
        bencher.iter(|| case::sign(&mut document, mission::PART));
    });
    let event = case::sign(&mut document, mission::PART);
    let signature = Edit::Record { part: mission::PART, event };
    document.edit(stamp(1), |edits| signature.apply(edits)).expect("an edit").expect("a change");
    document.edit(stamp(2), |edits| new_vitals(1).apply(edits)).expect("an edit").expect("a change");
    let view = stored.view(&mut document);
    group.bench_function(BenchmarkId::new("outcome with a signature", stored.size), |bencher| {
        bencher.iter(|| view.outcome(&mut document, &stored.authors));
    });
    group.finish();
}

fn cases(criterion: &mut Criterion) {
    for stored in Stored::all() {
        open(criterion, &stored);
        edit(criterion, &stored);
        apply(criterion, &stored);
        provenance(criterion, &stored);
        read(criterion, &stored);
    }
}

fn two_hours(criterion: &mut Criterion) {
    let mission = two_hours::mission();
    let len: usize = mission.changes.iter().map(|change| change.bytes.len()).sum();
    let chunks: Vec<u8> = mission.changes.iter().flat_map(|change| change.bytes.to_vec()).collect();
    let snapshot = Document::load(&chunks, READER).expect("it loads").save(Packing::Deflated);
    println!("two hours: {} changes, {len} bytes, snapshot {} bytes", mission.changes.len(), snapshot.len());
    let mut group = criterion.benchmark_group("two hours");
    group.bench_function("open", |bencher| bencher.iter(|| Document::load(&snapshot, READER).expect("it loads")));
    group.bench_function("open, of changes", |bencher| {
        bencher.iter(|| Document::load(&chunks, READER).expect("it loads"));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(700));
    targets = cases, two_hours
}
criterion_main!(benches);

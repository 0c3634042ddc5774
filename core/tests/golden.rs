//! Golden documents: what a version of this library has written, every later one loads, with the same hashes and values.
//!
//! `golden/` holds, for every document of a mission and a visit, what was saved (`.automerge`) and what it says
//! (`.json`). The number in a name is the format's. Files of a published format are never touched: a model that writes
//! other changes gets the next [`FORMAT`], and its files stand beside the old ones.
//!
//! `FELDAKTE_GOLDEN=rewrite cargo test -p feldakte-core --test golden` writes the files of [`FORMAT`] anew.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the test does the IO that core may not")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use feldakte_core::{
    case::Authors,
    crdt::{Document, Packing},
    ids::{ActorId, Part},
};
use serde_json::Value as Json;

use self::javascript::Read;

#[path = "golden/desk.rs"]
mod desk;
#[path = "golden/javascript.rs"]
mod javascript;
#[path = "golden/mission.rs"]
mod mission;
#[path = "golden/shown.rs"]
mod shown;
#[path = "golden/visit.rs"]
mod visit;

/// The number of what is written today.
const FORMAT: u32 = 1;

/// A document as it is written today.
struct Written {
    name: String,
    saved: Vec<u8>,
    says: Json,
}

#[test]
fn documents_of_every_version_load_with_their_hashes_and_values() {
    let _ = written();
    let stored = files_ending(".automerge");
    let names: BTreeSet<&str> = stored.iter().filter_map(|name| name.split('.').next()).collect();
    assert_eq!(names.len(), 6, "three parts of two cases: {names:?}");
    for name in stored {
        let saved = fs::read(folder().join(format!("{name}.automerge"))).expect("a golden file");
        let mut document = Document::load(&saved, READER).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_says(&name, &shown::document(part_of(&name), &mut document, &authors()));
    }
}

#[test]
fn writing_the_same_today_gives_the_same_bytes() {
    for Written { name, saved, says } in written() {
        // What differs is easier to see in the values than in the bytes.
        assert_says(name, says);
        let stored = fs::read(folder().join(format!("{name}.automerge"))).expect("a golden file");
        assert!(*saved == stored, "{name}: saved otherwise than it was, although it says the same");
    }
}

#[test]
fn a_javascript_library_reads_the_same_values() {
    let _ = written();
    match javascript::read(&folder()) {
        Read::Same => {}
        Read::Differs(how) => panic!("{how}"),
        Read::Skipped(why) => javascript::skipped("a_javascript_library_reads_the_same_values", &why),
    }
}

/// Compares with the JSON as it reads back, so that both have gone through one parser.
fn assert_says(name: &str, says: &Json) {
    let stored = fs::read_to_string(folder().join(format!("{name}.json"))).expect("a golden file");
    let stored: Json = serde_json::from_str(&stored).expect("golden files are JSON");
    let says: Json = serde_json::from_str(&says.to_string()).expect("what was just written");
    for key in ["heads", "changes", "values", "outcome"] {
        assert_eq!(says[key], stored[key], "{name}: {key}");
    }
    assert_eq!(says, stored, "{name}");
}

/// Everything as it is written today; on request, in the place of what is stored.
fn written() -> &'static [Written] {
    static WRITTEN: OnceLock<Vec<Written>> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let cases = [("mission", mission::write()), ("visit", visit::write())];
        let written: Vec<Written> = cases.into_iter().flat_map(|(case, desk)| save(case, desk)).collect();
        if std::env::var("FELDAKTE_GOLDEN").is_ok_and(|wish| wish == "rewrite") {
            written.iter().for_each(rewrite);
        }
        written
    })
}

fn save(case: &str, mut desk: desk::Desk) -> Vec<Written> {
    let mut save = |part: Part| {
        let document = desk.document(part);
        let saved = document.save(Packing::Deflated);
        let says = shown::document(part, document, &authors());
        Written { name: format!("{case}-{}.{FORMAT}", part.name()), saved, says }
    };
    Part::ALL.map(&mut save).into()
}

fn rewrite(Written { name, saved, says }: &Written) {
    fs::write(folder().join(format!("{name}.automerge")), saved).expect("written");
    fs::write(folder().join(format!("{name}.json")), format!("{says:#}\n")).expect("written");
}

fn authors() -> Authors {
    let mut authors = Authors::default();
    mission::people().into_iter().chain(visit::people()).for_each(|person| person.bind(&mut authors));
    authors
}

/// Names of the golden files that end so, without that end.
fn files_ending(end: &str) -> BTreeSet<String> {
    let names = fs::read_dir(folder()).expect("the folder").map(|entry| entry.expect("an entry").file_name());
    names.filter_map(|name| Some(name.to_str()?.strip_suffix(end)?.to_owned())).collect()
}

fn part_of(name: &str) -> Part {
    let part = name.split(['-', '.']).nth(1).expect("case, part, format");
    part.parse().expect("the name of a part")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Whoever only reads.
const READER: ActorId = ActorId([0xff; 16]);

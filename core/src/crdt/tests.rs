use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    case,
    change::{
        Change,
        craft::{self, Draft},
        tests::team::{Act, Team, actor, any_team, document_id},
    },
};

const READER: ActorId = ActorId([5; 16]);

fn genesis() -> Change {
    Change::parse(case::genesis(document_id().part).bytes.clone()).expect("the genesis passes")
}

fn opened() -> Document {
    Document::load(&genesis().bytes, READER).expect("the genesis loads")
}

/// A first change on the genesis.
fn first() -> Draft {
    Draft::new(actor(0)).at([genesis().hash], 1, genesis().max_op() + 1)
}

fn put(name: u8, value: i64) -> Act {
    Act::Put { name, value: Value::Integer(value) }
}

/// The genesis and three changes, each written on the one before.
fn chain() -> Vec<Bytes> {
    let mut team = Team::new(1);
    (0..3).for_each(|value| drop(team.save(0, 0, &[put(1, value)])));
    team.written.into_iter().map(|one| one.change.bytes).collect()
}

fn hash(bytes: &Bytes) -> ChangeHash {
    Change::parse(bytes.clone()).expect("it parses").hash
}

#[test]
fn a_chunk_cut_short_behind_good_ones_does_not_load() {
    let chunks = chain();
    let good = chunks[..3].concat();
    for len in 1..chunks[3].len() {
        let bytes = [good.as_slice(), &chunks[3][..len]].concat();
        assert!(Document::load(&bytes, READER).is_err(), "{len} bytes of the last chunk");
    }
    let mut whole = Document::load(&chunks.concat(), READER).expect("all of it loads");
    assert_eq!(whole.heads(), [hash(&chunks[3])]);
}

#[test]
fn garbage_behind_good_chunks_does_not_load() {
    for garbage in [&[0][..], &[0x85, 0x6f, 0x4a, 0x83], &[0xff; 40]] {
        let bytes = [chain().concat().as_slice(), garbage].concat();
        assert!(Document::load(&bytes, READER).is_err());
    }
}

#[test]
fn nothing_is_not_a_document() {
    assert!(matches!(Document::load(&[], READER), Err(CrdtError::Damaged)));
}

#[test]
fn changes_that_lack_a_dependency_do_not_load() {
    let chunks = chain();
    for missing in 0..3 {
        let mut some = chunks.clone();
        some.remove(missing);
        assert!(Document::load(&some.concat(), READER).is_err(), "without change {missing}");
    }
}

#[test]
fn a_snapshot_and_a_change_that_lacks_a_dependency_do_not_load() {
    let chunks = chain();
    let snapshot = Document::load(&chunks[..2].concat(), READER).expect("it loads").save(Packing::Deflated);
    let with = |change: &Bytes| Document::load(&[&snapshot, change.as_ref()].concat(), READER);
    assert!(with(&chunks[2]).is_ok());
    assert!(matches!(with(&chunks[3]), Err(CrdtError::Damaged)));
}

#[test]
fn a_snapshot_with_any_bit_flipped_does_not_load_as_another() {
    for packing in [Packing::Deflated, Packing::Plain] {
        let mut document = Document::load(&chain().concat(), READER).expect("it loads");
        let saved = document.save(packing);
        for bit in 0..saved.len() * 8 {
            let mut bytes = saved.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Document::load(&bytes, READER).is_err(), "bit {bit}");
        }
        for len in 0..saved.len() {
            assert!(Document::load(&saved[..len], READER).is_err(), "{len} bytes");
        }
    }
}

#[test]
fn a_change_that_came_too_early_waits_for_its_dependency() {
    let chunks = chain();
    let mut document = opened();
    document.apply([&chunks[3], &chunks[2]]).expect("they wait");
    assert_eq!(document.heads(), [genesis().hash]);
    assert!(!document.contains(hash(&chunks[3])));
    document.apply([&chunks[1]]).expect("it completes them");
    assert_eq!(document.heads(), [hash(&chunks[3])]);
    assert!(document.contains(hash(&chunks[2])));
    document.apply(&chunks).expect("known changes are skipped");
    assert_eq!(document.changes().len(), 4);
}

#[test]
fn bytes_that_are_no_change_are_refused_and_change_nothing() {
    let mut document = opened();
    let chunks = chain();
    for damaged in [Bytes::new(), chunks[2].slice(..9), craft::chunk(craft::CHUNK_CHANGE, &[0])] {
        assert!(matches!(document.apply([&chunks[1], &damaged]), Err(CrdtError::Damaged)));
    }
    assert_eq!(document.heads(), [genesis().hash]);
}

#[test]
fn the_18_byte_change_with_seq_of_two_from_an_unseen_actor() {
    let attack = Draft { actor: Vec::new(), ..Draft::new(READER).at([], 2, 1) }.chunk();
    assert_eq!(attack.len(), 18);
    assert!(matches!(opened().apply([&attack]), Err(CrdtError::Panicked)));
    assert!(matches!(Document::load(&attack, READER), Err(CrdtError::Panicked)));
}

#[test]
fn a_change_that_names_an_unseen_actor() {
    let attack = Draft { others: vec![vec![9; 16]], ..first() }.with_puts("x", 1).chunk();
    assert!(matches!(opened().apply([&attack]), Err(CrdtError::Panicked)));
}

#[test]
fn a_change_inside_an_object_that_is_not_there() {
    let attack = first()
        .with_puts("x", 1)
        .with_column(craft::OBJECT_ACTOR, craft::literals([craft::unsigned(0)]))
        .with_column(craft::OBJECT_COUNTER, craft::literals([craft::unsigned(999)]))
        .chunk();
    assert!(Change::parse(attack.clone()).is_ok(), "admission cannot know the objects of a document");
    assert!(matches!(opened().apply([&attack]), Err(CrdtError::Panicked)));
}

/// The library applies it without a word, and no snapshot of the document would load any more.
#[test]
fn a_change_that_the_library_would_write_otherwise_is_refused() {
    let with_needless_column = first().with_puts("x", 1).with_column(craft::EXPAND, craft::unsigned(1));
    let with_actor_not_used = Draft { others: vec![case::GENESIS_ACTOR.0.to_vec()], ..first() }.with_puts("x", 1);
    for attack in [with_needless_column.chunk(), with_actor_not_used.chunk()] {
        assert!(Change::parse(attack.clone()).is_ok(), "admission cannot know how it would be written");
        // Builds with debug assertions panic inside the library instead.
        let refused = |result: Result<(), CrdtError>| {
            assert!(matches!(result, Err(CrdtError::Unfaithful | CrdtError::Panicked)), "{result:?}");
        };
        refused(opened().apply([&attack]));
        refused(Document::load(&[genesis().bytes, attack.clone()].concat(), READER).map(drop));
        let snapshot = opened().save(Packing::Plain);
        refused(Document::load(&[&snapshot, attack.as_ref()].concat(), READER).map(drop));
    }
}

fn nested(maps: u64) -> Document {
    let mut document = opened();
    document.apply([&first().with_nested_maps("m", maps).chunk()]).expect("the library takes any depth");
    document
}

#[test]
fn nesting_is_refused_beyond_the_limit() {
    let inside = limits::DEPTH_MAX as u64 - 1; // the root is the first level
    assert!(nested(inside).check_depth().is_ok());
    assert!(matches!(nested(inside + 1).check_depth(), Err(CrdtError::TooDeep)));
    assert!(matches!(nested(40).check_depth(), Err(CrdtError::TooDeep)));
}

#[test]
fn a_wide_document_is_not_deep() {
    let mut document = opened();
    let reading = |edits: &mut Edits<'_>| edits.push("entries", [("hr", &Value::Integer(80))]);
    let all = |edits: &mut Edits<'_>| (0..2_000).try_for_each(|_| reading(edits));
    document.edit(Stamp::default(), all).expect("an edit").expect("a change");
    assert!(document.check_depth().is_ok());
}

#[test]
fn a_document_nested_by_the_thousands_does_not_overflow_a_small_stack() {
    let work = || {
        let mut document = nested(u64::from(limits::CHANGE_OPS_MAX));
        assert!(matches!(document.check_depth(), Err(CrdtError::TooDeep)));
        let saved = document.save(Packing::Deflated);
        let mut loaded = Document::load(&saved, READER).expect("it loads");
        assert!(matches!(loaded.check_depth(), Err(CrdtError::TooDeep)));
        case::DocumentView::of(document_id().part, &mut loaded, &case::Authors::default()).facts.len()
    };
    let small = std::thread::Builder::new().stack_size(256 << 10).spawn(work).expect("a thread");
    assert_eq!(small.join().expect("no panic"), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever the library makes of a damaged change, it comes back as a value, and what it saves afterwards either
    /// loads to the same heads or not at all.
    #[test]
    fn damaged_changes_never_unwind_and_never_load_as_something_else(
        (size, steps) in any_team(10),
        damages in vec(vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), 30),
    ) {
        let mut team = Team::after(size, &steps);
        let chunks: Vec<u8> = team.members[0].document.changes().iter().flat_map(|one| one.bytes.to_vec()).collect();
        let acts = [put(1, -7), Act::Splice { at: 3, delete: 2, insert: "schläft".into() }, Act::Push { fields: vec![] }];
        let honest = team.save(0, 0, &acts).expect("a change").bytes;
        let columns = honest.len() / 2;
        for damage in damages {
            let mut bytes = honest.to_vec();
            damage.iter().for_each(|(at, byte)| bytes[columns + at.index(honest.len() - columns)] = *byte);
            let bytes = craft::reseal(&bytes);
            if Change::parse(bytes.clone()).is_err() {
                continue;
            }
            let mut document = Document::load(&chunks, READER).expect("honest changes load");
            if document.apply([&bytes]).is_ok() {
                let heads = document.heads();
                if let Ok(mut again) = Document::load(&document.save(Packing::Deflated), READER) {
                    prop_assert_eq!(again.heads(), heads);
                }
            }
        }
    }
}

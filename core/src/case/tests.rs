use uuid::Uuid;

use super::*;
use crate::{
    access::{Principal, Role},
    change::Change,
    crdt::CrdtError,
    ids::{CaseId, EntryId, OrderId},
};

mod deeds;
mod merge;
mod orders;
mod rules;

/// A device with a replica of one clinical document.
struct Desk {
    document: Document,
    principal: Principal,
    actor: ActorId,
    now_ms: i64,
}

/// Everybody's certified names.
fn authors(desks: &[&Desk]) -> Authors {
    let mut authors = Authors::default();
    desks.iter().for_each(|desk| authors.add_own(desk.actor, &desk.principal, &desk.principal.tenant));
    authors
}

impl Desk {
    fn new(number: u128, role: Role) -> Self {
        let id = DocumentId { case: CaseId(Uuid::from_u128(7)), part: Part::Clinical };
        let device = DeviceId(Uuid::from_u128(number));
        let actor = actor(device, id, Epoch(Uuid::nil()), 0);
        let document = Document::load(&genesis(Part::Clinical).bytes, actor).expect("genesis loads");
        let (tenant, unit) = ("dortmund".parse().expect("a slug"), "rtw-1".parse().expect("a slug"));
        let principal = Principal { tenant, unit, device, role, user: None };
        Self { document, principal, actor, now_ms: 1_760_000_000_000 + i64::try_from(number).expect("small") }
    }

    /// Saves the edits as one change.
    fn save(&mut self, edits: &[Edit]) -> NewChange {
        self.now_ms += 1_000;
        let stamp = Stamp { time_ms: self.now_ms, clock_offset_ms: Some(-40) };
        let change = self.document.edit(stamp, |target| edits.iter().try_for_each(|edit| edit.apply(target)));
        let change = change.expect("an edit").expect("a change");
        Change::parse(change.bytes.clone()).expect("admission takes it");
        change
    }

    /// Takes in everything the other one has.
    fn sync_from(&mut self, other: &mut Desk) {
        let all: Vec<_> = other.document.changes().into_iter().map(|change| change.bytes).collect();
        self.document.apply(&all).expect("honest changes apply");
    }

    fn view(&mut self, authors: &Authors) -> DocumentView {
        DocumentView::of(Part::Clinical, &mut self.document, authors)
    }

    fn outcome(&mut self, authors: &Authors) -> Outcome {
        self.view(authors).outcome(&mut self.document, authors)
    }
}

fn sync(a: &mut Desk, b: &mut Desk) {
    a.sync_from(b);
    b.sync_from(a);
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn set(name: &str, value: &str) -> Edit {
    Edit::SetFact { part: Part::Clinical, name: name.into(), value: text(value) }
}

fn entry(number: u128) -> EntryId {
    EntryId(Uuid::from_u128(number))
}

fn add(number: u128, kind: &str, fields: &[(&str, Value)]) -> Edit {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Edit::AddEntry { part: Part::Clinical, id: entry(number), kind: kind.into(), fields }
}

fn narrate(insert: &str) -> Edit {
    Edit::Narrate { part: Part::Clinical, at: None, delete: 0, insert: insert.into() }
}

fn step(order: u128, step: OrderStep) -> Edit {
    let event = Event::Order { order: OrderId(Uuid::from_u128(order)), step };
    Edit::Record { part: Part::Clinical, event }
}

#[test]
fn genesis_is_the_same_everywhere_and_for_ever() {
    let hashes = Part::ALL.map(|part| genesis(part).hash.to_string());
    assert_eq!(hashes, GENESIS_HASHES);
    for part in Part::ALL {
        let change = Change::parse(genesis(part).bytes.clone()).expect("admission reads it");
        assert_eq!((change.hash, change.actor, change.seq), (genesis(part).hash, GENESIS_ACTOR, 1));
    }
}

// Golden: documents in the field begin with these; a change of them is a new schema number, never an edit here.
const GENESIS_HASHES: [&str; 3] = [
    "b5e2cbb4564f4bc0c4278607f01110882d43265c7e148a6252e9b44937e7acd4",
    "48412d89fc9364c55116a22775a7ee6e2929518e3c499f4d00a52e6fc85f7037",
    "c8e80e155ee68cdf03d83cd1be915ea78c91db6f1f5e092fb3648df1e4e25f62",
];

#[test]
fn what_is_too_much_for_one_change_is_made_in_several_and_means_the_same() {
    let narrate =
        |at, delete, insert: &str| Edit::Narrate { part: Part::Clinical, at, delete, insert: insert.to_owned() };
    let utf16 =
        |at, delete, insert: &str| Edit::NarrateUtf16 { part: Part::Clinical, at, delete, insert: insert.to_owned() };
    let wide = format!("x{}{}", "🤢".repeat(4_000), "b".repeat(9_000));
    let report = "Ärztlicher Bericht 🤢 ".repeat(2_000);
    let form: Vec<Edit> = (0..200).map(|n| set(&format!("feld_{n}"), "ja")).collect();
    let letter = set("arztbrief", &"Sehr geehrte Frau Kollegin, ".repeat(2_000));
    let cases = [
        (form.clone(), 1),
        (vec![narrate(None, 0, "kurz")], 1),
        (vec![narrate(None, 0, &report)], 3),
        (vec![narrate(Some(3), 2, &report), set("gcs", "15"), narrate(Some(1), 30_000, "Ende")], 4),
        (vec![letter.clone(), letter.clone(), letter.clone(), narrate(None, 5, "x")], 2),
        (vec![utf16(Some(3), 2, &report), set("gcs", "15"), utf16(Some(1), 30_000, "Ende")], 4),
        // A cut every so many UTF-16 units would fall into letters of two units.
        (vec![narrate(Some(0), 0, &wide), utf16(Some(1), 16_000, "")], 2),
        (vec![narrate(Some(0), 0, &wide), utf16(Some(2), 16_001, &report)], 4),
    ];
    for (edits, at_least) in cases {
        let mut portions = Portions::of(&edits);
        let [mut whole, mut pieces] = [1, 2].map(|number| Desk::new(number, Role::AmbulanceCrew).document);
        for document in [&mut whole, &mut pieces] {
            document.edit(Stamp::default(), |e| narrate(None, 0, "Vorher steht etwas hier.").apply(e)).expect("edit");
        }
        whole.edit(Stamp::default(), |target| edits.iter().try_for_each(|edit| edit.apply(target))).expect("edit");
        let mut changes = 0;
        while let Some(portion) = portions.next(&pieces) {
            let change = pieces.edit(Stamp::default(), |target| portion.iter().try_for_each(|edit| edit.apply(target)));
            let change = change.expect("edit").expect("something to do");
            Change::parse(change.bytes).expect("admission takes each of them");
            changes += 1;
        }
        assert!((at_least..=at_least + 4).contains(&changes), "{changes}");
        let shown = |document: &mut Document| {
            let view = DocumentView::of(Part::Clinical, document, &Authors::default());
            (view.narrative, view.facts.len())
        };
        assert_eq!(shown(&mut whole), shown(&mut pieces));
    }
    let nothing = Portions::of(&[]).next(&Desk::new(1, Role::AmbulanceCrew).document);
    assert_eq!(nothing, None);
}

#[test]
fn an_edit_that_fails_leaves_nothing_behind() {
    let mut document = Desk::new(1, Role::AmbulanceCrew).document;
    let heads = document.heads();
    let result = document.edit(Stamp::default(), |edits| {
        set("gcs", "15").apply(edits)?;
        edits.put("no such container", "x", &Value::Null)
    });
    assert!(matches!(result, Err(CrdtError::NoContainer)));
    assert_eq!(document.heads(), heads);
    assert!(DocumentView::of(Part::Clinical, &mut document, &Authors::default()).facts.is_empty());
}

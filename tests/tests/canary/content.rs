//! What holds content shows none when it is formatted: of every such type something is made, by way of a document whose
//! every part names the patient.

use bytes::Bytes;
use feldakte_client_sdk::{
    SignIn,
    store::{
        DocumentEdit, DocumentState, LocalDocument, LocalUser, OwnChange, Parked, Received, ReceivedEntry,
        ReceivedSnapshot, Unsent,
    },
    view::{CaseSync, CaseView, Changed, ParkedEdit},
};
use feldakte_core::{
    access::{BreakGlassReason, Role},
    case::{
        self, Authors, Conflict, DocumentView, Edit, ElementId, Event, Meanwhile, MeanwhileKind, OrderStep, Path,
        Status, vitals::Channel,
    },
    change::Change,
    crdt::{Document, NewChange, Stamp, Value},
    ids::{ActorId, ChangeHash, DocumentId, EntryId, OrderId, Part, Position},
    log::Entry,
};
use feldakte_gateway::{
    mailbox::LiveEntry,
    store::{Append, Stored, StoredSnapshot},
};
use feldakte_proto::{
    BreakGlass, ChangesFrame, ClientMessage, Credential, FrameDecoder, OpenedOffline, Push, RawEntry, Reason,
    ServerMessage, Snapshot, encode_entry,
};
use feldakte_tests::harness::new_document;

use super::search::{Canary, LOGIN, NAME, assert_unnamed};

/// What was formatted, in all the ways in which it is.
#[derive(Default)]
struct Shown(String);

impl Shown {
    fn show(&mut self, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{value:?}\n{value:#?}\n{:?}\n", Some(value)));
    }
}

fn text() -> Value {
    Value::Text(NAME.to_owned())
}

fn fields() -> Vec<(String, Value)> {
    let packed = Value::Bytes(NAME.into());
    vec![(NAME.to_owned(), text()), (format!("{NAME} 2"), packed)]
}

fn element() -> ElementId {
    ElementId { definition: NAME.into(), version: 1, element: NAME.into() }
}

/// One edit of every kind, each with the patient's name wherever there is room for it.
fn edits(part: Part) -> Vec<Edit> {
    let (id, replaces) = (EntryId(uuid::Uuid::from_u128(1)), EntryId(uuid::Uuid::from_u128(2)));
    let case = feldakte_core::ids::CaseId(uuid::Uuid::from_u128(3));
    let order = OrderId(uuid::Uuid::from_u128(4));
    let name = || NAME.to_owned();
    let path = Path::Fact(name());
    let mut all = vec![
        Edit::SetFact { part, name: name(), value: Value::Record(fields()) },
        Edit::AddEntry { part, id, kind: name(), fields: fields() },
        Edit::Correct { part, id: replaces, replaces: id, kind: name(), fields: fields() },
        Edit::Withdraw { part, id, replaces, reason: name() },
        Edit::Narrate { part, at: None, delete: 0, insert: name() },
        Edit::NarrateUtf16 { part, at: None, delete: 0, insert: name() },
        Edit::Answer { part, element: element(), value: text() },
        Edit::Resolve { part, path: path.clone(), value: text(), among: vec![] },
    ];
    let steps = [
        OrderStep::Proposed { content: fields() },
        OrderStep::Ordered { content: fields() },
        OrderStep::Given { at_ms: 1, dose: fields() },
        OrderStep::Refused { reason: name() },
        OrderStep::Cancelled { reason: name() },
    ];
    let events = steps.map(|step| Event::Order { order, step }).into_iter().chain([
        Event::Status { of: name(), status: name(), at_ms: None },
        Event::Linked { case, relation: name(), reason: name() },
        Event::Unlinked { case, reason: name() },
        Event::Split { into: case, entries: vec![id], reason: name() },
        Event::Resolved { path: path.to_string(), among: vec![] },
    ]);
    all.extend(events.map(|event| Edit::Record { part, event }));
    all
}

/// A document with all of it, and the change that made it so.
fn document(part: Part) -> (Document, NewChange) {
    let mut document = Document::load(&case::genesis(part).bytes, ActorId([7; 16])).unwrap();
    let change = document.edit(Stamp::at(1), |target| edits(part).iter().try_for_each(|edit| edit.apply(target)));
    (document, change.unwrap().unwrap())
}

#[test]
fn a_document_shows_nothing_of_what_stands_in_it() {
    let (mut document, change) = document(Part::Clinical);
    let mut shown = Shown::default();
    edits(Part::Clinical).iter().for_each(|edit| shown.show(edit));
    let events = edits(Part::Clinical).into_iter().filter_map(|edit| match edit {
        Edit::Record { event, .. } => Some(event),
        _ => None,
    });
    events.for_each(|event| shown.show(&event));
    for value in [text(), Value::Record(fields()), Value::Bytes(NAME.into())] {
        shown.show(&value);
    }
    for path in [Path::Fact(NAME.into()), Path::Other(NAME.into()), Path::Checklist(element())] {
        shown.show(&path);
        shown.show(&Conflict { path: path.clone(), values: vec![] });
    }
    let view = DocumentView::of(Part::Clinical, &mut document, &Authors::default());
    assert!(view.narrative.contains(NAME) && view.facts.len() == 1 && !view.events.is_empty());
    shown.show(&view);
    view.facts.iter().chain(&view.checklists).for_each(|fact| shown.show(fact));
    view.entries.iter().for_each(|entry| shown.show(entry));
    view.events.iter().for_each(|event| shown.show(event));
    let provenance = view.facts[0].values[0].provenance.clone();
    shown.show(&view.facts[0].values);
    shown.show(&Meanwhile { path: Path::Fact(NAME.into()), kind: MeanwhileKind::Parallel, provenance });
    let outcome = view.outcome(&mut document, &Authors::default());
    assert!(!outcome.orders.is_empty() && !outcome.status.is_empty());
    shown.show(&outcome);
    outcome.orders.iter().for_each(|order| shown.show(order));
    outcome.status.iter().for_each(|status: &Status| shown.show(status));
    for container in ["facts", "checklists"] {
        shown.show(&document.fields(container, feldakte_core::crdt::Moment::Now));
    }
    for container in ["entries", "events"] {
        shown.show(&document.items(container, feldakte_core::crdt::Moment::Now));
    }
    shown.show(&change);
    shown.show(&Change::parse(change.bytes).unwrap());
    assert_unnamed("what was formatted", &shown.0);
}

#[test]
fn nothing_that_carries_changes_shows_them() {
    let (_, NewChange { hash, bytes }) = document(Part::Clinical);
    let id = new_document();
    let entry = Entry { changes: vec![bytes.clone()], ..Entry::new(id) };
    let encoded = encode_entry(&entry);
    assert!(Canary::name().found_in(&format!("{encoded:?}")).len() > 1, "it would be seen");
    let mut shown = Shown::default();
    shown.show(&entry);
    wire(&mut shown, id, &bytes, &encoded);
    device(&mut shown, id, hash, &bytes);
    users(&mut shown);
    let position = Position(1);
    let snapshot = StoredSnapshot { position, chunks: bytes.clone(), bindings: vec![], quarantined: vec![] };
    shown.show(&snapshot);
    shown.show(&Stored { position, encoded: encoded.clone() });
    shown.show(&LiveEntry { document: id, position, has_content: true, is_urgent: false, encoded: encoded.clone() });
    shown.show(&Append { tenant: "dortmund".parse().unwrap(), entry, encoded });
    assert_unnamed("what was formatted", &shown.0);
}

fn wire(shown: &mut Shown, id: DocumentId, bytes: &Bytes, encoded: &Bytes) {
    let position = Position(1);
    let push = Push { push: 1, document: id, changes: vec![bytes.clone()], user: None };
    shown.show(&ClientMessage::Push(push));
    let raw = RawEntry { position, entry: encoded.clone() };
    shown.show(&ServerMessage::Changes(ChangesFrame { entries: vec![raw], ..ChangesFrame::default() }));
    let (bindings, quarantined) = (vec![], vec![]);
    shown.show(&Snapshot { document: id, position, chunks: bytes.clone(), bindings, quarantined });
    let mut decoder = FrameDecoder::new(1 << 20);
    decoder.extend(encoded);
    shown.show(&decoder);
    let (case, reason, text) = (id.case, BreakGlassReason::Other, NAME.to_owned());
    shown.show(&ClientMessage::BreakGlass(BreakGlass { request: 1, case, reason, text: text.clone() }));
    shown.show(&OpenedOffline { case, user: None, reason, text, at_ms: 1 });
    let user = feldakte_tests::harness::issuer::user(LOGIN);
    for credential in [Credential::Token(LOGIN.into()), Credential::Ticket(LOGIN.into()), Credential::Local(user)] {
        shown.show(&credential);
    }
    let role = Role::AmbulanceCrew;
    shown.show(&feldakte_proto::SignedIn::As { user, role, until_ms: None, ticket: LOGIN.into() });
}

fn users(shown: &mut Shown) {
    shown.show(&SignIn::Token(LOGIN.into()));
    shown.show(&SignIn::Pin { login: LOGIN.into(), pin: NAME.into() });
    let user = feldakte_tests::harness::issuer::user(LOGIN);
    shown.show(&LocalUser { user, pin: None, ticket: Some(LOGIN.into()), role: None, unsent: 1 });
}

fn device(shown: &mut Shown, id: DocumentId, hash: ChangeHash, bytes: &Bytes) {
    let (position, case) = (Position(1), id.case);
    let own = OwnChange { hash, bytes: bytes.clone(), intent: NAME.into() };
    shown.show(&DocumentEdit { document: id, changes: vec![own] });
    let received = ReceivedEntry {
        position,
        document: id,
        revoked: None,
        bindings: vec![],
        quarantined: vec![],
        changes: vec![(hash, bytes.clone())],
    };
    shown.show(&Received { entries: vec![received], ..Received::default() });
    let (bindings, quarantined, chunks) = (vec![], vec![], bytes.clone());
    shown.show(&ReceivedSnapshot { document: id, position, chunks, covered: vec![], bindings, quarantined });
    shown.show(&Unsent { row: 1, document: id, hash, bytes: bytes.clone(), user: None });
    shown.show(&Parked { hash, reason: Reason::Malformed, intent: NAME.into() });
    shown.show(&ParkedEdit { reason: Reason::Malformed, edits: edits(Part::Clinical) });
    let state = DocumentState {
        document: id,
        generation: 0,
        bootstrap_pending: false,
        revoked: false,
        local: 1,
        durable: 0,
        refused: 0,
        kept: 0,
    };
    shown.show(&LocalDocument { state, chunks: vec![bytes.clone()], bindings: vec![] });
    let paths = [(Part::Clinical, Path::Fact(NAME.into()))].into();
    shown.show(&feldakte_client_sdk::view::Event::CaseChanged(case, Changed::Paths(paths)));
    let view = DocumentView::of(Part::Clinical, &mut document(Part::Clinical).0, &Authors::default());
    shown.show(&CaseView { case, documents: vec![view], sync: CaseSync::default(), authors: vec![] });
    shown.show(&Channel { code: NAME.into(), unit: NAME.into(), scale: 0, samples: vec![] });
}

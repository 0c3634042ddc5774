//! What a document says, as JSON that any library can be held against.
//!
//! Text, whole numbers, decimals, yes, no and null stand as they are, a record as an object. Bytes are
//! `{"bytes": HEX}`, times `{"timestamp": MILLISECONDS}`. Of several values in a register, the one shown first is last.

use feldakte_core::{
    case::{
        Addendum, Authors, Claim, DocumentView, Entry, Fact, Finalisation, Link, Moved, Order, Outcome, Recorded,
        Status, Verdict, order::Step, status::Reached,
    },
    crdt::{Document, Value},
    ids::{ChangeHash, EntryId, Part},
};
use serde_json::{Map, Value as Json, json};

/// Heads, changes, values, and what the events come to.
pub fn document(part: Part, document: &mut Document, authors: &Authors) -> Json {
    let view = DocumentView::of(part, document, authors);
    let Outcome { orders, status, links, finalisations } = view.outcome(document, authors);
    let signed = |finalisation: &Finalisation, document: &mut Document| {
        values(&DocumentView::signed(part, document, authors, &finalisation.heads))
    };
    json!({
        "part": part.name(),
        "heads": hashes(&document.heads()),
        "changes": changes(document),
        "values": values(&view),
        "outcome": {
            "orders": list(&orders, order),
            "status": list(&status, status_of),
            "linked": list(&links.linked, link),
            "moved": list(&links.moved, moved),
            "finalisations": list(&finalisations, finalisation),
        },
        "signed": finalisations.iter().map(|finalisation| signed(finalisation, document)).collect::<Vec<_>>(),
    })
}

fn changes(document: &mut Document) -> Json {
    let hashes = document.change_hashes();
    let history = document.history();
    let change = |hash: &ChangeHash| {
        let origin = history.origin_of(hash).expect("a change of the document");
        json!({
            "hash": hash.to_string(),
            "actor": hex(&origin.actor.0),
            "start_op": origin.counter,
            "time_ms": origin.stamp.time_ms,
            "clock_offset_ms": origin.stamp.clock_offset_ms,
        })
    };
    list(&hashes, change)
}

fn values(view: &DocumentView) -> Json {
    json!({
        "facts": registers(&view.facts),
        "checklists": registers(&view.checklists),
        "entries": list(&view.entries, entry),
        "narrative": view.narrative,
        "events": list(&view.events, event),
        "min_schema": view.min_schema,
    })
}

fn registers(facts: &[Fact]) -> Json {
    let claim =
        |claim: &Claim| json!({ "value": value(&claim.value), "change": claim.provenance.origin.change.to_string() });
    facts.iter().map(|fact| (fact.name.clone(), list(&fact.values, claim))).collect::<Map<_, _>>().into()
}

fn entry(entry: &Entry) -> Json {
    json!({
        "id": entry.id.map(id),
        "kind": entry.kind,
        "replaces": entry.replaces.map(id),
        "replaced_by": list(&entry.replaced_by, |other| id(*other)),
        "fields": fields(&entry.fields),
        "change": entry.provenance.origin.change.to_string(),
    })
}

fn event(recorded: &Recorded) -> Json {
    let change = recorded.provenance.origin.change.to_string();
    json!({ "fields": fields(&recorded.event.to_fields()), "change": change })
}

fn order(order: &Order) -> Json {
    let step = |step: &Step| {
        let change = step.provenance.origin.change.to_string();
        json!({ "step": step.step.name(), "has_effect": step.has_effect, "change": change })
    };
    json!({
        "id": hex(order.id.as_bytes()),
        "state": order.state.name(),
        "steps": list(&order.steps, step),
        "flags": list(&order.flags, |flag| format!("{flag:?}").into()),
    })
}

fn status_of(status: &Status) -> Json {
    let reached = |reached: &Reached| {
        let change = reached.provenance.origin.change.to_string();
        json!({ "status": reached.status, "at": reached.at_ms.map(timestamp), "change": change })
    };
    json!({ "of": status.of, "latest": list(&status.latest, reached) })
}

fn link(link: &Link) -> Json {
    json!({ "case": hex(link.case.as_bytes()), "relation": link.relation, "reason": link.reason })
}

fn moved(moved: &Moved) -> Json {
    json!({ "entry": id(moved.entry), "into": hex(moved.into.as_bytes()), "reason": moved.reason })
}

fn finalisation(finalisation: &Finalisation) -> Json {
    let addendum = |addendum: &Addendum| {
        let change = addendum.provenance.origin.change.to_string();
        json!({ "change": change, "paths": list(&addendum.paths, |path| path.to_string().into()) })
    };
    json!({
        "heads": hashes(&finalisation.heads),
        "intact": finalisation.verdict == Verdict::Intact,
        "addenda": list(&finalisation.addenda, addendum),
    })
}

fn fields(fields: &[(String, Value)]) -> Json {
    fields.iter().map(|(name, field)| (name.clone(), value(field))).collect::<Map<_, _>>().into()
}

fn value(of: &Value) -> Json {
    match of {
        Value::Text(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Decimal(number) => json!(number),
        Value::Boolean(flag) => json!(flag),
        Value::Timestamp(ms) => timestamp(*ms),
        Value::Bytes(bytes) => json!({ "bytes": hex(bytes) }),
        Value::Record(members) => fields(members),
        Value::Null => Json::Null,
    }
}

fn timestamp(ms: i64) -> Json {
    json!({ "timestamp": ms })
}

fn id(id: EntryId) -> Json {
    hex(id.as_bytes()).into()
}

fn hashes(hashes: &[ChangeHash]) -> Json {
    list(hashes, |hash| hash.to_string().into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn list<T>(items: &[T], each: impl FnMut(&T) -> Json) -> Json {
    items.iter().map(each).collect::<Vec<_>>().into()
}

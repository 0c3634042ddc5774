//! Cases as JSON, for `--json` and the agent; and the digest by which replicas are compared.

use feldakte_client_sdk::view::{
    CaseSync, CaseView, DeviceId, DocumentView, Held, LinkState, ParkedEdit, Status, SyncState, Value,
};
use feldakte_core::ids::ActorId;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

/// The whole case; `me` is this device, whose own actors need no certificate to be known.
pub fn case(view: &CaseView, me: DeviceId) -> Json {
    let by = |actor: Option<ActorId>| author(view, me, actor).to_string();
    let documents: Vec<Json> = view.documents.iter().map(|document| document_of(document, &by)).collect();
    json!({"case": view.case.to_string(), "sync": sync(&view.sync), "documents": documents})
}

/// The device that wrote as `actor`: what the gateway has certified, and this device for its own. Everything of
/// others arrives with its certified author, so an actor without one is this device's.
pub fn author(view: &CaseView, me: DeviceId, actor: Option<ActorId>) -> DeviceId {
    let certified = view.authors.iter().find(|author| Some(author.actor) == actor);
    certified.map_or(me, |author| author.device)
}

fn document_of(document: &DocumentView, by: &impl Fn(Option<ActorId>) -> String) -> Json {
    let held = |held: &Held| json!({"value": value(&held.value), "by": by(held.actor)});
    let facts = document
        .facts
        .iter()
        .map(|fact| json!({"name": fact.name, "values": fact.values.iter().map(held).collect::<Vec<_>>()}));
    let entries = document.entries.iter().map(|item| json!({"by": by(item.actor), "fields": fields(&item.fields)}));
    json!({
        "part": document.part.name(),
        "facts": facts.collect::<Vec<_>>(),
        "entries": entries.collect::<Vec<_>>(),
        "narrative": document.narrative,
    })
}

fn fields(fields: &[(String, Value)]) -> Json {
    fields.iter().map(|(name, field)| (name.clone(), value(field))).collect()
}

/// A value, typed as JSON types it; a point in time is `{"timestamp": milliseconds}`.
pub fn value(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Decimal(number) => json!(number),
        Value::Boolean(flag) => json!(flag),
        Value::Timestamp(ms) => json!({"timestamp": ms}),
        Value::Null => Json::Null,
    }
}

/// How safe a case is.
pub fn sync(sync: &CaseSync) -> Json {
    let CaseSync { local, sent, durable, refused, incomplete, revoked } = sync;
    json!({
        "state": state(sync.state()), "local": local, "sent": sent, "durable": durable, "refused": refused,
        "incomplete": incomplete, "revoked": revoked,
    })
}

/// The whole client.
pub fn status(status: &Status) -> Json {
    let Status { link, cases, sync: CaseSync { local, sent, durable, refused, .. }, all_safe, clock_offset_ms } =
        status;
    json!({
        "link": self::link(*link), "cases": cases, "local": local, "sent": sent, "durable": durable,
        "refused": refused, "all_safe": all_safe, "clock_offset_ms": clock_offset_ms,
    })
}

/// A refused change.
pub fn parked(parked: &ParkedEdit) -> Json {
    let edits: Vec<String> = parked.edits.iter().map(crate::text::edit).collect();
    json!({"reason": format!("{:?}", parked.reason), "edits": edits})
}

/// In one word.
pub fn state(state: SyncState) -> &'static str {
    match state {
        SyncState::Refused => "refused",
        SyncState::Local => "local",
        SyncState::Sent => "sent",
        SyncState::Durable => "durable",
    }
}

/// In one word.
pub fn link(link: LinkState) -> &'static str {
    match link {
        LinkState::Offline => "offline",
        LinkState::Connecting => "connecting",
        LinkState::Connected => "connected",
        LinkState::Refused => "refused",
    }
}

/// SHA-256 over everything replicas must agree on: documents with all concurrent values and the actors that wrote
/// them, and nothing about how safe they are. Two replicas that have merged have the same digest.
pub fn digest(view: &CaseView) -> String {
    let by = |actor: Option<ActorId>| actor.map(|actor| hex(&actor.0)).unwrap_or_default();
    let documents: Vec<Json> = view.documents.iter().map(|document| document_of(document, &by)).collect();
    hex(&Sha256::digest(Json::Array(documents).to_string()))
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use feldakte_client_sdk::view::{Field, Item, Part};

    use super::*;

    fn view(values: &[(&str, u8)], durable: u64) -> CaseView {
        let held = |(text, actor): &(&str, u8)| Held {
            value: Value::Text((*text).to_owned()),
            actor: Some(ActorId([*actor; 16])),
        };
        let document = DocumentView {
            part: Part::Identity,
            facts: vec![Field { name: "family_name".into(), values: values.iter().map(held).collect() }],
            entries: vec![Item { actor: None, fields: vec![("kind".into(), Value::Text("note".into()))] }],
            narrative: String::new(),
        };
        CaseView {
            case: "0192f000-0000-7000-8000-000000000001".parse().expect("a case id"),
            documents: vec![document],
            sync: CaseSync { durable, ..CaseSync::default() },
            authors: Vec::new(),
        }
    }

    #[test]
    fn the_digest_sees_values_and_authors_and_not_how_safe_they_are() {
        let one = digest(&view(&[("Müller", 1), ("Mueller", 2)], 0));
        assert_eq!(one, digest(&view(&[("Müller", 1), ("Mueller", 2)], 9)));
        assert_ne!(one, digest(&view(&[("Müller", 1)], 0)));
        assert_ne!(one, digest(&view(&[("Müller", 2), ("Mueller", 1)], 0)));
    }
}

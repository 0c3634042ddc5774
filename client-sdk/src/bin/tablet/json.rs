//! Cases as JSON, for `--json` and the agent; and the digest by which replicas are compared.

use feldakte_client_sdk::view::{
    CaseSync, CaseView, Claim, DocumentView, Entry, Fact, LinkFacts, LinkState, ParkedEdit, Provenance, Recorded,
    Status, SyncState, Transport, Value,
};
use feldakte_core::hex::hex;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

/// The whole case.
pub fn case(view: &CaseView) -> Json {
    let by = |provenance: &Provenance| {
        provenance.author.as_ref().map_or_else(|| "unknown".to_owned(), |author| author.device.to_string())
    };
    let documents: Vec<Json> = view.documents.iter().map(|document| document_of(document, &by)).collect();
    json!({"case": view.case.to_string(), "sync": sync(&view.sync), "documents": documents})
}

fn document_of(document: &DocumentView, by: &impl Fn(&Provenance) -> String) -> Json {
    let claim = |claim: &Claim| json!({"value": value(&claim.value), "by": by(&claim.provenance)});
    let fact = |fact: &Fact| json!({"name": fact.name, "values": fact.values.iter().map(claim).collect::<Vec<_>>()});
    let entry = |entry: &Entry| {
        json!({
            "id": entry.id.map(|id| id.to_string()), "kind": entry.kind, "by": by(&entry.provenance),
            "at": entry.provenance.origin.stamp.time_ms, "replaces": entry.replaces.map(|id| id.to_string()),
            "current": entry.is_current(), "fields": fields(&entry.fields),
        })
    };
    let event =
        |recorded: &Recorded| json!({"by": by(&recorded.provenance), "fields": fields(&recorded.event.to_fields())});
    json!({
        "part": document.part.name(),
        "facts": document.facts.iter().map(fact).collect::<Vec<_>>(),
        "checklists": document.checklists.iter().map(fact).collect::<Vec<_>>(),
        "entries": document.entries.iter().map(entry).collect::<Vec<_>>(),
        "events": document.events.iter().map(event).collect::<Vec<_>>(),
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
        Value::Bytes(bytes) => json!({"bytes": hex(bytes)}),
        Value::Record(members) => fields(members),
        Value::Null => Json::Null,
    }
}

/// How safe a case is.
pub fn sync(sync: &CaseSync) -> Json {
    let CaseSync { local, sent, durable, refused, kept, incomplete, revoked } = sync;
    json!({
        "state": state(sync.state()), "local": local, "sent": sent, "durable": durable, "refused": refused,
        "kept": kept, "incomplete": incomplete, "revoked": revoked,
    })
}

/// What carries a session.
pub fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Quic => "quic",
        Transport::Grpc => "grpc",
    }
}

/// The path to the gateway.
pub fn facts(facts: &LinkFacts) -> Json {
    let LinkFacts { transport, gateway, local, rtt, loss, up, down, up_capacity, age } = facts;
    json!({
        "transport": self::transport(*transport), "gateway": gateway.to_string(),
        "local": local.map(|local| local.to_string()), "rtt_ms": rtt.as_millis() as u64, "loss": loss,
        "up_bytes_per_s": up, "down_bytes_per_s": down, "up_capacity_bytes_per_s": up_capacity,
        "age_ms": age.as_millis() as u64,
    })
}

/// The whole client.
pub fn status(status: &Status) -> Json {
    let Status {
        link,
        cases,
        sync: CaseSync { local, sent, durable, refused, kept, .. },
        all_safe,
        user,
        others,
        clock_offset_ms,
        wipe,
    } = status;
    json!({
        "link": self::link(*link), "cases": cases, "local": local, "sent": sent, "durable": durable,
        "refused": refused, "kept": kept, "all_safe": all_safe, "clock_offset_ms": clock_offset_ms,
        "user": user.map(|user| user.to_string()), "others": others,
        "wipe": wipe.map(|stage| format!("{stage:?}").to_lowercase()),
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
    let by = |provenance: &Provenance| hex(&provenance.origin.actor.0);
    let documents: Vec<Json> = view.documents.iter().map(|document| document_of(document, &by)).collect();
    hex(&Sha256::digest(Json::Array(documents).to_string()))
}

#[cfg(test)]
mod tests {
    use feldakte_client_sdk::view::{ActorId, ChangeHash, Origin, Part, Stamp};

    use super::*;

    fn view(values: &[(&str, u8)], durable: u64) -> CaseView {
        let provenance = |actor: u8| {
            let (actor, change, stamp) = (ActorId([actor; 16]), ChangeHash([1; 32]), Stamp::default());
            Provenance { origin: Origin { actor, change, stamp, counter: 1 }, author: None }
        };
        let claim = |(text, actor): &(&str, u8)| Claim {
            value: Value::Text((*text).to_owned()),
            provenance: provenance(*actor),
        };
        let entry = Entry {
            id: None,
            kind: "note".into(),
            fields: Vec::new(),
            provenance: provenance(1),
            replaces: None,
            replaced_by: Vec::new(),
        };
        let document = DocumentView {
            part: Part::Identity,
            facts: vec![Fact { name: "family_name".into(), values: values.iter().map(claim).collect() }],
            checklists: Vec::new(),
            entries: vec![entry],
            narrative: String::new(),
            events: Vec::new(),
            min_schema: 1,
            actors: 2,
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

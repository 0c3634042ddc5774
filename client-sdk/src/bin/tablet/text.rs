//! Cases as text for people.

use std::fmt::Write as _;

use feldakte_client_sdk::view::{
    CaseEvent, CaseSummary, CaseSync, CaseView, DeviceId, DocumentView, Edit, Entry, Fact, LinkState, Provenance,
    Recorded, SyncState, Value,
};
use time::OffsetDateTime;

use crate::output::plain;

/// The whole case.
pub fn case(view: &CaseView, me: DeviceId) -> String {
    let mut text = format!("case {}   {}\n", view.case, safety(&view.sync));
    for document in &view.documents {
        let DocumentView { part, facts, checklists, entries, narrative, events, min_schema: _, actors: _ } = document;
        let _ = write!(text, "\n{}\n", part.name());
        facts.iter().for_each(|fact| text += &fact_lines(&format!("{part}.", part = part.name()), fact, me));
        if !checklists.is_empty() {
            text += "  checklists\n";
            checklists.iter().for_each(|fact| text += &fact_lines("", fact, me));
        }
        if !entries.is_empty() {
            text += "  entries\n";
            entries.iter().for_each(|entry| text += &entry_line(entry, me));
        }
        if !events.is_empty() {
            text += "  events\n";
            events.iter().for_each(|recorded| text += &event_line(recorded, me));
        }
        if !narrative.trim().is_empty() {
            text += "  narrative\n";
            narrative.trim_end().lines().for_each(|line| text += &format!("    {}\n", plain(line)));
        }
    }
    text
}

fn fact_lines(prefix: &str, fact: &Fact, me: DeviceId) -> String {
    let name = plain(&fact.name);
    if let [only] = fact.values.as_slice() {
        return format!("  {name:<24} {:<36} {}\n", value(&only.value), who(&only.provenance, me));
    }
    let mut text = format!(
        "  {name:<24} {} values at once; resolve with: tablet set CASE {prefix}{name} VALUE\n",
        fact.values.len()
    );
    for claim in &fact.values {
        let _ = writeln!(text, "  {:<22} ! {:<36} {}", "", value(&claim.value), who(&claim.provenance, me));
    }
    text
}

fn entry_line(entry: &Entry, me: DeviceId) -> String {
    let at = time(entry.provenance.origin.stamp.time_ms);
    let mark = if entry.is_current() { "" } else { "  [replaced]" };
    let (kind, fields) = (plain(&entry.kind), fields(&entry.fields));
    format!("    {at}  {kind:<14} {fields}  ({}){mark}\n", who(&entry.provenance, me))
}

fn event_line(Recorded { event, provenance }: &Recorded, me: DeviceId) -> String {
    format!("    {}  {}  ({})\n", time(provenance.origin.stamp.time_ms), self::event(event), who(provenance, me))
}

/// An event in one line.
fn event(event: &CaseEvent) -> String {
    match event {
        CaseEvent::Order { order, step } => format!("order {} {}", &order.to_string()[..8], step.name()),
        CaseEvent::Status { of, status, .. } => format!("status {} {}", plain(of), plain(status)),
        CaseEvent::Finalised { .. } => "finalised".to_owned(),
        CaseEvent::Linked { case, relation, .. } => format!("linked to {case} as {}", plain(relation)),
        CaseEvent::Unlinked { case, .. } => format!("no longer linked to {case}"),
        CaseEvent::Split { into, entries, .. } => format!("{} entries belong to {into}", entries.len()),
        CaseEvent::Resolved { path, .. } => format!("resolved {}", plain(path)),
    }
}

fn fields(fields: &[(String, Value)]) -> String {
    let field = |(name, field): &(String, Value)| format!("{}={}", plain(name), value(field));
    fields.iter().map(field).collect::<Vec<_>>().join("  ")
}

/// Who wrote it: `this device`, or the certified unit, role and device.
pub fn who(provenance: &Provenance, me: DeviceId) -> String {
    match &provenance.author {
        None => "not certified".to_owned(),
        Some(author) if author.device == me => "this device".to_owned(),
        Some(author) => format!("{} {} {}", author.unit, author.role, &author.device.to_string()[..8]),
    }
}

/// A value for people.
pub fn value(value: &Value) -> String {
    match value {
        Value::Text(text) => plain(text),
        Value::Integer(number) => number.to_string(),
        Value::Decimal(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Timestamp(ms) => time(*ms),
        Value::Bytes(bytes) => format!("({} bytes)", bytes.len()),
        Value::Record(members) => format!("{{{}}}", fields(members)),
        Value::Null => "(absent)".to_owned(),
    }
}

/// An edit in one line.
pub fn edit(edit: &Edit) -> String {
    let part = edit.part().name();
    match edit {
        Edit::SetFact { part: _, name, value: new } => format!("set {part}.{} = {}", plain(name), value(new)),
        Edit::AddEntry { kind, fields, .. } => format!("{part} entry {}: {}", plain(kind), self::fields(fields)),
        Edit::Correct { replaces, kind, fields, .. } => {
            format!("{part} entry {} instead of {replaces}: {}", plain(kind), self::fields(fields))
        }
        Edit::Withdraw { replaces, reason, .. } => format!("{part} entry {replaces} withdrawn: {}", plain(reason)),
        Edit::Narrate { insert, .. } | Edit::NarrateUtf16 { insert, .. } => {
            format!("{part} note: {}", plain(insert.trim_end()))
        }
        Edit::Answer { element, value: new, .. } => format!("{part} {element} = {}", value(new)),
        Edit::Resolve { path, value: new, .. } => format!("resolve {part}.{path} = {}", value(new)),
        Edit::Record { event, .. } => format!("{part} {}", self::event(event)),
        Edit::RaiseSchema { min_schema, .. } => format!("{part} needs schema {min_schema}"),
    }
}

/// A line in the list of cases.
pub fn summary(summary: &CaseSummary, title: &str) -> String {
    format!("{}  {:<44} {}\n", summary.case, title, safety(&summary.sync))
}

/// How safe a case is, without claiming more than is known.
pub fn safety(sync: &CaseSync) -> String {
    let CaseSync { local, sent, durable, refused, kept, incomplete, revoked } = sync;
    let mut text = match sync.state() {
        SyncState::Refused => format!("{refused} changes REFUSED by the gateway: `tablet parked CASE` shows why"),
        SyncState::Local | SyncState::Sent => "saved on device, not yet durable".to_owned(),
        SyncState::Durable => "durable".to_owned(),
    };
    let _ = write!(text, " (own changes: {durable} durable");
    if local + sent > 0 {
        let _ = write!(text, ", {} waiting", local + sent);
    }
    if *kept > 0 {
        let _ = write!(text, ", {kept} kept for a supervisor");
    }
    text += ")";
    if *incomplete {
        text += ", parts have not arrived yet";
    }
    if *revoked {
        text += ", access has ended";
    }
    text
}

/// What the device has lost as a whole.
pub fn loss(event: &feldakte_client_sdk::view::Event) -> &'static str {
    match event {
        feldakte_client_sdk::view::Event::Wiped => "wiped by order of the gateway",
        _ => "the gateway was not heard of for too long: what is safe there was removed",
    }
}

/// Why something is not at the gateway, and what to do.
pub fn link_advice(link: LinkState, gateway: &str) -> String {
    match link {
        LinkState::Offline => "offline; it is sent by the next command without --offline".to_owned(),
        LinkState::Connecting => {
            format!("gateway {gateway} has not answered; is it running? It is sent by the next online command")
        }
        LinkState::Connected => "the gateway has not confirmed yet; `tablet status` shows when it has".to_owned(),
        LinkState::Refused => format!(
            "gateway {gateway} refuses this device: certificate expired, denied, or of another PKI; see the gateway's log"
        ),
    }
}

/// A point in time, UTC.
pub fn time(ms: i64) -> String {
    let Ok(at) = OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000)) else { return format!("{ms} ms") };
    let (year, month, day) = at.to_calendar_date();
    format!("{year:04}-{:02}-{day:02} {:02}:{:02}:{:02}Z", u8::from(month), at.hour(), at.minute(), at.second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_also_before_1970_and_on_leap_days() {
        assert_eq!(time(0), "1970-01-01 00:00:00Z");
        assert_eq!(time(-1), "1969-12-31 23:59:59Z");
        assert_eq!(time(1_709_164_800_000), "2024-02-29 00:00:00Z");
        assert_eq!(time(1_767_225_599_000), "2025-12-31 23:59:59Z");
        assert_eq!(time(i64::MAX), format!("{} ms", i64::MAX));
    }

    #[test]
    fn only_what_is_durable_is_called_durable() {
        let states = [
            (CaseSync { durable: 3, ..CaseSync::default() }, "durable (own changes: 3 durable)"),
            (
                CaseSync { durable: 3, sent: 1, local: 1, ..CaseSync::default() },
                "saved on device, not yet durable (own changes: 3 durable, 2 waiting)",
            ),
        ];
        for (sync, expected) in states {
            assert_eq!(safety(&sync), expected);
        }
        let refused = safety(&CaseSync { refused: 1, ..CaseSync::default() });
        assert!(refused.contains("REFUSED") && refused.contains("tablet parked"), "{refused}");
    }
}

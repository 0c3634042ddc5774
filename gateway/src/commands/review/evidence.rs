//! Late work for a terminal. What a device has written is quoted: it must not move the cursor or turn the line around.

use feldakte_gateway::control::evidence::{AuthorEntry, ChangeEntry, DeedEntry, EvidenceEntry, RefusedEntry};
use serde_json::{Map, Value};

use crate::commands::control::moment;

/// What it would do to its case, or has done.
pub fn show(evidence: &EvidenceEntry) -> String {
    let EvidenceEntry { changes, omitted, unreadable, refused, unseen } = evidence;
    let mut shown = format!("unseen   {unseen} change(s) of the case that the author had not seen\n");
    changes.iter().for_each(|entry| shown += &change(entry));
    for (count, what) in [
        (*omitted, "not shown: there are too many of them, or they say too much"),
        (*unreadable, "that no app could apply: they would be put into quarantine"),
    ] {
        if count > 0 {
            shown += &format!("\nand      {count} change(s) {what}\n");
        }
    }
    for RefusedEntry { change, why } in refused {
        shown += &format!("\nrefused  {}: {}\n", short(change), why.escape_debug());
    }
    shown
}

fn change(entry: &ChangeEntry) -> String {
    let ChangeEntry { change, by, at_ms, clock_offset_ms, base, does, cut, strange } = entry;
    let base: Vec<&str> = base.iter().map(|change| short(change)).collect();
    let on = if base.is_empty() { "nothing".to_owned() } else { base.join(", ") };
    let mut shown = format!("\nchange   {} on {on}\n", short(change));
    if let Some(AuthorEntry { device, unit, role, user, guest_of }) = by {
        let user = user.map(|user| format!(", user {user}")).unwrap_or_default();
        let home = guest_of.as_ref().map(|tenant| format!(" of {tenant}")).unwrap_or_default();
        let off = clock_offset_ms.map(|ms| format!(", clock off by {ms} ms")).unwrap_or_default();
        shown += &format!("by       {unit}{home}, {role}{user}, device {device}\nmade     {}{off}\n", moment(*at_ms));
    }
    does.iter().for_each(|does| shown += &format!("  {}\n", deed(does)));
    for (count, what) in
        [(*cut, "more that is not shown"), (*strange, "operation(s) that no app of this release makes")]
    {
        if count > 0 {
            shown += &format!("  and {count} {what}\n");
        }
    }
    shown
}

fn deed(does: &DeedEntry) -> String {
    match does {
        DeedEntry::Opens => "opens the document".to_owned(),
        DeedEntry::Sets { path, value: to, before, in_case } => {
            format!("sets {} = {}{}", path.escape_debug(), value(to), beside(before, in_case))
        }
        DeedEntry::Clears { path, before, in_case } => {
            format!("clears {}{}", path.escape_debug(), beside(before, in_case))
        }
        DeedEntry::Appends { entry, of, replaces, fields } => {
            let id = entry.as_deref().unwrap_or("without id");
            let instead = replaces.as_ref().map(|id| format!(" in the place of {id}")).unwrap_or_default();
            format!("appends {} {id}{instead}: {}", of.escape_debug(), record(fields))
        }
        DeedEntry::Records { fields } => format!("records {}", record(fields)),
        DeedEntry::Narrates { at, removed, inserted } => {
            format!("changes the narrative at {at}: {removed:?} becomes {inserted:?}")
        }
        DeedEntry::Reserves => "reserves the document for newer apps".to_owned(),
    }
}

fn beside(before: &[Value], in_case: &[Value]) -> String {
    format!(" (its author saw {}; the case says {})", values(before), values(in_case))
}

fn values(all: &[Value]) -> String {
    match all {
        [] => "nothing".to_owned(),
        all => all.iter().map(value).collect::<Vec<_>>().join(" and "),
    }
}

fn record(fields: &Map<String, Value>) -> String {
    let field = |(name, of): (&String, &Value)| format!("{} = {}", name.escape_debug(), value(of));
    fields.iter().map(field).collect::<Vec<_>>().join(", ")
}

fn value(of: &Value) -> String {
    match of {
        Value::String(text) => format!("{text:?}"),
        Value::Null => "known to be absent".to_owned(),
        Value::Object(fields) => match (fields.get("time_ms"), fields.get("bytes"), fields.get("hex")) {
            (Some(time), None, None) if fields.len() == 1 => time.as_i64().map_or_else(|| time.to_string(), moment),
            (None, Some(len), Some(Value::String(hex))) if fields.len() == 2 => {
                format!("{len} bytes {}", hex.escape_debug())
            }
            _ => format!("{{{}}}", record(fields)),
        },
        plain => plain.to_string(),
    }
}

/// As much of a name as tells it from others.
fn short(change: &str) -> &str {
    change.get(..12).unwrap_or(change)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sets(to: Value) -> DeedEntry {
        DeedEntry::Sets { path: "gcs".into(), value: to, before: vec![json!("15")], in_case: Vec::new() }
    }

    #[test]
    fn a_change_reads_as_what_it_does() {
        let does = vec![
            sets(json!("3")),
            DeedEntry::Appends {
                entry: Some("e-1".into()),
                of: "vitals".into(),
                replaces: None,
                fields: [("at".to_owned(), json!({ "time_ms": 0 })), ("hr".to_owned(), json!(120))]
                    .into_iter()
                    .collect(),
            },
        ];
        let change = ChangeEntry {
            change: "0123456789abcdef".into(),
            by: None,
            at_ms: 0,
            clock_offset_ms: None,
            base: vec!["fedcba9876543210".into()],
            does,
            cut: 0,
            strange: 2,
        };
        let evidence = EvidenceEntry { changes: vec![change], omitted: 1, unreadable: 0, refused: vec![], unseen: 4 };
        let shown = show(&evidence);
        for expected in [
            "unseen   4 change(s)",
            "change   0123456789ab on fedcba987654",
            "sets gcs = \"3\" (its author saw \"15\"; the case says nothing)",
            "appends vitals e-1: at = 1970-01-01 00:00Z, hr = 120",
            "and 2 operation(s)",
            "and      1 change(s) not shown",
        ] {
            assert!(shown.contains(expected), "{expected} in\n{shown}");
        }
    }

    #[test]
    fn nothing_that_a_device_wrote_reaches_the_terminal_as_a_command() {
        let evil = "a\u{1b}[2J\u{9b}\u{202e}\nb";
        let fields: Map<_, _> = [(evil.to_owned(), json!({ evil: evil }))].into_iter().collect();
        for does in [
            sets(json!(evil)),
            DeedEntry::Clears { path: evil.into(), before: vec![], in_case: vec![] },
            DeedEntry::Appends { entry: None, of: evil.into(), replaces: None, fields: fields.clone() },
            DeedEntry::Records { fields },
            DeedEntry::Narrates { at: 0, removed: evil.into(), inserted: evil.into() },
        ] {
            let shown = deed(&does);
            assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\n']), "{shown:?}");
        }
    }
}

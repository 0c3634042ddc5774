//! Cases as text for people.

use std::fmt::Write as _;

use feldakte_client_sdk::view::{
    CaseSummary, CaseSync, CaseView, DeviceId, DocumentView, Edit, Field, Item, LinkState, SyncState, Value,
};
use feldakte_core::ids::ActorId;

use crate::{json, output::plain};

/// The whole case.
pub fn case(view: &CaseView, me: DeviceId) -> String {
    let mut text = format!("case {}   {}\n", view.case, safety(&view.sync));
    let who = |actor: Option<ActorId>| who(view, me, actor);
    for document in &view.documents {
        let DocumentView { part, facts, entries, narrative } = document;
        let _ = write!(text, "\n{}\n", part.name());
        facts.iter().for_each(|fact| text += &fact_lines(part.name(), fact, &who));
        if !entries.is_empty() {
            text += "  entries\n";
            entries.iter().for_each(|item| text += &entry_line(item, &who));
        }
        if !narrative.trim().is_empty() {
            text += "  narrative\n";
            narrative.trim_end().lines().for_each(|line| text += &format!("    {}\n", plain(line)));
        }
    }
    text
}

fn fact_lines(part: &str, fact: &Field, who: &impl Fn(Option<ActorId>) -> String) -> String {
    let name = plain(&fact.name);
    if let [only] = fact.values.as_slice() {
        return format!("  {name:<24} {:<36} {}\n", value(&only.value), who(only.actor));
    }
    let mut text = format!(
        "  {name:<24} {} values at once; resolve with: tablet set CASE {part}.{name} VALUE\n",
        fact.values.len()
    );
    for held in &fact.values {
        let _ = writeln!(text, "  {:<22} ! {:<36} {}", "", value(&held.value), who(held.actor));
    }
    text
}

fn entry_line(item: &Item, who: &impl Fn(Option<ActorId>) -> String) -> String {
    let field = |name: &str| item.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value);
    let kind = field("kind").map(value).unwrap_or_default();
    let at = match field("at") {
        Some(Value::Timestamp(ms)) => time(*ms),
        _ => "-".to_owned(),
    };
    let shown = |name: &str| !["kind", "at", "clock_offset_ms"].contains(&name);
    let rest: Vec<String> = item
        .fields
        .iter()
        .filter(|(name, _)| shown(name))
        .map(|(name, field)| format!("{}={}", plain(name), value(field)))
        .collect();
    format!("    {at}  {kind:<14} {}  ({})\n", rest.join("  "), who(item.actor))
}

/// Who wrote it: `this device`, or the certified unit, role and device.
pub fn who(view: &CaseView, me: DeviceId, actor: Option<ActorId>) -> String {
    let device = json::author(view, me, actor);
    if device == me {
        return "this device".to_owned();
    }
    let author = view.authors.iter().find(|author| author.device == device);
    author.map_or_else(
        || device.to_string(),
        |author| {
            let device = author.device.to_string();
            format!("{} {} {}", author.unit, author.role, &device[..8])
        },
    )
}

/// A value for people.
pub fn value(value: &Value) -> String {
    match value {
        Value::Text(text) => plain(text),
        Value::Integer(number) => number.to_string(),
        Value::Decimal(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Timestamp(ms) => time(*ms),
        Value::Null => "(absent)".to_owned(),
    }
}

/// An edit in one line.
pub fn edit(edit: &Edit) -> String {
    let part = edit.part().name();
    match edit {
        Edit::SetFact { part: _, name, value: new } => format!("set {part}.{} = {}", plain(name), value(new)),
        Edit::AddEntry { part: _, kind, fields } => {
            let fields: Vec<String> =
                fields.iter().map(|(name, field)| format!("{}={}", plain(name), value(field))).collect();
            format!("{part} entry {}: {}", plain(kind), fields.join(" "))
        }
        Edit::Narrate { part: _, at: _, delete: _, insert } => format!("{part} note: {}", plain(insert.trim_end())),
    }
}

/// A line in the list of cases.
pub fn summary(summary: &CaseSummary, title: &str) -> String {
    format!("{}  {:<44} {}\n", summary.case, title, safety(&summary.sync))
}

/// How safe a case is, without claiming more than is known.
pub fn safety(sync: &CaseSync) -> String {
    let CaseSync { local, sent, durable, refused, incomplete, revoked } = sync;
    let mut text = match sync.state() {
        SyncState::Refused => format!("{refused} changes REFUSED by the gateway: `tablet parked CASE` shows why"),
        SyncState::Local | SyncState::Sent => "saved on device, not yet durable".to_owned(),
        SyncState::Durable => "durable".to_owned(),
    };
    let _ = write!(text, " (own changes: {durable} durable");
    if local + sent > 0 {
        let _ = write!(text, ", {} waiting", local + sent);
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
    let seconds = ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let Some((year, month, day)) = civil(days) else { return format!("{ms} ms") };
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Days since 1970-01-01 as a date of the Gregorian calendar; `None` outside of the years 0 to 9999.
/// Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil(days: i64) -> Option<(i64, i64, i64)> {
    if !(-719_468..2_932_897).contains(&days) {
        return None;
    }
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    Some((year_of_era + era * 400 + i64::from(month <= 2), month, day))
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

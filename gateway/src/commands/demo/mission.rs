//! The mission that the demo plays: a data file, written as field staff would write.

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

/// A mission in phases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mission {
    /// The file's own description; for people.
    #[serde(rename = "_format")]
    _format: String,
    /// What it is about.
    pub title: String,
    /// In order.
    pub phases: Vec<Phase>,
}

/// A part of the mission.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// What the crew would call it.
    pub name: String,
    /// Both tablets are without a network during it.
    #[serde(default)]
    pub offline: bool,
    /// Steps are saved as fast as the devices can, and the gateway is killed meanwhile.
    #[serde(default)]
    pub burst: bool,
    /// In order.
    pub steps: Vec<Step>,
}

/// One save on one tablet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Whose.
    pub tablet: Who,
    /// Index of the case; whoever writes it first opens it.
    pub case: usize,
    /// Saved together; as `tablet agent` takes them.
    pub edits: Vec<Value>,
}

/// One of the two tablets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// The paramedic's.
    A,
    /// The vehicle's.
    B,
}

impl Mission {
    /// The mission of the repository; times count from `began_ms`.
    pub fn read(began_ms: i64) -> anyhow::Result<Mission> {
        let mut mission: Mission = serde_json::from_str(MISSION).context("gateway/data/mission.json")?;
        for step in mission.phases.iter_mut().flat_map(|phase| &mut phase.steps) {
            step.edits.iter_mut().for_each(|edit| resolve_times(edit, began_ms));
        }
        Ok(mission)
    }

    /// How many saves it has.
    pub fn steps(&self) -> usize {
        self.phases.iter().map(|phase| phase.steps.len()).sum()
    }
}

impl Step {
    /// What a person sees of it while it happens.
    pub fn caption(&self) -> String {
        let Some(edit) = self.edits.first() else { return String::new() };
        let text = if let Some(set) = edit.get("set") {
            format!("{}: {}", word(&set["name"]), shown(&set["value"]))
        } else if let Some(entry) = edit.get("entry") {
            let fields = entry["fields"].as_object().into_iter().flatten();
            let fields = fields.filter(|(name, _)| *name != "at").map(|(_, value)| shown(value));
            format!("{}: {}", word(&entry["kind"]), fields.collect::<Vec<_>>().join(" "))
        } else {
            word(&edit["note"]["text"]).trim_end().to_owned()
        };
        match text.char_indices().nth(CAPTION_CHARS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

/// A reading of the patient monitor, as the burst saves them by the hundred.
pub fn reading(at_ms: i64, number: u64) -> Value {
    // Any plausible course will do: a slow wave around the script's own values.
    let wave = i64::try_from(number % 14).unwrap_or(0);
    json!({"entry": {"part": "clinical", "kind": "vitals", "fields": {
        "at": {"timestamp": at_ms}, "source": {"text": "Monitor"},
        "heart_rate": {"integer": 88 + wave}, "spo2": {"integer": 93 + wave % 4},
        "respiratory_rate": {"integer": 16 + wave % 3},
    }}})
}

fn resolve_times(value: &mut Value, began_ms: i64) {
    if let Some(offset_s) = value.get("timestamp").and_then(|time| time.get("offset_s")).and_then(Value::as_i64) {
        *value = json!({"timestamp": began_ms + offset_s * 1000});
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| resolve_times(item, began_ms)),
        Value::Object(fields) => fields.values_mut().for_each(|field| resolve_times(field, began_ms)),
        _ => {}
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A value without its type.
fn shown(value: &Value) -> String {
    let inner = value.as_object().and_then(|tagged| tagged.values().next()).unwrap_or(value);
    match inner {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

const MISSION: &str = include_str!("../../../data/mission.json");
/// What fits on a line beside the counters.
const CAPTION_CHARS: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mission_has_what_the_demo_shows() {
        let mission = Mission::read(1_000_000).expect("the mission reads");
        let phases = |test: fn(&Phase) -> bool| mission.phases.iter().filter(|phase| test(phase)).count();
        assert_eq!((phases(|phase| phase.offline), phases(|phase| phase.burst)), (1, 1));
        assert!(mission.phases.iter().all(|phase| !phase.steps.is_empty()));
        for who in [Who::A, Who::B] {
            let offline = mission.phases.iter().find(|phase| phase.offline).expect("counted above");
            assert!(offline.steps.iter().any(|step| step.tablet == who));
        }
    }

    #[test]
    fn times_count_from_the_beginning() {
        let mission = Mission::read(1_000_000).expect("the mission reads");
        let text = format!("{:?}", mission.phases);
        assert!(text.contains("timestamp") && !text.contains("offset_s"));
        let mut value = json!({"at": {"timestamp": {"offset_s": -2}}});
        resolve_times(&mut value, 5_000);
        assert_eq!(value, json!({"at": {"timestamp": 3_000}}));
    }

    #[test]
    fn captions_are_short_and_cut_between_characters() {
        let text = "ä".repeat(100);
        let step = Step { tablet: Who::A, case: 0, edits: vec![json!({"note": {"part": "clinical", "text": text}})] };
        assert_eq!(step.caption().chars().count(), CAPTION_CHARS + 1);
    }
}

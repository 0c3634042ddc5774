//! Which monitor belongs to which case, and what it measures on its way into it.
//!
//! A binding is an entry of the case. What was measured under one binding never moves to another case.

use std::collections::{BTreeMap, VecDeque};

use feldakte_core::{
    case::{
        Edit, Entry,
        vitals::{Block, Reading, Recorder, encode},
    },
    crdt::Value,
    ids::{CaseId, EntryId, Part},
    live::Numeric,
};
use tokio::sync::Mutex;

use crate::{client::Client, error::SdkError};

/// A monitor, as it names itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    /// Its serial number: one monitor has one.
    pub serial_number: String,
    /// Manufacturer and model.
    pub model: Option<String>,
}

/// Those that are bound.
#[derive(Default)]
pub(crate) struct Monitors(Mutex<BTreeMap<String, Bound>>);

struct Bound {
    monitor: Monitor,
    case: CaseId,
    /// The entry of the case that says so.
    entry: EntryId,
    started_ms: i64,
    recorder: Recorder,
    /// Finished, and not saved yet.
    unsaved: VecDeque<Block>,
}

impl Monitors {
    pub(crate) async fn bind(&self, client: &Client, case: CaseId, monitor: Monitor) -> Result<(), SdkError> {
        let mut bound = self.0.lock().await;
        if bound.get(&monitor.serial_number).is_some_and(|bound| bound.case == case) {
            return Ok(());
        }
        // Before anything else: a case that cannot be read is none to bind to.
        let open = open_binding(client, case, &monitor.serial_number).await?;
        end(&mut bound, client, &monitor.serial_number).await?;
        if bound.len() >= BOUND_MAX {
            return Err(SdkError::TooMany);
        }
        let (entry, started_ms) = match open {
            Some(open) => open,
            None => {
                let (entry, started_ms) = (client.new_entry_id(), client.now_ms());
                let fields = binding(&monitor, started_ms, None);
                client.edit(case, vec![add("monitor_binding", entry, fields)]).await?;
                (entry, started_ms)
            }
        };
        let recorder = Recorder::new(PERIOD_MS, BLOCK_LEN)?;
        let serial_number = monitor.serial_number.clone();
        bound.insert(serial_number, Bound { monitor, case, entry, started_ms, recorder, unsaved: VecDeque::new() });
        Ok(())
    }

    pub(crate) async fn unbind(&self, client: &Client, serial_number: &str) -> Result<(), SdkError> {
        end(&mut *self.0.lock().await, client, serial_number).await
    }

    pub(crate) async fn bound(&self) -> Vec<(Monitor, CaseId)> {
        self.0.lock().await.values().map(|bound| (bound.monitor.clone(), bound.case)).collect()
    }

    pub(crate) async fn case_of(&self, serial_number: &str) -> Option<CaseId> {
        self.0.lock().await.get(serial_number).map(|bound| bound.case)
    }

    pub(crate) async fn record(
        &self,
        client: &Client,
        serial_number: &str,
        measured_ms: i64,
        values: &[Numeric],
    ) -> Result<(), SdkError> {
        let mut bound = self.0.lock().await;
        let bound = bound.get_mut(serial_number).ok_or(SdkError::MonitorNotBound)?;
        if measured_ms < bound.started_ms {
            return Err(SdkError::MonitorNotBound);
        }
        if bound.unsaved.len() >= UNSAVED_MAX {
            // Says why.
            bound.save(client).await?;
        }
        let readings: Vec<Reading<'_>> = values.iter().map(reading).collect();
        bound.unsaved.extend(bound.recorder.push(measured_ms, &readings)?);
        bound.save(client).await
    }

    /// Saves what has been measured; what could not be saved is kept.
    pub(crate) async fn save_all(&self, client: &Client) -> Result<(), SdkError> {
        for bound in self.0.lock().await.values_mut() {
            bound.unsaved.extend(bound.recorder.finish());
            bound.save(client).await?;
        }
        Ok(())
    }
}

impl Bound {
    async fn save(&mut self, client: &Client) -> Result<(), SdkError> {
        while let Some(block) = self.unsaved.front() {
            let fields = vec![
                ("format".into(), Value::Text(FORMAT.into())),
                ("from".into(), Value::Timestamp(block.start_ms)),
                ("interval_ms".into(), Value::Integer(i64::from(block.period_ms))),
                ("samples".into(), Value::Bytes(encode(block)?)),
                ("source".into(), Value::Text(self.monitor.serial_number.clone())),
            ];
            client.edit(self.case, vec![add("vitals_block", client.new_entry_id(), fields)]).await?;
            self.unsaved.pop_front();
        }
        Ok(())
    }
}

/// Ends a binding, if there is one: what was measured under it is saved in its case.
async fn end(bound: &mut BTreeMap<String, Bound>, client: &Client, serial_number: &str) -> Result<(), SdkError> {
    let Some(ending) = bound.get_mut(serial_number) else { return Ok(()) };
    ending.unsaved.extend(ending.recorder.finish());
    ending.save(client).await?;
    let fields = binding(&ending.monitor, ending.started_ms, Some(client.now_ms()));
    let (part, id, replaces) = (Part::Clinical, client.new_entry_id(), ending.entry);
    let ended = Edit::Correct { part, id, replaces, kind: "monitor_binding".into(), fields };
    client.edit(ending.case, vec![ended]).await?;
    bound.remove(serial_number);
    Ok(())
}

/// The binding that the case holds and nobody has ended: of this app before it was restarted.
async fn open_binding(client: &Client, case: CaseId, serial_number: &str) -> Result<Option<(EntryId, i64)>, SdkError> {
    let view = client.read(case).await?;
    let entries =
        view.documents.iter().filter(|document| document.part == Part::Clinical).flat_map(|document| &document.entries);
    let is_open = |entry: &&Entry| {
        let of_this = entry.field("serial_number").and_then(Value::as_text) == Some(serial_number);
        entry.kind == "monitor_binding" && entry.is_current() && of_this && entry.field("ended_at").is_none()
    };
    let found = entries.filter(is_open).find_map(|entry| match entry.field("started_at") {
        Some(Value::Timestamp(started_ms)) => entry.id.map(|id| (id, *started_ms)),
        _ => None,
    });
    Ok(found)
}

fn binding(monitor: &Monitor, started_ms: i64, ended_ms: Option<i64>) -> Vec<(String, Value)> {
    let Monitor { serial_number, model } = monitor;
    let fields = [
        Some(("serial_number", Value::Text(serial_number.clone()))),
        model.clone().map(|model| ("model", Value::Text(model))),
        Some(("started_at", Value::Timestamp(started_ms))),
        ended_ms.map(|ended_ms| ("ended_at", Value::Timestamp(ended_ms))),
    ];
    fields.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn add(kind: &str, id: EntryId, fields: Vec<(String, Value)>) -> Edit {
    Edit::AddEntry { part: Part::Clinical, id, kind: kind.to_owned(), fields }
}

fn reading(Numeric { code, unit, scale, value }: &Numeric) -> Reading<'_> {
    Reading { code, unit, scale: *scale, value: *value }
}

/// A crew has one monitor, and exchanges it now and then.
const BOUND_MAX: usize = 8;
/// Monitors show numbers once a second.
const PERIOD_MS: u32 = 1_000;
/// Half a minute: a power cut costs no more, and two hours make 240 entries.
const BLOCK_LEN: usize = 30;
/// An hour's blocks that could not be saved; beyond it nothing more is taken, and the app is told.
const UNSAVED_MAX: usize = 120;
/// As every block names it.
const FORMAT: &str = "feldakte vitals 1";

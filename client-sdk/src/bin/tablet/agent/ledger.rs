//! What this tablet was told about its own changes, with times: the evidence a harness collects.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use feldakte_client_sdk::witness::{ChangeEvent, ChangeFact, Witness};
use feldakte_core::ids::{ChangeHash, DocumentId, Position};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// Records; what it holds is bounded by the changes this process has saved and the gateway has not confirmed.
#[derive(Default)]
pub struct Ledger {
    records: Mutex<Records>,
    wake: Notify,
}

#[derive(Default)]
struct Records {
    /// Saved by this process and not durable yet.
    waiting: HashMap<ChangeHash, Instant>,
    /// Saved since somebody asked.
    saved: Vec<String>,
    /// Durable since somebody asked.
    durable: Vec<Value>,
}

impl Ledger {
    /// Waits until something has become durable.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }

    /// Names of the changes saved since the last call.
    pub fn take_saved(&self) -> Vec<String> {
        std::mem::take(&mut self.records().saved)
    }

    /// What has become durable since the last call.
    pub fn take(&self) -> Option<Vec<Value>> {
        let durable = std::mem::take(&mut self.records().durable);
        (!durable.is_empty()).then_some(durable)
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for Ledger {
    fn on_change(&self, event: ChangeEvent) {
        let ChangeEvent { document, change, fact } = event;
        let mut records = self.records();
        match fact {
            ChangeFact::Saved => {
                records.waiting.insert(change, Instant::now());
                records.saved.push(change.to_string());
            }
            ChangeFact::Durable(position) => {
                let saved = records.waiting.remove(&change);
                records.durable.push(line(document, change, position, saved));
                self.wake.notify_one();
            }
            // An own change may come back through the log when the answer to its push was lost.
            ChangeFact::Received(position) => {
                if let Some(saved) = records.waiting.remove(&change) {
                    records.durable.push(line(document, change, position, Some(saved)));
                    self.wake.notify_one();
                }
            }
        }
    }
}

fn line(document: DocumentId, change: ChangeHash, position: Position, saved: Option<Instant>) -> Value {
    let latency_us = saved.map(|saved| u64::try_from(saved.elapsed().as_micros()).unwrap_or(u64::MAX));
    json!({
        "case": document.case.to_string(), "part": document.part.name(), "change": change.to_string(),
        "position": position.0, "latency_us": latency_us,
    })
}

#[cfg(test)]
mod tests {
    use feldakte_core::ids::Part;

    use super::*;

    fn event(change: u8, fact: ChangeFact) -> ChangeEvent {
        let case = "0192f000-0000-7000-8000-000000000001".parse().expect("a case id");
        ChangeEvent { document: DocumentId { case, part: Part::Clinical }, change: ChangeHash([change; 32]), fact }
    }

    #[test]
    fn own_changes_are_told_durable_once_and_those_of_others_never() {
        let ledger = Ledger::default();
        ledger.on_change(event(1, ChangeFact::Saved));
        ledger.on_change(event(2, ChangeFact::Received(Position(1))));
        assert_eq!(ledger.take_saved(), ["01".repeat(32)]);
        assert_eq!(ledger.take(), None);
        ledger.on_change(event(1, ChangeFact::Received(Position(2))));
        ledger.on_change(event(3, ChangeFact::Durable(Position(3))));
        let durable = ledger.take().expect("two");
        assert_eq!(durable.iter().map(|line| line["position"].clone()).collect::<Vec<_>>(), [2, 3]);
        assert!(durable[0]["latency_us"].is_u64() && durable[1]["latency_us"].is_null());
        ledger.on_change(event(1, ChangeFact::Received(Position(2))));
        assert_eq!(ledger.take(), None);
    }
}

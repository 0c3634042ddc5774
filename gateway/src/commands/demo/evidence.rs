//! What the tablets were told, recorded as they were told it. The store is held against it at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;
use feldakte_core::{
    hex::unhex,
    ids::{CaseId, ChangeHash},
};
use hdrhistogram::Histogram;
use serde_json::Value;

/// A change of a case. Genesis changes have the same hash in every case.
pub type Told = (CaseId, ChangeHash);

/// The record, shared by both tablets' readers.
pub struct Evidence {
    record: Mutex<Record>,
}

struct Record {
    /// Edits that were told saved.
    edits: u64,
    /// Changes told saved, with the disturbance that was current.
    saved: BTreeMap<Told, u64>,
    durable: BTreeSet<Told>,
    /// Counts cuts and kills and their ends; odd while one lasts.
    disturbance: u64,
    pace: Pace,
    saving_us: Histogram<u64>,
    documenting_us: Histogram<u64>,
    burst_us: Histogram<u64>,
}

/// How edits come at the moment: a queue of saves as fast as the disk takes them says nothing about a crew's wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// One after the other.
    Documenting,
    /// As fast as they can be saved.
    Burst,
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// The median.
    pub p50_us: u64,
    /// One in a hundred took longer.
    pub p99_us: u64,
}

/// What can be said at the end.
#[derive(Debug)]
pub struct Summary {
    /// Edits that were told saved.
    pub edits: u64,
    /// Changes that were told saved.
    pub saved: BTreeSet<Told>,
    /// Changes that were told durable.
    pub durable: BTreeSet<Told>,
    /// From the command to "saved on device".
    pub saving: Latency,
    /// From "saved on device" to "durable", for changes that saw neither cut nor kill.
    pub documenting: Latency,
    /// The same in a burst.
    pub burst: Latency,
}

impl Evidence {
    /// An empty record.
    pub fn new() -> anyhow::Result<Evidence> {
        let histogram = || Histogram::new_with_bounds(1, HOUR_US, 3).context("fixed bounds");
        let record = Record {
            edits: 0,
            saved: BTreeMap::new(),
            durable: BTreeSet::new(),
            disturbance: 0,
            pace: Pace::Documenting,
            saving_us: histogram()?,
            documenting_us: histogram()?,
            burst_us: histogram()?,
        };
        Ok(Evidence { record: Mutex::new(record) })
    }

    /// A cut or kill begins or ends.
    pub fn disturb(&self) {
        self.record().disturbance += 1;
    }

    /// From here on edits come like this.
    pub fn pace(&self, pace: Pace) {
        self.record().pace = pace;
    }

    /// `{"case", "changes": [HASH], "micros"}`
    pub fn saved(&self, told: &Value) -> anyhow::Result<()> {
        let case: CaseId = text(&told["case"])?.parse()?;
        let changes = told["changes"].as_array().context("`changes` is not a list")?;
        let mut record = self.record();
        let disturbance = record.disturbance;
        for change in changes {
            record.saved.insert((case, hash(change)?), disturbance);
        }
        record.edits += 1;
        record.saving_us.saturating_record(told["micros"].as_u64().context("`micros` is not a number")?);
        Ok(())
    }

    /// `[{"case", "change", "latency_us"}]`
    pub fn durable(&self, told: &Value) -> anyhow::Result<()> {
        let mut record = self.record();
        for line in told.as_array().context("`durable` is not a list")? {
            let change = (text(&line["case"])?.parse()?, hash(&line["change"])?);
            record.durable.insert(change);
            let undisturbed = record.saved.get(&change) == Some(&record.disturbance);
            if let Some(latency_us) = line["latency_us"].as_u64().filter(|_| undisturbed && record.is_calm()) {
                record.latencies().saturating_record(latency_us);
            }
        }
        Ok(())
    }

    /// Edits told saved so far.
    pub fn edits(&self) -> u64 {
        self.record().edits
    }

    /// What can be said now.
    pub fn summary(&self) -> Summary {
        let record = self.record();
        Summary {
            edits: record.edits,
            saved: record.saved.keys().copied().collect(),
            durable: record.durable.clone(),
            saving: latency(&record.saving_us),
            documenting: latency(&record.documenting_us),
            burst: latency(&record.burst_us),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn is_calm(&self) -> bool {
        self.disturbance.is_multiple_of(2)
    }

    fn latencies(&mut self) -> &mut Histogram<u64> {
        match self.pace {
            Pace::Documenting => &mut self.documenting_us,
            Pace::Burst => &mut self.burst_us,
        }
    }
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    Latency {
        count: histogram.len(),
        p50_us: histogram.value_at_quantile(0.5),
        p99_us: histogram.value_at_quantile(0.99),
    }
}

fn text(value: &Value) -> anyhow::Result<&str> {
    value.as_str().context("a text was expected")
}

fn hash(value: &Value) -> anyhow::Result<ChangeHash> {
    let bytes = unhex(text(value)?).context("a change's name is hexadecimal")?;
    ChangeHash::from_slice(&bytes).context("a change is named by 64 hexadecimal digits")
}

const HOUR_US: u64 = 3_600_000_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CASE: &str = "0192f000-0000-7000-8000-000000000001";

    fn save(evidence: &Evidence, change: u8) {
        let told = json!({"case": CASE, "changes": [format!("{change:02x}").repeat(32)], "micros": 900});
        evidence.saved(&told).expect("well-formed");
    }

    fn confirm(evidence: &Evidence, change: u8) {
        let change = format!("{change:02x}").repeat(32);
        evidence.durable(&json!([{"case": CASE, "change": change, "latency_us": 2000}])).expect("well-formed");
    }

    #[test]
    fn only_changes_without_a_cut_or_kill_count_for_latency() {
        let evidence = Evidence::new().expect("empty");
        save(&evidence, 1);
        confirm(&evidence, 1);
        save(&evidence, 2);
        evidence.disturb();
        save(&evidence, 3);
        confirm(&evidence, 2);
        confirm(&evidence, 3);
        evidence.disturb();
        save(&evidence, 4);
        evidence.pace(Pace::Burst);
        save(&evidence, 5);
        confirm(&evidence, 5);
        let summary = evidence.summary();
        assert_eq!((summary.edits, summary.saved.len(), summary.durable.len()), (5, 5, 4));
        assert_eq!((summary.saving.count, summary.documenting.count, summary.burst.count), (5, 1, 1));
    }

    #[test]
    fn a_report_that_is_not_understood_is_an_error() {
        let evidence = Evidence::new().expect("empty");
        assert!(evidence.saved(&json!({"case": CASE, "changes": ["xy"], "micros": 1})).is_err());
        assert!(evidence.durable(&json!([{"case": CASE, "change": "ä".repeat(32)}])).is_err());
        assert!(evidence.durable(&json!({})).is_err());
    }
}

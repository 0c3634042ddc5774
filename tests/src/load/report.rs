//! What a scenario came to: figures for machines, rows for people, and everything that went wrong.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use crate::load::{fsync::FsyncProbe, latency::Latencies};

/// The keys every reader of `--json` knows; what does not apply is left out.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Figures {
    pub scenario: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_cpu_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_cpu_s_per_10k: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kib_per_connection: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fsync_p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fsync_p99_ms: Option<f64>,
    #[serde(flatten)]
    pub more: BTreeMap<&'static str, f64>,
}

/// A finished scenario.
#[derive(Debug)]
pub struct Report {
    /// For `--json`.
    pub figures: Figures,
    title: String,
    rows: Vec<Row>,
    troubles: Vec<String>,
}

#[derive(Debug)]
struct Row {
    what: &'static str,
    value: String,
    bar: Option<Bar>,
}

/// A target and whether it was met. A bar that is missed is shown; it is not an error of the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// The target in words.
    pub target: String,
    /// Whether it was met.
    pub is_met: bool,
}

impl Bar {
    /// `value` should be at most `max`.
    pub fn at_most(value: f64, max: f64, unit: &str) -> Self {
        Self { target: format!("≤ {max} {unit}"), is_met: value <= max }
    }
}

/// Errors of connections and comparisons inside a scenario, from any task: counted, shown, never hidden.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<(usize, Vec<String>)>);

impl Troubles {
    /// Notes one.
    pub fn note(&self, error: &anyhow::Error) {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.0 += 1;
        if troubles.1.len() < TROUBLES_QUOTED {
            troubles.1.push(format!("{error:#}"));
        }
    }
}

impl Report {
    /// Nothing measured yet.
    pub fn new(scenario: &'static str, title: String) -> Self {
        let figures = Figures { scenario, ..Figures::default() };
        Self { figures, title, rows: Vec::new(), troubles: Vec::new() }
    }

    /// A scenario that did not come to an end.
    pub fn failed(scenario: &'static str, error: &anyhow::Error) -> Self {
        let mut report = Self::new(scenario, "did not complete".to_owned());
        report.trouble(format!("{error:#}"));
        report
    }

    /// Adds a row.
    pub fn row(&mut self, what: &'static str, value: String) {
        self.rows.push(Row { what, value, bar: None });
    }

    /// Adds a row with its target.
    pub fn row_with_bar(&mut self, what: &'static str, value: String, bar: Bar) {
        self.rows.push(Row { what, value, bar: Some(bar) });
    }

    /// Adds a figure that is not one of the common keys.
    pub fn more(&mut self, key: &'static str, value: f64) {
        self.figures.more.insert(key, rounded(value));
    }

    /// Adds the median and 99th percentile of the scenario's latency.
    pub fn latencies(&mut self, what: &'static str, latencies: &Latencies, bar: Option<Bar>) {
        let [p50, p99] = [0.5, 0.99].map(|share| latencies.quantile_ms(share));
        (self.figures.p50_ms, self.figures.p99_ms) = (Some(rounded(p50)), Some(rounded(p99)));
        let value = format!("p50 {p50:.2} ms   p99 {p99:.2} ms   ({} measured)", latencies.count());
        self.rows.push(Row { what, value, bar });
    }

    /// Adds what the disk itself cost meanwhile; returns its 99th percentile in milliseconds.
    ///
    /// # Errors
    /// When the disk refused.
    pub fn fsync(&mut self, probe: FsyncProbe) -> anyhow::Result<f64> {
        let latencies = probe.finish()?;
        let [p50, p99] = [0.5, 0.99].map(|share| latencies.quantile_ms(share));
        (self.figures.fsync_p50_ms, self.figures.fsync_p99_ms) = (Some(rounded(p50)), Some(rounded(p99)));
        self.row(
            "machine's own fsync",
            format!("p50 {p50:.2} ms   p99 {p99:.2} ms   ({} measured)", latencies.count()),
        );
        Ok(p99)
    }

    /// Adds what was lost; anything but 0 fails the run.
    pub fn lost(&mut self, lost: u64) {
        self.figures.lost = Some(lost);
        self.row_with_bar("lost", lost.to_string(), Bar { target: "0".to_owned(), is_met: lost == 0 });
        if lost > 0 {
            self.trouble(format!("{lost} changes are lost"));
        }
    }

    /// Notes something that fails the run.
    pub fn trouble(&mut self, trouble: String) {
        self.troubles.push(trouble);
    }

    /// Takes over what tasks have noted.
    pub fn troubles(&mut self, troubles: &Troubles) {
        let (count, quoted) = &*troubles.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.more("errors", *count as f64);
        self.troubles.extend(quoted.iter().cloned());
        if *count > quoted.len() {
            self.troubles.push(format!("… and {} more errors", count - quoted.len()));
        }
    }

    /// Whether everything came through.
    pub fn is_good(&self) -> bool {
        self.troubles.is_empty()
    }

    /// One line for machines.
    pub fn to_json(&self) -> String {
        let mut figures = self.figures.clone();
        figures.more.insert("complete", f64::from(u8::from(self.is_good())));
        serde_json::to_string(&figures).expect("numbers and text always encode")
    }

    /// A table for people.
    pub fn to_table(&self) -> String {
        let mut table = format!("\n{}  {}\n", self.figures.scenario, self.title);
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
        let value_width = self.rows.iter().map(|row| row.value.chars().count()).max().unwrap_or(0);
        for Row { what, value, bar } in &self.rows {
            let line = match bar {
                None => format!("  {what:<width$}  {value}"),
                Some(Bar { target, is_met }) => {
                    let verdict = if *is_met { "met" } else { "MISSED" };
                    format!("  {what:<width$}  {value:<value_width$}  bar {target}: {verdict}")
                }
            };
            writeln!(table, "{line}").expect("writing to a string cannot fail");
        }
        for trouble in &self.troubles {
            writeln!(table, "  ERROR: {trouble}").expect("writing to a string cannot fail");
        }
        table
    }
}

/// Three decimals: more would pretend.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

const TROUBLES_QUOTED: usize = 5;

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn keys_that_do_not_apply_are_left_out() {
        let mut report = Report::new("m5", "reconnects".to_owned());
        report.figures.bytes_in = Some(70);
        report.more("reconnects", 50.0);
        assert_eq!(report.to_json(), r#"{"scenario":"m5","bytes_in":70,"complete":1.0,"reconnects":50.0}"#);
    }

    #[test]
    fn a_loss_and_an_error_fail_the_run_and_a_missed_bar_does_not() {
        let mut report = Report::new("m3", String::new());
        report.row_with_bar("memory", "99 KiB".to_owned(), Bar::at_most(99.0, 60.0, "KiB"));
        assert!(report.is_good() && report.to_table().contains("bar ≤ 60 KiB: MISSED"));
        report.lost(0);
        assert!(report.is_good());
        report.lost(1);
        assert!(!report.is_good());
    }

    #[test]
    fn many_errors_are_counted_and_few_are_quoted() {
        let troubles = Troubles::default();
        (0..9).for_each(|n| troubles.note(&anyhow!("closed {n}")));
        let mut report = Report::new("m2", String::new());
        report.troubles(&troubles);
        assert_eq!(report.figures.more["errors"], 9.0);
        assert!(report.to_table().ends_with("ERROR: closed 4\n  ERROR: … and 4 more errors\n"));
    }
}

//! The table.

use std::{fmt, time::Duration};

use super::{
    cell::{Bars, Cell},
    contender::Contender,
    run::Seen,
};

/// All that was measured.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

/// One transport on one link.
#[derive(Debug)]
pub struct Row {
    /// The link.
    pub cell: Cell,
    /// The transport.
    pub contender: Contender,
    /// Its runs.
    pub figures: Vec<Seen>,
}

impl Report {
    /// Adds a row.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Whether ours met every bar, over QUIC and over the fallback.
    pub fn is_met(&self) -> bool {
        self.rows.iter().all(|row| row.is_met().unwrap_or(true))
    }
}

impl Row {
    fn echo(&self, share: f64) -> Duration {
        median(self.figures.iter().map(|seen| seen.quantile(share)).collect())
    }

    /// Of figures between zero and one.
    fn share(&self, figure: fn(&Seen) -> f64) -> f64 {
        median(self.figures.iter().map(|seen| (figure(seen) * 1e6) as u64).collect()) as f64 / 1e6
    }

    /// `None` when there are no bars for it.
    fn is_met(&self) -> Option<bool> {
        let factor = self.contender.bars_factor()?;
        let Bars { p50, p95, p99, used } = self.cell.bars;
        let within = |bar: Option<Duration>, share| bar.is_none_or(|bar| self.echo(share) <= bar * factor);
        let uses = |used| self.share(|seen| seen.used) >= used / f64::from(factor);
        Some(within(p50, 0.5) && within(p95, 0.95) && within(p99, 0.99) && used.is_none_or(uses))
    }
}

/// Of an even number, the smaller of the two in the middle.
fn median<T: Ord + Copy + Default>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| link | transport | p50 ms | p95 ms | p99 ms | link used | by the neighbour | bars |")?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        self.rows.iter().try_for_each(|row| write!(f, "{row}"))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |share| self.echo(share).as_millis();
        let percent = |figure| (self.share(figure) * 100.0).round();
        let neighbour =
            if self.cell.has_neighbour { format!("{} %", percent(|seen| seen.neighbour)) } else { "–".to_owned() };
        let bars = match self.is_met() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        let (name, transport) = (&self.cell.name, self.contender.name());
        let used = percent(|seen| seen.used);
        let (p50, p95, p99) = (ms(0.5), ms(0.95), ms(0.99));
        writeln!(f, "| {name} | {transport} | {p50} | {p95} | {p99} | {used} % | {neighbour} | {bars} |")
    }
}

//! The command line.

use clap::Parser;

use super::{cell::Cell, contender::Contender};

/// Measures a 200-byte echo, ten times a second, beside a bulk upload over an emulated link.
///
/// Exit code 0: QUIC with our congestion control met the bars of every link that has some, and two TCP connections came
/// within twice of them. Measure release builds on a quiet machine. It takes the right to make network namespaces.
#[derive(Debug, Parser)]
#[command(name = "lanes", version)]
pub struct CommandLine {
    /// Only links whose name contains this.
    #[arg(long, value_name = "PART")]
    pub link: Option<String>,
    /// Only this transport; several times for several.
    #[arg(long, value_enum)]
    pub transport: Vec<Contender>,
    /// Length of a run.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Runs of each; the table shows their median.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// Seed of loss and jitter; the next run takes the next.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl CommandLine {
    /// The links to measure.
    pub fn cells(&self) -> Vec<Cell> {
        let wanted = |cell: &Cell| self.link.as_ref().is_none_or(|part| cell.name.contains(part));
        Cell::all().into_iter().filter(wanted).collect()
    }

    /// The transports to measure.
    pub fn contenders(&self) -> Vec<Contender> {
        if self.transport.is_empty() { Contender::ALL.to_vec() } else { self.transport.clone() }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn links_are_chosen_by_a_part_of_their_name() {
        let line = CommandLine::try_parse_from(["lanes", "--link", "0.3 Mbit/s"]).unwrap();
        assert_eq!(line.cells().len(), 1);
        assert_eq!(line.contenders(), Contender::ALL);
    }
}

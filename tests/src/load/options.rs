//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Puts a gateway under load: many devices over real QUIC with mutual TLS, in one process and without local stores,
/// against a gateway process that this program starts itself.
///
/// Every figure of the gateway is taken from the kernel: CPU seconds are user + system of its process, memory is
/// its resident set. Latency is from the moment a device begins to send a change until another device has it, and
/// nobody has it before the gateway has made it durable. Bytes are seen from the device: `bytes_in` towards it.
///
/// Exit code 0: every scenario completed, nothing was lost and no connection failed. A bar that is missed is shown
/// in the table and does not change the exit code.
#[derive(Debug, Parser)]
#[command(name = "load", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct CommandLine {
    /// Hidden commands this program starts itself with.
    #[command(subcommand)]
    pub hidden: Option<Hidden>,
    /// What to run.
    #[command(flatten)]
    pub options: Options,
}

/// What to run and how.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Scenarios, in this order; `all` is every one of them.
    #[arg(required = true, value_enum)]
    pub scenarios: Vec<Scenario>,
    /// The gateway's program; by default `feldakte` beside this program. Measure release builds.
    #[arg(long, value_name = "PATH")]
    pub gateway: Option<PathBuf>,
    /// Directory of the case files `small_1.jsonl` … and `large_1.jsonl.gz`.
    #[arg(long, value_name = "DIR", env = "FELDAKTE_WORKLOAD")]
    pub workload: Option<PathBuf>,
    /// Prints one JSON line per scenario on stdout; the table goes to stderr.
    #[arg(long)]
    pub json: bool,
    /// Length of the timed part, where there is one (m1-many 30, m2 10, storm 10).
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: Option<u64>,
    /// Number of devices that matter: pairs in m1-many (200), writers in m2 (64), connections in m3 (1,000) and storm (5,000).
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub devices: Option<u32>,
    /// Number of small cases in m4, m5 and restart.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub cases: u32,
    /// Number of edits in m1-one, ten a second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    pub edits: u32,
    /// How often m6 kills the gateway; each time with a fresh store.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// Seed of ids, phases and jitter: the same seed writes the same changes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where stores are made, each in a directory of its own; a disk, not a file system in memory.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Keeps stores and logs, and says where they are.
    #[arg(long)]
    pub keep_dir: bool,
}

/// Commands this program starts itself with.
#[derive(Debug, Clone, Subcommand)]
pub enum Hidden {
    /// A QUIC server that accepts connections and does nothing.
    #[command(hide = true)]
    BareServer {
        /// Directory of a development PKI.
        #[arg(long)]
        pki: PathBuf,
    },
}

/// What can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// One case: a device edits ten times a second, another watches.
    M1One,
    /// 200 cases with two devices each, one edit a second per case.
    M1Many,
    /// 64 writers keep 16 edits outstanding: the rate, and what a change costs.
    M2,
    /// 1,000 idle connections over each transport, each following a case it holds, and to a bare QUIC server: memory.
    M3,
    /// An empty device fetches 1,000 small cases from a freshly started gateway, then one large case.
    M4,
    /// A device that holds 1,000 cases reconnects and nothing has changed.
    M5,
    /// SIGKILL when the reader has seen the 200th change: how many are gone.
    M6,
    /// SIGKILL with 100,000 changes stored: time until a case is delivered again.
    Restart,
    /// Five thousand devices come back within ten seconds, one in ten of them on a mission.
    Storm,
    /// All of the above.
    All,
}

impl Scenario {
    /// Every scenario but `All`.
    pub const EACH: [Scenario; 9] = [
        Scenario::M1One,
        Scenario::M1Many,
        Scenario::M2,
        Scenario::M3,
        Scenario::M4,
        Scenario::M5,
        Scenario::M6,
        Scenario::Restart,
        Scenario::Storm,
    ];

    /// Its name in the output.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::M1One => "m1-one",
            Scenario::M1Many => "m1-many",
            Scenario::M2 => "m2",
            Scenario::M3 => "m3",
            Scenario::M4 => "m4",
            Scenario::M5 => "m5",
            Scenario::M6 => "m6",
            Scenario::Restart => "restart",
            Scenario::Storm => "storm",
            Scenario::All => "all",
        }
    }
}

impl Options {
    /// The scenarios to run, `all` spelled out.
    pub fn each(&self) -> Vec<Scenario> {
        let spell = |scenario: &Scenario| match scenario {
            Scenario::All => Scenario::EACH.to_vec(),
            one => vec![*one],
        };
        self.scenarios.iter().flat_map(spell).collect()
    }
}

const EXAMPLES: &str = "\
Examples:
  load m2 --workload workload                        rate and CPU per change, gateway beside this program
  load m1-many m5 --workload workload --json         two scenarios for a script
  load m3 --workload workload                        memory per connection, and that of a bare QUIC server
  load m6 --rounds 20 --workload workload            twenty kills
  load all --gateway target/release/feldakte --workload workload

Each scenario has a gateway, a store and a PKI of its own; all of it is gone afterwards. Traffic stays on 127.0.0.1.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn scenarios_are_named_on_the_command_line_as_in_the_output() {
        for scenario in Scenario::EACH.into_iter().chain([Scenario::All]) {
            let value = scenario.to_possible_value().unwrap();
            assert_eq!(value.get_name(), scenario.name());
        }
    }

    #[test]
    fn all_is_every_scenario() {
        let line = CommandLine::try_parse_from(["load", "m2", "all", "--workload", "w"]).unwrap();
        assert_eq!(line.options.each().len(), 10);
        let line = CommandLine::try_parse_from(["load", "bare-server", "--pki", "p"]).unwrap();
        assert!(matches!(line.hidden, Some(Hidden::BareServer { .. })));
    }
}

//! Plays seeds of the simulation: `cargo sim --seed 81423` repeats what a test found.

use std::{
    ops::Range,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use clap::{Parser, ValueEnum};
use feldakte_tests::sim::{
    driver::{self, Outcome, Run},
    trace::Keep,
    world::Sabotage,
};
use indicatif::{ProgressBar, ProgressStyle};

/// Plays seeds of the simulation and says which invariants broke.
#[derive(Debug, Parser)]
struct Arguments {
    /// One seed, with the end of its trace if an invariant breaks.
    #[arg(long, conflicts_with = "seeds", required_unless_present = "seeds")]
    seed: Option<u64>,
    /// A range of seeds, `first..end`.
    #[arg(long, value_parser = parse_range)]
    seeds: Option<Range<u64>>,
    /// Print the whole trace of the seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Play the seed twice and compare the traces.
    #[arg(long, requires = "seed")]
    twice: bool,
    /// Something deliberately wrong, which an invariant must notice.
    #[arg(long, value_enum, default_value_t = Wrong::Nothing)]
    wrong: Wrong,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wrong {
    Nothing,
    LyingGatewayStore,
    LyingTabletStore,
    IgnoredPermits,
}

impl From<Wrong> for Sabotage {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Nothing => Sabotage::None,
            Wrong::LyingGatewayStore => Sabotage::LyingGatewayStore,
            Wrong::LyingTabletStore => Sabotage::LyingTabletStore,
            Wrong::IgnoredPermits => Sabotage::IgnoredPermits,
        }
    }
}

fn main() -> ExitCode {
    if std::env::var_os("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_writer(std::io::stderr).init();
    }
    let arguments = Arguments::parse();
    let is_whole = match (arguments.seed, &arguments.seeds) {
        (Some(seed), _) => play_one(seed, &arguments),
        (None, Some(seeds)) => play_many(seeds.clone(), &arguments),
        (None, None) => true,
    };
    if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn play_one(seed: u64, arguments: &Arguments) -> bool {
    let keep = if arguments.trace || arguments.twice { Keep::All } else { Keep::Tail };
    let run = Run { seed, sabotage: arguments.wrong.into(), keep };
    let began = Instant::now();
    let outcome = driver::run(run);
    let took = began.elapsed();
    if arguments.trace || outcome.violation.is_some() {
        outcome.trace.iter().for_each(|line| println!("{line}"));
    }
    println!("{} in {took:.1?}", describe(&outcome));
    if arguments.twice {
        let again = driver::run(run);
        let differ = outcome.trace.iter().zip(&again.trace).position(|(first, second)| first != second);
        if let Some(line) = differ {
            println!("line {line} differs:\n- {}\n+ {}", outcome.trace[line], again.trace[line]);
        }
        let is_same = outcome.fingerprint == again.fingerprint;
        println!("played twice: {}", if is_same { "the same trace" } else { "another trace" });
        return is_same && outcome.violation.is_none();
    }
    outcome.violation.is_none()
}

fn play_many(seeds: Range<u64>, arguments: &Arguments) -> bool {
    let next = AtomicU64::new(seeds.start);
    let failures = Mutex::new(Vec::new());
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} seeds, {msg}, {eta} left");
    let progress = ProgressBar::new(seeds.end.saturating_sub(seeds.start));
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    progress.set_message("all hold");
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = driver::run(Run { seed, sabotage: arguments.wrong.into(), keep: Keep::Tail });
                    if outcome.violation.is_some() {
                        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                        progress.suspend(|| println!("{}", describe(&outcome)));
                        failures.push(seed);
                        progress.set_message(format!("{} do not hold", failures.len()));
                    }
                    progress.inc(1);
                }
            });
        }
    });
    progress.finish();
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{} seeds, {} do not hold: {failures:?}", seeds.end.saturating_sub(seeds.start), failures.len());
    failures.is_empty()
}

fn describe(outcome: &Outcome) -> String {
    let Outcome { seed, violation, fingerprint, trace: _, lasted, settled_in, changes } = outcome;
    let verdict = match violation {
        None => format!("holds; safe {settled_in:.1?} after the healing"),
        Some(violation) => format!("{:?} broken at {:.3?}: {}", violation.invariant, violation.at, violation.what),
    };
    let hash: String = fingerprint.hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("seed {seed}: {verdict}; {lasted:.1?} simulated, {changes} changes, {} lines {hash}", fingerprint.lines)
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (first, end) = text.split_once("..").ok_or("must be like 1..200")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(first)?..number(end)?)
}

//! Plays seeds of the simulation: `cargo sim --seed 81423` repeats what a test found.

use std::{
    ops::Range,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use clap::{Parser, ValueEnum};
use feldakte_tests::sim::{
    campaign,
    driver::{self, Run},
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
    threads: usize,
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
    println!("{outcome} in {took:.1?}");
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
    let seeds: Vec<u64> = seeds.collect();
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} seeds, {msg}, {eta} left");
    let progress = ProgressBar::new(seeds.len() as u64);
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    progress.set_message("all hold");
    let broken = AtomicU64::new(0);
    let failures = campaign::play(&seeds, arguments.wrong.into(), arguments.threads, |outcome| {
        if outcome.violation.is_some() {
            progress.suspend(|| println!("{outcome}"));
            let broken = broken.fetch_add(1, Ordering::Relaxed) + 1;
            progress.set_message(format!("{broken} do not hold"));
        }
        progress.inc(1);
    });
    progress.finish();
    let failures: Vec<u64> = failures.iter().map(|outcome| outcome.seed).collect();
    println!("{} seeds, {} do not hold: {failures:?}", seeds.len(), failures.len());
    failures.is_empty()
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (first, end) = text.split_once("..").ok_or("must be like 1..200")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(first)?..number(end)?)
}

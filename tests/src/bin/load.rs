//! `load`: puts a gateway under load and says what it costs. `load --help` has the scenarios.
//!
//! It takes the system's allocator, as the gateway does: its bare server of m3 is the gateway's floor.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use feldakte_tests::load::{self, options::CommandLine};

fn main() -> ExitCode {
    let line = CommandLine::parse();
    match run(line) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(line: CommandLine) -> Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the async runtime cannot start")?;
    let code = runtime.block_on(async {
        tokio::select! {
            code = load::run(line) => code,
            // Gateways are killed and directories removed where the scenario is dropped.
            signal = interrupted() => signal.map(|()| ExitCode::from(INTERRUPTED)),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn interrupted() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be received")?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupt = tokio::signal::ctrl_c() => interrupt.context("signals cannot be received")?,
    }
    Ok(())
}

/// 128 + SIGINT, as shells say it.
const INTERRUPTED: u8 = 130;

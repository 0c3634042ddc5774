//! `lanes`: what a bulk upload does to small messages beside it, over emulated links. `lanes --help` has the options.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use feldakte_tests::lanes::{self, CommandLine};

fn main() -> ExitCode {
    match run(CommandLine::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lanes: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(line: CommandLine) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no async runtime")?;
    runtime.block_on(lanes::measure(line))
}

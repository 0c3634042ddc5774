//! The load generator: many devices over real QUIC and mutual TLS in one process, against a gateway process.
//!
//! Order of a scenario: write all changes, start and fill a gateway, measure, check that nothing is lost. In the
//! timed part devices send bytes that exist and compare bytes that come; no document is opened there.

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};

use crate::load::{
    options::{CommandLine, Hidden, Options},
    workload::Workload,
};

mod bare;
mod bench;
mod fleet;
mod fsync;
mod gateway;
mod holdings;
mod latency;
pub mod options;
mod pair;
mod populate;
pub(crate) mod process;
pub mod replay;
mod report;
mod scenario;
mod session;
mod track;
pub mod workload;

/// Does what the command line says; success only when every scenario completed and nothing was lost.
///
/// # Errors
/// When nothing can be run at all.
pub async fn run(line: CommandLine) -> Result<ExitCode> {
    process::raise_open_files();
    match line.hidden {
        Some(Hidden::BareServer { pki }) => bare::serve(&pki).await.map(|()| ExitCode::SUCCESS),
        None => run_scenarios(&line.options).await,
    }
}

async fn run_scenarios(options: &Options) -> Result<ExitCode> {
    let dir = options.workload.as_deref().context("name the directory of the case files with --workload")?;
    let workload = Arc::new(read_workload(dir)?);
    let mut all_good = true;
    for scenario in options.each() {
        let report = scenario::run(scenario, options, workload.clone()).await;
        all_good &= report.is_good();
        if options.json {
            println!("{}", report.to_json());
            eprint!("{}", report.to_table());
        } else {
            print!("{}", report.to_table());
        }
    }
    Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_workload(dir: &Path) -> Result<Workload> {
    Workload::read(dir).with_context(|| format!("the workload in {} cannot be used", dir.display()))
}

//! The load generator: many devices over real QUIC and mutual TLS in one process, against a gateway process.
//!
//! Order of a scenario: write all changes, start and fill a gateway, measure, check that nothing is lost. In the
//! timed part devices send bytes that exist and compare bytes that come; no document is opened there.

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use bytes::Bytes;
use feldakte_core::ids::{ActorId, DocumentId};

use crate::load::{
    options::{CommandLine, Hidden, Options},
    replay::{CaseLog, CaseSpec},
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
mod replay;
mod report;
mod scenario;
mod session;
mod track;
mod workload;

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

/// Changes of a small case and of the large one, as a device would write them into that document.
///
/// # Errors
/// When the workload cannot be used.
pub fn cases_in(dir: &Path, document: DocumentId) -> Result<[Vec<Bytes>; 2]> {
    let workload = read_workload(dir)?;
    let write = |script| {
        let spec = CaseSpec { document, actor: ActorId([7; 16]), script, steps: usize::MAX };
        CaseLog::write(&spec).map(|log| log.changes)
    };
    Ok([write(workload.varied_case(0, 7))?, write(workload.large.clone())?])
}

fn read_workload(dir: &Path) -> Result<Workload> {
    Workload::read(dir).with_context(|| format!("the workload in {} cannot be used", dir.display()))
}

//! What a bulk upload does to small messages beside it: one echo ten times a second, over an emulated link.
//!
//! Real time and real sockets, one measurement after the other. What is measured is the transport alone: no gateway, no
//! store, no session. A device uploads as fast as it may, and the echo goes there and back in a lane of its own.

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, bail};

use crate::netns;

mod cell;
mod contender;
mod echo;
mod options;
mod quic;
mod report;
mod run;
mod tcp;

pub use options::CommandLine;

use report::{Report, Row};

/// Measures every contender on every link; the table goes to standard output.
///
/// # Errors
/// When there are no emulated links here, or a connection breaks.
pub async fn measure(line: CommandLine) -> Result<ExitCode> {
    if let Some(why) = netns::unavailable() {
        bail!("{why}");
    }
    let mut report = Report::default();
    for cell in line.cells() {
        for contender in line.contenders() {
            let mut figures = Vec::new();
            for round in 0..line.runs {
                let seed = line.seed + u64::from(round);
                let seen = run::run(&cell, contender, Duration::from_secs(line.seconds), seed).await?;
                eprintln!("{} | {} | {seen}", cell.name, contender.name());
                figures.push(seen);
            }
            report.add(Row { cell: cell.clone(), contender, figures });
        }
    }
    print!("{report}");
    Ok(if report.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

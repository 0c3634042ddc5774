//! The scenarios, one file each.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::time::timeout;

use crate::load::{
    bench::Bench,
    options::{Options, Scenario},
    report::Report,
    workload::Workload,
};

mod cold;
mod idle;
mod kill;
mod latency;
mod restart;
mod storm;
mod throughput;
mod warm;

/// Runs one scenario. One that does not come to an end gives a failed report, so that the others still run.
pub async fn run(scenario: Scenario, options: &Options, workload: Arc<Workload>) -> Report {
    let name = scenario.name();
    let result = async {
        let mut bench = Bench::new(options, workload, name)?;
        timeout(SCENARIO_WITHIN, dispatch(scenario, &mut bench)).await.context("the scenario takes too long")?
    };
    result.await.unwrap_or_else(|error| Report::failed(name, &error))
}

async fn dispatch(scenario: Scenario, bench: &mut Bench) -> Result<Report> {
    match scenario {
        Scenario::M1One => latency::one(bench).await,
        Scenario::M1Many => latency::many(bench).await,
        Scenario::M2 => throughput::run(bench).await,
        Scenario::M3 => idle::run(bench).await,
        Scenario::M4 => cold::run(bench).await,
        Scenario::M5 => warm::run(bench).await,
        Scenario::M6 => kill::run(bench).await,
        Scenario::Restart => restart::run(bench).await,
        Scenario::Storm => storm::run(bench).await,
        Scenario::All => unreachable!("Options::each spells `all` out"),
    }
}

/// Everything stops by itself: no scenario takes a quarter of this on two cores.
const SCENARIO_WITHIN: Duration = Duration::from_secs(30 * 60);

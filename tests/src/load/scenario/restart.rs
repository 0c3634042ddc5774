//! How long nobody can work after a crash of a gateway with much in its store.

use anyhow::Result;
use tokio::time::Instant;

use crate::load::{
    bench::Bench,
    holdings::{Holdings, Until},
    options::Scenario,
    populate::{Cut, populate},
    report::{Bar, Report},
    session::Session,
};

/// SIGKILL right after the last of about 100,000 changes was told durable; then from spawn to the first case that
/// an empty device has.
///
/// # Errors
/// When it does not come to an end.
pub async fn run(bench: &mut Bench) -> Result<Report> {
    let cases = bench.options.cases as usize;
    let unit = bench.unit();
    let (writer, empty) = (bench.fleet.device(&unit)?, bench.fleet.device(&unit)?);
    let workload = bench.workload.clone();
    let script = |index: usize| (workload.small_case(index), usize::MAX);
    let logs = bench.write_cases(&vec![&writer; cases], script).await?;
    let changes: usize = logs.iter().map(|log| log.len()).sum();
    let site = bench.site()?;
    let gateway = site.start().await?;
    let progress = bench.progress("filling the store", cases);
    populate(&writer, gateway.quic, &logs, Cut::EachChange, &progress).await?;
    gateway.kill().await?;

    let began = Instant::now();
    let gateway = site.start().await?;
    let mut session = Session::dial(&empty, gateway.quic, None).await?;
    Holdings::collect(&mut session, Until::FirstDocument).await?;
    let restart_s = began.elapsed().as_secs_f64();
    session.close();

    let mut session = Session::dial(&empty, gateway.quic, None).await?;
    let holdings = Holdings::collect(&mut session, Until::CaughtUp).await?;
    session.close();
    let mut missing = 0;
    for log in &logs {
        missing += holdings.missing(log)? as u64;
    }
    let mut report = Report::new(Scenario::Restart.name(), format!("SIGKILL with {changes} changes stored"));
    let bar = Bar::at_most(restart_s, 0.2, "s");
    report.row_with_bar("spawn → first case", format!("{restart_s:.3} s"), bar);
    report.row("… until it was ready", format!("{:.3} s", gateway.started_within.as_secs_f64()));
    report.more("restart_s", restart_s);
    report.more("ready_s", gateway.started_within.as_secs_f64());
    report.more("changes", changes as f64);
    report.lost(missing);
    gateway.terminate().await?;
    Ok(report)
}

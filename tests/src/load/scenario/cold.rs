//! M4: an empty device fetches everything from a gateway that has just started.
//!
//! The workload's eight small cases repeat, and repetition compresses: what a device gets whose cases all differ is
//! measured beside it.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::time::Instant;

use crate::load::{
    bench::Bench,
    holdings::{Holdings, Until},
    options::Scenario,
    populate::{Cut, populate},
    replay::CaseLog,
    report::{Bar, Report, rounded},
    session::{Session, Traffic},
    workload::Script,
};

/// Many small cases, then one large one; each from a fresh process.
///
/// # Errors
/// When it does not come to an end.
pub async fn run(bench: &mut Bench) -> Result<Report> {
    let cases = bench.options.cases as usize;
    let title = format!("an empty device fetches {cases} small cases, then one large case");
    let mut report = Report::new(Scenario::M4.name(), title);
    let workload = bench.workload.clone();
    let fetched = fetch(bench, cases, |index| workload.small_case(index)).await?;
    let (cpu, total) = (fetched.cpu.as_secs_f64(), fetched.traffic.bytes_in + fetched.traffic.bytes_out);
    let is_met = total <= BYTES_MAX && cpu <= CPU_MAX_S;
    report.figures.bytes_in = Some(fetched.traffic.bytes_in);
    report.figures.bytes_out = Some(fetched.traffic.bytes_out);
    report.figures.gateway_cpu_s = Some(rounded(cpu));
    report.more("seconds", fetched.elapsed.as_secs_f64());
    report.more("gateway_cpu_s_since_start", fetched.cpu_since_start.as_secs_f64());
    report.more("gateway_peak_rss_kib", fetched.peak_rss_kib as f64);
    report.row(
        "small cases",
        format!("{:.3} s, {} documents of {} bytes", fetched.elapsed.as_secs_f64(), cases, fetched.content),
    );
    let bar = Bar { target: BAR.to_owned(), is_met };
    report.row_with_bar("on the wire and CPU", format!("{:.3} MB, {cpu:.2} s", total as f64 / 1e6), bar);
    report.row("… CPU since its start", format!("{:.2} s", fetched.cpu_since_start.as_secs_f64()));
    let (workload, seed) = (bench.workload.clone(), bench.options.seed);
    let varied = fetch(bench, cases, |index| workload.varied_case(index, seed)).await?;
    let varied_total = varied.traffic.bytes_in + varied.traffic.bytes_out;
    let (seconds, varied_cpu) = (varied.elapsed.as_secs_f64(), varied.cpu.as_secs_f64());
    let value = format!("{:.3} MB, {varied_cpu:.2} s CPU, {seconds:.3} s", varied_total as f64 / 1e6);
    let is_met = varied_total <= BYTES_MAX && varied_cpu <= CPU_MAX_S;
    report.row_with_bar("… no two cases alike", value, Bar { target: BAR.to_owned(), is_met });
    report.more("varied_seconds", seconds);
    report.more("varied_bytes_in", varied.traffic.bytes_in as f64);
    report.more("varied_bytes_out", varied.traffic.bytes_out as f64);
    report.more("varied_gateway_cpu_s", varied_cpu);
    let script = bench.workload.large.clone();
    let large = fetch(bench, 1, |_| script.clone()).await?;
    let large_kb = (large.traffic.bytes_in + large.traffic.bytes_out) as f64 / 1e3;
    report.row(
        "large case",
        format!("{:.3} s, {large_kb:.1} KB, {:.2} s CPU", large.elapsed.as_secs_f64(), large.cpu.as_secs_f64()),
    );
    report.more("large_seconds", large.elapsed.as_secs_f64());
    report.more("large_bytes_in", large.traffic.bytes_in as f64);
    report.more("large_bytes_out", large.traffic.bytes_out as f64);
    report.more("large_gateway_cpu_s", large.cpu.as_secs_f64());
    report.lost(fetched.missing + varied.missing + large.missing);
    Ok(report)
}

struct Fetched {
    elapsed: Duration,
    /// UDP payloads of the connection, handshake included.
    traffic: Traffic,
    cpu: Duration,
    cpu_since_start: Duration,
    peak_rss_kib: u64,
    content: usize,
    missing: u64,
}

async fn fetch(bench: &mut Bench, cases: usize, script: impl Fn(usize) -> Arc<Script>) -> Result<Fetched> {
    let unit = bench.unit();
    let (writer, empty) = (bench.fleet.device(&unit)?, bench.fleet.device(&unit)?);
    let logs = bench.write_cases(&vec![&writer; cases], |index| (script(index), usize::MAX)).await?;
    let site = bench.site()?;
    let gateway = site.start().await?;
    let progress = bench.progress("filling the store", cases);
    populate(&writer, gateway.quic, &logs, Cut::EachChange, &progress).await?;
    gateway.terminate().await?;
    let gateway = site.start().await?;
    let (cpu, began) = (gateway.cpu_time()?, Instant::now());
    let mut session = Session::dial(&empty, gateway.quic, None).await?;
    let holdings = Holdings::collect(&mut session, Until::CaughtUp).await?;
    let elapsed = began.elapsed();
    let cpu_since_start = gateway.cpu_time()?;
    let fetched = Fetched {
        elapsed,
        traffic: session.udp_traffic(),
        cpu: cpu_since_start.saturating_sub(cpu),
        cpu_since_start,
        peak_rss_kib: gateway.peak_rss_kib()?,
        content: holdings.content_len(),
        missing: missing(&holdings, &logs)?,
    };
    session.close();
    gateway.terminate().await?;
    Ok(fetched)
}

/// Opens every document and compares heads with what was written.
fn missing(holdings: &Holdings, logs: &[Arc<CaseLog>]) -> Result<u64> {
    logs.iter().try_fold(0, |missing, log| Ok(missing + holdings.missing(log)? as u64))
}

const BAR: &str = "≤ 2.4 MB and ≤ 0.5 s CPU";
const BYTES_MAX: u64 = 2_400_000;
const CPU_MAX_S: f64 = 0.5;

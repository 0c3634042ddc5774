//! M1: how long it takes until another device has an edit, with every edit on the disk before anybody hears of it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use rand::Rng;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::load::{
    bench::{Bench, Crew},
    fsync::FsyncProbe,
    latency::Latencies,
    options::Scenario,
    pair::{self, OPENING, Pair},
    report::{Bar, Report, Troubles, rounded},
    track::{self, Track},
};

/// One case: a device edits ten times a second, another watches.
///
/// # Errors
/// When it does not come to an end.
pub async fn one(bench: &mut Bench) -> Result<Report> {
    let edits = bench.options.edits as usize;
    let script = bench.workload.large.clone();
    let crews = bench.crews(1, |_| (script.clone(), edits + 1)).await?;
    let title = format!("one case, {edits} edits, ten a second; from push to seen by the other device");
    let pace = Pace { edits, period: Duration::from_millis(100), phases: vec![Duration::ZERO] };
    run(bench, Report::new(Scenario::M1One.name(), title), crews, pace).await
}

/// Many cases with two devices each, one edit a second per case.
///
/// # Errors
/// When it does not come to an end.
pub async fn many(bench: &mut Bench) -> Result<Report> {
    let (count, seconds) = (bench.devices(200), bench.seconds(30));
    let edits = usize::try_from(seconds)?;
    let workload = bench.workload.clone();
    let crews = bench.crews(count, |index| (workload.small_case(index), edits + 1)).await?;
    let period = Duration::from_secs(1);
    let mut rng = bench.fleet.rng();
    let phases = (0..count).map(|_| period.mul_f64(rng.random())).collect();
    let title = format!("{count} cases × 2 devices, one edit a second for {seconds} s");
    run(bench, Report::new(Scenario::M1Many.name(), title), crews, Pace { edits, period, phases }).await
}

struct Pace {
    edits: usize,
    period: Duration,
    /// When each writer begins within the first period, so that they do not edit in step.
    phases: Vec<Duration>,
}

async fn run(bench: &mut Bench, mut report: Report, crews: Vec<Crew>, pace: Pace) -> Result<Report> {
    let (latencies, troubles) = (Arc::<Latencies>::default(), Arc::<Troubles>::default());
    let site = bench.site()?;
    let gateway = site.start().await?;
    let pairs = pair::connect_all(crews, gateway.quic, &latencies, &troubles).await?;
    let tracks: Vec<Arc<Track>> = pairs.iter().map(|pair| pair.track.clone()).collect();
    let progress = bench.progress("editing", pairs.len() * pace.edits);
    let probe = FsyncProbe::start(site.dir())?;
    let (began, cpu) = (Instant::now(), gateway.cpu_time()?);
    let finished = edit_all(pairs, &pace, &progress, &troubles).await?;
    let missing = track::settle_all(&tracks).await;
    let elapsed = began.elapsed();
    let cpu = gateway.cpu_time()?.saturating_sub(cpu);
    let seen: usize = tracks.iter().map(|track| track.seen() - OPENING).sum();
    let fsync_p99 = report.fsync(probe)?;
    let bar = Bar::at_most(latencies.quantile_ms(0.99), rounded(fsync_p99 + ABOVE_FSYNC_MS), "ms p99");
    report.latencies("push → seen", &latencies, Some(bar));
    report.figures.rate_per_s = Some(rounded(seen as f64 / elapsed.as_secs_f64()));
    report.figures.gateway_cpu_s = Some(rounded(cpu.as_secs_f64()));
    report.row("gateway CPU", format!("{:.2} s for {seen} edits in {:.1} s", cpu.as_secs_f64(), elapsed.as_secs_f64()));
    report.more("gateway_rss_kib", gateway.memory()?.rss_kib as f64);
    report.lost(missing);
    report.troubles(&troubles);
    drop(finished);
    gateway.terminate().await?;
    Ok(report)
}

/// Every writer at its pace; the pairs come back connected, so that what is under way can still arrive.
async fn edit_all(pairs: Vec<Pair>, pace: &Pace, progress: &ProgressBar, troubles: &Troubles) -> Result<Vec<Pair>> {
    let mut writers = JoinSet::new();
    let start = Instant::now();
    for (mut pair, phase) in pairs.into_iter().zip(pace.phases.iter().copied()) {
        let (edits, period, progress) = (pace.edits, pace.period, progress.clone());
        writers.spawn(async move {
            let result = edit_steadily(&mut pair, start + phase, edits, period, &progress).await;
            (pair, result)
        });
    }
    let mut finished = Vec::new();
    while let Some(writer) = writers.join_next().await {
        let (pair, result) = writer.context("a writer panicked")?;
        if let Err(error) = result {
            troubles.note(&error);
        }
        finished.push(pair);
    }
    Ok(finished)
}

/// The pace does not wait for answers: a gateway that is slow gets the next edit all the same.
async fn edit_steadily(
    pair: &mut Pair,
    start: Instant,
    edits: usize,
    period: Duration,
    progress: &ProgressBar,
) -> Result<()> {
    for edit in 0..edits {
        if pair.track.is_exhausted() {
            break;
        }
        sleep_until(start + period * u32::try_from(edit)?).await;
        pair.send(1).await?;
        progress.inc(1);
    }
    Ok(())
}

/// What network, TLS, admission and fan-out may add to the disk.
const ABOVE_FSYNC_MS: f64 = 10.0;

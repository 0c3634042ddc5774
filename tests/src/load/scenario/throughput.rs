//! M2: how many changes a second become durable and reach their reader, and what one costs the gateway.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::load::{
    bench::{Bench, Crew},
    fsync::FsyncProbe,
    latency::Latencies,
    options::Scenario,
    pair::{self, Pair},
    report::{Bar, Report, Troubles, rounded},
    track::{self, Track},
};

/// Writers with one case each and a bounded number of edits outstanding until the reader has them. A case ends where
/// its script does; its writer then goes on with a new one.
///
/// # Errors
/// When it does not come to an end.
pub async fn run(bench: &mut Bench) -> Result<Report> {
    let (writers, seconds) = (bench.devices(64), bench.seconds(10));
    let crews = crews(bench, writers, usize::try_from(seconds)?).await?;
    let prepared: usize = crews.iter().flat_map(Crew::logs).map(|log| log.len()).sum();
    let (latencies, troubles) = (Arc::<Latencies>::default(), Arc::<Troubles>::default());
    let site = bench.site()?;
    let gateway = site.start().await?;
    let pairs = pair::connect_all(crews, gateway.quic, &latencies, &troubles).await?;
    let tracks: Vec<Arc<Track>> = pairs.iter().map(|pair| pair.track.clone()).collect();
    let seen = || tracks.iter().map(|track| track.seen()).sum::<usize>();
    let probe = FsyncProbe::start(site.dir())?;
    let progress = bench.progress("pushing", prepared);
    let (opened, began, cpu) = (seen(), Instant::now(), gateway.cpu_time()?);
    let mut pushing = push_all(pairs, began + Duration::from_secs(seconds), &troubles);
    // A writer that has nothing left ends the measurement: from there on the load is another one.
    let finished = wait_for_first(&mut pushing, &progress, seen).await?;
    let (elapsed, used, done) = (began.elapsed(), gateway.cpu_time()?.saturating_sub(cpu), seen() - opened);
    let title = format!("{writers} writers, {OUTSTANDING} edits outstanding each");
    let mut report = Report::new(Scenario::M2.name(), title);
    report.fsync(probe)?;
    let rest = join_all(pushing).await?;
    let missing = track::settle_all(&tracks).await;
    let settled = gateway.settled_cpu_time().await?.saturating_sub(cpu);
    report_rate(&mut report, Measured { changes: done, elapsed, cpu: used });
    let settled_per_10k = per_10k(settled, seen() - opened);
    report.row("… once snapshots are written", format!("{settled_per_10k:.3} s per 10,000 changes"));
    report.more("gateway_cpu_s_per_10k_settled", settled_per_10k);
    report.latencies("push → seen", &latencies, None);
    report.more("gateway_rss_kib", gateway.memory()?.rss_kib as f64);
    report.lost(missing);
    report.troubles(&troubles);
    drop((finished, rest));
    gateway.terminate().await?;
    Ok(report)
}

/// Enough large cases for every writer, as far as they will probably get.
async fn crews(bench: &mut Bench, writers: usize, seconds: usize) -> Result<Vec<Crew>> {
    let script = bench.workload.large.clone();
    let wanted = (RATE_PREPARED * seconds).min(PREPARED_MAX).div_ceil(writers) + OUTSTANDING;
    let cases_each = wanted.div_ceil(script.steps.len());
    bench.crews_with(writers, cases_each, |_| (script.clone(), wanted)).await
}

struct Measured {
    changes: usize,
    elapsed: Duration,
    cpu: Duration,
}

fn report_rate(report: &mut Report, Measured { changes, elapsed, cpu }: Measured) {
    let seconds = elapsed.as_secs_f64();
    let (rate, per_10k) = (changes as f64 / seconds, per_10k(cpu, changes));
    report.figures.rate_per_s = Some(rounded(rate));
    report.figures.gateway_cpu_s = Some(rounded(cpu.as_secs_f64()));
    report.figures.gateway_cpu_s_per_10k = Some(rounded(per_10k));
    report.more("seconds", seconds);
    let target = "≥ 10000 /s, or ≤ 0.5 s CPU per 10,000".to_owned();
    let bar = Bar { target, is_met: rate >= 10_000.0 || per_10k <= 0.5 };
    report.row_with_bar("durable and seen", format!("{rate:.0} changes/s ({changes} in {seconds:.1} s)"), bar);
    report.row("gateway CPU", format!("{per_10k:.3} s per 10,000 changes ({:.2} s)", cpu.as_secs_f64()));
}

fn per_10k(cpu: Duration, changes: usize) -> f64 {
    cpu.as_secs_f64() / changes.max(1) as f64 * 10_000.0
}

fn push_all(pairs: Vec<Pair>, end: Instant, troubles: &Arc<Troubles>) -> JoinSet<Pair> {
    let mut pushing = JoinSet::new();
    for mut pair in pairs {
        let troubles = troubles.clone();
        pushing.spawn(async move {
            if let Err(error) = pair.keep_outstanding(OUTSTANDING, end).await {
                troubles.note(&error);
            }
            pair
        });
    }
    pushing
}

async fn wait_for_first(
    pushing: &mut JoinSet<Pair>,
    progress: &ProgressBar,
    seen: impl Fn() -> usize,
) -> Result<Option<Pair>> {
    loop {
        tokio::select! {
            pair = pushing.join_next() => return pair.transpose().context("a writer panicked"),
            () = sleep(PROGRESS_EVERY) => progress.set_position(seen() as u64),
        }
    }
}

async fn join_all(mut pushing: JoinSet<Pair>) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    while let Some(pair) = pushing.join_next().await {
        pairs.push(pair.context("a writer panicked")?);
    }
    Ok(pairs)
}

/// Edits a writer may have outstanding until the reader has them.
const OUTSTANDING: usize = 16;
/// Changes a second for which cases are written beforehand.
const RATE_PREPARED: usize = 120_000;
/// Changes written beforehand, however long it is to take: about 250 bytes of memory each.
const PREPARED_MAX: usize = 2_000_000;
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

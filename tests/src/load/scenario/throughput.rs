//! M2: how many changes a second become durable and reach their reader, and what one costs the gateway.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::load::{
    bench::Bench,
    fsync::FsyncProbe,
    latency::Latencies,
    options::Scenario,
    pair::{self, Pair},
    report::{Bar, Report, Troubles, rounded},
    track::{self, Track},
};

/// Writers with one case each and a bounded number of edits outstanding until the reader has them.
///
/// # Errors
/// When it does not come to an end.
pub async fn run(bench: &mut Bench) -> Result<Report> {
    let (writers, seconds) = (bench.devices(64), bench.seconds(10));
    let steps = (RATE_PREPARED * usize::try_from(seconds)?).div_ceil(writers) + OUTSTANDING;
    let script = bench.workload.large.clone();
    let crews = bench.crews(writers, |_| (script.clone(), steps)).await?;
    let (latencies, troubles) = (Arc::<Latencies>::default(), Arc::<Troubles>::default());
    let site = bench.site()?;
    let gateway = site.start().await?;
    let pairs = pair::connect_all(crews, gateway.quic, &latencies, &troubles).await?;
    let tracks: Vec<Arc<Track>> = pairs.iter().map(|pair| pair.track.clone()).collect();
    let seen = || tracks.iter().map(|track| track.seen()).sum::<usize>();
    let probe = FsyncProbe::start(site.dir())?;
    let (opened, began, cpu) = (seen(), Instant::now(), gateway.cpu_time()?);
    let mut pushing = push_all(pairs, began + Duration::from_secs(seconds), &troubles);
    let progress = bench.progress("pushing", steps * writers);
    // The first writer that has nothing left ends the measurement: from there on the load is another one.
    let finished = wait_for_first(&mut pushing, &progress, seen).await?;
    let (elapsed, cpu_at_end, done) = (began.elapsed(), gateway.cpu_time()?, seen() - opened);
    let mut report =
        Report::new(Scenario::M2.name(), format!("{writers} writers, {OUTSTANDING} edits outstanding each"));
    report.fsync(probe)?;
    let rest = join_all(pushing).await?;
    let missing = track::settle_all(&tracks).await;
    let total = seen() - opened;
    let settled = gateway.settled_cpu_time().await?.saturating_sub(cpu).as_secs_f64();
    let cpu = cpu_at_end.saturating_sub(cpu).as_secs_f64();
    let (rate, per_10k) = (done as f64 / elapsed.as_secs_f64(), cpu / done.max(1) as f64 * 10_000.0);
    report.figures.rate_per_s = Some(rounded(rate));
    report.figures.gateway_cpu_s = Some(rounded(cpu));
    report.figures.gateway_cpu_s_per_10k = Some(rounded(per_10k));
    let bar =
        Bar { target: "≥ 10000 /s, or ≤ 0.5 s CPU per 10,000".to_owned(), is_met: rate >= 1e4 || per_10k <= 0.5 };
    report.row_with_bar(
        "durable and seen",
        format!("{rate:.0} changes/s ({done} in {:.1} s)", elapsed.as_secs_f64()),
        bar,
    );
    report.row("gateway CPU", format!("{per_10k:.3} s per 10,000 changes ({cpu:.2} s)"));
    report.row(
        "… once snapshots are written",
        format!("{:.3} s per 10,000 changes", settled / total.max(1) as f64 * 1e4),
    );
    report.more("gateway_cpu_s_per_10k_settled", settled / total.max(1) as f64 * 1e4);
    report.latencies("push → seen", &latencies, None);
    report.more("gateway_rss_kib", gateway.memory()?.rss_kib as f64);
    report.lost(missing);
    report.troubles(&troubles);
    drop((finished, rest));
    gateway.terminate().await?;
    Ok(report)
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
const RATE_PREPARED: usize = 31_000;
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

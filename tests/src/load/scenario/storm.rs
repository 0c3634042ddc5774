//! The gateway was gone, and everybody comes back at once.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use feldakte_core::{backoff::Backoff, ids::Cursor};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::load::{
    bench::Bench,
    fleet::Device,
    gateway::Site,
    latency::Latencies,
    options::Scenario,
    populate::{self, Cut, populate_each},
    report::{Report, Troubles, rounded},
    session::Session,
};

/// Devices that hold a case each dial a fresh gateway, spread over some seconds, and stay.
///
/// # Errors
/// When it does not come to an end.
pub async fn run(bench: &mut Bench) -> Result<Report> {
    let (count, seconds) = (bench.devices(1_000), bench.seconds(10));
    let mut devices = Vec::with_capacity(count);
    for _ in 0..count {
        let unit = bench.unit();
        devices.push(bench.fleet.device(&unit)?);
    }
    let site = bench.site()?;
    let cursor = fill(bench, &site, &devices).await?;
    let gateway = site.start().await?;
    let (before, cpu) = (gateway.settled_memory().await?, gateway.cpu_time()?);
    let latencies = Arc::<Latencies>::default();
    let (troubles, retries) = (Arc::<Troubles>::default(), Arc::<AtomicU64>::default());
    let progress = bench.progress("reconnecting", count);
    let mut rng = bench.fleet.rng();
    let mut storm = JoinSet::new();
    let began = Instant::now();
    for device in devices {
        let comer = Comer {
            at: began + Duration::from_secs(seconds).mul_f64(rng.random()),
            rng: StdRng::from_rng(&mut rng),
            device,
            cursor,
            gateway: gateway.quic,
            retries: retries.clone(),
        };
        storm.spawn(comer.come_back());
    }
    let mut back = Vec::with_capacity(count);
    while let Some(result) = storm.join_next().await {
        match result.context("a device panicked")? {
            Ok((session, waited)) => {
                latencies.record(waited);
                back.push(session);
                progress.inc(1);
            }
            Err(error) => troubles.note(&error),
        }
    }
    let elapsed = began.elapsed().as_secs_f64();
    let cpu = gateway.cpu_time()?.saturating_sub(cpu).as_secs_f64();
    let peak = gateway.peak_rss_kib()?;
    let mut report = Report::new(Scenario::Storm.name(), format!("{count} devices come back within {seconds} s"));
    report.latencies("dial → welcome", &latencies, None);
    let p95 = latencies.quantile_ms(0.95);
    let tried_again = retries.load(Ordering::Relaxed);
    report.row("p95", format!("{p95:.2} ms"));
    report.row("back", format!("{} of {count} in {elapsed:.1} s, {tried_again} dials repeated", back.len()));
    report.row("gateway CPU", format!("{:.2} ms per session, {cpu:.2} s", cpu * 1e3 / count as f64));
    let per_connection = peak.saturating_sub(before.rss_kib) as f64 / count as f64;
    report.row("gateway memory", format!("at most {peak} KiB, {per_connection:.1} KiB per session"));
    report.figures.rate_per_s = Some(rounded(back.len() as f64 / elapsed));
    report.figures.gateway_cpu_s = Some(rounded(cpu));
    report.figures.kib_per_connection = Some(rounded(per_connection));
    report.more("p95_ms", p95);
    report.more("gateway_cpu_ms_per_handshake", cpu * 1e3 / count as f64);
    report.more("gateway_peak_rss_kib", peak as f64);
    report.more("retries", tried_again as f64);
    report.troubles(&troubles);
    back.into_iter().for_each(Session::close);
    gateway.terminate().await?;
    Ok(report)
}

/// Each device writes a case of its own; the gateway then goes down in order.
async fn fill(bench: &mut Bench, site: &Site, devices: &[Device]) -> Result<Cursor> {
    let writers: Vec<&Device> = devices.iter().collect();
    let workload = bench.workload.clone();
    let logs = bench.write_cases(&writers, |index| (workload.small_case(index), usize::MAX)).await?;
    let gateway = site.start().await?;
    let progress = bench.progress("filling the store", devices.len());
    let cases: Vec<_> = devices.iter().cloned().zip(logs).collect();
    populate_each(cases, gateway.quic, Cut::Whole, &progress).await?;
    let unit = bench.unit();
    let cursor = populate::cursor_at_head(&bench.fleet.device(&unit)?, gateway.quic).await?;
    gateway.terminate().await?;
    Ok(cursor)
}

struct Comer {
    at: Instant,
    rng: StdRng,
    device: Device,
    cursor: Cursor,
    gateway: SocketAddr,
    retries: Arc<AtomicU64>,
}

impl Comer {
    /// Dials at its moment, and again after a failure, as a device does.
    async fn come_back(mut self) -> Result<(Session, Duration)> {
        sleep_until(self.at).await;
        let mut backoff = Backoff::new(BACKOFF_BASE, BACKOFF_CAP);
        loop {
            match Session::dial(&self.device, self.gateway, Some(self.cursor)).await {
                Ok(session) => return Ok((session, self.at.elapsed())),
                Err(error) if self.at.elapsed() > BACK_WITHIN => {
                    return Err(error.context("a device did not come back"));
                }
                Err(_) => {
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    sleep(backoff.next_delay(self.rng.random())).await;
                }
            }
        }
    }
}

const BACKOFF_BASE: Duration = Duration::from_millis(250);
const BACKOFF_CAP: Duration = Duration::from_secs(5);
const BACK_WITHIN: Duration = Duration::from_secs(60);

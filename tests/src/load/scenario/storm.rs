//! The gateway was gone, and everybody comes back at once.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use feldakte_core::ids::Cursor;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::Instant};

use self::{
    comer::{Back, Comer, Met},
    own::Own,
};
use crate::load::{
    bench::Bench,
    fleet::Device,
    gateway::{Gateway, Site},
    latency::Latencies,
    options::Scenario,
    populate::{self, Cut, populate_each},
    replay::CaseLog,
    report::{Bar, Report, Troubles, rounded},
};

mod comer;
mod own;

/// Devices that hold a case each, of which each has missed something, dial a fresh gateway, spread over some seconds, and
/// stay. One in [`MISSION_EVERY`] is on a mission.
///
/// # Errors
/// When it does not come to an end.
pub async fn run(bench: &mut Bench) -> Result<Report> {
    let (count, seconds) = (bench.devices(5_000), bench.seconds(10));
    let mut devices = Vec::with_capacity(count);
    for _ in 0..count {
        let unit = bench.unit();
        devices.push(bench.fleet.device(&unit)?);
    }
    let site = bench.site()?;
    let cursor = fill(bench, &site, &devices).await?;
    let gateway = site.start().await?;
    let (before, cpu) = (gateway.settled_memory().await?, gateway.cpu_time()?);
    let own = Own::watch()?;
    let began = Instant::now();
    let comers = comers(bench, devices, &gateway, cursor, (began, Duration::from_secs(seconds)));
    let storm = come_back(bench, comers).await?;
    let elapsed = began.elapsed().as_secs_f64();
    let cpu = gateway.cpu_time()?.saturating_sub(cpu).as_secs_f64();
    let own = own.end()?;
    let peak = gateway.peak_rss_kib()?;
    let title = format!("{count} devices come back within {seconds} s, one in {MISSION_EVERY} on a mission");
    let mut report = Report::new(Scenario::Storm.name(), title);
    storm.tell(&mut report);
    let back = storm.back.len();
    report.row("back", format!("{back} of {count} in {elapsed:.1} s"));
    report.row("gateway CPU", format!("{:.2} ms per session, {cpu:.2} s", cpu * 1e3 / count as f64));
    own.tell(&mut report, elapsed);
    let per_connection = peak.saturating_sub(before.rss_kib) as f64 / count as f64;
    report.row("gateway memory", format!("at most {peak} KiB, {per_connection:.1} KiB per session"));
    report.figures.rate_per_s = Some(rounded(back as f64 / elapsed));
    report.figures.gateway_cpu_s = Some(rounded(cpu));
    report.figures.kib_per_connection = Some(rounded(per_connection));
    report.more("gateway_cpu_ms_per_handshake", cpu * 1e3 / count as f64);
    report.more("gateway_peak_rss_kib", peak as f64);
    report.troubles(&storm.troubles);
    storm.back.into_iter().for_each(|back| back.session.close());
    gateway.terminate().await?;
    Ok(report)
}

/// Each device writes a case of its own, and has seen all but the end of it; the gateway then goes down in order.
async fn fill(bench: &mut Bench, site: &Site, devices: &[Device]) -> Result<Cursor> {
    let writers: Vec<&Device> = devices.iter().collect();
    let workload = bench.workload.clone();
    let logs = bench.write_cases(&writers, |index| (workload.small_case(index), STEPS)).await?;
    let gateway = site.start().await?;
    let unit = bench.unit();
    let mut cursor = None;
    let halves: [fn(&CaseLog, usize) -> CaseLog; 2] = [CaseLog::beginning, CaseLog::end];
    for half in halves {
        let progress = bench.progress("filling the store", devices.len());
        let cases = devices.iter().cloned().zip(logs.iter().map(|log| Arc::new(half(log, MISSED))));
        populate_each(cases.collect::<Vec<_>>(), gateway.quic, Cut::Whole, &progress).await?;
        if cursor.is_none() {
            cursor = Some(populate::cursor_at_head(&bench.fleet.device(&unit)?, gateway.quic).await?);
        }
    }
    gateway.terminate().await?;
    cursor.context("nothing was filled in")
}

fn comers(
    bench: &mut Bench,
    devices: Vec<Device>,
    gateway: &Gateway,
    cursor: Cursor,
    (began, within): (Instant, Duration),
) -> Vec<Comer> {
    let mut rng = bench.fleet.rng();
    let comer = |(index, device): (usize, Device)| Comer {
        at: began + within.mul_f64(rng.random()),
        rng: StdRng::from_rng(&mut rng),
        device,
        on_mission: index.is_multiple_of(MISSION_EVERY),
        cursor,
        gateway: gateway.quic,
    };
    devices.into_iter().enumerate().map(comer).collect()
}

async fn come_back(bench: &Bench, comers: Vec<Comer>) -> Result<Storm> {
    let progress = bench.progress("reconnecting", comers.len());
    let mut running: JoinSet<Result<Back>> = comers.into_iter().map(Comer::come_back).collect();
    let mut storm = Storm::default();
    while let Some(result) = running.join_next().await {
        match result.context("a device panicked")? {
            Ok(back) => {
                storm.back.push(back);
                progress.inc(1);
            }
            Err(error) => storm.troubles.note(&error),
        }
    }
    Ok(storm)
}

/// Who came back, and how.
#[derive(Default)]
struct Storm {
    back: Vec<Back>,
    troubles: Troubles,
}

impl Storm {
    fn tell(&self, report: &mut Report) {
        let [missions, others] = [true, false].map(|on_mission| {
            let latencies = Latencies::default();
            let of_class = self.back.iter().filter(|back| back.on_mission == on_mission);
            of_class.for_each(|back| latencies.record(back.within));
            latencies
        });
        report.latencies("others: dial → caught up", &others, None);
        let [mission, other] = [&missions, &others].map(|latencies| latencies.quantile_ms(0.95));
        report.row("others: p95", format!("{other:.2} ms"));
        let [p50, p99] = [0.5, 0.99].map(|share| missions.quantile_ms(share));
        let count = missions.count();
        report.row("on a mission: the same", format!("p50 {p50:.2} ms   p99 {p99:.2} ms   ({count} measured)"));
        let bar = Bar::at_most(mission, rounded(other / 4.0), "ms, a quarter of the others'");
        report.row_with_bar("on a mission: p95", format!("{mission:.2} ms"), bar);
        for (key, value) in
            [("p95_ms", other), ("mission_p50_ms", p50), ("mission_p95_ms", mission), ("mission_p99_ms", p99)]
        {
            report.more(key, value);
        }
        self.tell_met(report);
    }

    fn tell_met(&self, report: &mut Report) {
        self.tell_count(report, ("sent away", "sent_away"), |met| met.sent_away);
        self.tell_count(report, ("handshake refused", "refused"), |met| met.refused);
        self.tell_count(report, ("not answered within 5 s", "unanswered"), |met| met.unanswered);
    }

    fn tell_count(&self, report: &mut Report, (what, key): (&'static str, &'static str), count: impl Fn(&Met) -> u32) {
        let [missions, others] = [true, false].map(|on_mission| {
            let of_class = self.back.iter().filter(|back| back.on_mission == on_mission);
            let counts: Vec<u32> = of_class.map(|back| count(&back.met)).filter(|count| *count > 0).collect();
            (counts.len(), counts.into_iter().max().unwrap_or(0))
        });
        let value = format!(
            "{} devices on a mission (at most {} times), {} others ({})",
            missions.0, missions.1, others.0, others.1
        );
        report.row(what, value);
        report.more(key, (missions.0 + others.0) as f64);
    }
}

/// DOMAIN: 300–500 devices and some dozen missions at once; in a bad hour one in ten.
const MISSION_EVERY: usize = 10;
/// Changes of each case; what a case holds besides is not sent again.
const STEPS: usize = 40;
/// Of which the device has missed so many.
const MISSED: usize = 3;

//! M5: a device that holds everything reconnects, and nothing has changed.
//!
//! "After the handshake" is counted twice. Frames: what stands on the session stream, lengths included. UDP: all
//! payloads of the connection less those of a connection that only shakes hands; with it come packet headers,
//! acknowledgements and authentication tags.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use feldakte_core::ids::Cursor;
use tokio::time::{Instant, sleep};

use crate::load::{
    bench::Bench,
    fleet::{Device, GATEWAY_NAME},
    gateway::{Gateway, Site},
    latency::Latencies,
    options::Scenario,
    populate::{self, Cut, populate},
    report::{Bar, Report, rounded},
    session::{self, Session, Traffic},
};

/// Reconnects with a cursor at the head of the log.
///
/// # Errors
/// When it does not come to an end.
pub async fn run(bench: &mut Bench) -> Result<Report> {
    let cases = bench.options.cases as usize;
    let unit = bench.unit();
    let (writer, device) = (bench.fleet.device(&unit)?, bench.fleet.device(&unit)?);
    let site = bench.site()?;
    let cursor = fill(bench, &site, &writer, cases).await?;
    let gateway = site.start().await?;
    let mut loads = Loads::read(&gateway).await?;
    let mut reconnects = Reconnects::default();
    let cpu = gateway.cpu_time()?;
    let progress = bench.progress("reconnecting", RECONNECTS);
    for _ in 0..RECONNECTS {
        reconnects.one(&device, &gateway, cursor).await?;
        progress.inc(1);
    }
    let cpu_ms = gateway.cpu_time()?.saturating_sub(cpu).as_secs_f64() * 1e3 / RECONNECTS as f64;
    loads = Loads::read(&gateway).await?.since(loads);
    let handshake = handshake_traffic(&device, &gateway).await?;
    gateway.terminate().await?;

    let Reconnects { latencies, first, frames, udp } = reconnects;
    let udp = median(udp);
    let above = Traffic {
        bytes_in: udp.bytes_in.saturating_sub(handshake.bytes_in),
        bytes_out: udp.bytes_out.saturating_sub(handshake.bytes_out),
    };
    let frames = median(frames);
    let title = format!("a device that holds {cases} cases reconnects {RECONNECTS} times, nothing has changed");
    let mut report = Report::new(Scenario::M5.name(), title);
    report.latencies("dial → welcome", &latencies, None);
    report.row("… the first after restart", format!("{:.2} ms", first.as_secs_f64() * 1e3));
    report.figures.bytes_in = Some(frames.bytes_in);
    report.figures.bytes_out = Some(frames.bytes_out);
    report.figures.gateway_cpu_s = Some(rounded(cpu_ms / 1e3));
    let most = frames.bytes_in.max(frames.bytes_out) as f64;
    report.row_with_bar("frames after the handshake", in_and_out(frames), Bar::at_most(most, 1024.0, "bytes each way"));
    let most = above.bytes_in.max(above.bytes_out) as f64;
    report.row_with_bar("UDP after the handshake", in_and_out(above), Bar::at_most(most, 1024.0, "bytes each way"));
    report.row("UDP, handshake alone", in_and_out(handshake));
    report.row_with_bar(
        "gateway CPU",
        format!("{cpu_ms:.2} ms each, handshake included"),
        Bar::at_most(cpu_ms, 10.0, "ms"),
    );
    let loaded = loads.documents + loads.ledgers;
    let bar = Bar { target: "0".to_owned(), is_met: loaded == 0.0 };
    report.row_with_bar("documents, ledgers loaded", format!("{}, {}", loads.documents, loads.ledgers), bar);
    report.more("gateway_cpu_ms_each", cpu_ms);
    report.more("first_ms", first.as_secs_f64() * 1e3);
    report.more("udp_bytes_in_after_handshake", above.bytes_in as f64);
    report.more("udp_bytes_out_after_handshake", above.bytes_out as f64);
    report.more("udp_bytes_in_handshake", handshake.bytes_in as f64);
    report.more("udp_bytes_out_handshake", handshake.bytes_out as f64);
    report.more("document_loads", loads.documents);
    report.more("ledger_loads", loads.ledgers);
    Ok(report)
}

async fn fill(bench: &mut Bench, site: &Site, writer: &Device, cases: usize) -> Result<Cursor> {
    let workload = bench.workload.clone();
    let script = |index: usize| (workload.small_case(index), usize::MAX);
    let logs = bench.write_cases(&vec![writer; cases], script).await?;
    let gateway = site.start().await?;
    let progress = bench.progress("filling the store", cases);
    populate(writer, gateway.quic, &logs, Cut::EachChange, &progress).await?;
    let cursor = populate::cursor_at_head(writer, gateway.quic).await?;
    gateway.terminate().await?;
    Ok(cursor)
}

#[derive(Default)]
struct Reconnects {
    latencies: Arc<Latencies>,
    first: Duration,
    frames: Vec<Traffic>,
    udp: Vec<Traffic>,
}

impl Reconnects {
    async fn one(&mut self, device: &Device, gateway: &Gateway, cursor: Cursor) -> Result<()> {
        let began = Instant::now();
        let session = Session::dial(device, gateway.quic, Some(cursor)).await?;
        let elapsed = began.elapsed();
        ensure!(session.welcome.caught_up, "a device that has everything was not caught up");
        if self.frames.is_empty() {
            self.first = elapsed;
        }
        self.latencies.record(elapsed);
        sleep(SETTLE).await;
        self.frames.push(session.frame_traffic());
        self.udp.push(session.udp_traffic());
        session.close();
        Ok(())
    }
}

struct Loads {
    documents: f64,
    ledgers: f64,
}

impl Loads {
    async fn read(gateway: &Gateway) -> Result<Self> {
        Ok(Self {
            documents: gateway.metric("feldakte_document_loads").await?,
            ledgers: gateway.metric("feldakte_ledger_loads").await?,
        })
    }

    fn since(self, before: Loads) -> Self {
        Self { documents: self.documents - before.documents, ledgers: self.ledgers - before.ledgers }
    }
}

/// What a connection costs on which nobody says anything.
async fn handshake_traffic(device: &Device, gateway: &Gateway) -> Result<Traffic> {
    let mut traffic = Vec::new();
    for _ in 0..HANDSHAKES {
        let connecting = device.endpoint.connect_with(device.config.clone(), gateway.quic, GATEWAY_NAME)?;
        let connection = connecting.await.context("no handshake")?;
        sleep(SETTLE).await;
        ensure!(connection.stats().frame_rx.handshake_done > 0, "the handshake was not confirmed in time");
        traffic.push(session::udp_traffic(&connection));
        session::close(&connection);
    }
    Ok(median(traffic))
}

fn median(traffic: Vec<Traffic>) -> Traffic {
    let middle = |mut bytes: Vec<u64>| {
        bytes.sort_unstable();
        bytes.get(bytes.len() / 2).copied().unwrap_or(0)
    };
    Traffic {
        bytes_in: middle(traffic.iter().map(|one| one.bytes_in).collect()),
        bytes_out: middle(traffic.iter().map(|one| one.bytes_out).collect()),
    }
}

fn in_and_out(Traffic { bytes_in, bytes_out }: Traffic) -> String {
    format!("{bytes_in} bytes in, {bytes_out} out")
}

/// Enough to see 10 ms of clock tick as 0.2 ms each.
const RECONNECTS: usize = 50;
const HANDSHAKES: usize = 20;
/// Path probes and delayed acknowledgements are over by then.
const SETTLE: Duration = Duration::from_millis(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_taken_per_direction() {
        let of = |bytes_in, bytes_out| Traffic { bytes_in, bytes_out };
        assert_eq!(median(vec![of(1, 9), of(5, 2), of(3, 4)]), of(3, 4));
        assert_eq!(median(Vec::new()), Traffic::default());
    }
}

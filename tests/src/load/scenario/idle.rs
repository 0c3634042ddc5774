//! M3: what a connection costs that is idle and follows a case it already holds.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use feldakte_core::ids::Cursor;
use feldakte_proto::{ServerMessage, decode_entry};
use indicatif::ProgressBar;
use quinn::Connection;
use tokio::{process::Command, task::JoinSet, time::timeout};

use crate::load::{
    bench::{Bench, Crew},
    fleet::{Device, GATEWAY_NAME},
    gateway::Gateway,
    options::Scenario,
    populate::{Cut, populate_each},
    process::Memory,
    replay::CaseLog,
    report::{Bar, Report, rounded},
    session::{self, Session},
};

/// Idle connections, each following one small case.
///
/// # Errors
/// When it does not come to an end.
pub async fn run(bench: &mut Bench) -> Result<Report> {
    let count = bench.devices(1_000);
    let small = bench.workload.small.clone();
    let crews = bench.crews(count, |index| (small[index % small.len()].clone(), usize::MAX)).await?;
    let site = bench.site()?;
    let cursor = fill(bench, &site.start().await?, &crews).await?;
    // A fresh process: what filling the store needed is not there to be reused.
    let gateway = site.start().await?;
    warm_up(bench, &gateway).await?;
    let before = gateway.settled_memory().await?;
    let progress = bench.progress("connecting", count);
    let mut followers = follow_all(&crews, &gateway, cursor, &progress).await?;
    let after = gateway.settled_memory().await?;
    let per = per_connection(before, after, count);
    let mut report = Report::new(Scenario::M3.name(), format!("{count} idle connections, each following one case"));
    report.figures.kib_per_connection = Some(rounded(per.rss));
    let bar = Bar::at_most(per.rss, 60.0, "KiB");
    report.row_with_bar("gateway memory", format!("{:.1} KiB per connection (PSS {:.1})", per.rss, per.pss), bar);
    report.row("resident", format!("{} KiB before, {} KiB with all", before.rss_kib, after.rss_kib));
    report.more("pss_kib_per_connection", per.pss);
    report.more("gateway_rss_kib", after.rss_kib as f64);
    let seen = check_following(&crews, &mut followers, &gateway).await?;
    report.row("they do follow", format!("{seen} of {seen} tried got a new change at once"));
    report.lost(0);
    followers.into_iter().for_each(Session::close);
    gateway.terminate().await?;
    if bench.options.bare {
        let bare = bare_floor(bench, &crews).await?;
        report.row("bare QUIC server", format!("{:.1} KiB per connection (PSS {:.1})", bare.rss, bare.pss));
        report.more("bare_kib_per_connection", bare.rss);
    }
    Ok(report)
}

struct PerConnection {
    rss: f64,
    pss: f64,
}

fn per_connection(before: Memory, after: Memory, count: usize) -> PerConnection {
    let per = |before: u64, after: u64| (after as f64 - before as f64) / count as f64;
    PerConnection { rss: per(before.rss_kib, after.rss_kib), pss: per(before.pss_kib, after.pss_kib) }
}

/// Every case but its last change; returns the cursor of a device that has all of it.
async fn fill(bench: &mut Bench, gateway: &Gateway, crews: &[Crew]) -> Result<Cursor> {
    let progress = bench.progress("filling the store", crews.len());
    let cases = crews.iter().map(|crew| (crew.writer.clone(), Arc::new(without_last(&crew.log))));
    let cases: Vec<_> = cases.collect();
    populate_each(cases, gateway.quic, Cut::EachChange, &progress).await?;
    let unit = bench.unit();
    let probe = Session::dial(&bench.fleet.device(&unit)?, gateway.quic, None).await?;
    let cursor = Cursor { epoch: probe.welcome.epoch, position: probe.welcome.head };
    probe.close();
    Ok(cursor)
}

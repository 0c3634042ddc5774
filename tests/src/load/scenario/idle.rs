//! M3: what a connection costs that is idle and follows a case it already holds.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use feldakte_core::ids::Cursor;
use feldakte_proto::{ServerMessage, decode_entry};
use indicatif::ProgressBar;
use quinn::Connection;
use tokio::{process::Command, task::JoinSet, time::timeout};

use crate::{
    harness::{
        address::{Address, Transport},
        raw::RawClient,
    },
    load::{
        bench::{Bench, Crew},
        fleet::{Device, GATEWAY_NAME},
        gateway::{Gateway, Site},
        options::Scenario,
        populate::{self, Cut, populate_each},
        process::Memory,
        report::{Bar, Report, rounded},
        session::{self, Session},
    },
};

/// Idle connections over each transport, each following one small case, and to a server that does nothing.
///
/// # Errors
/// When it does not come to an end.
pub async fn run(bench: &mut Bench) -> Result<Report> {
    let count = bench.devices(1_000);
    let workload = bench.workload.clone();
    let crews = bench.crews(count, |index| (workload.small_case(index), usize::MAX)).await?;
    let site = bench.site()?;
    let cursor = fill(bench, &site, &crews).await?;
    let bare = bare_floor(bench, &crews).await?;
    let grpc = over_grpc(bench, (&site, &crews), cursor).await?;
    let (quic, seen) = over_quic(bench, (&site, &crews), cursor).await?;
    let title = format!("{count} idle connections over each transport, each following one case");
    let mut report = Report::new(Scenario::M3.name(), title);
    report.figures.kib_per_connection = Some(rounded(quic.rss));
    report.row("bare QUIC server", bare.to_string());
    report.row_with_bar("gateway over QUIC", quic.to_string(), Bar::at_most(quic.rss, 60.0, "KiB"));
    let beyond = quic.rss - bare.rss;
    report.row_with_bar("… beyond the bare one", format!("{beyond:.1} KiB"), Bar::at_most(beyond, 20.0, "KiB"));
    report.row("gateway over gRPC", grpc.to_string());
    report.row("they do follow", format!("{seen} tried over QUIC, each got a new change at once"));
    report.more("pss_kib_per_connection", quic.pss);
    report.more("bare_kib_per_connection", bare.rss);
    report.more("grpc_kib_per_connection", grpc.rss);
    Ok(report)
}

async fn over_quic(
    bench: &mut Bench,
    (site, crews): (&Site, &[Crew]),
    cursor: Cursor,
) -> Result<(PerConnection, usize)> {
    let gateway = fresh(bench, site).await?;
    let before = gateway.settled_memory().await?;
    let progress = bench.progress("connecting", crews.len());
    let mut followers = follow_all(crews, &gateway, cursor, &progress).await?;
    let after = gateway.settled_memory().await?;
    let seen = check_following(crews, &mut followers, &gateway).await?;
    followers.into_iter().for_each(Session::close);
    gateway.terminate().await?;
    Ok((per_connection(before, after, crews.len()), seen))
}

async fn over_grpc(bench: &mut Bench, (site, crews): (&Site, &[Crew]), cursor: Cursor) -> Result<PerConnection> {
    let gateway = fresh(bench, site).await?;
    let address = Address::over(gateway.grpc, Transport::Grpc);
    let mut followers = vec![follow_over_grpc(&crews[0].writer, address, cursor).await?];
    let before = gateway.settled_memory().await?;
    let progress = bench.progress("connecting over gRPC", crews.len());
    for crew in crews {
        followers.push(follow_over_grpc(&crew.reader, address, cursor).await?);
        progress.inc(1);
    }
    let after = gateway.settled_memory().await?;
    drop(followers);
    gateway.terminate().await?;
    Ok(per_connection(before, after, crews.len()))
}

async fn follow_over_grpc(device: &Device, gateway: Address, cursor: Cursor) -> Result<RawClient> {
    let begun = RawClient::try_session(device.dial.clone(), gateway, Some(cursor)).await;
    let (follower, welcome) = begun.context("no welcome over gRPC")?;
    ensure!(welcome.caught_up, "a device that has everything was not caught up");
    Ok(follower)
}

struct PerConnection {
    rss: f64,
    pss: f64,
}

impl fmt::Display for PerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rss, pss } = self;
        write!(f, "{rss:.1} KiB per connection (PSS {pss:.1})")
    }
}

fn per_connection(before: Memory, after: Memory, count: usize) -> PerConnection {
    let per = |before: u64, after: u64| (after as f64 - before as f64) / count as f64;
    PerConnection { rss: per(before.rss_kib, after.rss_kib), pss: per(before.pss_kib, after.pss_kib) }
}

/// Every case but its last change; returns the cursor of a device that has all of it.
async fn fill(bench: &mut Bench, site: &Site, crews: &[Crew]) -> Result<Cursor> {
    let gateway = site.start().await?;
    let progress = bench.progress("filling the store", crews.len());
    let case = |crew: &Crew| (crew.writer.clone(), Arc::new(crew.log.without_last()));
    let cases: Vec<_> = crews.iter().map(case).collect();
    populate_each(cases, gateway.quic, Cut::EachChange, &progress).await?;
    let unit = bench.unit();
    let cursor = populate::cursor_at_head(&bench.fleet.device(&unit)?, gateway.quic).await?;
    gateway.terminate().await?;
    Ok(cursor)
}

/// A fresh process: what filling the store needed is not there to be reused. What a gateway needs once, whoever connects,
/// is not counted for a connection.
async fn fresh(bench: &mut Bench, site: &Site) -> Result<Gateway> {
    let gateway = site.start().await?;
    let unit = bench.unit();
    Session::dial(&bench.fleet.device(&unit)?, gateway.quic, None).await?.close();
    Ok(gateway)
}

async fn follow_all(crews: &[Crew], gateway: &Gateway, cursor: Cursor, progress: &ProgressBar) -> Result<Vec<Session>> {
    let mut dialling = JoinSet::new();
    let mut followers: Vec<Option<Session>> = crews.iter().map(|_| None).collect();
    let mut rest = crews.iter().map(|crew| crew.reader.clone()).enumerate();
    loop {
        while dialling.len() < DIALS_AT_ONCE
            && let Some((index, reader)) = rest.next()
        {
            let quic = gateway.quic;
            dialling.spawn(async move { (index, Session::dial(&reader, quic, Some(cursor)).await) });
        }
        let Some(dialled) = dialling.join_next().await else { break };
        let (index, session) = dialled.context("dialling panicked")?;
        let session = session?;
        ensure!(session.welcome.caught_up, "a device that has everything was not caught up");
        followers[index] = Some(session);
        progress.inc(1);
    }
    Ok(followers.into_iter().flatten().collect())
}

/// Some of the writers push the change they held back; returns how many followers got it.
async fn check_following(crews: &[Crew], followers: &mut [Session], gateway: &Gateway) -> Result<usize> {
    let step = crews.len().div_ceil(FOLLOWERS_TRIED);
    let mut seen = 0;
    for (crew, follower) in crews.iter().zip(followers).step_by(step) {
        let mut writer = Session::dial(&crew.writer, gateway.quic, None).await?;
        let last = crew.log.changes.last().context("a case has changes")?;
        writer.sender.push(crew.log.document, std::slice::from_ref(last)).await?;
        timeout(SEEN_WITHIN, await_change(follower, last)).await.context("an idle device did not get a change")??;
        writer.close();
        seen += 1;
    }
    Ok(seen)
}

async fn await_change(follower: &mut Session, expected: &[u8]) -> Result<()> {
    loop {
        let ServerMessage::Changes(frame) = follower.receiver.next().await? else {
            bail!("an idle device got an answer to nothing");
        };
        // A frame may do nothing but move the cursor.
        if let Some(raw) = frame.entries.into_iter().next() {
            let changes = decode_entry(raw.entry)?.changes;
            ensure!(changes == [expected], "an idle device got something else");
            return Ok(());
        }
    }
}

/// The same number of connections to a server that does nothing.
async fn bare_floor(bench: &Bench, crews: &[Crew]) -> Result<PerConnection> {
    // Names this very program even when its file has been replaced meanwhile.
    let program = "/proc/self/exe";
    let pki = bench.fleet.pki().root_path();
    let pki = pki.parent().context("the PKI has a directory")?;
    let dir = tempfile::tempdir()?;
    let server = Gateway::spawn(Command::new(program).arg("bare-server").arg("--pki").arg(pki), dir.path()).await?;
    let progress = bench.progress("connecting, bare", crews.len());
    let mut connections = vec![connect_bare(&crews[0].writer, &server).await?];
    let before = server.settled_memory().await?;
    for crew in crews {
        connections.push(connect_bare(&crew.reader, &server).await?);
        progress.inc(1);
    }
    let after = server.settled_memory().await?;
    connections.iter().for_each(session::close);
    server.kill().await?;
    Ok(per_connection(before, after, crews.len()))
}

async fn connect_bare(device: &Device, server: &Gateway) -> Result<Connection> {
    Ok(device.endpoint.connect_with(device.config.clone(), server.quic, GATEWAY_NAME)?.await?)
}

const DIALS_AT_ONCE: usize = 16;
const FOLLOWERS_TRIED: usize = 20;
const SEEN_WITHIN: Duration = Duration::from_secs(10);

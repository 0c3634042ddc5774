//! M6: the gateway is killed at the moment the reader has seen the 200th change.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use feldakte_core::limits;
use feldakte_proto::{ServerMessage, decode_entry};
use tokio::time::{Duration, Instant, timeout, timeout_at};

use crate::load::{
    bench::{Bench, Crew},
    gateway::{Gateway, Site},
    holdings::{Holdings, Until},
    latency::Latencies,
    options::Scenario,
    pair,
    populate::{Cut, populate},
    process::{self, Signal},
    report::Report,
    session::{Receiver, Sender, Session},
    track::Track,
};

/// As many kills as asked for, each on a store of its own.
///
/// # Errors
/// When it does not come to an end.
pub async fn run(bench: &mut Bench) -> Result<Report> {
    let rounds = bench.options.rounds as usize;
    let title = format!("SIGKILL when the reader has seen change {SEEN}, {rounds} times");
    let mut report = Report::new(Scenario::M6.name(), title);
    let script = bench.workload.large.clone();
    let crews = bench.crews(rounds, |_| (script.clone(), STEPS)).await?;
    let progress = bench.progress("killing", rounds);
    let mut sum = Outcome::default();
    for crew in crews {
        let site = bench.site()?;
        let outcome = one_round(&site, &crew).await?;
        sum.seen += outcome.seen;
        sum.durable += outcome.durable;
        sum.lost += outcome.lost;
        progress.inc(1);
    }
    report.row("seen by the reader", format!("{} changes", sum.seen));
    report.row("told durable", format!("{} changes", sum.durable));
    report.row("pushed again after restart", "no refusal, the case is complete".to_owned());
    report.more("rounds", rounds as f64);
    report.more("seen", sum.seen as f64);
    report.more("durable", sum.durable as f64);
    report.lost(sum.lost);
    Ok(report)
}

#[derive(Default)]
struct Outcome {
    seen: u64,
    durable: u64,
    lost: u64,
}

async fn one_round(site: &Site, crew: &Crew) -> Result<Outcome> {
    let gateway = site.start().await?;
    let track = edit_until_killed(&gateway, crew).await?;
    gateway.kill().await?;
    // Both the reader that saw it and the writer that was told are to be believed.
    let promised = track.seen().max(track.durable());
    let gateway = site.start().await?;
    let lost = crew.log.hashes[..promised].len() as u64 - held(&gateway, crew, promised).await?;
    populate(
        &crew.writer,
        gateway.quic,
        std::slice::from_ref(&crew.log),
        Cut::Whole,
        &indicatif::ProgressBar::hidden(),
    )
    .await
    .context("the writer cannot go on after the restart")?;
    let complete = held(&gateway, crew, crew.log.len()).await?;
    ensure!(complete == crew.log.len() as u64, "the case is not complete after everything was pushed again");
    gateway.terminate().await?;
    Ok(Outcome { seen: track.seen() as u64, durable: track.durable() as u64, lost })
}

/// Writer and reader at full speed, until the reader has seen enough and the gateway is gone.
async fn edit_until_killed(gateway: &Gateway, crew: &Crew) -> Result<Arc<Track>> {
    let track = Arc::new(Track::new(&crew.logs(), Arc::<Latencies>::default()));
    let reader = Session::dial(&crew.reader, gateway.quic, None).await?;
    let writer = Session::dial(&crew.writer, gateway.quic, None).await?;
    let confirming = tokio::spawn(pair::confirm(track.clone(), writer.receiver));
    let pushing = tokio::spawn(push_until_cut(track.clone(), writer.sender));
    let killed = timeout(ROUND_WITHIN, watch_and_kill(&track, reader.receiver, gateway.pid())).await;
    // Nobody answers any more.
    pushing.abort();
    writer.connection.close(0u32.into(), b"");
    reader.connection.close(0u32.into(), b"");
    let _ = (pushing.await, confirming.await);
    killed.context("the reader did not see enough in time")??;
    Ok(track)
}

async fn push_until_cut(track: Arc<Track>, mut sender: Sender) -> Result<()> {
    let end = Instant::now() + ROUND_WITHIN;
    while !track.is_exhausted() {
        match track.ready(OUTSTANDING) {
            0 => timeout_at(end, track.seen_more()).await?,
            ready => {
                let Some((document, changes)) = track.send(sender.next_push(), ready) else { break };
                sender.push(document, changes).await?;
            }
        }
    }
    Ok(())
}

async fn watch_and_kill(track: &Track, mut receiver: Receiver, gateway: u32) -> Result<()> {
    loop {
        let message = receiver.next().await.context("the reader's session ended before the kill")?;
        let ServerMessage::Changes(frame) = message else { continue };
        for raw in frame.entries {
            let entry = decode_entry(raw.entry)?;
            track.on_changes(entry.document, &entry.changes)?;
            // The genesis is not an edit.
            if track.seen() > SEEN {
                return process::send_signal(gateway, Signal::Kill);
            }
        }
    }
}

/// How many of the first `count` changes an empty device gets.
async fn held(gateway: &Gateway, crew: &Crew, count: usize) -> Result<u64> {
    let mut session = Session::dial(&crew.reader, gateway.quic, None).await?;
    let holdings = Holdings::collect(&mut session, Until::CaughtUp).await?;
    session.close();
    let Some(mut replica) = holdings.open(crew.log.document)? else { return Ok(0) };
    Ok(crew.log.hashes[..count].iter().filter(|hash| replica.contains(**hash)).count() as u64)
}

const SEEN: usize = 200;
const OUTSTANDING: usize = 16;
/// More than are needed, and few enough for one push afterwards.
const STEPS: usize = limits::PUSH_CHANGES_MAX - 1;
const ROUND_WITHIN: Duration = Duration::from_secs(30);

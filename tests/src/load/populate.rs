//! Fills a gateway with cases, the way the field does: change by change, many pushes in flight.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, bail};
use feldakte_core::{ids::Cursor, limits};
use feldakte_proto::ServerMessage;
use indicatif::ProgressBar;
use tokio::task::JoinSet;

use crate::load::{fleet::Device, replay::CaseLog, session::Session};

/// How the changes of a case are cut into pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// One change per push, as a person writes: one entry of the log each.
    EachChange,
    /// As many as a push may hold, as a device does that comes back after a long time.
    Whole,
}

/// Pushes cases of one device and waits until all of it is durable.
///
/// # Errors
/// When anything is refused or the session ends.
pub async fn populate(
    device: &Device,
    gateway: SocketAddr,
    logs: &[Arc<CaseLog>],
    cut: Cut,
    progress: &ProgressBar,
) -> Result<()> {
    let len = match cut {
        Cut::EachChange => 1,
        Cut::Whole => limits::PUSH_CHANGES_MAX,
    };
    let mut session = Session::dial(device, gateway, None).await?;
    let mut in_flight = 0;
    for log in logs {
        for changes in log.changes.chunks(len) {
            if in_flight == limits::PUSHES_IN_FLIGHT {
                await_durable(&mut session).await?;
                in_flight -= 1;
            }
            session.sender.push(log.document, changes).await?;
            in_flight += 1;
        }
        progress.inc(1);
    }
    for _ in 0..in_flight {
        await_durable(&mut session).await?;
    }
    session.close();
    Ok(())
}

/// Each device pushes its own case, some at a time.
///
/// # Errors
/// When one of them fails.
pub async fn populate_each(
    cases: impl IntoIterator<Item = (Device, Arc<CaseLog>)>,
    gateway: SocketAddr,
    cut: Cut,
    progress: &ProgressBar,
) -> Result<()> {
    let mut rest = cases.into_iter();
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE
            && let Some((device, log)) = rest.next()
        {
            let progress = progress.clone();
            running.spawn(async move { populate(&device, gateway, &[log], cut, &progress).await });
        }
        let Some(result) = running.join_next().await else { return Ok(()) };
        result.context("populating panicked")??;
    }
}

/// The cursor of a device that has everything up to now.
///
/// # Errors
/// When the device is not welcomed.
pub async fn cursor_at_head(device: &Device, gateway: SocketAddr) -> Result<Cursor> {
    let session = Session::dial(device, gateway, None).await?;
    let cursor = Cursor { epoch: session.welcome.epoch, position: session.welcome.head };
    session.close();
    Ok(cursor)
}

async fn await_durable(session: &mut Session) -> Result<()> {
    loop {
        match session.receiver.next().await? {
            ServerMessage::Durable(durable) => match durable.refused.first() {
                None => return Ok(()),
                Some(refused) => bail!("a change was refused: {:?}, expected {}", refused.reason, refused.expected),
            },
            ServerMessage::Changes(_) => {}
            _ => bail!("an answer to nothing"),
        }
    }
}

const AT_ONCE: usize = 32;

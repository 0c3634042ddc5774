//! A crew at work: the writer's session, the reader's session, and one task behind each that checks what comes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use feldakte_proto::{ServerMessage, decode_entry};
use quinn::Connection;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use crate::load::{
    bench::Crew,
    latency::Latencies,
    report::Troubles,
    session::{self, Receiver, Sender, Session},
    track::Track,
};

/// A writer and a reader, connected.
#[derive(Debug)]
pub struct Pair {
    /// How far the case is.
    pub track: Arc<Track>,
    sender: Sender,
    /// Held: a stream that is dropped says goodbye.
    _reader: Sender,
    connections: [Connection; 2],
    _tasks: JoinSet<()>,
}

impl Pair {
    /// Connects both devices and opens the case: genesis and containers are durable and seen when this returns.
    ///
    /// # Errors
    /// When a device is not welcomed or the case does not reach the reader.
    pub async fn connect(
        crew: &Crew,
        gateway: SocketAddr,
        latencies: Arc<Latencies>,
        troubles: Arc<Troubles>,
    ) -> Result<Pair> {
        // The opening is not part of what is measured.
        let opening = Arc::<Latencies>::default();
        let reader = Session::dial(&crew.reader, gateway, None).await?;
        let writer = Session::dial(&crew.writer, gateway, None).await?;
        let track = Arc::new(Track::new(&crew.logs(), opening));
        let mut tasks = JoinSet::new();
        tasks.spawn(noting(troubles.clone(), watch(track.clone(), reader.receiver)));
        tasks.spawn(noting(troubles, confirm(track.clone(), writer.receiver)));
        let connections = [writer.connection, reader.connection];
        let mut pair = Pair { track, sender: writer.sender, _reader: reader.sender, connections, _tasks: tasks };
        pair.send(OPENING).await?;
        timeout(OPEN_WITHIN, pair.track.seen_all(OPENING)).await.context("the case did not reach its reader")?;
        pair.track.measure_into(latencies);
        Ok(pair)
    }

    /// Sends up to `count` of the next changes as one push; nothing when there is nothing left.
    ///
    /// # Errors
    /// When the session is over.
    pub async fn send(&mut self, count: usize) -> Result<()> {
        match self.track.send(self.sender.next_push(), count) {
            Some((document, changes)) => self.sender.push(document, changes).await,
            None => Ok(()),
        }
    }

    /// Keeps `window` changes outstanding until the end; what becomes ready together is pushed together. Returns
    /// early when there is nothing left to send.
    ///
    /// # Errors
    /// When the session is over.
    pub async fn keep_outstanding(&mut self, window: usize, end: Instant) -> Result<()> {
        while Instant::now() < end && !self.track.is_exhausted() {
            match self.track.ready(window) {
                0 if timeout_at(end, self.track.seen_more()).await.is_err() => return Ok(()),
                0 => {}
                ready => self.send(ready).await?,
            }
        }
        Ok(())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.connections.iter().for_each(session::close);
    }
}

/// Connects all crews, some at a time.
///
/// # Errors
/// When one of them fails.
pub async fn connect_all(
    crews: Vec<Crew>,
    gateway: SocketAddr,
    latencies: &Arc<Latencies>,
    troubles: &Arc<Troubles>,
) -> Result<Vec<Pair>> {
    let mut pairs = Vec::with_capacity(crews.len());
    let mut rest = crews.into_iter();
    let mut dialling = JoinSet::new();
    loop {
        while dialling.len() < AT_ONCE
            && let Some(crew) = rest.next()
        {
            let (latencies, troubles) = (latencies.clone(), troubles.clone());
            dialling.spawn(async move { Pair::connect(&crew, gateway, latencies, troubles).await });
        }
        let Some(pair) = dialling.join_next().await else { return Ok(pairs) };
        pairs.push(pair.context("connecting panicked")??);
    }
}

/// The reader: every change of the cases, in order, byte for byte.
///
/// # Errors
/// When anything else comes, or the session ends.
pub async fn watch(track: Arc<Track>, mut receiver: Receiver) -> Result<()> {
    loop {
        match receiver.next().await.context("the reader's session ended")? {
            ServerMessage::Changes(frame) => {
                for raw in frame.entries {
                    let entry = decode_entry(raw.entry)?;
                    track.on_changes(entry.document, &entry.changes)?;
                }
            }
            _ => bail!("the reader got an answer to nothing"),
        }
    }
}

/// The writer's other half: every push is answered, none refused.
///
/// # Errors
/// When anything else comes, or the session ends.
pub async fn confirm(track: Arc<Track>, mut receiver: Receiver) -> Result<()> {
    loop {
        match receiver.next().await.context("the writer's session ended")? {
            ServerMessage::Durable(durable) => track.on_durable(&durable)?,
            // Its own cursor moving, or others writing: nothing to check.
            ServerMessage::Changes(_) => {}
            _ => bail!("the writer got an answer to nothing"),
        }
    }
}

async fn noting(troubles: Arc<Troubles>, task: impl Future<Output = Result<()>>) {
    if let Err(error) = task.await {
        troubles.note(&error);
    }
}

/// Genesis and the containers of the script.
pub const OPENING: usize = 2;

const AT_ONCE: usize = 16;
const OPEN_WITHIN: Duration = Duration::from_secs(30);

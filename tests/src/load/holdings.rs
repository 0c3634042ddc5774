//! What an empty device has after catching up: the tail as it came, the rest fetched as snapshots.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use feldakte_core::{
    crdt::Document,
    ids::{ActorId, DocumentId},
    limits,
};
use feldakte_proto::{FrameDecoder, ServerMessage, Unbundled, decode_bundle, decode_entry};
use quinn::{Connection, RecvStream};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::load::{replay::CaseLog, session::Session};

/// Chunks of every document a device has received.
#[derive(Debug, Default)]
pub struct Holdings {
    snapshots: HashMap<DocumentId, Bytes>,
    tails: HashMap<DocumentId, Vec<Bytes>>,
}

/// How much of what may be seen is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Everything.
    CaughtUp,
    /// One document that is complete.
    FirstDocument,
}

impl Holdings {
    /// Reads until the device has what it waits for.
    ///
    /// # Errors
    /// When the gateway does not deliver it in time.
    pub async fn collect(session: &mut Session, until: Until) -> Result<Holdings> {
        timeout(COLLECT_WITHIN, Self::collect_all(session, until))
            .await
            .context("the documents did not come in time")?
    }

    async fn collect_all(session: &mut Session, until: Until) -> Result<Holdings> {
        let mut holdings = Holdings::default();
        let (bundles, mut received) = mpsc::channel(BUNDLES_WAITING);
        let _streams = Streams::accept(&session.connection, bundles);
        let mut wanted = HashSet::new();
        let mut caught_up = session.welcome.caught_up;
        loop {
            let first = until == Until::FirstDocument && holdings.len() > 0;
            if first || (caught_up && wanted.is_empty()) {
                return Ok(holdings);
            }
            tokio::select! {
                message = session.receiver.next() => {
                    let ServerMessage::Changes(frame) = message? else { bail!("a frame that nobody asked for") };
                    let bootstrap = match until {
                        Until::CaughtUp => frame.bootstrap,
                        Until::FirstDocument => frame.bootstrap.into_iter().take(1).collect(),
                    };
                    session.sender.fetch(&bootstrap).await?;
                    wanted.extend(bootstrap);
                    for raw in frame.entries {
                        let entry = decode_entry(raw.entry)?;
                        holdings.tails.entry(entry.document).or_default().extend(entry.changes);
                    }
                    caught_up |= frame.caught_up;
                }
                bundle = received.recv() => {
                    let Unbundled { snapshots, unavailable } = bundle.context("the snapshot streams ended")??;
                    ensure!(unavailable.is_empty(), "{} documents are not available", unavailable.len());
                    for snapshot in snapshots {
                        wanted.remove(&snapshot.document);
                        holdings.snapshots.insert(snapshot.document, snapshot.chunks);
                    }
                }
            }
        }
    }

    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.tails.keys().filter(|document| !self.snapshots.contains_key(document)).count() + self.snapshots.len()
    }

    /// Bytes of documents, unpacked.
    pub fn content_len(&self) -> usize {
        let tails: usize = self.tails.values().flatten().map(Bytes::len).sum();
        tails + self.snapshots.values().map(Bytes::len).sum::<usize>()
    }

    /// Opens a document; `None` when the device does not have it.
    ///
    /// # Errors
    /// When what came is not a whole document.
    pub fn open(&self, document: DocumentId) -> Result<Option<Document>> {
        let tail = self.tails.get(&document).map(Vec::as_slice).unwrap_or_default();
        let Some(snapshot) = self.snapshots.get(&document) else {
            if tail.is_empty() {
                return Ok(None);
            }
            return Ok(Some(Document::load(&tail.concat(), READER)?));
        };
        let mut replica = Document::load(snapshot, READER)?;
        replica.apply(tail)?;
        Ok(Some(replica))
    }

    /// How many changes of the case are not there; 0 means that the heads are equal, too.
    ///
    /// # Errors
    /// When what came is not a whole document, or holds something that nobody wrote.
    pub fn missing(&self, log: &CaseLog) -> Result<usize> {
        let Some(mut replica) = self.open(log.document)? else { return Ok(log.len()) };
        let missing = log.hashes.iter().filter(|hash| !replica.contains(**hash)).count();
        ensure!(missing > 0 || replica.heads() == log.heads(), "a document has changes that nobody wrote");
        Ok(missing)
    }
}

/// Reads snapshot streams until dropped.
struct Streams(#[expect(dead_code, reason = "aborts its tasks when dropped")] JoinSet<()>);

impl Streams {
    fn accept(connection: &Connection, bundles: mpsc::Sender<Result<Unbundled>>) -> Self {
        let connection = connection.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // An end of the connection shows on the session stream.
            while let Ok(stream) = connection.accept_uni().await {
                // One after the other: the gateway sends them in the order they were asked for.
                if let Err(error) = read_bundles(stream, &bundles).await {
                    let _ = bundles.send(Err(error)).await;
                }
            }
        });
        Self(tasks)
    }
}

async fn read_bundles(mut stream: RecvStream, bundles: &mpsc::Sender<Result<Unbundled>>) -> Result<()> {
    let mut decoder = FrameDecoder::new(limits::BUNDLE_LEN_MAX);
    while let Some(chunk) = stream.read_chunk(usize::MAX, true).await? {
        decoder.extend(&chunk.bytes);
        while let Some(frame) = decoder.next_frame()? {
            if bundles.send(Ok(decode_bundle(frame)?)).await.is_err() {
                return Ok(());
            }
        }
    }
    ensure!(!decoder.is_mid_frame(), "a snapshot stream was cut short");
    Ok(())
}

/// Nobody writes under it: the load generator only reads these replicas.
const READER: ActorId = ActorId([0xff; 16]);
/// Bundles that wait to be taken in.
const BUNDLES_WAITING: usize = 16;
const COLLECT_WITHIN: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use feldakte_core::{
        crdt::Packing,
        ids::{CaseId, Part},
    };
    use uuid::Uuid;

    use super::*;
    use crate::load::{replay::CaseSpec, workload::tests::script};

    fn log() -> Arc<CaseLog> {
        let document = DocumentId { case: CaseId(Uuid::from_u128(1)), part: Part::Clinical };
        let spec = CaseSpec { document, actor: ActorId([1; 16]), script: script(), steps: 4 };
        Arc::new(CaseLog::write(&spec).unwrap())
    }

    fn snapshot(log: &CaseLog, changes: usize) -> Bytes {
        Document::load(&log.changes[..changes].concat(), READER).unwrap().save(Packing::Plain).into()
    }

    #[test]
    fn what_is_missing_is_counted() {
        let log = log();
        let mut holdings = Holdings::default();
        assert_eq!((holdings.missing(&log).unwrap(), holdings.len()), (5, 0));
        holdings.snapshots.insert(log.document, snapshot(&log, 3));
        assert_eq!((holdings.missing(&log).unwrap(), holdings.len()), (2, 1));
        holdings.tails.insert(log.document, log.changes[2..].to_vec());
        assert_eq!((holdings.missing(&log).unwrap(), holdings.len()), (0, 1), "overlapping is normal");
    }

    #[test]
    fn a_tail_from_the_beginning_is_a_document() {
        let log = log();
        let mut holdings = Holdings::default();
        holdings.tails.insert(log.document, log.changes[..4].to_vec());
        assert_eq!(holdings.missing(&log).unwrap(), 1);
    }

    #[test]
    fn a_tail_with_a_hole_is_not_one() {
        let log = log();
        let mut holdings = Holdings::default();
        holdings.tails.insert(log.document, [&log.changes[..2], &log.changes[3..]].concat());
        assert!(holdings.missing(&log).is_err());
    }
}

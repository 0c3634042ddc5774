//! Persist, then speak: the one task that gives admitted entries their place in the log.
//!
//! It collects what all sessions have admitted until the previous commit returns, commits once, and only then lets
//! anybody hear of it. Without room on the disk, or without a key to seal with, it tries the same batch again: sessions
//! stay, nothing is acknowledged. When the outcome of a commit is unknown it stops the gateway.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use feldakte_core::{
    access::Subject,
    audit::{About, Act, Actor, Record, Span},
    ids::{Position, TenantId, UserId},
    limits,
    log::Entry,
};
use feldakte_proto::Refused;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    audit::{Audit, Trail},
    hub::{Hub, Publication},
    ledgers::LedgerCell,
    mailbox::{Answer, LiveEntry, Mailbox},
    metrics::Metrics,
    projector::Backlog,
    store::{Append, SharedStore, StoreError},
};

/// An admitted push, or an act of authority, on its way into the log.
#[cfg_attr(test, derive(Debug))]
pub struct Submission {
    /// Whose log.
    pub tenant: TenantId,
    /// What became new and how it is stored; `None` when all was known or refused.
    pub entry: Option<(Entry, Bytes)>,
    /// Whether readers are sent it before all else.
    pub is_urgent: bool,
    /// Whose grants let them see the entry.
    pub readers: Vec<Subject>,
    /// Keeps the ledger in memory until the entry is durable; `None` when it cannot be read.
    pub ledger: Option<Arc<LedgerCell>>,
    /// Its share of [`limits::SEQUENCER_BYTES`], given back after the commit; `None` for acts of the gateway itself.
    pub room: Option<OwnedSemaphorePermit>,
    /// Who waits for it.
    pub author: Author,
}

feldakte_core::hide_content! { Submission { tenant } }

/// Who waits for a submission.
#[derive(Debug)]
pub enum Author {
    /// A session, for one of its pushes.
    Session {
        /// In whose name it acts.
        trail: Arc<Trail>,
        /// Whose work it is.
        user: Option<UserId>,
        /// Where the answer goes.
        mailbox: Arc<Mailbox>,
        /// The push as the device numbered it.
        push: u64,
        /// What was not taken.
        refused: Vec<Refused>,
    },
    /// The gateway itself.
    Gateway(oneshot::Sender<Position>),
}

/// The task's data.
pub struct Sequencer {
    /// Where it commits.
    pub store: SharedStore,
    /// Where it publishes.
    pub hub: Arc<Hub>,
    /// Where it notes what has become durable.
    pub audit: Audit,
    /// What it measures.
    pub metrics: Arc<Metrics>,
    /// Who applies what has become durable.
    pub backlog: Arc<Backlog>,
    /// Cancelled when the store can no longer be trusted: the process has to end.
    pub fatal: CancellationToken,
}

impl Sequencer {
    /// Runs until shutdown and then on until all that was submitted before is committed, or the store has failed for
    /// good.
    pub async fn run(self, mut submissions: mpsc::Receiver<Submission>, shutdown: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            let received = tokio::select! {
                biased;
                () = shutdown.cancelled(), if !submissions.is_closed() => {
                    // Whoever has no slot yet is told so; whoever has one still fills it.
                    submissions.close();
                    continue;
                }
                received = submissions.recv_many(&mut batch, limits::BATCH) => received,
            };
            if received == 0 {
                return;
            }
            let appends = appends_of(&batch);
            let Some(positions) = self.commit(&appends, &shutdown).await else { return };
            self.publish(batch.drain(..), positions);
        }
    }

    /// Commits until it succeeds; `None` when it never will.
    async fn commit(&self, appends: &[Append], shutdown: &CancellationToken) -> Option<Vec<Position>> {
        if appends.is_empty() {
            return Some(Vec::new());
        }
        loop {
            let started = Instant::now();
            let error = match self.store.append(appends).await {
                Ok(positions) => {
                    self.metrics.store_ready.set(1);
                    self.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
                    self.metrics.commit_entries.observe(appends.len() as f64);
                    return Some(positions);
                }
                Err(error) => error,
            };
            self.metrics.store_ready.set(0);
            if !matches!(error, StoreError::Full | StoreError::Unavailable(_)) {
                error!(%error, entries = appends.len(), "the log cannot be written; the gateway stops");
                self.fatal.cancel();
                return None;
            }
            warn!(%error, entries = appends.len(), "nothing is acknowledged until it can be written");
            self.metrics.commit_retries.inc();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep(RETRY_AFTER) => {}
            }
        }
    }

    fn publish(&self, batch: impl Iterator<Item = Submission>, positions: Vec<Position>) {
        let mut positions = positions.into_iter();
        let mut publications = Vec::new();
        let mut waiters = Vec::new();
        let mut acts = Vec::new();
        let mut heads = HashMap::new();
        for Submission { tenant, entry, is_urgent, readers, ledger: _, room: _, author } in batch {
            let revoked = entry.as_ref().map(|(entry, _)| entry.revoked.clone()).unwrap_or_default();
            let entry = entry.map(|(entry, encoded)| {
                let position = positions.next().expect("append gives every entry a position");
                acts.extend(acts_of(&tenant, &entry, position, &author));
                self.metrics.changes_durable.inc_by(entry.changes.len() as u64);
                self.backlog.touch(entry.document, entry.changes.len());
                heads.insert(tenant.clone(), position);
                let has_content = !entry.changes.is_empty();
                // What is told of authority is told in the order of the log.
                let is_urgent = is_urgent && is_content_alone(&entry);
                Arc::new(LiveEntry { document: entry.document, position, has_content, is_urgent, encoded })
            });
            // A push in which nothing was new is answered with where the log stands: what it repeats may have
            // been committed a moment ago in this very batch.
            let position = match &entry {
                Some(entry) => entry.position,
                None => heads.get(&tenant).copied().or_else(|| self.hub.published(&tenant)).unwrap_or(Position::START),
            };
            let author = match author {
                Author::Session { trail: _, user: _, mailbox, push, refused } => {
                    self.metrics.pushes.inc();
                    Some((mailbox, Answer { push, position, refused }))
                }
                Author::Gateway(waiter) => {
                    waiters.push((waiter, position));
                    None
                }
            };
            publications.push(Publication { tenant, position, entry, readers, revoked, author });
        }
        // Noted before anybody hears of it.
        self.audit.note_all(acts);
        let lagged = self.hub.publish(publications);
        self.metrics.readers_lagged.inc_by(lagged);
        for (waiter, position) in waiters {
            // Nobody waits any more: the entry is durable all the same.
            let _ = waiter.send(position);
        }
    }
}

/// What a durable entry means to the audit log: changes, and grants that begin or end with it. Grants of the gateway's own
/// are recorded by whoever gives them, before they begin.
fn acts_of(tenant: &TenantId, entry: &Entry, position: Position, author: &Author) -> Vec<Record> {
    let Entry { document, grants, revoked, bindings: _, quarantined: _, changes } = entry;
    let (document, at) = (*document, Span::of(position));
    let ended = revoked.iter().map(|subject| (Act::GrantEnded, About::grant(document, subject)));
    match author {
        Author::Session { trail, user, .. } => {
            let began = grants.iter().map(|grant| (Act::GrantBegan, About::grant(document, &grant.subject)));
            let granted = began.chain(ended).map(|(act, about)| trail.act_for(*user, act, about).at(at));
            let count = changes.len() as u64;
            let wrote = Record { count, ..trail.act_for(*user, Act::Wrote, About::document(document)).at(at) };
            granted.chain((count > 0).then_some(wrote)).collect()
        }
        Author::Gateway(_) => {
            let act = |(act, about)| Record::new(tenant.clone().into(), Actor::Gateway, act).about(about).at(at);
            ended.map(act).collect()
        }
    }
}

fn is_content_alone(entry: &Entry) -> bool {
    let Entry { document: _, grants, revoked, bindings: _, quarantined, changes: _ } = entry;
    grants.is_empty() && revoked.is_empty() && quarantined.is_empty()
}

fn appends_of(batch: &[Submission]) -> Vec<Append> {
    batch
        .iter()
        .filter_map(|submission| {
            let (entry, encoded) = submission.entry.as_ref()?;
            Some(Append { tenant: submission.tenant.clone(), entry: entry.clone(), encoded: encoded.clone() })
        })
        .collect()
}

/// Between two attempts to commit the same batch.
const RETRY_AFTER: Duration = Duration::from_millis(500);

//! The one task that writes the audit log: it collects what is asked of it until the previous commit returns.
//!
//! When a commit fails, whoever waits is told and the same rows are tried again until they are durable: an act that may
//! have been written must not be written twice.

use std::{sync::Arc, time::Duration};

use feldakte_core::{
    audit::{Act, Actor, Chain, Record},
    limits,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    Audit, AuditError, AuditKey, Submission,
    chains::{Chains, Planned, Signing},
};
use crate::store::StoreError;

/// The task's data.
pub struct Scribe {
    audit: Audit,
    chains: Chains,
    submissions: mpsc::Receiver<Submission>,
}

enum Wake {
    Stop,
    Submissions(usize),
    Due,
}

impl Scribe {
    pub(super) fn new(audit: Audit, key: Arc<AuditKey>, submissions: mpsc::Receiver<Submission>) -> Self {
        Self { audit, chains: Chains::new(key), submissions }
    }

    /// Writes until shutdown, and then what is left, that the gateway has ended, and the last checkpoints.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let mut submissions = Vec::new();
            let wake = tokio::select! {
                biased;
                () = shutdown.cancelled(), if !self.submissions.is_closed() => Wake::Stop,
                received = self.submissions.recv_many(&mut submissions, limits::AUDIT_BATCH) => Wake::Submissions(received),
                () = due(&self.audit, &self.chains) => Wake::Due,
            };
            match wake {
                Wake::Stop => self.submissions.close(),
                Wake::Submissions(0) => break,
                Wake::Submissions(_) | Wake::Due => {
                    let noted = self.audit.notes().take_due(Instant::now());
                    self.write(noted, submissions, Signing::Due, &shutdown).await;
                }
            }
        }
        let mut last = self.audit.notes().take_all();
        let mut stopped = [Record::new(Chain::Gateway, Actor::Gateway, Act::GatewayStopped)];
        self.audit.stamp(&mut stopped);
        last.extend(stopped);
        self.write(last, Vec::new(), Signing::All, &shutdown).await;
        self.audit.0.store.close().await;
    }

    /// Writes until it succeeds, or until shutdown. Notes come first: they happened before.
    async fn write(
        &mut self,
        noted: Vec<Record>,
        submissions: Vec<Submission>,
        signing: Signing,
        shutdown: &CancellationToken,
    ) {
        let (mut records, mut waiting) = (noted, Vec::new());
        for Submission { records: asked, written } in submissions {
            records.extend(asked);
            waiting.push(written);
        }
        let mut planned = None;
        loop {
            let error = match self.try_write(&records, &mut planned, signing).await {
                Ok(()) => break,
                Err(error) => error,
            };
            if self.audit.is_available() {
                error!(%error, records = records.len(), "the audit log cannot be written; no document leaves until it can");
            }
            self.audit.0.available.send_replace(false);
            waiting.drain(..).for_each(|written| tell(written, Err(AuditError::Unavailable)));
            if !self.wait_for_another_try(shutdown).await {
                warn!(records = records.len(), "audit records are lost");
                return;
            }
        }
        self.audit.0.available.send_replace(true);
        waiting.into_iter().for_each(|written| tell(written, Ok(())));
    }

    async fn try_write(
        &mut self,
        records: &[Record],
        planned: &mut Option<Planned>,
        signing: Signing,
    ) -> Result<(), StoreError> {
        let store = self.audit.0.store.clone();
        let is_second_try = planned.is_some();
        let plan = match planned.take() {
            Some(plan) => plan,
            None => self.chains.plan(&store, records, signing, self.audit.0.environment.now_ms()).await?,
        };
        let plan = planned.insert(plan);
        if !is_second_try || !self.chains.is_durable(&store, plan).await? {
            store.append(&plan.batch).await?;
        }
        planned.take().into_iter().for_each(|plan| self.chains.advance(plan));
        Ok(())
    }

    /// Whoever asks meanwhile is told at once. Returns false when there is no other try.
    async fn wait_for_another_try(&mut self, shutdown: &CancellationToken) -> bool {
        let again = tokio::time::sleep(RETRY_AFTER);
        tokio::pin!(again);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return false,
                () = &mut again => return true,
                Some(Submission { records: _, written }) = self.submissions.recv() => {
                    tell(written, Err(AuditError::Unavailable));
                }
            }
        }
    }
}

/// Returns when notes have waited long enough, or a chain wants a checkpoint.
async fn due(audit: &Audit, chains: &Chains) {
    loop {
        let noted = audit.notes().due();
        let Some(due) = noted.into_iter().chain(chains.due()).min() else {
            audit.0.due.notified().await;
            continue;
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(due) => return,
            () = audit.0.due.notified() => {}
        }
    }
}

/// Whoever is gone needs no answer.
fn tell(written: tokio::sync::oneshot::Sender<Result<(), AuditError>>, outcome: Result<(), AuditError>) {
    let _ = written.send(outcome);
}

/// Between two attempts to write the same rows.
const RETRY_AFTER: Duration = Duration::from_millis(500);

//! Documents under work: a few at a time, so that one that takes long holds up no other, and each by one task alone.

use std::{
    collections::{BTreeSet, VecDeque},
    panic::resume_unwind,
    sync::Arc,
};

use feldakte_core::{ids::DocumentId, limits};
use tokio::{task::JoinSet, time::Instant};

use super::{backlog::Wanted, project_one};
use crate::gateway::Shared;

/// The projector's workbench. Tasks end with it.
pub(super) struct Bench {
    shared: Arc<Shared>,
    /// In the order in which they became due: a busy document does not keep coming before the others.
    waiting: VecDeque<DocumentId>,
    /// Waiting or under work.
    taken_up: BTreeSet<DocumentId>,
    running: JoinSet<DocumentId>,
}

impl Bench {
    pub fn new(shared: Arc<Shared>) -> Self {
        let (waiting, taken_up, running) = (VecDeque::new(), BTreeSet::new(), JoinSet::new());
        Self { shared, waiting, taken_up, running }
    }

    /// Lines up what the backlog has, and begins as far as there is room.
    pub fn take_up(&mut self, wanted: Wanted) {
        for document in self.shared.backlog.due(Instant::now(), wanted) {
            if self.taken_up.insert(document) {
                self.waiting.push_back(document);
            }
        }
        self.begin();
    }

    /// Waits until one document is done and begins the next; for ever when none is under work. Nothing is lost when it
    /// is dropped.
    ///
    /// # Panics
    /// When the document's task has panicked.
    pub async fn one_done(&mut self) {
        match self.running.join_next().await {
            None => std::future::pending().await,
            Some(Ok(document)) => {
                self.taken_up.remove(&document);
                self.begin();
            }
            Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
            // The runtime is going down.
            Some(Err(_)) => {}
        }
    }

    /// Finishes all that was taken up.
    pub async fn clear(&mut self) {
        while !self.running.is_empty() {
            self.one_done().await;
        }
    }

    fn begin(&mut self) {
        while self.running.len() < limits::PROJECTIONS_AT_ONCE {
            let Some(document) = self.waiting.pop_front() else { return };
            let shared = self.shared.clone();
            let work = async move {
                project_one(&shared, document).await;
                document
            };
            self.running.spawn(self.shared.tasks.track_future(work));
        }
    }
}

//! A task without which the gateway is of no use, and how it is brought to its end.

use feldakte_core::limits;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// A running vital task.
#[derive(Debug)]
pub(super) struct Vital {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Vital {
    /// Starts what `task` makes of the token on which it has to end.
    pub fn spawn<F>(name: &'static str, task: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = tokio::spawn(task(stop.clone()));
        Self { name, stop, task }
    }

    /// Asks the task to end and waits until it has; by force after [`limits::DRAIN_WITHIN`].
    pub async fn end(self) {
        let Self { name, stop, mut task } = self;
        stop.cancel();
        match tokio::time::timeout(limits::DRAIN_WITHIN, &mut task).await {
            Ok(Ok(())) => {}
            // What a panic says may quote what it stumbled over.
            Ok(Err(_)) => error!(task = name, "panicked"),
            Err(_) => {
                warn!(task = name, "did not end in time");
                task.abort();
                let _ = task.await;
            }
        }
    }
}

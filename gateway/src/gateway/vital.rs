//! A task without which the gateway is of no use: when it ends and nobody asked for it, the gateway ends.

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
    /// Starts what `task` makes of the token on which it has to end; `fatal` is cancelled when it ends before that.
    pub fn spawn<F>(name: &'static str, fatal: CancellationToken, task: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let alarm = Alarm { name, stop: stop.clone(), fatal };
        let task = task(stop.clone());
        let task = tokio::spawn(async move {
            // Dropped by a panic as well.
            let _alarm = alarm;
            task.await;
        });
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

/// Tells apart, when it is dropped, an end that was asked for from any other.
struct Alarm {
    name: &'static str,
    stop: CancellationToken,
    fatal: CancellationToken,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            error!(task = self.name, "ended before its time; the gateway stops");
            self.fatal.cancel();
        }
    }
}

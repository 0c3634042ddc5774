//! One async runtime for the whole process; the app's own thread only waits for results.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

use crate::error::FfiError;

/// Runs work on our runtime. A panic in it comes back as an error.
pub(crate) async fn on_runtime<T: Send + 'static>(
    work: impl Future<Output = Result<T, FfiError>> + Send + 'static,
) -> Result<T, FfiError> {
    runtime()?.spawn(work).await.map_err(|_| FfiError::Internal)?
}

/// Runs something short that needs the runtime's context.
pub(crate) fn in_runtime<T>(work: impl FnOnce() -> T) -> Result<T, FfiError> {
    let _guard = runtime()?.enter();
    Ok(work())
}

fn runtime() -> Result<&'static Runtime, FfiError> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let build = || {
        // A panic's message may quote what it stumbled over; where it happened is enough to find it.
        std::panic::set_hook(Box::new(|panic| match panic.location() {
            Some(place) => eprintln!("feldakte: panic at {place}"),
            None => eprintln!("feldakte: panic"),
        }));
        Builder::new_multi_thread().worker_threads(2).thread_name("feldakte").enable_all().build().ok()
    };
    RUNTIME.get_or_init(build).as_ref().ok_or(FfiError::Internal)
}

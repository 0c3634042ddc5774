//! One async runtime for the whole process; the app's own thread only waits for results.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinError,
};

use crate::error::FfiError;

/// Runs work on our runtime. A panic in it comes back as an error.
pub(crate) async fn on_runtime<T: Send + 'static>(
    work: impl Future<Output = Result<T, FfiError>> + Send + 'static,
) -> Result<T, FfiError> {
    runtime()?.spawn(work).await.map_err(|error: JoinError| match error.is_cancelled() {
        true => FfiError::ShutDown,
        false => FfiError::Internal,
    })?
}

/// Runs something short that needs the runtime's context.
pub(crate) fn in_runtime<T>(work: impl FnOnce() -> T) -> Result<T, FfiError> {
    let _guard = runtime()?.enter();
    Ok(work())
}

/// Ends the threads of the SDK; returns when none of them can call the app any more. Shut clients down before.
///
/// Call it last where the process ends under its threads: Python kills a thread of ours that reports a result while the
/// interpreter winds down, and the process with it (`atexit.register(feldakte_ffi.end_threads)`). Later calls to any
/// client fail with [`FfiError::ShutDown`].
#[uniffi::export]
pub fn end_threads() {
    let runtime = PROCESS
        .get()
        .and_then(Option::as_ref)
        .and_then(|process| process.runtime.lock().unwrap_or_else(PoisonError::into_inner).take());
    if let Some(runtime) = runtime {
        runtime.shutdown_timeout(END_WITHIN);
    }
}

/// The runtime of this process. The handle outlives it, so that late calls are told so.
struct Process {
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
}

static PROCESS: OnceLock<Option<Process>> = OnceLock::new();

fn runtime() -> Result<&'static Handle, FfiError> {
    let build = || {
        // A panic's message may quote what it stumbled over; where it happened is enough to find it.
        std::panic::set_hook(Box::new(|panic| match panic.location() {
            Some(place) => eprintln!("feldakte: panic at {place}"),
            None => eprintln!("feldakte: panic"),
        }));
        let runtime =
            Builder::new_multi_thread().worker_threads(2).thread_name("feldakte").enable_all().build().ok()?;
        Some(Process { handle: runtime.handle().clone(), runtime: Mutex::new(Some(runtime)) })
    };
    PROCESS.get_or_init(build).as_ref().map(|process| &process.handle).ok_or(FfiError::Internal)
}

/// How long to wait for work that a thread cannot leave, such as a write to the disk.
const END_WITHIN: Duration = Duration::from_secs(5);

//! Accepts TCP connections for ever. Who is let in, and what becomes of him, is the listener's matter.

use std::{net::SocketAddr, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

/// Accepts until shutdown, then waits for what was accepted. A connection for which `admit` has nothing is closed
/// unanswered.
pub async fn accept<F>(
    listener: TcpListener,
    shutdown: CancellationToken,
    admit: impl Fn(TcpStream, SocketAddr) -> Option<F>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(connection) = admit(stream, peer) {
                    connections.spawn(connection);
                }
            }
            Err(error) => {
                // Most often: no file descriptors left. Some come back when connections end.
                warn!(%error, "no connection could be accepted");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

/// Long enough for some connections to end, too short to be noticed.
const AGAIN_AFTER: Duration = Duration::from_millis(300);

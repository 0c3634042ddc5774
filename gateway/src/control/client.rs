//! The command line's side of the control plane.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::body::Body;
use hyper::{
    Method, Request,
    client::conn::http1,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::{Refused, operator::Token};

/// Asks one gateway in the name of one operator.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    token: Option<Token>,
}

/// A request without the wished-for answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error("no gateway listens on {socket}: is it running? use --socket")]
    Absent {
        /// Where it was looked for.
        socket: PathBuf,
    },
    /// The socket is not for this user.
    #[error("{socket} cannot be opened: only the user the gateway runs as may, and root")]
    Denied {
        /// Which.
        socket: PathBuf,
    },
    /// The connection broke.
    #[error("the gateway did not answer; ask again to see whether it has done it")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The gateway does not.
    #[error("{}", .0.message)]
    Refused(Refused),
    /// The answer is not what this release understands.
    #[error("the gateway's answer cannot be read ({kind:?} at byte {column}): is it of another release?")]
    Unreadable {
        /// What is wrong with it. The parser's own words may quote the answer.
        kind: serde_json::error::Category,
        /// Where in its line.
        column: usize,
    },
}

impl Client {
    /// Asks the gateway that listens there.
    pub fn new(socket: &Path, token: Option<Token>) -> Self {
        Self { socket: socket.to_owned(), token }
    }

    /// Reads something.
    ///
    /// # Errors
    /// When there is no answer, or not this.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Body::empty()).await
    }

    /// Has something done.
    ///
    /// # Errors
    /// When there is no answer, or not this.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(unreadable)?;
        self.ask(Method::POST, path, body.into()).await
    }

    /// Has something removed.
    ///
    /// # Errors
    /// When there is no answer, or not this.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::DELETE, path, Body::empty()).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Body) -> Result<T, ClientError> {
        let (status, answer) =
            tokio::time::timeout(ANSWER_WITHIN, self.exchange(method, path, body)).await.map_err(broken)??;
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(unreadable);
        }
        // A gateway of another release may refuse otherwise.
        let refused = serde_json::from_slice(&answer).unwrap_or_else(|_| Refused {
            error: status.as_str().to_owned(),
            message: format!("the gateway answered {status}"),
        });
        Err(ClientError::Refused(refused))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<(hyper::StatusCode, bytes::Bytes), ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "gateway")
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let request = request.body(body).map_err(broken)?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(broken)?;
            let status = answer.status();
            let body = axum::body::to_bytes(Body::new(answer.into_body()), ANSWER_LEN_MAX).await.map_err(broken)?;
            Ok((status, body))
        };
        tokio::pin!(exchange, connection);
        tokio::select! {
            answer = &mut exchange => answer,
            // The last bytes may have arrived with the end.
            ended = &mut connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(broken(error)),
            },
        }
    }

    fn unreachable(&self, error: io::Error) -> ClientError {
        let socket = self.socket.clone();
        match error.kind() {
            io::ErrorKind::PermissionDenied => ClientError::Denied { socket },
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::Absent { socket },
            _ => broken(error),
        }
    }
}

fn unreadable(error: serde_json::Error) -> ClientError {
    ClientError::Unreadable { kind: error.classify(), column: error.column() }
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> ClientError {
    ClientError::Broken(error.into())
}

/// Lists of a large city fit many times.
const ANSWER_LEN_MAX: usize = 64 << 20;

/// Exports and key rotations take their time.
const ANSWER_WITHIN: Duration = Duration::from_secs(10 * 60);

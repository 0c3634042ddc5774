//! Fetches a key set over HTTPS: one request, TLS 1.3, no redirects, a bounded answer in bounded time.

use std::{fmt, io, path::Path, sync::Arc};

use feldakte_certs::{
    pem::{self, PemError},
    policy::{self, PolicyError},
};
use feldakte_core::limits;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, Uri, body::Bytes, header};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where a key set is, and whom to believe there.
#[derive(Clone)]
pub(super) struct Remote {
    uri: Uri,
    tls: Arc<ClientConfig>,
}

/// A set could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("not within {:?}", limits::JWKS_WITHIN)]
    Slow,
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the answer cannot be read, or is longer than {} bytes", limits::JWKS_LEN_MAX)]
    Body,
}

/// The roots to believe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] io::Error),
    /// It does not hold certificates.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// There are none.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl Remote {
    /// A set at `uri`, which must be `https`, under the roots of that file or the system's.
    ///
    /// # Errors
    /// When the roots cannot be used.
    pub(super) fn new(uri: Uri, roots: Option<&Path>) -> Result<Self, RootsError> {
        let roots = match roots {
            Some(path) => pem::roots(&std::fs::read(path)?)?,
            None => system_roots(),
        };
        Ok(Self { uri, tls: Arc::new(policy::web_client_config(roots)?) })
    }

    /// Its bytes.
    ///
    /// # Errors
    /// When it cannot be had, or not in time.
    pub(super) async fn fetch(&self) -> Result<Bytes, FetchError> {
        tokio::time::timeout(limits::JWKS_WITHIN, self.ask()).await.unwrap_or(Err(FetchError::Slow))
    }

    async fn ask(&self) -> Result<Bytes, FetchError> {
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let name =
            ServerName::try_from(host.to_owned()).map_err(|error| FetchError::Connect(io::Error::other(error)))?;
        let tcp = TcpStream::connect((host, self.uri.port_u16().unwrap_or(443))).await.map_err(FetchError::Connect)?;
        let tls = TlsConnector::from(self.tls.clone()).connect(name, tcp).await.map_err(FetchError::Connect)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
        let exchange = async {
            let response = sender.send_request(self.request()).await?;
            if response.status() != StatusCode::OK {
                return Err(FetchError::Status(response.status()));
            }
            let body = Limited::new(response.into_body(), limits::JWKS_LEN_MAX).collect().await;
            body.map(|body| body.to_bytes()).map_err(|_| FetchError::Body)
        };
        tokio::select! {
            body = exchange => body,
            // It ends with an error, or when the answer has been taken, which the other branch sees.
            Err(error) = connection => Err(error.into()),
        }
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let host = self.uri.authority().map_or("", |authority| authority.as_str());
        let request = Request::get(path).header(header::HOST, host).header(header::ACCEPT, "application/json");
        request.body(Empty::new()).expect("parts of a valid address make a valid request")
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.uri)
    }
}

/// What cannot be read is left out: one odd certificate in the system's store is nobody's trouble here.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

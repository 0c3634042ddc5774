//! One request over TLS 1.3, with little time and a bounded answer.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use feldakte_proto::enrolment::{Enrolled, EnrolmentRefused};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, StatusCode,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::EnrolError;

/// Whom to ask for what.
pub(super) struct Place<'a> {
    pub(super) gateway: &'a str,
    pub(super) server_name: &'a str,
    pub(super) path: &'static str,
}

pub(super) async fn post(
    place: &Place<'_>,
    tls: ClientConfig,
    request: &impl Serialize,
) -> Result<Enrolled, EnrolError> {
    let body = serde_json::to_vec(request).map_err(|_| EnrolError::Unreadable)?;
    let exchange = exchange(place, tls, body.into());
    let (status, answer) =
        tokio::time::timeout(ANSWER_WITHIN, exchange).await.map_err(|_| EnrolError::Unreachable)??;
    if status == StatusCode::OK {
        return serde_json::from_slice(&answer).map_err(|_| EnrolError::Unreadable);
    }
    let refused: EnrolmentRefused = serde_json::from_slice(&answer).map_err(|_| EnrolError::Unreadable)?;
    Err(EnrolError::Refused(refused))
}

async fn exchange(place: &Place<'_>, tls: ClientConfig, body: Bytes) -> Result<(StatusCode, Bytes), EnrolError> {
    let name =
        ServerName::try_from(place.server_name.to_owned()).map_err(|_| EnrolError::Unusable("the server name"))?;
    let stream = TcpStream::connect(place.gateway).await.map_err(|_| EnrolError::Unreachable)?;
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.map_err(|error| judge(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| EnrolError::Unreachable)?;
    let request = Request::post(place.path).header(HOST, place.server_name).header(CONTENT_TYPE, "application/json");
    let request = request.body(Full::new(body)).map_err(|_| EnrolError::Unusable("the server name"))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|_| EnrolError::Unreachable)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_LEN_MAX).collect().await;
        Ok((status, body.map_err(|_| EnrolError::Unreachable)?.to_bytes()))
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        answer = &mut exchange => answer,
        // The last bytes may have arrived with the end.
        _ = &mut connection => exchange.await,
    }
}

/// A certificate that is not believed is another matter than a line that breaks.
fn judge(error: &io::Error) -> EnrolError {
    let tls = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(_)) => EnrolError::Untrusted,
        _ => EnrolError::Unreachable,
    }
}

/// Handshake and answer over the worst link.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A certificate and several roots.
const ANSWER_LEN_MAX: usize = 64 << 10;

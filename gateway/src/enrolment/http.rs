//! The door for devices without a session: `POST /v1/enrol`, `POST /v1/renew`; and `GET /crl.der` for everybody.
//!
//! Refusals say what a device should do and nothing of what exists: a code that is unknown, used or expired gets the same
//! answer after the same time.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, State, rejection::JsonRejection},
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use feldakte_certs::identity;
use feldakte_core::{code::Code, limits};
use feldakte_proto::enrolment::{EnrolRequest, Enrolled, EnrolmentError as Told, EnrolmentRefused, RenewRequest};
use tokio::time::Instant;
use tracing::error;

use super::{Enrolment, EnrolmentError, Granted, guesses::Guesses, since_1970_ms};
use crate::audit::Audit;

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct From(pub IpAddr);

struct Door {
    enrolment: Arc<Enrolment>,
    audit: Audit,
    guesses: Arc<Guesses>,
    since: Instant,
    quic_port: u16,
}

/// The routes; each request needs a [`From`] among its extensions.
pub fn routes(enrolment: Arc<Enrolment>, audit: Audit, quic_port: u16) -> Router {
    let door = Door { enrolment, audit, guesses: Arc::default(), since: Instant::now(), quic_port };
    Router::new()
        .route("/v1/enrol", post(enrol))
        .route("/v1/renew", post(renew))
        .route("/crl.der", get(revocation_list))
        .layer(DefaultBodyLimit::max(limits::ENROLMENT_BODY_MAX))
        .with_state(Arc::new(door))
}

async fn enrol(
    State(door): State<Arc<Door>>,
    Extension(From(address)): Extension<From>,
    request: Result<Json<EnrolRequest>, JsonRejection>,
) -> Result<Json<Enrolled>, Refused> {
    let until = Instant::now() + limits::ENROLMENT_REFUSED_AFTER;
    let Ok(Json(EnrolRequest { code, csr })) = request else { return Err(Told::RequestMalformed.into()) };
    let code: Code = code.parse().map_err(|_| Told::CodeMalformed)?;
    let guess = door.guesses.take(address, door.since.elapsed()).map_err(Refused::slow_down)?;
    match door.enrolment.enrol(&door.audit, &code, &csr).await {
        Ok(granted) => {
            guess.was_good();
            Ok(door.enrolled(granted))
        }
        Err(error) => {
            tokio::time::sleep_until(until).await;
            Err(error.into())
        }
    }
}

async fn renew(
    State(door): State<Arc<Door>>,
    request: Result<Json<RenewRequest>, JsonRejection>,
) -> Result<Json<Enrolled>, Refused> {
    let Ok(Json(RenewRequest { certificate, csr, proof })) = request else {
        return Err(Told::RequestMalformed.into());
    };
    let old = identity::parse_hex(&certificate).ok_or(Told::RequestMalformed)?;
    let proof = identity::parse_hex(&proof).ok_or(Told::RequestMalformed)?;
    Ok(door.enrolled(door.enrolment.renew(&door.audit, &old.into(), &csr, &proof).await?))
}

async fn revocation_list(State(door): State<Arc<Door>>) -> Result<([(HeaderName, &'static str); 1], Vec<u8>), Refused> {
    Ok(([(CONTENT_TYPE, "application/pkix-crl")], door.enrolment.revocation_list().await?))
}

impl Door {
    fn enrolled(&self, granted: Granted) -> Json<Enrolled> {
        let Granted { principal: _, certificate, roots, renew_at, overlap } = granted;
        let overlap_ms = super::millis(overlap);
        Json(Enrolled {
            certificate,
            roots,
            renew_at_ms: since_1970_ms(renew_at),
            overlap_ms,
            quic_port: self.quic_port,
        })
    }
}

struct Refused {
    error: Told,
    retry_after: Option<Duration>,
}

impl Refused {
    fn slow_down(wait: Duration) -> Self {
        Self { error: Told::SlowDown, retry_after: Some(wait) }
    }
}

impl std::convert::From<Told> for Refused {
    fn from(error: Told) -> Self {
        let retry_after = (error == Told::Unavailable).then_some(RETRY_WITHIN);
        Self { error, retry_after }
    }
}

impl std::convert::From<EnrolmentError> for Refused {
    fn from(refused: EnrolmentError) -> Self {
        if refused.is_ours() {
            error!(error = &refused as &dyn std::error::Error, "no certificate could be issued");
            return Told::Unavailable.into();
        }
        match refused {
            EnrolmentError::TooMany => return Self::slow_down(RETRY_WITHIN),
            EnrolmentError::Code(_) => Told::CodeRefused,
            EnrolmentError::Renewal(_) | EnrolmentError::Revoked => Told::CertificateRefused,
            _ => Told::RequestMalformed,
        }
        .into()
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.error {
            Told::CodeMalformed | Told::RequestMalformed => StatusCode::BAD_REQUEST,
            Told::CodeRefused | Told::CertificateRefused => StatusCode::FORBIDDEN,
            Told::SlowDown => StatusCode::TOO_MANY_REQUESTS,
            Told::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        let retry_after_s = self.retry_after.map(|wait| wait.as_secs().max(1));
        let body = EnrolmentRefused { error: self.error, message: self.error.message().into(), retry_after_s };
        let mut response = (status, Json(body)).into_response();
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A full disk or a restart takes somebody about that long.
const RETRY_WITHIN: Duration = Duration::from_secs(60);

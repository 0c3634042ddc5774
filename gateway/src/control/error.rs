//! What the control plane answers when it does not do what was asked.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tracing::error;

use crate::{
    audit::AuditError,
    gateway::AuthorityError,
    ledgers::LedgerError,
    store::{StoreError, registry::ApprovalError},
};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody can tell who asks.
    #[error(
        "no operator has this token: set FELDAKTE_OPERATOR_TOKEN or give --token-file; `feldakte operator add` makes one"
    )]
    Unauthorised,
    /// He who asks may not.
    #[error("{0}")]
    Forbidden(&'static str),
    /// What it is about does not exist, or is another tenant's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// It was done already, or something else stands in the way.
    #[error("{0}")]
    Conflict(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The request does not parse, or is for nothing that there is.
    #[error("the request cannot be read")]
    Unreadable(StatusCode),
    /// The gateway is not set up for it.
    #[error("{0}")]
    Unavailable(String),
    /// What is done with authority is recorded, and cannot be at the moment.
    #[error("the audit log cannot be written, so nothing is done that would have to stand in it")]
    Audit(#[from] AuditError),
    /// The gateway could not write or read.
    #[error("the gateway could not write or read its files; its log says why")]
    Store(#[from] StoreError),
}

impl From<ApprovalError> for ControlError {
    fn from(error: ApprovalError) -> Self {
        match error {
            ApprovalError::Pending { .. } | ApprovalError::NotPending => ControlError::Conflict(error.to_string()),
            ApprovalError::SameOperator => {
                ControlError::Forbidden("whoever asked for it cannot approve it: a different operator has to")
            }
            ApprovalError::Store(error) => error.into(),
        }
    }
}

impl From<AuthorityError> for ControlError {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::UnknownDocument => ControlError::NotFound("case"),
            AuthorityError::UnknownReview => ControlError::NotFound("review"),
            AuthorityError::Decided => ControlError::Conflict(error.to_string()),
            AuthorityError::Store(error) => error.into(),
            AuthorityError::Audit(error) => error.into(),
            AuthorityError::Ledger(LedgerError::Store(error)) => error.into(),
            error => ControlError::Unavailable(error.to_string()),
        }
    }
}

/// How an error travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// For programs.
    pub error: String,
    /// For people.
    pub message: String,
}

impl ControlError {
    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            ControlError::Unauthorised => (StatusCode::UNAUTHORIZED, "unauthorised"),
            ControlError::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            ControlError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            ControlError::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            ControlError::Unreadable(status) => (*status, "unreadable"),
            ControlError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            ControlError::Audit(_) => (StatusCode::SERVICE_UNAVAILABLE, "audit"),
            ControlError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ControlError::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "store"),
        }
    }
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        if let ControlError::Store(cause) = &self {
            error!(error = cause as &dyn std::error::Error, "an operator's request failed");
        }
        let (status, code) = self.status();
        (status, Json(Refused { error: code.into(), message: self.to_string() })).into_response()
    }
}

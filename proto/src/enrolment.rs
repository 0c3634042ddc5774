//! What device and gateway say to each other over HTTPS before there is a session: enrolment and renewal, as JSON.

use serde::{Deserialize, Serialize};

/// `POST /v1/enrol`: a device without a certificate asks for its first.
#[derive(Clone, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// The one-time code of an invitation.
    pub code: String,
    /// PKCS#10, PEM: the device's key is made on the device.
    pub csr: String,
}

/// `POST /v1/renew`: a device asks for its next certificate.
#[derive(Clone, Serialize, Deserialize)]
pub struct RenewRequest {
    /// The certificate at hand, DER in hexadecimal; may have ended a while ago.
    pub certificate: String,
    /// PKCS#10, PEM, for a new key or the same.
    pub csr: String,
    /// The signature by the old key over the request, in hexadecimal.
    pub proof: String,
}

/// A certificate and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The device's certificate and those above it, PEM.
    pub certificate: String,
    /// Roots that vouch for gateways from here on, PEM: the one in use, and the next when it is about to change.
    pub roots: String,
    /// From when the device should renew, milliseconds since 1970.
    pub renew_at_ms: i64,
    /// How long after the certificate's end it can still be renewed, milliseconds.
    pub overlap_ms: i64,
    /// The UDP port of sessions, on the host that was asked.
    pub quic_port: u16,
}

/// What a device is told that gets no certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentRefused {
    /// Which it is.
    pub error: EnrolmentError,
    /// The same for people.
    pub message: String,
    /// When to try again, in seconds; missing when that is of no use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

/// Why a device gets no certificate. Says what to do, and never whether a code exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnrolmentError {
    /// The code has a typing error: ask the user to look again.
    CodeMalformed,
    /// The code is not taken: ask for a new one.
    CodeRefused,
    /// The signing request or the request as a whole is not well-formed: a bug in the app.
    RequestMalformed,
    /// Too many codes were presented in vain: wait.
    SlowDown,
    /// The certificate at hand cannot be renewed: the device needs a new invitation.
    CertificateRefused,
    /// The gateway cannot issue at the moment: try again later.
    Unavailable,
}

impl EnrolmentError {
    /// What people are told.
    pub fn message(self) -> &'static str {
        match self {
            EnrolmentError::CodeMalformed => "the code has a typing error",
            EnrolmentError::CodeRefused => "the code is not taken; it may have expired or been used: ask for a new one",
            EnrolmentError::RequestMalformed => "the request cannot be read",
            EnrolmentError::SlowDown => "too many codes were not taken; wait before the next",
            EnrolmentError::CertificateRefused => "this certificate is not renewed; the device needs a new invitation",
            EnrolmentError::Unavailable => "no certificates are issued at the moment; try again later",
        }
    }
}

impl std::fmt::Debug for EnrolRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EnrolRequest(redacted)")
    }
}

impl std::fmt::Debug for RenewRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RenewRequest(redacted)")
    }
}

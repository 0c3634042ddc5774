//! Connections that are nobody's yet: how many handshakes are under way at once, and what becomes of the rest.
//!
//! Until a handshake ends its peer has proved nothing, not even its address: what it may cost is bounded here.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use feldakte_core::{audit::Reason, limits};
use quinn::{Connection, ConnectionError, Incoming};
use rustls::AlertDescription;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tracing::{debug, warn};

use crate::metrics::Metrics;

/// All handshakes of an endpoint.
pub struct Handshakes {
    slots: Arc<Semaphore>,
    record: Arc<Record>,
}

/// One that may go on. It holds its place until it is complete or dropped.
pub struct Handshake {
    incoming: Incoming,
    slot: OwnedSemaphorePermit,
    record: Arc<Record>,
}

/// How handshakes ended, for operators.
struct Record {
    metrics: Arc<Metrics>,
    audit: Box<dyn Fn(Reason) + Send + Sync>,
    warned: Mutex<Option<Instant>>,
}

/// What is known of the address a first packet came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Address {
    /// Anybody may have written it into the packet.
    Claimed,
    /// Its peer has answered a Retry.
    Proven,
}

/// What becomes of a first packet.
enum Admission {
    Proceed(OwnedSemaphorePermit),
    /// Prove the address first. Costs a packet, no memory, and an honest device a round trip.
    Retry,
    /// Come back later.
    Refuse,
}

impl Handshakes {
    /// None under way. `audit` hears of every certificate that is not taken.
    pub fn new(metrics: Arc<Metrics>, audit: impl Fn(Reason) + Send + Sync + 'static) -> Self {
        let record = Record { metrics, audit: Box::new(audit), warned: Mutex::new(None) };
        Self { slots: Arc::new(Semaphore::new(limits::HANDSHAKES_MAX)), record: Arc::new(record) }
    }

    /// Lets a first packet begin a handshake, or answers it without keeping anything.
    pub fn admit(&self, incoming: Incoming) -> Option<Handshake> {
        let address = if incoming.remote_address_validated() { Address::Proven } else { Address::Claimed };
        match self.judge(address) {
            Admission::Proceed(slot) => return Some(Handshake { incoming, slot, record: self.record.clone() }),
            Admission::Retry => {
                self.record.metrics.handshakes_retried.inc();
                incoming.retry().expect("an address that is not proven may be asked for a proof");
            }
            Admission::Refuse => {
                self.record.rejected("busy");
                incoming.refuse();
            }
        }
        None
    }

    fn judge(&self, address: Address) -> Admission {
        let under_way = limits::HANDSHAKES_MAX - self.slots.available_permits();
        let Ok(slot) = self.slots.clone().try_acquire_owned() else { return Admission::Refuse };
        match address {
            Address::Claimed if under_way >= limits::HANDSHAKES_UNPROVEN_MAX => Admission::Retry,
            Address::Claimed | Address::Proven => Admission::Proceed(slot),
        }
    }
}

impl Handshake {
    /// The connection, when the peer is an enrolled device and was quick enough.
    pub async fn complete(self) -> Option<Connection> {
        let Self { incoming, slot: _slot, record } = self;
        let remote = incoming.remote_address();
        match tokio::time::timeout(limits::HELLO_WITHIN, incoming).await {
            Ok(Ok(connection)) => return Some(connection),
            Ok(Err(error)) => record.failed(remote, &error, Instant::now()),
            Err(_) => {
                record.rejected("handshake_timeout");
                debug!(%remote, "handshake took too long");
            }
        }
        None
    }
}

impl Record {
    fn rejected(&self, reason: &'static str) {
        self.metrics.rejected.get_or_create(&vec![("reason", reason)]).inc();
    }

    fn failed(&self, remote: SocketAddr, error: &ConnectionError, now: Instant) {
        let reason = reason_of(error);
        self.rejected(reason);
        if let Some(reason) = audited(reason) {
            (self.audit)(reason);
        }
        if reason != OTHER && self.may_warn(now) {
            warn!(%remote, reason, "handshake refused");
        } else {
            debug!(%remote, reason, %error, "handshake failed");
        }
    }

    /// Anybody may knock, as often as he likes: the log names one of them at a time, the metric counts all.
    fn may_warn(&self, now: Instant) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let may = warned.is_none_or(|last| now.duration_since(last) >= WARN_EVERY);
        if may {
            *warned = Some(now);
        }
        may
    }
}

/// One word from a closed set: which part of the device's certificate was not taken, or that it did not take ours.
fn reason_of(error: &ConnectionError) -> &'static str {
    match error {
        ConnectionError::TransportError(error) => match alert_of(error.code.into()) {
            Some(AlertDescription::CertificateExpired) => "certificate_expired",
            Some(AlertDescription::CertificateRevoked) => "certificate_denied",
            // The second is what the signature of an authority looks like that has the same name as ours.
            Some(AlertDescription::UnknownCA | AlertDescription::DecryptError) => "certificate_issuer",
            Some(AlertDescription::CertificateRequired) => "certificate_missing",
            Some(
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateUnknown,
            ) => "certificate_invalid",
            _ => OTHER,
        },
        ConnectionError::ConnectionClosed(close) if alert_of(close.error_code.into()).is_some() => "gateway_distrusted",
        _ => OTHER,
    }
}

/// What the audit log says of it; nothing of what may be a bad line as well.
fn audited(reason: &str) -> Option<Reason> {
    Some(match reason {
        "certificate_expired" => Reason::CertificateExpired,
        "certificate_denied" => Reason::CertificateDenied,
        "certificate_issuer" => Reason::CertificateIssuer,
        "certificate_missing" => Reason::CertificateMissing,
        "certificate_invalid" => Reason::CertificateInvalid,
        _ => return None,
    })
}

/// TLS alerts arrive as QUIC crypto errors (RFC 9001, 4.8).
fn alert_of(code: u64) -> Option<AlertDescription> {
    let alert = code.checked_sub(0x100)?;
    u8::try_from(alert).ok().map(AlertDescription::from)
}

/// A handshake that failed for any other reason, such as a cipher that is not allowed.
const OTHER: &str = "handshake";
/// Often enough to notice, too seldom to fill a disk.
const WARN_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// Admitted, told to retry, refused, of `count` in a row that never end.
    fn rush(handshakes: &Handshakes, address: Address, count: usize) -> (Vec<OwnedSemaphorePermit>, usize, usize) {
        let (mut slots, mut retried, mut refused) = (Vec::new(), 0, 0);
        for _ in 0..count {
            match handshakes.judge(address) {
                Admission::Proceed(slot) => slots.push(slot),
                Admission::Retry => retried += 1,
                Admission::Refuse => refused += 1,
            }
        }
        (slots, retried, refused)
    }

    #[test]
    fn claimed_addresses_hold_a_quarter_and_proven_ones_the_rest() {
        let handshakes = Handshakes::new(Arc::default(), |_| {});
        let (claimed, retried, refused) = rush(&handshakes, Address::Claimed, 2 * limits::HANDSHAKES_MAX);
        assert_eq!(claimed.len(), limits::HANDSHAKES_UNPROVEN_MAX);
        assert_eq!((claimed.len() + retried, refused), (2 * limits::HANDSHAKES_MAX, 0));
        let (proven, retried, refused) = rush(&handshakes, Address::Proven, limits::HANDSHAKES_MAX);
        assert_eq!(claimed.len() + proven.len(), limits::HANDSHAKES_MAX);
        assert_eq!((retried, refused), (0, limits::HANDSHAKES_UNPROVEN_MAX));
    }

    #[test]
    fn a_handshake_that_ends_leaves_its_place_to_the_next() {
        let handshakes = Handshakes::new(Arc::default(), |_| {});
        let (mut slots, ..) = rush(&handshakes, Address::Proven, limits::HANDSHAKES_MAX);
        assert!(matches!(handshakes.judge(Address::Proven), Admission::Refuse));
        slots.pop();
        assert!(matches!(handshakes.judge(Address::Claimed), Admission::Retry));
        assert!(matches!(handshakes.judge(Address::Proven), Admission::Proceed(_)));
    }

    #[test]
    fn the_log_names_one_peer_a_second() {
        let handshakes = Handshakes::new(Arc::default(), |_| {});
        let now = Instant::now();
        assert!(handshakes.record.may_warn(now));
        assert!(!handshakes.record.may_warn(now + WARN_EVERY / 2));
        assert!(handshakes.record.may_warn(now + WARN_EVERY));
    }
}

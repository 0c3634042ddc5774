//! Connections that are nobody's yet: how many handshakes are under way at once, and what becomes of the rest.
//!
//! Until a handshake ends its peer has proved nothing, not even its address: what it may cost is bounded here.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZero,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use feldakte_core::{audit::Reason, limits, turnstile::Class};
use rustls::AlertDescription;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tracing::{debug, warn};

use crate::{
    addresses::{Addresses, Place},
    metrics::Metrics,
};

mod queue;
mod quic;
mod tcp;

pub use self::{
    queue::Queue,
    quic::QuicHandshake,
    tcp::{TcpHandshake, serve as serve_tcp},
};

/// All handshakes of a gateway, whatever they come over. All clones count together.
#[derive(Clone)]
pub struct Handshakes {
    slots: Arc<Semaphore>,
    missions: Arc<Semaphore>,
    others: Arc<Semaphore>,
    processors: Arc<Semaphore>,
    addresses: Arc<Addresses>,
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

/// Among those under way, and among those of its class.
struct Slot {
    _of_all: OwnedSemaphorePermit,
    _of_class: OwnedSemaphorePermit,
}

/// What becomes of a first packet.
enum Admission {
    Proceed(Slot, Option<Place>),
    /// Prove the address first. Costs a packet, no memory, and an honest device a round trip.
    Retry,
    /// Come back later; why, for metrics.
    Refuse(&'static str),
}

impl Handshakes {
    /// None under way. `audit` hears of every certificate that is not taken.
    pub fn new(
        metrics: Arc<Metrics>,
        addresses: Arc<Addresses>,
        audit: impl Fn(Reason) + Send + Sync + 'static,
    ) -> Self {
        let record = Record { metrics, audit: Box::new(audit), warned: Mutex::new(None) };
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            slots: places(limits::HANDSHAKES_MAX),
            missions: places(limits::HANDSHAKES_PER_CLASS_MAX),
            others: places(limits::HANDSHAKES_PER_CLASS_MAX),
            processors: places(processors() * limits::COMPUTING_PER_PROCESSOR),
            addresses,
            record: Arc::new(record),
        }
    }

    /// Waits until a handshake may be computed.
    pub async fn turn(&self) -> OwnedSemaphorePermit {
        self.processors.clone().acquire_owned().await.expect("it is never closed")
    }

    fn judge(&self, class: Class, address: Address, remote: IpAddr) -> Admission {
        let under_way = limits::HANDSHAKES_MAX - self.slots.available_permits();
        let Some(slot) = self.slot(class) else { return Admission::Refuse("busy") };
        match address {
            Address::Claimed if under_way >= limits::HANDSHAKES_UNPROVEN_MAX => Admission::Retry,
            // Its owner would be refused: first it has to be shown that it is the owner.
            Address::Claimed if self.addresses.is_crowded(remote) => Admission::Retry,
            Address::Claimed => Admission::Proceed(slot, None),
            Address::Proven => match self.addresses.admit(remote) {
                Ok(place) => Admission::Proceed(slot, Some(place)),
                Err(crowded) => Admission::Refuse(crowded.name()),
            },
        }
    }

    fn slot(&self, class: Class) -> Option<Slot> {
        let of_class = match class {
            Class::Mission => &self.missions,
            Class::Other => &self.others,
        };
        let (of_all, of_class) = (self.slots.clone().try_acquire_owned(), of_class.clone().try_acquire_owned());
        Some(Slot { _of_all: of_all.ok()?, _of_class: of_class.ok()? })
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

impl Record {
    fn rejected(&self, reason: &'static str) {
        self.metrics.rejected.get_or_create(&vec![("reason", reason)]).inc();
    }

    fn failed(&self, remote: SocketAddr, reason: &'static str, error: &dyn std::error::Error) {
        self.rejected(reason);
        if let Some(reason) = audited(reason) {
            (self.audit)(reason);
        }
        if reason != OTHER && self.may_warn(Instant::now()) {
            warn!(%remote, reason, "handshake refused");
        } else {
            debug!(%remote, reason, %error, "handshake failed");
        }
    }

    fn took_too_long(&self, remote: SocketAddr) {
        self.rejected("handshake_timeout");
        debug!(%remote, "handshake took too long");
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

/// One word from a closed set: which part of the device's certificate was not taken.
fn reason_of(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateExpired => "certificate_expired",
        AlertDescription::CertificateRevoked => "certificate_denied",
        // The second is what the signature of an authority looks like that has the same name as ours.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => "certificate_issuer",
        AlertDescription::CertificateRequired => "certificate_missing",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => "certificate_invalid",
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

/// The device did not take our certificate.
const DISTRUSTED: &str = "gateway_distrusted";
/// A handshake that failed for any other reason, such as a cipher that is not allowed.
const OTHER: &str = "handshake";
/// Often enough to notice, too seldom to fill a disk.
const WARN_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use feldakte_core::limits::Shares;

    use super::*;

    /// Admitted, told to retry, refused, of `count` in a row that never end.
    fn rush(handshakes: &Handshakes, address: Address, count: usize) -> (Vec<Admitted>, usize, usize) {
        let (mut slots, mut retried, mut refused) = (Vec::new(), 0, 0);
        for number in 0..count {
            // Many addresses: each alone has a share that is smaller.
            match handshakes.judge(Class::Other, address, Ipv4Addr::from(u32::try_from(number).unwrap()).into()) {
                Admission::Proceed(slot, place) => slots.push((slot, place)),
                Admission::Retry => retried += 1,
                Admission::Refuse(_) => refused += 1,
            }
        }
        (slots, retried, refused)
    }

    type Admitted = (Slot, Option<Place>);

    fn quiet() -> Handshakes {
        Handshakes::new(Arc::default(), Addresses::new(Shares::DEFAULT), |_| {})
    }

    #[tokio::test]
    async fn one_proven_address_holds_half_of_the_places_and_others_the_rest() {
        let handshakes = quiet();
        let flood: Vec<_> =
            (0..limits::HANDSHAKES_MAX).map(|_| handshakes.judge(Class::Other, Address::Proven, ONE)).collect();
        let proceeded = flood.iter().filter(|admission| matches!(admission, Admission::Proceed(..))).count();
        assert_eq!(proceeded, limits::HANDSHAKES_PER_ADDRESS_MAX as usize);
        let (others, ..) = rush(&handshakes, Address::Proven, limits::HANDSHAKES_MAX);
        assert_eq!(others.len(), limits::HANDSHAKES_PER_CLASS_MAX - proceeded);
    }

    #[tokio::test]
    async fn a_used_up_address_is_proven_before_it_costs_anything_and_then_refused() {
        let shares = Shares { connections_per_address: 1, ..Shares::DEFAULT };
        let handshakes = Handshakes::new(Arc::default(), Addresses::new(shares), |_| {});
        let _open = handshakes.addresses.admit(ONE).unwrap().open();
        assert!(matches!(handshakes.judge(Class::Other, Address::Claimed, ONE), Admission::Retry));
        assert!(matches!(
            handshakes.judge(Class::Other, Address::Proven, ONE),
            Admission::Refuse("address_connections")
        ));
        assert!(matches!(handshakes.judge(Class::Other, Address::Claimed, OTHER_ONE), Admission::Proceed(_, None)));
    }

    const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const OTHER_ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    #[tokio::test]
    async fn claimed_addresses_hold_a_quarter_and_proven_ones_the_rest() {
        let handshakes = quiet();
        let (claimed, retried, refused) = rush(&handshakes, Address::Claimed, 2 * limits::HANDSHAKES_MAX);
        assert_eq!(claimed.len(), limits::HANDSHAKES_UNPROVEN_MAX);
        assert_eq!((claimed.len() + retried, refused), (2 * limits::HANDSHAKES_MAX, 0));
        let (proven, retried, refused) = rush(&handshakes, Address::Proven, limits::HANDSHAKES_MAX);
        assert_eq!(claimed.len() + proven.len(), limits::HANDSHAKES_PER_CLASS_MAX);
        assert_eq!((retried, refused), (0, limits::HANDSHAKES_MAX - proven.len()));
    }

    #[tokio::test]
    async fn neither_those_who_claim_missions_nor_the_others_keep_out_the_other_kind() {
        for (flood, other) in [(Class::Mission, Class::Other), (Class::Other, Class::Mission)] {
            let handshakes = quiet();
            let judge = |class, number| handshakes.judge(class, Address::Proven, Ipv4Addr::from(number).into());
            let flood: Vec<_> = (0..limits::HANDSHAKES_MAX as u32).map(|number| judge(flood, number)).collect();
            assert!(matches!(flood.last(), Some(Admission::Refuse("busy"))));
            assert!(matches!(judge(other, 0), Admission::Proceed(..)));
        }
    }

    #[tokio::test]
    async fn a_handshake_that_ends_leaves_its_place_to_the_next() {
        let handshakes = quiet();
        let (mut slots, ..) = rush(&handshakes, Address::Proven, limits::HANDSHAKES_MAX);
        assert!(matches!(handshakes.judge(Class::Other, Address::Proven, ONE), Admission::Refuse("busy")));
        slots.pop();
        assert!(matches!(handshakes.judge(Class::Other, Address::Claimed, ONE), Admission::Retry));
        assert!(matches!(handshakes.judge(Class::Other, Address::Proven, ONE), Admission::Proceed(..)));
    }

    #[tokio::test]
    async fn the_log_names_one_peer_a_second() {
        let handshakes = quiet();
        let now = Instant::now();
        assert!(handshakes.record.may_warn(now));
        assert!(!handshakes.record.may_warn(now + WARN_EVERY / 2));
        assert!(handshakes.record.may_warn(now + WARN_EVERY));
    }
}

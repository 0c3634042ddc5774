//! Open connections, and the authority they stand on. What lapses here closes what it opened.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use feldakte_certs::{deny::DenyList, verifier::DeviceVerifier};
use feldakte_core::{
    ids::{DeviceId, SessionId, TenantId, UserId},
    limits,
};
use feldakte_proto::CloseCode;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use uuid::Uuid;

use crate::{transport::Connection, web::Line};

/// All connections whose device has been identified.
#[derive(Debug, Default)]
pub struct Registry {
    connections: Mutex<Connections>,
    /// Connections there have ever been.
    count: AtomicU64,
}

#[derive(Debug, Default)]
struct Connections {
    open: BTreeMap<SessionId, Watched>,
    /// The same by device: a session that begins looks at its own device's alone.
    of_devices: BTreeSet<(DeviceId, SessionId)>,
}

/// Whoever is connected.
#[derive(Debug, Clone)]
pub enum Peer {
    /// A device, by its certificate.
    Device(Connection),
    /// A browser, by a device's certificate or by its user's token alone.
    Browser(Line),
}

#[derive(Debug)]
struct Watched {
    peer: Peer,
    device: DeviceId,
    not_after: Option<SystemTime>,
    /// Whose log it reads and writes; `None` until it has said so.
    log: Option<TenantId>,
    users: SignIns,
    /// Counts up: which is older.
    number: u64,
}

/// The sign-ins that a session stands on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignIns {
    /// Whose.
    pub users: Vec<UserId>,
    /// When the first of them ends, milliseconds since 1970-01-01 UTC.
    pub until_ms: Option<i64>,
}

impl Registry {
    /// Watches a connection until [`Registry::remove`]; `not_after` is the end of its certificate, if it has shown one.
    pub fn insert(&self, session: SessionId, peer: Peer, device: DeviceId, not_after: Option<SystemTime>) {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let (log, users) = (None, SignIns::default());
        let mut connections = self.lock();
        connections.of_devices.insert((device, session));
        connections.open.insert(session, Watched { peer, device, not_after, log, users, number });
    }

    /// The session is in that tenant's log and stands on these sign-ins as well. A device has one session in each log, and
    /// few in all: older ones are superseded.
    pub fn enter(&self, session: SessionId, log: &TenantId, users: SignIns) {
        let mut connections = self.lock();
        let Some(watched) = connections.open.get_mut(&session) else { return };
        (watched.log, watched.users) = (Some(log.clone()), users);
        let device = watched.device;
        let others = connections.of_device(device).filter(|(id, other)| *id != session && other.log.is_some());
        let mut others: Vec<&Watched> = others.map(|(_, other)| other).collect();
        others.sort_unstable_by_key(|other| std::cmp::Reverse(other.number));
        let superseded = |(kept, other): &(usize, &&Watched)| {
            other.log.as_ref() == Some(log) || *kept + 1 >= limits::SESSIONS_PER_DEVICE
        };
        let ended = others.iter().enumerate().filter(superseded);
        ended.for_each(|(_, other)| other.peer.close(CloseCode::Superseded));
    }

    /// The browser's session stands on these sign-ins as well. A device, and a user without one, has one page at a time: an older
    /// one is superseded. Its sessions over other ways live on.
    pub fn enter_page(&self, session: SessionId, users: SignIns) {
        let mut connections = self.lock();
        let Some(watched) = connections.open.get_mut(&session) else { return };
        watched.users = users;
        let (device, number) = (watched.device, watched.number);
        let is_older_page = |other: &Watched| matches!(other.peer, Peer::Browser(_)) && other.number < number;
        let pages = connections.of_device(device).filter(|(_, other)| is_older_page(other));
        pages.for_each(|(_, other)| other.peer.close(CloseCode::Superseded));
    }

    /// Closes every connection of a device; returns how many.
    pub fn close_device(&self, device: DeviceId, code: CloseCode) -> usize {
        self.lock().of_device(device).map(|(_, watched)| watched.peer.close(code)).count()
    }

    /// Closes every connection with a user whose sign-in has ended or who is on the deny list; returns how many.
    pub fn close_signed_out(&self, now_ms: i64, deny: &DenyList) -> usize {
        let connections = self.lock();
        let ended = connections.open.values().filter(|watched| watched.users.are_over(now_ms, deny));
        ended.map(|watched| watched.peer.close(CloseCode::SignInEnded)).count()
    }

    /// The connection has ended.
    pub fn remove(&self, session: SessionId) {
        let mut connections = self.lock();
        if let Some(watched) = connections.open.remove(&session) {
            connections.of_devices.remove(&(watched.device, session));
        }
    }

    /// Closes every connection whose certificate has expired or is on the deny list; returns how many.
    pub fn close_lapsed(&self, now: SystemTime, deny: &DenyList) -> usize {
        self.close_if(|watched| {
            let denied = || match watched.peer.chain() {
                [leaf, ..] => deny.is_denied(leaf),
                // Nobody gets in so but by a token: what stands for his device can be denied like any other.
                [] => deny.is_device_denied(watched.device),
            };
            watched.is_expired(now) || denied()
        })
    }

    /// Closes every connection whose certificate has expired.
    pub fn close_expired(&self, now: SystemTime) -> usize {
        self.close_if(|watched| watched.is_expired(now))
    }

    /// Closes every connection whose chain would not be accepted again; returns how many.
    pub fn close_untrusted(&self, now: SystemTime, devices: &DeviceVerifier) -> usize {
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        self.close_if(|watched| match watched.peer.chain() {
            [leaf, above @ ..] => devices.verify_client_cert(leaf, above, now).is_err(),
            // A user's token stands on no authority of devices.
            [] => false,
        })
    }

    fn close_if(&self, is_over: impl Fn(&Watched) -> bool) -> usize {
        let connections = self.lock();
        let over = connections.open.values().filter(|watched| is_over(watched));
        over.map(|watched| watched.peer.close(CloseCode::NotPermitted)).count()
    }

    /// Closes all of them.
    pub fn close_all(&self, code: CloseCode) {
        self.lock().open.values().for_each(|watched| watched.peer.close(code));
    }

    /// Sessions of a device that have said in which log they are, the newest first.
    pub fn sessions_of(&self, device: DeviceId) -> Vec<SessionId> {
        let connections = self.lock();
        let entered = connections.of_device(device).filter(|(_, watched)| watched.log.is_some());
        let mut sessions: Vec<(u64, SessionId)> = entered.map(|(id, watched)| (watched.number, id)).collect();
        sessions.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        sessions.into_iter().map(|(_, id)| id).collect()
    }

    /// Which devices are connected.
    pub fn devices(&self) -> Vec<DeviceId> {
        self.lock().open.values().map(|watched| watched.device).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().open.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn is_expired(&self, now: SystemTime) -> bool {
        self.not_after.is_some_and(|end| now > end)
    }
}

impl Peer {
    fn close(&self, code: CloseCode) {
        match self {
            Peer::Device(connection) => connection.close(code),
            Peer::Browser(line) => line.close(code),
        }
    }

    /// The certificate it has shown, and those above it; empty for a user without a device.
    fn chain(&self) -> &[CertificateDer<'static>] {
        match self {
            Peer::Device(connection) => connection.chain(),
            Peer::Browser(line) => line.chain(),
        }
    }
}

impl Connections {
    fn of_device(&self, device: DeviceId) -> impl Iterator<Item = (SessionId, &Watched)> {
        let of_device = self.of_devices.range((device, FIRST)..=(device, LAST));
        of_device.filter_map(|(_, session)| Some((*session, self.open.get(session)?)))
    }
}

impl SignIns {
    /// Whether one of them has ended, or its user was denied.
    pub fn are_over(&self, now_ms: i64, deny: &DenyList) -> bool {
        let ended = self.until_ms.is_some_and(|until_ms| now_ms >= until_ms);
        ended || self.users.iter().any(|user| deny.is_user_denied(*user))
    }
}

/// Devices that were in a session, until somebody writes it down: a session must not wait for a disk to begin.
#[derive(Debug, Default)]
pub struct Seen(Mutex<BTreeMap<DeviceId, i64>>);

impl Seen {
    /// The device is in a session at that moment.
    pub fn note(&self, device: DeviceId, now_ms: i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(device, now_ms);
    }

    /// All that were noted since the last call.
    pub fn take(&self) -> Vec<(DeviceId, i64)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }
}

/// Before and after every session's.
const FIRST: SessionId = SessionId(Uuid::nil());
const LAST: SessionId = SessionId(Uuid::max());

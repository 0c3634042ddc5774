//! Open connections, and the authority they stand on. What lapses here closes what it opened.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use feldakte_certs::{deny::DenyList, verifier::DeviceVerifier};
use feldakte_core::ids::{DeviceId, SessionId, UserId};
use feldakte_proto::CloseCode;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::wire;

/// All connections whose device has been identified.
#[derive(Debug, Default)]
pub struct Registry {
    connections: Mutex<BTreeMap<SessionId, Connection>>,
}

#[derive(Debug)]
struct Connection {
    quic: quinn::Connection,
    device: DeviceId,
    not_after: SystemTime,
    users: SignIns,
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
    /// Watches a connection until [`Registry::remove`]. A device has one session: an older one is superseded.
    pub fn insert(&self, session: SessionId, quic: quinn::Connection, device: DeviceId, not_after: SystemTime) {
        let mut connections = self.lock();
        connections
            .values()
            .filter(|other| other.device == device)
            .for_each(|other| wire::close(&other.quic, CloseCode::Superseded));
        connections.insert(session, Connection { quic, device, not_after, users: SignIns::default() });
    }

    /// The session stands on these sign-ins as well.
    pub fn signed_in(&self, session: SessionId, users: SignIns) {
        if let Some(connection) = self.lock().get_mut(&session) {
            connection.users = users;
        }
    }

    /// Closes every connection with a user whose sign-in has ended or who is on the deny list; returns how many.
    pub fn close_signed_out(&self, now_ms: i64, deny: &DenyList) -> usize {
        let connections = self.lock();
        let ended = connections.values().filter(|connection| connection.users.are_over(now_ms, deny));
        ended.map(|connection| wire::close(&connection.quic, CloseCode::SignInEnded)).count()
    }

    /// The connection has ended.
    pub fn remove(&self, session: SessionId) {
        self.lock().remove(&session);
    }

    /// Closes every connection whose certificate has expired or is on the deny list; returns how many.
    pub fn close_lapsed(&self, now: SystemTime, deny: &DenyList) -> usize {
        self.close_if(|connection| {
            let denied = || leaf_of(&connection.quic).is_none_or(|leaf| deny.is_denied(&leaf));
            now > connection.not_after || denied()
        })
    }

    /// Closes every connection whose certificate has expired.
    pub fn close_expired(&self, now: SystemTime) -> usize {
        self.close_if(|connection| now > connection.not_after)
    }

    /// Closes every connection whose chain would not be accepted again; returns how many.
    pub fn close_untrusted(&self, now: SystemTime, devices: &DeviceVerifier) -> usize {
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        self.close_if(|connection| match chain_of(&connection.quic).as_deref() {
            Some([leaf, above @ ..]) => devices.verify_client_cert(leaf, above, now).is_err(),
            _ => true,
        })
    }

    fn close_if(&self, is_over: impl Fn(&Connection) -> bool) -> usize {
        let connections = self.lock();
        let over = connections.values().filter(|connection| is_over(connection));
        over.map(|connection| wire::close(&connection.quic, CloseCode::NotPermitted)).count()
    }

    /// Closes all of them.
    pub fn close_all(&self, code: CloseCode) {
        self.lock().values().for_each(|connection| wire::close(&connection.quic, code));
    }

    /// Which devices are connected.
    pub fn devices(&self) -> Vec<DeviceId> {
        self.lock().values().map(|connection| connection.device).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SessionId, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The certificate the peer proved to hold.
pub fn leaf_of(connection: &quinn::Connection) -> Option<CertificateDer<'static>> {
    chain_of(connection)?.into_iter().next()
}

fn chain_of(connection: &quinn::Connection) -> Option<Vec<CertificateDer<'static>>> {
    connection.peer_identity()?.downcast().ok().map(|chain| *chain)
}

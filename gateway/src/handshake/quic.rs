//! Handshakes over QUIC: an address in a first packet is a claim until its peer has answered.

use feldakte_core::{limits, turnstile::Class};
use feldakte_proto::{CloseCode, quic::says_on_mission};
use quinn::{ConnectionError, Incoming};
use rustls::AlertDescription;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep, timeout},
};

use super::{Address, Admission, Handshakes, Slot};
use crate::{addresses::Place, transport::Connection};

/// One that may go on. It holds its place until it is complete or dropped.
pub struct QuicHandshake {
    incoming: Incoming,
    /// What its first packet says, which nothing proves.
    class: Class,
    since: Instant,
    slot: Slot,
    /// Of an address that was proven before the handshake.
    place: Option<Place>,
    all: Handshakes,
}

impl Handshakes {
    /// Lets a first packet begin a handshake, or answers it without keeping anything.
    pub fn admit_quic(&self, incoming: Incoming) -> Option<QuicHandshake> {
        let remote = incoming.remote_address().ip();
        let address = if incoming.remote_address_validated() { Address::Proven } else { Address::Claimed };
        let class = if says_on_mission(&incoming.orig_dst_cid()) { Class::Mission } else { Class::Other };
        match self.judge(class, address, remote) {
            Admission::Proceed(slot, place) => {
                let (since, all) = (Instant::now(), self.clone());
                Some(QuicHandshake { incoming, class, since, slot, place, all })
            }
            Admission::Retry => {
                self.record.metrics.handshakes_retried.inc();
                incoming.retry().expect("an address that is not proven may be asked for a proof");
                None
            }
            Admission::Refuse(reason) => {
                self.record.rejected(reason);
                incoming.refuse();
                None
            }
        }
    }
}

impl QuicHandshake {
    /// Which queue it waits in.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The connection and what it takes of its address's share, when the peer is an enrolled device and was quick
    /// enough. The turn is left to the next one as soon as it needs no processor.
    pub async fn complete(self, turn: OwnedSemaphorePermit) -> Option<(Connection, Place)> {
        let Self { incoming, class: _, since, slot: _slot, place, all } = self;
        let Handshakes { addresses, record, .. } = all;
        if since.elapsed() > limits::HELD_WITHIN {
            record.rejected("busy");
            incoming.refuse();
            return None;
        }
        let remote = incoming.remote_address();
        match timeout(limits::HELLO_WITHIN, with_turn(turn, incoming.into_future())).await {
            // Whoever completes a handshake has shown that it hears us.
            Ok(Ok(connection)) => match place.map_or_else(|| addresses.admit(remote.ip()), Ok) {
                Ok(place) => return Some((Connection::quic(connection), place.open())),
                Err(crowded) => {
                    record.rejected(crowded.name());
                    Connection::quic(connection).close(CloseCode::Crowded);
                }
            },
            Ok(Err(error)) => {
                let reason = reason_of(&error);
                // A certificate is shown, or ours refused, by somebody who has heard us: he pays before it is told.
                if reason != super::OTHER && place.is_none() {
                    addresses.count_failed(remote.ip());
                }
                record.failed(remote, reason, &error);
            }
            Err(_) => record.took_too_long(remote),
        }
        None
    }
}

async fn with_turn<T>(turn: OwnedSemaphorePermit, handshake: impl Future<Output = T>) -> T {
    tokio::pin!(handshake);
    tokio::select! {
        biased;
        done = &mut handshake => return done,
        () = sleep(limits::COMPUTING_WITHIN) => drop(turn),
    }
    handshake.await
}

/// Which part of the device's certificate was not taken, or that it did not take ours.
fn reason_of(error: &ConnectionError) -> &'static str {
    match error {
        ConnectionError::TransportError(error) => alert_of(error.code.into()).map_or(super::OTHER, super::reason_of),
        ConnectionError::ConnectionClosed(close) if alert_of(close.error_code.into()).is_some() => super::DISTRUSTED,
        _ => super::OTHER,
    }
}

/// TLS alerts arrive as QUIC crypto errors (RFC 9001, 4.8).
fn alert_of(code: u64) -> Option<AlertDescription> {
    let alert = code.checked_sub(0x100)?;
    u8::try_from(alert).ok().map(AlertDescription::from)
}

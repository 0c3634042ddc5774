//! Handshakes over TCP: whoever is connected has shown that it hears us.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use feldakte_core::{limits, turnstile::Class};
use rustls::{AlertDescription, Error, ServerConfig};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{Address, Admission, Handshakes, Slot};
use crate::{addresses::Place, tcp};

/// One that may go on. It holds its place until it is complete or dropped.
pub struct TcpHandshake {
    remote: SocketAddr,
    slot: Slot,
    place: Place,
    all: Handshakes,
}

impl Handshakes {
    /// Lets a connection begin a handshake.
    pub fn admit_tcp(&self, remote: SocketAddr) -> Option<TcpHandshake> {
        match self.judge(Class::Other, Address::Proven, remote.ip()) {
            Admission::Proceed(slot, Some(place)) => Some(TcpHandshake { remote, slot, place, all: self.clone() }),
            Admission::Refuse(reason) => {
                self.record.rejected(reason);
                None
            }
            // Nothing else becomes of an address that is proven.
            Admission::Proceed(_, None) | Admission::Retry => None,
        }
    }
}

/// Accepts until shutdown whoever may begin a handshake, and goes on with him under the newest TLS configuration.
pub async fn serve<F>(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    handshakes: Handshakes,
    shutdown: CancellationToken,
    begin: impl Fn(TcpStream, TcpHandshake, TlsAcceptor) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let admit = |stream, peer| {
        let handshake = handshakes.admit_tcp(peer)?;
        Some(begin(stream, handshake, TlsAcceptor::from(tls.borrow().clone())))
    };
    tcp::accept(listener, shutdown, admit).await;
}

impl TcpHandshake {
    /// The connection and what it takes of its address's share, when the peer is an enrolled device and was quick
    /// enough.
    pub async fn complete<S>(self, acceptor: TlsAcceptor, stream: S) -> Option<(TlsStream<S>, Place)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { remote, slot, place, all: Handshakes { record, .. } } = self;
        match tokio::time::timeout(limits::HELLO_WITHIN, acceptor.accept(stream).into_fallible()).await {
            Ok(Ok(stream)) => return Some((stream, place.open())),
            Ok(Err((error, stream))) => {
                drop(slot);
                record.failed(remote, reason_of(&error), &error);
                let _ = tokio::time::timeout(ALERT_WITHIN, let_alert_arrive(stream)).await;
            }
            Err(_) => record.took_too_long(remote),
        }
        None
    }
}

/// Closing a socket that holds unread bytes resets it, and a reset may overtake the alert that says why.
async fn let_alert_arrive(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(UNREAD_MAX), &mut tokio::io::sink()).await.map(drop)
}

/// Which part of the device's certificate was not taken, or that it did not take ours.
fn reason_of(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(error)) => super::reason_of(AlertDescription::from(error.clone())),
        Some(Error::NoCertificatesPresented) => super::reason_of(AlertDescription::CertificateRequired),
        Some(Error::AlertReceived(_)) => super::DISTRUSTED,
        _ => super::OTHER,
    }
}

/// A round trip over a bad link.
const ALERT_WITHIN: Duration = Duration::from_millis(500);
/// What a client sends behind its handshake before it has heard of the refusal.
const UNREAD_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    #[test]
    fn refusals_have_the_names_that_they_have_over_quic() {
        let named = |error: Error| reason_of(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert_eq!(named(CertificateError::Expired.into()), "certificate_expired");
        assert_eq!(named(CertificateError::Revoked.into()), "certificate_denied");
        assert_eq!(named(CertificateError::UnknownIssuer.into()), "certificate_issuer");
        assert_eq!(named(CertificateError::InvalidPurpose.into()), "certificate_invalid");
        assert_eq!(named(Error::NoCertificatesPresented), "certificate_missing");
        assert_eq!(named(Error::AlertReceived(AlertDescription::UnknownCA)), "gateway_distrusted");
        assert_eq!(named(Error::HandshakeNotComplete), "handshake");
    }
}

//! A browser's connection as those see it who may have to end it.

use std::sync::Arc;

use feldakte_proto::CloseCode;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

/// A browser's connection. Cheap to clone: all clones are the same connection.
#[derive(Debug, Clone)]
pub struct Line {
    chain: Arc<[CertificateDer<'static>]>,
    end: Arc<watch::Sender<Option<CloseCode>>>,
}

/// Hears of a connection's end.
#[derive(Debug)]
pub struct Closing(watch::Receiver<Option<CloseCode>>);

impl Line {
    /// With the certificate it has shown and those above it, if any.
    pub fn new(chain: Vec<CertificateDer<'static>>) -> (Self, Closing) {
        let (end, closing) = watch::channel(None);
        (Self { chain: chain.into(), end: Arc::new(end) }, Closing(closing))
    }

    /// Ends it. The first reason counts.
    pub fn close(&self, code: CloseCode) {
        self.end.send_if_modified(|end| {
            let is_first = end.is_none();
            end.get_or_insert(code);
            is_first
        });
    }

    /// Why it ends, once that is known.
    pub fn code(&self) -> Option<CloseCode> {
        *self.end.borrow()
    }

    /// The certificate that the browser has shown, and those above it; empty for a user without a device.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }
}

impl Closing {
    /// Why it is to end, when it is. Cancel-safe.
    pub async fn closed(&mut self) -> CloseCode {
        let end = self.0.wait_for(Option::is_some).await;
        end.ok().and_then(|end| *end).unwrap_or(CloseCode::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_counts() {
        let (line, mut closing) = Line::new(Vec::new());
        line.clone().close(CloseCode::NotPermitted);
        line.close(CloseCode::Superseded);
        assert_eq!(closing.closed().await, CloseCode::NotPermitted);
        assert_eq!(closing.closed().await, CloseCode::NotPermitted);
    }
}

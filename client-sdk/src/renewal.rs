//! Keeps the device's certificate good: renews it while there is a session, and before dialling when it has ended.
//!
//! A new certificate is kept before it is used: a crash in between leaves one that works. The session at hand keeps the
//! old one until it ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use feldakte_certs::identity;
use quinn::ClientConfig;
use tokio::sync::Mutex;
use tracing::{debug, info, warn};

use crate::{
    SdkError,
    enrol::{self, EnrolError, Enrolled},
    environment::{Environment, since_1970_ms},
    identity::Identity,
    wire::{self, LinkError},
};

/// Where an app keeps the device's credentials.
pub trait IdentityStore: Send + Sync {
    /// Keeps the renewed credentials; they survive power loss when this returns. Replace them as a whole: certificate and
    /// key belong together.
    ///
    /// # Errors
    /// When they could not be kept; the old ones stay in use.
    fn keep(&self, renewed: &Enrolled) -> std::io::Result<()>;
}

/// How a client renews its certificate.
#[derive(Clone)]
pub struct Renewal {
    /// Where devices enrol, `host:port`.
    pub gateway: String,
    /// Where the credentials are kept.
    pub store: Arc<dyn IdentityStore>,
    /// From when on, milliseconds since 1970, as [`Enrolled::renew_at_ms`] says; at half of the certificate's life when
    /// `None`.
    pub renew_at_ms: Option<i64>,
}

/// The credentials at hand.
pub(crate) struct Credentials {
    server_name: String,
    renewal: Option<Renewal>,
    environment: Environment,
    at_hand: Mutex<AtHand>,
    /// How often in a row the gateway did not take them.
    refusals: AtomicU32,
}

struct AtHand {
    identity: Identity,
    config: ClientConfig,
    renew_at_ms: i64,
    ends_at_ms: i64,
    /// Whether the gateway has been shown this certificate.
    is_shown: bool,
}

impl Credentials {
    /// # Errors
    /// When the identity cannot be used.
    pub(crate) fn new(
        identity: Identity,
        server_name: String,
        renewal: Option<Renewal>,
        environment: Environment,
    ) -> Result<Self, SdkError> {
        let renew_at_ms = renewal.as_ref().and_then(|renewal| renewal.renew_at_ms);
        let at_hand = Mutex::new(AtHand::new(identity, renew_at_ms)?);
        Ok(Self { server_name, renewal, environment, at_hand, refusals: AtomicU32::new(0) })
    }

    /// What to dial with. A certificate that has ended, or was refused, is renewed first.
    ///
    /// # Errors
    /// When it has ended and is not renewed.
    pub(crate) async fn for_dialling(&self) -> Result<ClientConfig, LinkError> {
        let mut at_hand = self.at_hand.lock().await;
        let has_ended = self.environment.now_ms() > at_hand.ends_at_ms;
        // By the gateway's clock it may have ended although it has not by the device's.
        let is_refused = at_hand.is_shown && self.refusals.load(Ordering::Relaxed) > 0;
        at_hand.is_shown = true;
        if self.renewal.is_none() || !(has_ended || is_refused) {
            return Ok(at_hand.config.clone());
        }
        match self.renew(&mut at_hand).await {
            Ok(()) => {
                at_hand.is_shown = true;
                Ok(at_hand.config.clone())
            }
            // The gateway may take it all the same: its clock counts.
            Err(error) if error.is_retryable() => Ok(at_hand.config.clone()),
            Err(_) if has_ended => Err(LinkError::Refused),
            Err(_) => Ok(at_hand.config.clone()),
        }
    }

    /// The gateway did not take them. Whether they can be others at once: a session ends with the certificate that it began
    /// with, whatever has been renewed since.
    pub(crate) fn were_refused(&self) -> bool {
        self.refusals.fetch_add(1, Ordering::Relaxed) == 0 && self.renewal.is_some()
    }

    /// The gateway has taken them.
    pub(crate) fn were_taken(&self) {
        self.refusals.store(0, Ordering::Relaxed);
    }

    /// Renews when it is time, for ever; beside a session, which stays as it is.
    pub(crate) async fn keep_fresh(&self) {
        if self.renewal.is_none() {
            return std::future::pending().await;
        }
        loop {
            let mut at_hand = self.at_hand.lock().await;
            let wait_ms = at_hand.renew_at_ms - self.environment.now_ms();
            let wait = match u64::try_from(wait_ms) {
                // A device's clock may jump: look again now and then.
                Ok(wait_ms) if wait_ms > 0 => Duration::from_millis(wait_ms).min(LOOK_EVERY),
                _ => match self.renew(&mut at_hand).await {
                    Ok(()) => continue,
                    Err(_) => AGAIN_AFTER.mul_f64(0.5 + self.environment.draw()),
                },
            };
            drop(at_hand);
            tokio::time::sleep(wait).await;
        }
    }

    async fn renew(&self, at_hand: &mut AtHand) -> Result<(), EnrolError> {
        let Some(renewal) = &self.renewal else { return Ok(()) };
        let renewed = enrol::renew(&renewal.gateway, &self.server_name, &at_hand.identity, None).await;
        let renewed = renewed.inspect_err(|error| debug!(%error, "the certificate is not renewed"))?;
        if let Err(error) = renewal.store.keep(&renewed) {
            warn!(kind = %error.kind(), "the renewed certificate cannot be kept; the old one stays in use");
            return Err(EnrolError::Unreachable);
        }
        let identity = renewed.identity().map_err(|_| EnrolError::Unreadable)?;
        *at_hand = AtHand::new(identity, Some(renewed.renew_at_ms)).map_err(|_| EnrolError::Unreadable)?;
        info!("certificate renewed");
        Ok(())
    }
}

impl AtHand {
    fn new(identity: Identity, renew_at_ms: Option<i64>) -> Result<Self, SdkError> {
        let config = wire::client_config(&identity)?;
        let validity = identity.chain.first().map(identity::validity_of);
        let ends_at_ms = validity.and_then(Result::ok).map_or(i64::MAX, |validity| since_1970_ms(validity.not_after));
        let renew_at_ms = renew_at_ms.or_else(|| enrol::due_ms(&identity)).unwrap_or(ends_at_ms);
        Ok(Self { identity, config, renew_at_ms, ends_at_ms, is_shown: false })
    }
}

/// After a renewal that was not granted or not answered.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The longest sleep until the next look at the clock.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

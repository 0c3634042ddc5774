//! Keeps the device's certificate good: renews it inside the session, which needs no other way to the gateway, and at the
//! enrolment port when the session's way is closed, or before dialling when the certificate has ended.
//!
//! A new certificate is kept before it is used: a crash in between leaves one that works. It is for the same key, so an
//! answer that was lost is asked for again. The session at hand keeps the old one until it ends.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use feldakte_certs::{identity, request::DeviceKey};
use feldakte_proto::{Outcome, Renewed};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::Instant,
};
use tracing::{debug, info, warn};

use crate::{
    SdkError,
    enrol::{self, EnrolError, Enrolled},
    environment::{Environment, since_1970_ms},
    identity::Identity,
    link::LinkInput,
    transport::{DialConfig, LinkError},
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
    /// Where devices enrol, `host:port`: asked when the certificate has ended, or is not renewed in the session.
    pub gateway: String,
    /// Where the credentials are kept.
    pub store: Arc<dyn IdentityStore>,
    /// From when on, milliseconds since 1970, as [`Enrolled::renew_at_ms`] says; at half of the certificate's life when
    /// `None`.
    pub renew_at_ms: Option<i64>,
}

/// A certificate to be asked for in the session; without one, the channel just ends.
pub(crate) struct Renewing {
    pub(crate) csr: String,
    pub(crate) answer: oneshot::Sender<Granted>,
}

/// What the gateway has answered.
pub(crate) type Granted = Result<Renewed, Outcome>;

/// The credentials at hand.
pub(crate) struct Credentials {
    /// Where sessions are had, `host:port`.
    sessions: String,
    server_name: String,
    renewal: Option<Renewal>,
    environment: Environment,
    at_hand: Mutex<AtHand>,
    /// What is at hand while a renewal holds it.
    last: std::sync::Mutex<DialConfig>,
    /// How often in a row the gateway did not take them.
    refusals: AtomicU32,
}

struct AtHand {
    identity: Identity,
    config: DialConfig,
    renew_at_ms: i64,
    ends_at_ms: i64,
    /// Whether the gateway has been shown this certificate.
    is_shown: bool,
    /// A session was asked for the next one and has ended without an answer.
    is_unanswered: bool,
    /// How often in a row asking was put off.
    failures: u32,
    /// Not before then, however many sessions come and go.
    again_at: Option<Instant>,
}

impl Credentials {
    /// # Errors
    /// When the identity cannot be used.
    pub(crate) fn new(
        identity: Identity,
        (sessions, server_name): (&str, &str),
        renewal: Option<Renewal>,
        environment: Environment,
    ) -> Result<Self, SdkError> {
        let (sessions, server_name) = (sessions.to_owned(), server_name.to_owned());
        let renew_at_ms = renewal.as_ref().and_then(|renewal| renewal.renew_at_ms);
        let at_hand = AtHand::new(identity, renew_at_ms)?;
        let last = std::sync::Mutex::new(at_hand.config.clone());
        let at_hand = Mutex::new(at_hand);
        Ok(Self { sessions, server_name, renewal, environment, at_hand, last, refusals: AtomicU32::new(0) })
    }

    /// What to dial with. A certificate that has ended, or was refused, is renewed first.
    ///
    /// # Errors
    /// When it has ended and is not renewed.
    pub(crate) async fn for_dialling(&self) -> Result<DialConfig, LinkError> {
        // A renewal that waits for its answer on a silent path must not keep the device from dialling beside it.
        let Ok(mut at_hand) = self.at_hand.try_lock() else { return Ok(self.last_config()) };
        let has_ended = self.environment.now_ms() > at_hand.ends_at_ms;
        // By the gateway's clock it may have ended although it has not by the device's.
        let is_refused = at_hand.is_shown && self.refusals.load(Ordering::Relaxed) > 0;
        at_hand.is_shown = true;
        if self.renewal.is_none() || !(has_ended || is_refused) {
            return Ok(at_hand.config.clone());
        }
        match self.renew_at_the_port(&mut at_hand).await {
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

    fn last_config(&self) -> DialConfig {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// Renews when it is time, for as long as the session lasts, which stays as it is. `engine` asks in it.
    pub(crate) async fn keep_fresh(&self, engine: &mpsc::Sender<LinkInput>) {
        if self.renewal.is_none() {
            return std::future::pending().await;
        }
        loop {
            let wait = {
                let mut at_hand = self.at_hand.lock().await;
                self.renew_when_due(&mut at_hand, engine).await
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// How long to wait for the next look.
    async fn renew_when_due(&self, at_hand: &mut AtHand, engine: &mpsc::Sender<LinkInput>) -> Duration {
        let due_in_ms = at_hand.renew_at_ms.saturating_sub(self.environment.now_ms());
        let put_off = at_hand.again_at.map(|again_at| again_at.saturating_duration_since(Instant::now()));
        let wait = Duration::from_millis(due_in_ms.try_into().unwrap_or(0)).max(put_off.unwrap_or_default());
        if !wait.is_zero() {
            // A device's clock may jump: look again now and then.
            return wait.min(LOOK_EVERY);
        }
        // A session that ends before it answers is nobody's refusal: the next one is asked at once, those after it are not.
        if at_hand.is_unanswered {
            at_hand.put_off(self.environment.draw());
        }
        at_hand.is_unanswered = true;
        if let Err(error) = self.renew_in_session(at_hand, engine).await {
            debug!(%error, "the certificate is not renewed");
            at_hand.is_unanswered = false;
            at_hand.put_off(self.environment.draw());
        }
        Duration::ZERO
    }

    /// Asks in the session, and at the enrolment port when the session's gateway does not certify.
    async fn renew_in_session(&self, at_hand: &mut AtHand, engine: &mpsc::Sender<LinkInput>) -> Result<(), EnrolError> {
        let key = DeviceKey::from_private_key(&at_hand.identity.key)?;
        let (answer, granted) = oneshot::channel();
        let renewing = Renewing { csr: key.csr_pem()?, answer };
        engine.send(LinkInput::Renew(renewing)).await.map_err(|_| EnrolError::Unreachable)?;
        match granted.await {
            Ok(Ok(renewed)) => self.keep(at_hand, enrol::renewed(renewed, &key, &self.sessions)?),
            // The port would say the same.
            Ok(Err(Outcome::TooOften)) => Err(EnrolError::Unreachable),
            Ok(Err(outcome)) => {
                debug!(?outcome, "the certificate is not renewed in the session");
                self.renew_at_the_port(at_hand).await
            }
            Err(_) => Err(EnrolError::Unreachable),
        }
    }

    async fn renew_at_the_port(&self, at_hand: &mut AtHand) -> Result<(), EnrolError> {
        let Some(renewal) = &self.renewal else { return Ok(()) };
        let renewed = enrol::renew(&renewal.gateway, &self.server_name, &at_hand.identity, None).await;
        self.keep(at_hand, renewed.inspect_err(|error| debug!(%error, "the certificate is not renewed"))?)
    }

    /// Kept before it is used.
    fn keep(&self, at_hand: &mut AtHand, renewed: Enrolled) -> Result<(), EnrolError> {
        let Some(renewal) = &self.renewal else { return Ok(()) };
        if let Err(error) = renewal.store.keep(&renewed) {
            warn!(kind = %error.kind(), "the renewed certificate cannot be kept; the old one stays in use");
            return Err(EnrolError::Unreachable);
        }
        let identity = renewed.identity().map_err(|_| EnrolError::Unreadable)?;
        *at_hand = AtHand::new(identity, Some(renewed.renew_at_ms)).map_err(|_| EnrolError::Unreadable)?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = at_hand.config.clone();
        info!("certificate renewed");
        Ok(())
    }
}

impl AtHand {
    fn new(identity: Identity, renew_at_ms: Option<i64>) -> Result<Self, SdkError> {
        let config = DialConfig::new(&identity)?;
        let validity = identity.chain.first().map(identity::validity_of);
        let ends_at_ms = validity.and_then(Result::ok).map_or(i64::MAX, |validity| since_1970_ms(validity.not_after));
        let renew_at_ms = renew_at_ms.or_else(|| enrol::due_ms(&identity)).unwrap_or(ends_at_ms);
        Ok(Self {
            identity,
            config,
            renew_at_ms,
            ends_at_ms,
            is_shown: false,
            is_unanswered: false,
            failures: 0,
            again_at: None,
        })
    }

    /// Asks again ever more seldom: a gateway that does not certify is not to be asked by its whole fleet every minute.
    fn put_off(&mut self, draw: f64) {
        let wait = AGAIN_AFTER * 2_u32.pow(self.failures.min(DOUBLED_MAX));
        self.again_at = Some(Instant::now() + wait.mul_f64(0.5 + draw));
        self.failures += 1;
    }
}

/// After a renewal that was not granted or not answered; doubled each time.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Up to about an hour.
const DOUBLED_MAX: u32 = 6;

/// The longest sleep until the next look at the clock.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

//! What the gateway proves itself with and whom it believes: read from files at the start, and again when they change
//! or SIGHUP comes.
//!
//! Four parts are taken up each for itself, so that a mistake in one does not hold up the others: the credentials
//! (certificate, key and device authorities), the deny list, the revocation lists, the secrets shared with TURN servers. A part is checked before anything
//! of it is put in force; one that cannot be used changes nothing but a metric and the log.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use feldakte_certs::{crl::Revocations, deny::DenyList, identity, policy, verifier::DeviceVerifier};
use feldakte_core::{
    audit::{Act, Actor, Chain, Record},
    limits,
};
use rustls_pki_types::CertificateDer;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::Instant,
};
use tracing::{error, info};

use self::files::Files;
pub use self::files::TrustError;
use crate::{
    config::Config,
    environment::Environment,
    gateway::Gateway,
    metrics::Metrics,
    relay::Relay,
    tls::{self, Credentials, TlsError},
    watched::Watched,
};

mod files;

/// Files in force.
pub struct Trust {
    files: Files,
    environment: Environment,
    deny: DenyList,
    authorities: Vec<CertificateDer<'static>>,
    /// What newly accepted TCP connections are served with.
    enrolment: watch::Sender<Arc<rustls::ServerConfig>>,
    grpc: watch::Sender<Arc<rustls::ServerConfig>>,
    web: watch::Sender<Arc<rustls::ServerConfig>>,
    not_after: SystemTime,
    revocations: Option<Revocations>,
    is_stale: bool,
    /// Whom to believe since authorities were changed, and until when to ask again: handshakes that began before may
    /// still end.
    recheck: Option<(Instant, Arc<DeviceVerifier>)>,
    hangup: Option<Signal>,
    credentials_files: Watched,
    deny_list_file: Watched,
    crl_file: Watched,
    relay: Option<Arc<Relay>>,
    relay_file: Watched,
}

/// What listeners begin with.
pub struct Begin {
    /// For the QUIC endpoint.
    pub quic: quinn::ServerConfig,
    /// Lets devices of a dead gateway know of its end. It stays that of the first key until the next start.
    pub reset_secret: [u8; 32],
}

/// Credentials that have been checked.
struct Checked {
    quic: quinn::ServerConfig,
    enrolment: Arc<rustls::ServerConfig>,
    grpc: Arc<rustls::ServerConfig>,
    web: Arc<rustls::ServerConfig>,
    authorities: Vec<CertificateDer<'static>>,
    verifier: Arc<DeviceVerifier>,
    reset_secret: [u8; 32],
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Trust {
    /// Reads all files.
    ///
    /// # Errors
    /// When one of them cannot be used. A revocation list past its next update, and a certificate out of its time, are
    /// taken with an error in the log: a gateway that does not start helps nobody.
    pub fn load(
        config: &Config,
        relay: Option<Arc<Relay>>,
        environment: Environment,
    ) -> Result<(Self, Begin), TrustError> {
        // Before anything else: whoever sends it early wants the files read, not the process ended.
        let hangup = signal(SignalKind::hangup())
            .inspect_err(|error| error!(%error, "SIGHUP cannot be received; changed files are noticed all the same"))
            .ok();
        let (files, deny) = (Files::of(config), DenyList::default());
        let credentials_files = Watched::new([&files.certificate, &files.key, &files.device_ca].map(Clone::clone));
        let (deny_list_file, crl_file) = (Watched::new(files.deny_list.clone()), Watched::new(files.crl.clone()));
        if let Some(path) = &files.deny_list {
            deny.replace(files::read_deny_list(path)?);
        }
        let checked = check(&files, &deny)?;
        let revocations = files.crl.as_ref().map(|path| files::read_crl(path, &checked.authorities)).transpose()?;
        deny.replace_revocations(revocations.clone());
        let Checked { quic, enrolment, grpc, web, authorities, reset_secret, not_before, not_after, verifier: _ } =
            checked;
        let now = environment.now();
        if !(not_before..=not_after).contains(&now) {
            error!("the gateway's certificate is not valid at this time; devices refuse it");
        }
        let trust = Self {
            files,
            environment,
            deny,
            authorities,
            enrolment: watch::Sender::new(enrolment),
            grpc: watch::Sender::new(grpc),
            web: watch::Sender::new(web),
            not_after,
            revocations,
            is_stale: false,
            recheck: None,
            hangup,
            credentials_files,
            deny_list_file,
            crl_file,
            relay_file: Watched::new(relay.as_ref().map(|relay| relay.config().secret_file.clone())),
            relay,
        };
        Ok((trust, Begin { quic, reset_secret }))
    }

    /// Whom the gateway denies.
    pub fn deny(&self) -> DenyList {
        self.deny.clone()
    }

    /// The TLS configuration for enrolment over TCP; whoever accepts connections takes the newest for each.
    pub fn enrolment(&self) -> watch::Receiver<Arc<rustls::ServerConfig>> {
        self.enrolment.subscribe()
    }

    /// The same for sessions over gRPC.
    pub fn grpc(&self) -> watch::Receiver<Arc<rustls::ServerConfig>> {
        self.grpc.subscribe()
    }

    /// The same for browsers.
    pub fn web(&self) -> watch::Receiver<Arc<rustls::ServerConfig>> {
        self.web.subscribe()
    }

    /// Takes up what changes, for ever.
    pub async fn watch(mut self, gateway: &Gateway) {
        let metrics = gateway.metrics();
        self.show(&metrics);
        loop {
            let asked = asked_or_time_to_look(&mut self.hangup).await;
            // Each looks at its files, whatever the others found.
            let (credentials, deny_list, crl) = (
                self.credentials_files.has_settled() || asked,
                self.deny_list_file.has_settled() || asked,
                self.crl_file.has_settled() || asked,
            );
            let relay = self.relay_file.has_settled() || asked;
            if deny_list {
                told(gateway, "deny_list", self.take_deny_list(gateway));
            }
            if credentials {
                told(gateway, "credentials", self.take_credentials(gateway));
            }
            // Authorities may have come or gone.
            if crl || credentials {
                told(gateway, "crl", self.take_crl(gateway));
            }
            if relay {
                told(gateway, "relay", self.take_relay());
            }
            self.close_untrusted(gateway);
            self.show(&metrics);
        }
    }

    fn take_credentials(&mut self, gateway: &Gateway) -> Result<bool, TrustError> {
        let checked = check(&self.files, &self.deny)?;
        let Checked { quic, enrolment, grpc, web, authorities, verifier, reset_secret: _, not_before, not_after } =
            checked;
        let now = self.environment.now();
        if !(not_before..=not_after).contains(&now) {
            return Err(TrustError::NotValid { path: self.files.certificate.clone() });
        }
        gateway.replace_tls(quic);
        self.enrolment.send_replace(enrolment);
        self.grpc.send_replace(grpc);
        self.web.send_replace(web);
        self.not_after = not_after;
        if authorities != self.authorities {
            self.recheck = Some((Instant::now() + limits::HELLO_WITHIN, verifier));
        }
        self.authorities = authorities;
        info!("certificate, key and device authorities replaced");
        Ok(true)
    }

    fn close_untrusted(&mut self, gateway: &Gateway) {
        let Some((until, verifier)) = &self.recheck else { return };
        let closed = gateway.close_untrusted(verifier);
        if closed > 0 {
            info!(closed, "their authority is gone");
        }
        if Instant::now() > *until {
            self.recheck = None;
        }
    }

    fn take_deny_list(&mut self, gateway: &Gateway) -> Result<bool, TrustError> {
        let Some(path) = &self.files.deny_list else { return Ok(false) };
        self.deny.replace(files::read_deny_list(path)?);
        info!(closed = gateway.close_lapsed(), "deny list replaced");
        Ok(true)
    }

    fn take_crl(&mut self, gateway: &Gateway) -> Result<bool, TrustError> {
        let Some(path) = &self.files.crl else { return Ok(false) };
        let revocations = files::read_crl(path, &self.authorities)?;
        if self.revocations.as_ref().is_some_and(|in_force| revocations.is_older_than(in_force)) {
            return Err(TrustError::CrlOlder { path: path.clone() });
        }
        if self.revocations.as_ref() != Some(&revocations) && revocations.is_stale(self.environment.now()) {
            return Err(TrustError::CrlStale { path: path.clone() });
        }
        self.deny.replace_revocations(Some(revocations.clone()));
        info!(revoked = revocations.len(), closed = gateway.close_lapsed(), "revocation lists replaced");
        self.revocations = Some(revocations);
        Ok(true)
    }

    fn take_relay(&self) -> Result<bool, TrustError> {
        let Some(relay) = &self.relay else { return Ok(false) };
        relay.reload()?;
        info!("secrets of TURN servers replaced");
        Ok(true)
    }

    /// Shows operators how long everything lasts, and says once when a revocation list should have been replaced.
    fn show(&mut self, metrics: &Metrics) {
        metrics.certificate_not_after.set(seconds(self.not_after));
        let Some(revocations) = &self.revocations else { return };
        metrics.crl_next_update.set(seconds(revocations.next_update()));
        let is_stale = revocations.is_stale(self.environment.now());
        if is_stale && !self.is_stale {
            error!("a revocation list is past its next update; it stays in force, but misses what was revoked since");
        }
        self.is_stale = is_stale;
    }
}

async fn asked_or_time_to_look(hangup: &mut Option<Signal>) -> bool {
    let asked = async {
        let Some(hangup) = hangup else { return std::future::pending().await };
        if hangup.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    };
    tokio::time::timeout(LOOK_EVERY, asked).await.is_ok()
}

fn told(gateway: &Gateway, part: &'static str, taken: Result<bool, TrustError>) {
    let result = match taken {
        Ok(false) => return,
        Ok(true) => {
            gateway.audit().note(Record::new(Chain::Gateway, Actor::Gateway, Act::ConfigurationReloaded));
            "taken"
        }
        Err(error) => {
            let why = &error as &dyn std::error::Error;
            error!(part, error = why, "cannot be used; what was in force stays");
            "refused"
        }
    };
    gateway.metrics().reloads.get_or_create(&vec![("part", part), ("result", result)]).inc();
}

/// Reads the credentials and makes everything of them that listeners need.
fn check(files: &Files, deny: &DenyList) -> Result<Checked, TrustError> {
    let (credentials, authorities) = files.credentials()?;
    let leaf = credentials.chain.first().map(identity::validity_of);
    let Some(Ok(validity)) = leaf else { return Err(TrustError::NotValid { path: files.certificate.clone() }) };
    let Credentials { chain, key, device_roots } = &credentials;
    let verifier = DeviceVerifier::new(device_roots.clone(), deny.clone()).map_err(TlsError::Policy)?;
    // A device that knows only the root's fingerprint has to see the root.
    let unseen = files.gateway_roots()?.into_iter().filter(|root| !chain.contains(root));
    let shown: Vec<CertificateDer<'static>> = chain.iter().cloned().chain(unseen).collect();
    let enrolment = policy::enrolment_server_config(shown, key.clone_key()).map_err(TlsError::Policy)?;
    Ok(Checked {
        reset_secret: tls::reset_secret(key),
        verifier,
        enrolment: Arc::new(enrolment),
        grpc: tls::grpc_config(&credentials, deny.clone())?,
        web: tls::web_config(&credentials, deny.clone())?,
        authorities,
        not_before: validity.not_before,
        not_after: validity.not_after,
        quic: tls::server_config(credentials, deny.clone())?,
    })
}

fn seconds(moment: SystemTime) -> i64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    i64::try_from(since).unwrap_or(i64::MAX)
}

/// What is denied is closed within 1 s: two looks and the closing.
const LOOK_EVERY: Duration = Duration::from_millis(200);

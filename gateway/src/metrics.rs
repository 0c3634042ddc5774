//! What an operator can watch. Names end in their unit; no label ever carries an id or a name.

use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// All metrics of a gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Sessions that have been welcomed and are open.
    pub sessions: Gauge,
    /// Connections that ended before a session began, by reason.
    pub rejected: Family<Vec<(&'static str, &'static str)>, Counter>,
    /// Sessions that were let in, by class (`mission`, `other`).
    pub sessions_admitted: Family<Vec<(&'static str, &'static str)>, Counter>,
    /// Devices that wait to be let in, by class.
    pub sessions_waiting: Family<Vec<(&'static str, &'static str)>, Gauge>,
    /// Devices that were told to come back later, by class. Grows only in a storm.
    pub sessions_sent_away: Family<Vec<(&'static str, &'static str)>, Counter>,
    /// Credentials of users, by what became of them.
    pub sign_ins: Family<Vec<(&'static str, String)>, Counter>,
    /// Key sets of issuers that could not be had or used. While it grows, tokens with new keys are refused.
    pub issuer_keys_failed: Counter,
    /// Seconds by which the wall clock has been set back. Anything above some seconds wants a restart once it is right.
    pub clock_behind_seconds: Gauge,
    /// First packets whose sender was asked to prove its address. Grows only under attack or in a storm.
    pub handshakes_retried: Counter,
    /// Pushes answered.
    pub pushes: Counter,
    /// Changes made durable.
    pub changes_durable: Counter,
    /// Changes that were already in the log.
    pub changes_known: Counter,
    /// Changes refused, by reason.
    pub changes_refused: Family<Vec<(&'static str, String)>, Counter>,
    /// How often a device had used up a share and had to wait, by share.
    pub devices_slowed: Family<Vec<(&'static str, &'static str)>, Counter>,
    /// Seconds a commit took.
    pub commit_seconds: Histogram,
    /// Entries in a commit.
    pub commit_entries: Histogram,
    /// Commits that failed and were tried again.
    pub commit_retries: Counter,
    /// Ledgers read from the store because they were not in memory.
    pub ledger_loads: Counter,
    /// Documents opened: by the projector, or for a snapshot that was not there.
    pub document_loads: Counter,
    /// Snapshots written by the projector.
    pub snapshots_written: Counter,
    /// Documents that came to have [`feldakte_core::limits::ACTORS_ALARM`] actors. Anything but 0 wants a look.
    pub documents_crowded: Counter,
    /// Changes put into quarantine. Anything but 0 wants attention.
    pub changes_quarantined: Counter,
    /// Stored rows that are not what was written. Anything but 0 wants a restore.
    pub damaged: Counter,
    /// Emergency accesses to cases: each awaits a supervisor's review.
    pub break_glass: Counter,
    /// Changes that were kept for a supervisor because access had ended.
    pub evidence_kept: Counter,
    /// Documents sent as snapshots.
    pub snapshots_sent: Counter,
    /// Sessions that fell out of the live tail and read the store again.
    pub readers_lagged: Counter,
    /// Calls under way.
    pub calls: Gauge,
    /// Calls that have ended, by reason.
    pub calls_ended: Family<Vec<(&'static str, &'static str)>, Counter>,
    /// 1 while commits succeed.
    pub store_ready: Gauge,
    /// Changed files of certificates, keys and lists, by part and what became of them.
    pub reloads: Family<Vec<(&'static str, &'static str)>, Counter>,
    /// When the gateway's certificate ends, in seconds since 1970.
    pub certificate_not_after: Gauge,
    /// When the next revocation list is due, in seconds since 1970; 0 without one.
    pub crl_next_update: Gauge,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("feldakte"),
            sessions: Gauge::default(),
            rejected: Family::default(),
            sessions_admitted: Family::default(),
            sessions_waiting: Family::default(),
            sessions_sent_away: Family::default(),
            sign_ins: Family::default(),
            issuer_keys_failed: Counter::default(),
            clock_behind_seconds: Gauge::default(),
            handshakes_retried: Counter::default(),
            pushes: Counter::default(),
            changes_durable: Counter::default(),
            changes_known: Counter::default(),
            changes_refused: Family::default(),
            devices_slowed: Family::default(),
            commit_seconds: Histogram::new(exponential_buckets(0.0002, 2.0, 16)),
            commit_entries: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            commit_retries: Counter::default(),
            ledger_loads: Counter::default(),
            document_loads: Counter::default(),
            snapshots_written: Counter::default(),
            documents_crowded: Counter::default(),
            changes_quarantined: Counter::default(),
            damaged: Counter::default(),
            break_glass: Counter::default(),
            evidence_kept: Counter::default(),
            snapshots_sent: Counter::default(),
            readers_lagged: Counter::default(),
            calls: Gauge::default(),
            calls_ended: Family::default(),
            store_ready: Gauge::default(),
            reloads: Family::default(),
            certificate_not_after: Gauge::default(),
            crl_next_update: Gauge::default(),
        };
        metrics.store_ready.set(1);
        metrics.register();
        metrics
    }

    /// The Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("sessions", "Open sessions", self.sessions.clone());
        r.register("connections_rejected", "Connections that got no session, by reason", self.rejected.clone());
        r.register("sessions_admitted", "Sessions that were let in, by class", self.sessions_admitted.clone());
        r.register("sessions_waiting", "Devices that wait to be let in, by class", self.sessions_waiting.clone());
        r.register("sessions_sent_away", "Devices told to come back later, by class", self.sessions_sent_away.clone());
        r.register("break_glass", "Emergency accesses, each to be reviewed", self.break_glass.clone());
        r.register("evidence_kept", "Changes kept for a supervisor", self.evidence_kept.clone());
        r.register("sign_ins", "Credentials of users, by outcome", self.sign_ins.clone());
        r.register("issuer_keys_failed", "Key sets of issuers that could not be had", self.issuer_keys_failed.clone());
        r.register("clock_behind_seconds", "How far the clock was set back", self.clock_behind_seconds.clone());
        r.register("handshakes_retried", "Senders asked to prove their address", self.handshakes_retried.clone());
        r.register("pushes", "Pushes answered", self.pushes.clone());
        r.register("changes_durable", "Changes made durable", self.changes_durable.clone());
        r.register("changes_known", "Changes that were already in the log", self.changes_known.clone());
        r.register("changes_refused", "Changes refused, by reason", self.changes_refused.clone());
        r.register("devices_slowed", "Waits of devices that had used up a share", self.devices_slowed.clone());
        r.register("commit_seconds", "Duration of a commit", self.commit_seconds.clone());
        r.register("commit_entries", "Entries in a commit", self.commit_entries.clone());
        r.register("commit_retries", "Commits that failed and were tried again", self.commit_retries.clone());
        r.register("ledger_loads", "Ledgers read from the store", self.ledger_loads.clone());
        r.register("document_loads", "Documents opened", self.document_loads.clone());
        r.register("snapshots_written", "Snapshots written by the projector", self.snapshots_written.clone());
        r.register("documents_crowded", "Documents that came to have many actors", self.documents_crowded.clone());
        r.register("changes_quarantined", "Durable changes that cannot be applied", self.changes_quarantined.clone());
        r.register("damaged", "Stored rows found damaged", self.damaged.clone());
        r.register("snapshots_sent", "Documents sent as snapshots", self.snapshots_sent.clone());
        r.register("readers_lagged", "Sessions that fell out of the live tail", self.readers_lagged.clone());
        r.register("calls", "Calls under way", self.calls.clone());
        r.register("calls_ended", "Calls that have ended, by reason", self.calls_ended.clone());
        r.register("store_ready", "1 while commits succeed", self.store_ready.clone());
        r.register("reloads", "Changed TLS files, by part and result", self.reloads.clone());
        let help = "End of the gateway's certificate";
        r.register("certificate_not_after_timestamp_seconds", help, self.certificate_not_after.clone());
        let help = "When the next revocation list is due";
        r.register("crl_next_update_timestamp_seconds", help, self.crl_next_update.clone());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

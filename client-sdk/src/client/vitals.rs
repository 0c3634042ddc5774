//! Vitals of a bound monitor: live to who watches, and into the case by themselves.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use feldakte_core::{
    ids::{CallId, CaseId},
    live::{Moment, Numeric, Publisher, Quality, Seen, Trace},
};

use super::Client;
use crate::{
    error::SdkError,
    link::{Kind, Wanted, Watched},
    monitors::Monitor,
};

impl Client {
    /// What the monitor measures from here on belongs to that case, until it is bound to another one or unbound; what it has
    /// measured before stays where it is. Written into the case. A monitor that is bound to the case already stays so; after
    /// a restart of the app it has to be bound again, and goes on with the binding that the case holds.
    ///
    /// # Errors
    /// When it could not be saved, or too many monitors are bound.
    pub async fn bind_monitor(&self, case: CaseId, monitor: Monitor) -> Result<(), SdkError> {
        self.monitors.bind(self, case, monitor).await
    }

    /// What the monitor measures from here on belongs to no case. What it has measured is saved first. Nothing to do for one that
    /// is not bound.
    ///
    /// # Errors
    /// When it could not be saved; it is still bound then.
    pub async fn unbind_monitor(&self, serial_number: &str) -> Result<(), SdkError> {
        self.monitors.unbind(self, serial_number).await
    }

    /// Which monitors are bound, and to which cases.
    pub async fn bound_monitors(&self) -> Vec<(Monitor, CaseId)> {
        self.monitors.bound().await
    }

    /// Takes what a bound monitor showed at one time, by this device's clock, into its case. Numbers of about half a minute
    /// make one entry, so that what was measured since the last one is only in memory; [`Client::unbind_monitor`] and
    /// [`Client::shutdown`] save it.
    ///
    /// # Errors
    /// [`SdkError::MonitorNotBound`], also for what it measured before it was; [`SdkError::Vitals`]; or why earlier ones could
    /// not be saved, which are kept.
    pub async fn record_vitals(
        &self,
        serial_number: &str,
        measured_ms: i64,
        values: &[Numeric],
    ) -> Result<(), SdkError> {
        self.monitors.record(self, serial_number, measured_ms, values).await
    }

    /// Sends what a bound monitor measures to those who watch in the call, for as long as what it gives is kept. Numbers go into
    /// the case as well.
    ///
    /// # Errors
    /// [`SdkError::MonitorNotBound`], also when it is bound to another case than the one that the call is about.
    pub async fn publish_vitals(&self, call: CallId, serial_number: &str) -> Result<VitalsPublisher, SdkError> {
        let case = self.monitors.case_of(serial_number).await.ok_or(SdkError::MonitorNotBound)?;
        let calls = self.calls().await?.into_iter();
        let about = calls.filter(|state| state.call == call).find_map(|state| state.known.fact.map(|fact| fact.case));
        // What one patient's monitor shows never goes into a call about another one.
        if about.is_some_and(|about| about != case) {
            return Err(SdkError::MonitorNotBound);
        }
        let run = u64::from_be_bytes(self.environment.random());
        Ok(VitalsPublisher {
            client: self.clone(),
            serial_number: serial_number.to_owned(),
            case,
            began: self.environment.uptime(),
            publisher: Mutex::new(Publisher::new(call, run)),
            _wanted: self.control.want_live(),
        })
    }

    /// Follows the vitals of a call for as long as what it gives is kept, over lost sessions too. Nothing comes to whom the
    /// gateway does not let watch.
    pub fn watch_vitals(&self, call: CallId) -> VitalsWatch {
        let watched = self.control.live.watch(call);
        VitalsWatch { client: self.clone(), watched, _wanted: self.control.want_live() }
    }
}

/// Sends the vitals of one monitor in one call.
pub struct VitalsPublisher {
    client: Client,
    serial_number: String,
    /// To which the monitor was bound when the run began: bound to another one it sends nothing here.
    case: CaseId,
    /// The uptime when the run began.
    began: Duration,
    publisher: Mutex<Publisher>,
    _wanted: Wanted,
}

impl VitalsPublisher {
    /// What the monitor showed at one time, by this device's clock: into its case, and to those who watch.
    ///
    /// # Errors
    /// As [`Client::record_vitals`]; nothing is sent then. [`SdkError::Live`] when it is too much for one datagram.
    pub async fn numerics(&self, measured_ms: i64, values: Vec<Numeric>) -> Result<(), SdkError> {
        self.is_bound().await?;
        self.client.record_vitals(&self.serial_number, measured_ms, &values).await?;
        let datagram = self.publisher().numerics(self.moment(measured_ms), values)?;
        self.client.control.live.send(Kind::Numerics, datagram);
        Ok(())
    }

    /// Curves, from a first sample on that was measured then by this device's clock: to those who watch. A recording is an
    /// attachment of the case, made by the monitor.
    ///
    /// # Errors
    /// [`SdkError::MonitorNotBound`], [`SdkError::Live`].
    pub async fn waves(&self, measured_ms: i64, period_us: u32, traces: &[Trace]) -> Result<(), SdkError> {
        self.is_bound().await?;
        let datagrams = self.publisher().waves(self.moment(measured_ms), period_us, traces)?;
        datagrams.into_iter().for_each(|datagram| self.client.control.live.send(Kind::Waves, datagram));
        Ok(())
    }

    async fn is_bound(&self) -> Result<(), SdkError> {
        let case = self.client.monitors.case_of(&self.serial_number).await;
        if case == Some(self.case) { Ok(()) } else { Err(SdkError::MonitorNotBound) }
    }

    fn moment(&self, measured_ms: i64) -> Moment {
        let environment = &self.client.environment;
        let now_ms = (environment.uptime().saturating_sub(self.began)).as_millis();
        let ago_ms = environment.now_ms().saturating_sub(measured_ms).max(0);
        Moment {
            now_ms: u64::try_from(now_ms).unwrap_or(u64::MAX),
            path_ms: self.client.control.live.path_ms(),
            ago_ms: u32::try_from(ago_ms).unwrap_or(u32::MAX),
        }
    }

    fn publisher(&self) -> std::sync::MutexGuard<'_, Publisher> {
        self.publisher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the vitals of one call.
pub struct VitalsWatch {
    client: Client,
    watched: Arc<Watched>,
    _wanted: Wanted,
}

impl VitalsWatch {
    /// What is to be shown next; `None` when the client has been shut down. Whoever asks too seldom gets the newest, and the
    /// quality tells what he has missed. Cancel-safe.
    pub async fn next(&self) -> Option<Seen> {
        loop {
            let (seen, wake_at_ms) = {
                let mut receiver = self.watched.receiver();
                (receiver.poll(self.now_ms()), receiver.wake_at_ms())
            };
            if seen.is_some() {
                return seen;
            }
            let wake = async {
                match wake_at_ms {
                    Some(at_ms) => {
                        tokio::time::sleep(Duration::from_millis(at_ms.saturating_sub(self.now_ms()) + 1)).await
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.client.shutdown.cancelled() => return None,
                () = self.watched.changed.notified() => {}
                () = wake => {}
            }
        }
    }

    /// What has come, was lost, came late, and was not asked for in time.
    pub fn quality(&self) -> Quality {
        self.watched.receiver().quality()
    }

    /// How long nothing has come; `None` before anything has.
    pub fn silence(&self) -> Option<Duration> {
        self.watched.receiver().silence_ms(self.now_ms()).map(Duration::from_millis)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.client.environment.uptime().as_millis()).unwrap_or(u64::MAX)
    }
}

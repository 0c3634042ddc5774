//! Readiness, monitors and live vitals.

use std::sync::Arc;

use feldakte_client_sdk::{
    Monitor, VitalsPublisher as Publisher, VitalsWatch as Watch,
    view::{
        CallId,
        live::{self, Seen},
        readiness::{self, Channel, Judged, Limit, Readiness},
    },
};

use crate::{
    client::FeldakteClient,
    convert::case_id,
    error::FfiError,
    runtime::{in_runtime, on_runtime},
};

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Verdict {
    /// Does not suffice.
    Red,
    /// Suffices with losses, or it is not known.
    Yellow,
    /// Suffices.
    Green,
}

/// One measured fact, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ReadinessReason {
    /// `age_ms`, `rtt_ms`, `loss_permille`, `up_kbit_s` or `down_kbit_s`.
    pub fact: String,
    /// What it was; none when it is not known.
    pub measured: Option<u64>,
    /// The fact is best when it is small.
    pub at_most: bool,
    /// Green up to here, or from here on.
    pub green: u64,
    /// Yellow up to here, or from here on.
    pub yellow: u64,
    /// What follows from it alone.
    pub verdict: Verdict,
}

/// What is said of one channel.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ChannelReadiness {
    /// `voice`, `vitals`, `ecg`, `video` or `photo`.
    pub channel: String,
    /// The worst that a fact says.
    pub verdict: Verdict,
    /// Every fact that counts.
    pub reasons: Vec<ReadinessReason>,
}

/// Whether the link suffices.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct LinkReadiness {
    /// Every channel.
    pub channels: Vec<ChannelReadiness>,
    /// Which of them are to be on when all are wanted: video gives way to voice, photos to both.
    pub carried: Vec<String>,
}

/// One measured number.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct Numeric {
    /// What is measured, such as LOINC `8867-4`, heart rate.
    pub code: String,
    /// Its UCUM unit, such as `/min`.
    pub unit: String,
    /// Decimal digits after the point.
    pub scale: u8,
    /// The number without its point: 366 with scale 1 is 36.6.
    pub value: i32,
}

/// One curve.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct Trace {
    /// Which one: `I`, `II`, `III`, `aVR`, `aVL`, `aVF`, `V1` to `V6`, `pleth`, `co2`, `respiration` or `pressure`.
    pub kind: String,
    /// Billionths of its unit per step: nanovolts for a lead.
    pub step_nano: u32,
    /// What was measured, in steps.
    pub samples: Vec<i16>,
}

/// What is to be shown next.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
pub enum VitalsSeen {
    /// The newest numbers.
    Numerics {
        /// The numbers.
        values: Vec<Numeric>,
        /// Milliseconds since they were measured.
        age_millis: u64,
    },
    /// The next stretch of the curves.
    Waves {
        /// Microseconds from sample to sample.
        period_micros: u32,
        /// The curves.
        traces: Vec<Trace>,
        /// Milliseconds since the first sample was measured.
        age_millis: u64,
        /// Stretches that are missing before this one.
        missing: u64,
    },
}

feldakte_client_sdk::hide_content! { Numeric, Trace, VitalsSeen }

/// What became of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct VitalsCounts {
    /// Came.
    pub received: u64,
    /// Was given up.
    pub lost: u64,
    /// Came too late to be shown.
    pub late: u64,
    /// Came again; curves are sent twice.
    pub repeated: u64,
    /// Was replaced by newer ones before the app asked.
    pub skipped: u64,
}

/// How good what is shown is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct VitalsQuality {
    /// Of the numbers.
    pub numerics: VitalsCounts,
    /// Of the curves.
    pub waves: VitalsCounts,
    /// Milliseconds since anything came; none before anything has.
    pub silence_millis: Option<u64>,
}

#[uniffi::export]
impl FeldakteClient {
    /// Whether the link suffices for each part of a teleconsultation, measured within the last five seconds.
    ///
    /// # Errors
    /// Only after a defect of the SDK.
    pub async fn readiness(&self) -> Result<LinkReadiness, FfiError> {
        let client = self.client().clone();
        on_runtime(async move { Ok(client.readiness().await.into()) }).await
    }

    /// The same, written into the case.
    ///
    /// # Errors
    /// When it could not be saved.
    pub async fn note_readiness(&self, case_id: String) -> Result<LinkReadiness, FfiError> {
        let (client, id) = (self.client().clone(), self::case_id(&case_id)?);
        on_runtime(async move {
            let readiness = client.readiness().await;
            client.note_readiness(id, &readiness).await?;
            Ok(readiness.into())
        })
        .await
    }

    /// What the monitor measures from here on belongs to that case, until it is bound to another one or unbound. To be called
    /// again after a restart of the app.
    ///
    /// # Errors
    /// When it could not be saved.
    pub async fn bind_monitor(
        &self,
        case_id: String,
        serial_number: String,
        model: Option<String>,
    ) -> Result<(), FfiError> {
        let (client, id) = (self.client().clone(), self::case_id(&case_id)?);
        on_runtime(async move { Ok(client.bind_monitor(id, Monitor { serial_number, model }).await?) }).await
    }

    /// What the monitor measures from here on belongs to no case; what it has measured is saved.
    ///
    /// # Errors
    /// When it could not be saved; it is still bound then.
    pub async fn unbind_monitor(&self, serial_number: String) -> Result<(), FfiError> {
        let client = self.client().clone();
        on_runtime(async move { Ok(client.unbind_monitor(&serial_number).await?) }).await
    }

    /// Takes what a bound monitor showed at one time into its case.
    ///
    /// # Errors
    /// `MonitorNotBound`, also for what was measured before it was; or when it could not be saved.
    pub async fn record_vitals(
        &self,
        serial_number: String,
        measured_at_millis: i64,
        values: Vec<Numeric>,
    ) -> Result<(), FfiError> {
        let client = self.client().clone();
        on_runtime(async move {
            let values: Vec<live::Numeric> = values.into_iter().map(Into::into).collect();
            Ok(client.record_vitals(&serial_number, measured_at_millis, &values).await?)
        })
        .await
    }

    /// Sends what a bound monitor measures to those who watch in the call, for as long as the publisher is kept; numbers go into
    /// the case as well.
    ///
    /// # Errors
    /// `MonitorNotBound`.
    pub async fn publish_vitals(
        &self,
        call_id: String,
        serial_number: String,
    ) -> Result<Arc<VitalsPublisher>, FfiError> {
        let (client, call) = (self.client().clone(), self::call_id(&call_id)?);
        on_runtime(async move {
            let publisher = Arc::new(client.publish_vitals(call, &serial_number).await?);
            Ok(Arc::new(VitalsPublisher { publisher }))
        })
        .await
    }

    /// Follows the vitals of a call for as long as the watch is kept, over lost connections too.
    ///
    /// # Errors
    /// When the id is none.
    pub fn watch_vitals(&self, call_id: String) -> Result<Arc<VitalsWatch>, FfiError> {
        let call = self::call_id(&call_id)?;
        in_runtime(|| Arc::new(VitalsWatch { watch: Arc::new(self.client().watch_vitals(call)) }))
    }
}

/// Sends the vitals of one monitor in one call.
#[derive(uniffi::Object)]
pub struct VitalsPublisher {
    publisher: Arc<Publisher>,
}

#[uniffi::export]
impl VitalsPublisher {
    /// What the monitor showed at one time, by this device's clock.
    ///
    /// # Errors
    /// As `record_vitals`; or when it is too much for one datagram.
    pub async fn numerics(&self, measured_at_millis: i64, values: Vec<Numeric>) -> Result<(), FfiError> {
        let publisher = self.publisher.clone();
        let values = values.into_iter().map(Into::into).collect();
        on_runtime(async move { Ok(publisher.numerics(measured_at_millis, values).await?) }).await
    }

    /// Curves from a first sample on that was measured then, by this device's clock.
    ///
    /// # Errors
    /// `MonitorNotBound`, or when a curve cannot be sent.
    pub async fn waves(&self, measured_at_millis: i64, period_micros: u32, traces: Vec<Trace>) -> Result<(), FfiError> {
        let publisher = self.publisher.clone();
        let traces = traces.into_iter().map(Trace::into_core).collect::<Result<Vec<_>, _>>()?;
        on_runtime(async move { Ok(publisher.waves(measured_at_millis, period_micros, &traces).await?) }).await
    }
}

/// Follows the vitals of one call.
#[derive(uniffi::Object)]
pub struct VitalsWatch {
    watch: Arc<Watch>,
}

#[uniffi::export]
impl VitalsWatch {
    /// What is to be shown next; none when the client has been shut down. Whoever asks too seldom gets the newest.
    ///
    /// # Errors
    /// Only after a defect of the SDK.
    pub async fn next(&self) -> Result<Option<VitalsSeen>, FfiError> {
        let watch = self.watch.clone();
        on_runtime(async move { Ok(watch.next().await.map(Into::into)) }).await
    }

    /// What has come, and what has not.
    ///
    /// # Errors
    /// Only after a defect of the SDK.
    pub fn quality(&self) -> Result<VitalsQuality, FfiError> {
        in_runtime(|| {
            let live::Quality { numerics, waves, unreadable: _ } = self.watch.quality();
            let silence = self.watch.silence().map(|silence| silence.as_millis().try_into().unwrap_or(u64::MAX));
            VitalsQuality { numerics: numerics.into(), waves: waves.into(), silence_millis: silence }
        })
    }
}

fn call_id(text: &str) -> Result<CallId, FfiError> {
    text.parse().map_err(|_| FfiError::Argument("a call's id is a UUID".into()))
}

impl Trace {
    fn into_core(self) -> Result<live::Trace, FfiError> {
        let Self { kind, step_nano, samples } = self;
        let kind = live::TraceKind::from_name(&kind).ok_or_else(|| FfiError::Argument("an unknown curve".into()))?;
        Ok(live::Trace { kind, step_nano, samples })
    }
}

impl From<live::Trace> for Trace {
    fn from(live::Trace { kind, step_nano, samples }: live::Trace) -> Self {
        Self { kind: kind.name().to_owned(), step_nano, samples }
    }
}

impl From<Numeric> for live::Numeric {
    fn from(Numeric { code, unit, scale, value }: Numeric) -> Self {
        Self { code, unit, scale, value }
    }
}

impl From<live::Numeric> for Numeric {
    fn from(live::Numeric { code, unit, scale, value }: live::Numeric) -> Self {
        Self { code, unit, scale, value }
    }
}

impl From<Seen> for VitalsSeen {
    fn from(seen: Seen) -> Self {
        match seen {
            Seen::Numerics { values, age_ms } => {
                VitalsSeen::Numerics { values: values.into_iter().map(Into::into).collect(), age_millis: age_ms }
            }
            Seen::Waves { period_us, traces, age_ms, missing } => VitalsSeen::Waves {
                period_micros: period_us,
                traces: traces.into_iter().map(Into::into).collect(),
                age_millis: age_ms,
                missing,
            },
        }
    }
}

impl From<live::Counts> for VitalsCounts {
    fn from(live::Counts { received, lost, late, repeated, skipped }: live::Counts) -> Self {
        Self { received, lost, late, repeated, skipped }
    }
}

impl From<readiness::Verdict> for Verdict {
    fn from(verdict: readiness::Verdict) -> Self {
        match verdict {
            readiness::Verdict::Red => Verdict::Red,
            readiness::Verdict::Yellow => Verdict::Yellow,
            readiness::Verdict::Green => Verdict::Green,
        }
    }
}

impl From<Readiness> for LinkReadiness {
    fn from(readiness: Readiness) -> Self {
        let carried = readiness.carried(&Channel::ALL);
        Self {
            channels: readiness.channels.into_iter().map(Into::into).collect(),
            carried: carried.into_iter().map(|channel| channel.name().to_owned()).collect(),
        }
    }
}

impl From<Judged> for ChannelReadiness {
    fn from(Judged { channel, verdict, reasons }: Judged) -> Self {
        let reasons = reasons.into_iter().map(Into::into).collect();
        Self { channel: channel.name().to_owned(), verdict: verdict.into(), reasons }
    }
}

impl From<readiness::Reason> for ReadinessReason {
    fn from(readiness::Reason { fact, measured, limit, verdict }: readiness::Reason) -> Self {
        let (at_most, green, yellow) = match limit {
            Limit::AtMost(green, yellow) => (true, green, yellow),
            Limit::AtLeast(green, yellow) => (false, green, yellow),
        };
        Self { fact: fact.name().to_owned(), measured, at_most, green, yellow, verdict: verdict.into() }
    }
}

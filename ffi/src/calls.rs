//! Teleconsultations across the language border: of crews and of physicians.

use std::sync::Arc;

use feldakte_client_sdk::{
    calls::{CallEvent, CallObserver, CallState},
    view::{
        CallId,
        call::{self, Category, Centre, Known, Out, Phase, Relay, Standing, Target},
    },
};

use crate::{
    client::FeldakteClient,
    convert::case_id,
    error::{CallbackError, FfiError},
    runtime::{in_runtime, on_runtime},
};

/// How soon a physician is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum CallCategory {
    /// A life is in danger.
    Emergency,
    /// The patient waits for a decision.
    Urgent,
    /// A question, a signature, an advice.
    Routine,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum CallPhase {
    /// It has not reached the gateway yet.
    Dialling,
    /// It waits for somebody who could be rung.
    Queued,
    /// It rings.
    Offered,
    /// Somebody has taken it; the parties cannot speak yet.
    Connecting,
    /// They speak.
    Active,
    /// The physician is with somebody else for a moment.
    Held,
    /// Another physician is asked to take over, or is doing so.
    Transferring,
    /// A party cannot be reached; it may come back.
    Reconnecting,
    /// It is over.
    Ended,
}

/// How the media of a leg is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum CallMedia {
    /// Nothing has been tried.
    New,
    /// A path is looked for.
    Checking,
    /// It flows.
    Connected,
    /// Nothing has come for a while.
    Stalled,
    /// Another path is looked for.
    Restarting,
    /// There is none.
    Failed,
}

/// One side of a call.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct CallLeg {
    /// 0 is the crew's.
    pub leg: u8,
    /// Tenant and unit, as `dortmund/tna`.
    pub unit: String,
    /// Its device.
    pub device: String,
    /// Grows whenever its device comes back in another session: media is agreed on anew then.
    pub epoch: u32,
    /// Whether it can be reached.
    pub is_present: bool,
    /// How its media is.
    pub media: CallMedia,
}

/// A call as it is known on this device.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct CallView {
    /// Its id.
    pub call: String,
    /// Its case; empty before anything is known.
    pub case_id: String,
    /// Where it stands.
    pub phase: CallPhase,
    /// It rings here.
    pub rings_here: bool,
    /// This device's leg.
    pub own_leg: Option<u8>,
    /// The leg of the physician who has it.
    pub physician: Option<u8>,
    /// Who is in it.
    pub legs: Vec<CallLeg>,
    /// Its place while it waits; 1 is next.
    pub position: Option<u32>,
    /// Where it rings or is expected to, as `dortmund/tna`.
    pub centre: Option<String>,
    /// The user should take the telephone now.
    pub use_phone: bool,
    /// Whom to ring.
    pub phone: Option<String>,
    /// When the button was pressed, by the gateway's clock.
    pub called_ms: Option<i64>,
    /// Why it ended, such as `crew_hung_up`.
    pub end: Option<String>,
}

/// Something that happens to a call.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
pub enum CallHappening {
    /// It stands otherwise: look with `calls`.
    Changed {
        /// Which.
        call: String,
    },
    /// This device has no part in it any more.
    Gone {
        /// Which.
        call: String,
        /// Why, such as `taken` or `ended`.
        why: String,
    },
    /// From another leg, for the app's WebRTC.
    Signal {
        /// Of which call.
        call: String,
        /// From which leg.
        from: u8,
        /// The sender's epoch.
        epoch: u32,
        /// As it was sent.
        payload: String,
    },
    /// Where media may be relayed.
    Relay {
        /// For which call.
        call: String,
        /// `turn:` and `turns:` URLs.
        urls: Vec<String>,
        /// Who the device is there.
        username: String,
        /// Its secret.
        password: String,
        /// Until when a new allocation can be made.
        until_ms: i64,
    },
}

/// Told what happens to calls, from a thread of the SDK. Implemented by the app.
#[uniffi::export(with_foreign)]
pub trait CallWatcher: Send + Sync {
    /// One event at a time, in order.
    ///
    /// # Errors
    /// Errors are ignored: watching never disturbs a call.
    fn on_call(&self, event: CallHappening) -> Result<(), CallbackError>;
}

#[uniffi::export]
impl FeldakteClient {
    /// Asks for a physician for a case; of a physician, for its crew once more. Returns at once with the call's id; what
    /// becomes of it comes by events. `phone` is where this crew can be reached.
    ///
    /// # Errors
    /// `NotPermitted` of a device that makes no calls.
    pub async fn call(
        &self,
        case_id_text: String,
        category: CallCategory,
        phone: Option<String>,
    ) -> Result<String, FfiError> {
        let (client, case) = (self.core().clone(), case_id(&case_id_text)?);
        on_runtime(async move { Ok(client.call(case, category.into(), phone).await?.to_string()) }).await
    }

    /// This desk takes calls from here on, so many at once; 0 takes none.
    ///
    /// # Errors
    /// `NotPermitted` of everybody but tele-physicians.
    pub async fn on_duty(&self, capacity: u8) -> Result<(), FfiError> {
        let client = self.core().clone();
        on_runtime(async move { Ok(client.on_duty(capacity).await?) }).await
    }

    /// Takes a call that rings here. The first one has it.
    ///
    /// # Errors
    /// `CallRefused`, or `NotConnected` when nothing was answered in time: nothing is done then.
    pub async fn accept(&self, call: String) -> Result<(), FfiError> {
        let (client, call) = (self.core().clone(), call_id(&call)?);
        on_runtime(async move { Ok(client.accept(call).await?) }).await
    }

    /// Does not take a call that rings here.
    ///
    /// # Errors
    /// As `accept`.
    pub async fn decline(&self, call: String) -> Result<(), FfiError> {
        let (client, call) = (self.core().clone(), call_id(&call)?);
        on_runtime(async move { Ok(client.decline(call).await?) }).await
    }

    /// Ends a call.
    ///
    /// # Errors
    /// As `accept`.
    pub async fn hang_up(&self, call: String) -> Result<(), FfiError> {
        let (client, call) = (self.core().clone(), call_id(&call)?);
        on_runtime(async move { Ok(client.hang_up(call).await?) }).await
    }

    /// The physician is with somebody else for a moment, or back.
    ///
    /// # Errors
    /// As `accept`.
    pub async fn hold(&self, call: String, is_held: bool) -> Result<(), FfiError> {
        let (client, call) = (self.core().clone(), call_id(&call)?);
        on_runtime(async move { Ok(client.hold(call, is_held).await?) }).await
    }

    /// Whoever of a tele-centre (`dortmund/tna`) takes it first is to take the call over.
    ///
    /// # Errors
    /// As `accept`; `Argument` when the centre is none.
    pub async fn transfer(&self, call: String, centre: String) -> Result<(), FfiError> {
        let (client, call) = (self.core().clone(), call_id(&call)?);
        let no_centre = || FfiError::Argument("a tele-centre is TENANT/UNIT".to_owned());
        let (tenant, unit) = centre.split_once('/').ok_or_else(no_centre)?;
        let (Ok(tenant), Ok(unit)) = (tenant.parse(), unit.parse()) else { return Err(no_centre()) };
        let to = Target::Centre(Centre { tenant, unit });
        on_runtime(async move { Ok(client.transfer(call, to).await?) }).await
    }

    /// Tells how the media between this device and that leg is.
    ///
    /// # Errors
    /// As `accept`.
    pub async fn media(&self, call: String, leg: u8, state: CallMedia) -> Result<(), FfiError> {
        let (client, call) = (self.core().clone(), call_id(&call)?);
        on_runtime(async move { Ok(client.media(call, leg, state.into()).await?) }).await
    }

    /// The parties speak by telephone: noted in the call.
    ///
    /// # Errors
    /// As `accept`.
    pub async fn phoned(&self, call: String) -> Result<(), FfiError> {
        let (client, call) = (self.core().clone(), call_id(&call)?);
        on_runtime(async move { Ok(client.phoned(call).await?) }).await
    }

    /// Asks for fresh credentials for the relay, at each ICE restart; they come by an event.
    ///
    /// # Errors
    /// As `accept`.
    pub async fn ask_relay(&self, call: String) -> Result<(), FfiError> {
        let (client, call) = (self.core().clone(), call_id(&call)?);
        on_runtime(async move { Ok(client.ask_relay(call).await?) }).await
    }

    /// Sends a session description or candidate to another leg; nobody on the way looks at it.
    ///
    /// # Errors
    /// `NotConnected` without a session or a leg in the call, `Argument` when it is too long.
    pub async fn send_signal(&self, call: String, to: u8, payload: String) -> Result<(), FfiError> {
        let (client, call) = (self.core().clone(), call_id(&call)?);
        on_runtime(async move { Ok(client.send_signal(call, to, payload).await?) }).await
    }

    /// Calls this device is rung for or takes part in.
    ///
    /// # Errors
    /// When the client was shut down.
    pub async fn calls(&self) -> Result<Vec<CallView>, FfiError> {
        let client = self.core().clone();
        on_runtime(async move { Ok(client.calls().await?.into_iter().map(CallView::from).collect()) }).await
    }

    /// Calls the watcher on whatever happens to calls from here on.
    ///
    /// # Errors
    /// Only after a defect of the SDK.
    pub fn watch_calls(&self, watcher: Arc<dyn CallWatcher>) -> Result<(), FfiError> {
        in_runtime(|| self.core().observe_calls(Arc::new(Forward(watcher))))
    }
}

struct Forward(Arc<dyn CallWatcher>);

impl CallObserver for Forward {
    fn on_call(&self, event: CallEvent) {
        let happening = match event {
            CallEvent::Changed(call) => CallHappening::Changed { call: call.to_string() },
            CallEvent::Gone(call, fact) => {
                let why = match fact.standing {
                    Standing::Out(out) => out,
                    _ => Out::Ended,
                };
                CallHappening::Gone { call: call.to_string(), why: why.name().to_owned() }
            }
            // Whoever asked has the answer.
            CallEvent::Answered(..) => return,
            CallEvent::Signal { call, from, epoch, payload } => {
                CallHappening::Signal { call: call.to_string(), from, epoch, payload }
            }
            CallEvent::Relay(Relay { call, urls, username, password, until_ms }) => {
                CallHappening::Relay { call: call.to_string(), urls, username, password, until_ms }
            }
        };
        // Watching never disturbs a call.
        let _ = self.0.on_call(happening);
    }
}

impl From<CallState> for CallView {
    fn from(CallState { call, known }: CallState) -> Self {
        let Known { fact, is_path_dead: _, is_refused, use_phone } = known;
        let phone = use_phone.as_ref().and_then(|advice| advice.phone.as_ref());
        let phone = phone.or(fact.as_ref().and_then(|fact| fact.phone.as_ref())).map(|phone| phone.as_str().to_owned());
        let standing = fact.as_ref().map(|fact| fact.standing);
        let place = fact.as_ref().and_then(|fact| fact.place.clone());
        Self {
            call: call.to_string(),
            case_id: fact.as_ref().map(|fact| fact.case.to_string()).unwrap_or_default(),
            phase: match &fact {
                Some(fact) => fact.phase.into(),
                None if is_refused => CallPhase::Ended,
                None => CallPhase::Dialling,
            },
            rings_here: matches!(standing, Some(Standing::Rung { .. })),
            own_leg: match standing {
                Some(Standing::Leg(leg)) => Some(leg),
                _ => None,
            },
            physician: fact.as_ref().and_then(|fact| fact.physician),
            position: place.as_ref().map(|place| place.position),
            centre: place.and_then(|place| place.centre).map(|centre| centre.to_string()),
            use_phone: use_phone.is_some(),
            phone,
            called_ms: fact.as_ref().map(|fact| fact.times.called_ms),
            end: match &fact {
                Some(fact) => fact.end.map(|end| end.name().to_owned()),
                None => is_refused.then(|| "unavailable".to_owned()),
            },
            legs: fact.map(|fact| fact.legs.into_iter().map(CallLeg::from).collect()).unwrap_or_default(),
        }
    }
}

impl From<call::Leg> for CallLeg {
    fn from(call::Leg { leg, unit, device, user: _, epoch, is_present, media }: call::Leg) -> Self {
        Self { leg, unit: unit.to_string(), device: device.to_string(), epoch, is_present, media: media.into() }
    }
}

impl From<CallCategory> for Category {
    fn from(category: CallCategory) -> Self {
        match category {
            CallCategory::Emergency => Category::Emergency,
            CallCategory::Urgent => Category::Urgent,
            CallCategory::Routine => Category::Routine,
        }
    }
}

impl From<Phase> for CallPhase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Queued => CallPhase::Queued,
            Phase::Offered => CallPhase::Offered,
            Phase::Connecting => CallPhase::Connecting,
            Phase::Active => CallPhase::Active,
            Phase::Held => CallPhase::Held,
            Phase::Transferring => CallPhase::Transferring,
            Phase::Reconnecting => CallPhase::Reconnecting,
            Phase::Ended => CallPhase::Ended,
        }
    }
}

impl From<call::Media> for CallMedia {
    fn from(media: call::Media) -> Self {
        match media {
            call::Media::New => CallMedia::New,
            call::Media::Checking => CallMedia::Checking,
            call::Media::Connected => CallMedia::Connected,
            call::Media::Stalled => CallMedia::Stalled,
            call::Media::Restarting => CallMedia::Restarting,
            call::Media::Failed => CallMedia::Failed,
        }
    }
}

impl From<CallMedia> for call::Media {
    fn from(media: CallMedia) -> Self {
        match media {
            CallMedia::New => call::Media::New,
            CallMedia::Checking => call::Media::Checking,
            CallMedia::Connected => call::Media::Connected,
            CallMedia::Stalled => call::Media::Stalled,
            CallMedia::Restarting => call::Media::Restarting,
            CallMedia::Failed => call::Media::Failed,
        }
    }
}

fn call_id(text: &str) -> Result<CallId, FfiError> {
    text.parse().map_err(|_| FfiError::Argument("that is not the id of a call".to_owned()))
}

feldakte_client_sdk::hide_content! { CallView { call, phase }, CallHappening }

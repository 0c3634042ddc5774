//! Teleconsultations: of crews, and of physicians at their desks.

use std::sync::Arc;

use feldakte_core::{
    call::{Act, Category, Duty, Media, Target},
    ids::{CallId, CaseId},
};
use tracing::warn;

use super::Client;
use crate::{
    calls::{CallObserver, CallState},
    error::SdkError,
};

impl Client {
    /// Asks for a physician for a case; of a physician, for its crew once more. Returns at once: the call is made as soon as
    /// there is a session, and what becomes of it comes by events. How the link is at that
    /// moment is written into the case. `phone` is where this device's crew can be reached.
    ///
    /// # Errors
    /// [`SdkError::NotPermitted`] of a device that makes no calls, [`SdkError::NotAPhone`].
    pub async fn call(&self, case: CaseId, category: Category, phone: Option<String>) -> Result<CallId, SdkError> {
        if !self.makes_calls {
            return Err(SdkError::NotPermitted);
        }
        let call = CallId(self.environment.random_uuid());
        self.calls.call((call, case), category, phone).await?;
        let client = self.clone();
        // Beside it: the call waits for no measurement.
        tokio::spawn(async move {
            let readiness = client.readiness().await;
            if let Err(error) = client.note_readiness(case, &readiness).await {
                warn!(%error, "how the link was at the start of a call could not be written down");
            }
        });
        Ok(call)
    }

    /// This desk takes calls from here on, so many at once, in this session and in all later ones until it says otherwise;
    /// 0 takes none.
    ///
    /// # Errors
    /// [`SdkError::NotPermitted`] of everybody but tele-physicians.
    pub async fn on_duty(&self, capacity: u8) -> Result<(), SdkError> {
        let duty = (capacity > 0).then_some(Duty { capacity });
        self.calls.duty(duty).await
    }

    /// Takes a call that rings here. The first one has it.
    ///
    /// # Errors
    /// [`SdkError::CallRefused`], or [`SdkError::NotConnected`] when nothing was answered in time: nothing is done then.
    pub async fn accept(&self, call: CallId) -> Result<(), SdkError> {
        self.calls.want(call, Act::Accept).await
    }

    /// Does not take a call that rings here.
    ///
    /// # Errors
    /// As [`Client::accept`].
    pub async fn decline(&self, call: CallId) -> Result<(), SdkError> {
        self.calls.want(call, Act::Decline).await
    }

    /// Ends a call.
    ///
    /// # Errors
    /// As [`Client::accept`].
    pub async fn hang_up(&self, call: CallId) -> Result<(), SdkError> {
        self.calls.want(call, Act::HangUp).await
    }

    /// The physician is with somebody else for a moment, or back.
    ///
    /// # Errors
    /// As [`Client::accept`].
    pub async fn hold(&self, call: CallId, is_held: bool) -> Result<(), SdkError> {
        self.calls.want(call, if is_held { Act::Hold } else { Act::Unhold }).await
    }

    /// Another desk, or whoever of a tele-centre takes it first, is to take the call over. The present physician has it until
    /// media to the next one flows.
    ///
    /// # Errors
    /// As [`Client::accept`].
    pub async fn transfer(&self, call: CallId, to: Target) -> Result<(), SdkError> {
        self.calls.want(call, Act::Transfer(to)).await
    }

    /// Nobody is to take the call over after all.
    ///
    /// # Errors
    /// As [`Client::accept`].
    pub async fn cancel_transfer(&self, call: CallId) -> Result<(), SdkError> {
        self.calls.want(call, Act::CancelTransfer).await
    }

    /// Tells how the media between this device and that leg of the call is. Of a leg that takes over, `Connected` is what
    /// gives it the call.
    ///
    /// # Errors
    /// As [`Client::accept`].
    pub async fn media(&self, call: CallId, leg: u8, state: Media) -> Result<(), SdkError> {
        self.calls.want(call, Act::Media { leg, state }).await
    }

    /// The parties of the call speak by telephone: noted in it.
    ///
    /// # Errors
    /// As [`Client::accept`].
    pub async fn phoned(&self, call: CallId) -> Result<(), SdkError> {
        self.calls.want(call, Act::Phoned).await
    }

    /// Asks for fresh credentials for the relay, which come by an event: at each ICE restart.
    ///
    /// # Errors
    /// As [`Client::accept`].
    pub async fn ask_relay(&self, call: CallId) -> Result<(), SdkError> {
        self.calls.want(call, Act::Relay).await
    }

    /// Sends something to another leg of the call: session descriptions and candidates, which nobody on the way looks at. What
    /// cannot be said now is not said later: both sides agree anew when a leg has a new epoch.
    ///
    /// # Errors
    /// [`SdkError::NotConnected`] without a session or a leg in the call, [`SdkError::SignalTooLong`].
    pub async fn send_signal(&self, call: CallId, to: u8, payload: String) -> Result<(), SdkError> {
        self.calls.signal(call, to, payload).await
    }

    /// The calls that this device is rung for or takes part in, and those that have ended and are not written down yet.
    ///
    /// # Errors
    /// When the client was shut down.
    pub async fn calls(&self) -> Result<Vec<CallState>, SdkError> {
        self.calls.calls().await
    }

    /// Calls the observer on whatever happens to calls from here on.
    pub fn observe_calls(&self, observer: Arc<dyn CallObserver>) {
        self.call_events.observe(observer);
    }
}

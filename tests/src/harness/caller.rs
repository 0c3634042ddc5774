//! Somebody who calls or is called, with the real SDK, and what its app was told.

use std::sync::{Arc, Mutex};

use feldakte_client_sdk::{
    calls::{CallEvent, CallObserver, CallState},
    view::call::{Category, Fact, Group, Known, Phase, Plan, Route},
};
use feldakte_core::{
    access::Role,
    call::{Centre, Phone, Relay, Standing},
    ids::{CallId, CaseId},
};
use tokio::sync::watch;

use super::{
    address::Address,
    device,
    local::Site,
    pki::Enrolled,
    tablet::{Tablet, memory_store},
    within,
};

/// A crew or a desk.
pub struct Caller {
    /// Its device.
    pub tablet: Tablet,
    /// As whom it is known.
    pub enrolled: Enrolled,
    heard: Arc<Heard>,
}

/// What the app was told.
#[derive(Default)]
struct Heard {
    version: watch::Sender<u64>,
    signals: Mutex<Vec<(u8, String)>>,
    relays: Mutex<Vec<Relay>>,
    gone: Mutex<Vec<Fact>>,
}

impl CallObserver for Heard {
    fn on_call(&self, event: CallEvent) {
        match event {
            CallEvent::Signal { from, payload, .. } => {
                self.signals.lock().expect("nothing panics while it is held").push((from, payload));
            }
            CallEvent::Relay(relay) => self.relays.lock().expect("nothing panics while it is held").push(relay),
            CallEvent::Gone(_, fact) => self.gone.lock().expect("nothing panics while it is held").push(*fact),
            CallEvent::Changed(_) | CallEvent::Answered(..) => {}
        }
        self.version.send_modify(|version| *version += 1);
    }
}

impl Caller {
    /// Online, with its app listening.
    pub async fn online(enrolled: Enrolled, gateway: impl Into<Address>) -> Self {
        let tablet = Tablet::open(enrolled.identity(), gateway, memory_store()).await;
        let heard = Arc::<Heard>::default();
        tablet.client.observe_calls(heard.clone());
        tablet.go_online().await;
        Self { tablet, enrolled, heard }
    }

    /// A crew of Dortmund.
    pub async fn crew(site: &Site, gateway: impl Into<Address>, unit: &str) -> Self {
        Self::online(site.pki.enrol(&super::crew(unit)), gateway).await
    }

    /// A desk that takes as many calls at once.
    pub async fn desk(site: &Site, gateway: impl Into<Address>, tenant: &str, capacity: u8) -> Self {
        let desk = Self::online(site.pki.enrol(&device(tenant, "tna", Role::TelePhysician)), gateway).await;
        desk.tablet.client.on_duty(capacity).await.expect("a physician's desk");
        desk
    }

    /// Asks for a physician.
    pub async fn call(&self, case: CaseId) -> CallId {
        let phone = Some("0151 23456".to_owned());
        self.tablet.client.call(case, Category::Emergency, phone).await.expect("it may call")
    }

    /// A call as it is known here.
    pub async fn known(&self, call: CallId) -> Option<Known> {
        let calls = self.tablet.client.calls().await.expect("the client runs");
        calls.into_iter().find(|state| state.call == call).map(|CallState { known, .. }| known)
    }

    /// Waits until the call is known here as that.
    pub async fn until(&self, call: CallId, what: &str, is_it: impl Fn(Option<&Known>) -> bool) {
        let mut version = self.heard.version.subscribe();
        within(what, async {
            loop {
                version.mark_unchanged();
                if is_it(self.known(call).await.as_ref()) {
                    return;
                }
                let _ = version.changed().await;
            }
        })
        .await;
    }

    /// Waits until the call is in that phase.
    pub async fn until_phase(&self, call: CallId, phase: Phase) {
        let is_it =
            |known: Option<&Known>| known.and_then(|known| known.fact.as_ref()).is_some_and(|fact| fact.phase == phase);
        self.until(call, &format!("the call is {phase}"), is_it).await;
    }

    /// Waits until the call rings here.
    pub async fn until_rung(&self, call: CallId) {
        let is_it = |known: Option<&Known>| {
            let standing = known.and_then(|known| known.fact.as_ref()).map(|fact| fact.standing);
            matches!(standing, Some(Standing::Rung { .. }))
        };
        self.until(call, "it rings", is_it).await;
    }

    /// Waits until a call rings here, and gives it.
    pub async fn rung(&self) -> CallId {
        let mut version = self.heard.version.subscribe();
        within("somebody calls", async {
            loop {
                version.mark_unchanged();
                let calls = self.tablet.client.calls().await.expect("the client runs");
                let rung = calls.iter().find(|state| {
                    let standing = state.known.fact.as_ref().map(|fact| fact.standing);
                    matches!(standing, Some(Standing::Rung { .. }))
                });
                if let Some(rung) = rung {
                    return rung.call;
                }
                let _ = version.changed().await;
            }
        })
        .await
    }

    /// Waits until so many signals have come, and takes them.
    pub async fn signals(&self, count: usize) -> Vec<(u8, String)> {
        let mut version = self.heard.version.subscribe();
        let enough = || self.heard.signals.lock().expect("held").len() >= count;
        within("signals arrive", version.wait_for(|_| enough())).await.expect("the app listens");
        std::mem::take(&mut *self.heard.signals.lock().expect("nothing panics while it is held"))
    }

    /// Waits until the app has credentials for the relay.
    pub async fn relay(&self) -> Relay {
        let mut version = self.heard.version.subscribe();
        let any = || !self.heard.relays.lock().expect("held").is_empty();
        within("credentials arrive", version.wait_for(|_| any())).await.expect("the app listens");
        self.heard.relays.lock().expect("nothing panics while it is held").pop().expect("there is one")
    }

    /// Calls in which this device has no part any more.
    pub fn gone(&self) -> Vec<Fact> {
        self.heard.gone.lock().expect("nothing panics while it is held").clone()
    }
}

/// Calls of Dortmund ring there, then in Hagen; dispatch is 112.
pub fn plan() -> Plan {
    let centre = |tenant: &str| Centre { tenant: slug(tenant), unit: "tna".parse().expect("a slug") };
    let group = |tenant, number| Group { centre: centre(tenant), phone: Some(phone(number)) };
    let route = Route {
        tenant: slug("dortmund"),
        groups: vec![group("dortmund", "+49 231 1"), group("hagen", "+49 2331 2")],
        dispatch: Some(phone("112")),
    };
    Plan { routes: vec![route], ..Plan::empty() }
}

/// The same in a configuration file.
pub const PLAN: &str = "[[calls.route]]\ntenant = 'dortmund'\ndispatch = '112'\n[[calls.route.group]]\n\
    centre = 'dortmund/tna'\nphone = '+49 231 1'\n[[calls.route.group]]\ncentre = 'hagen/tna'\nphone = '+49 2331 2'\n";

fn slug(text: &str) -> feldakte_core::ids::TenantId {
    text.parse().expect("a slug")
}

/// A telephone number.
pub fn phone(text: &str) -> Phone {
    Phone::try_from(text.to_owned()).expect("a number")
}

//! An ambulance: a device with a certificate, and a page that has camera and microphone. The device carries the page's signals.

use std::{sync::Arc, time::Duration};

use feldakte_core::{
    call::{Act, Category, Fact, Intent, PULSE_EVERY_MS, Phase, Say, Signal, Standing, Told},
    ids::{CallId, IntentKey},
    lane::Lane,
};
use feldakte_proto::{ClientMessage, ServerMessage};
use feldakte_tests::{
    browser::{Browser, Said},
    harness::{
        raw::{RawClient, RawLane},
        within,
    },
};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use uuid::Uuid;

/// The page's name in its browser.
pub const PAGE: &str = "crew";

/// A call of an ambulance's. It goes on by itself; the device is gone when it is dropped.
pub struct Crew {
    /// Its page's browser.
    pub browser: Arc<Browser>,
    fact: watch::Receiver<Option<Fact>>,
    acts: mpsc::Sender<Act>,
    running: JoinHandle<()>,
}

struct Device {
    /// The session itself is of no interest here.
    _client: RawClient,
    line: RawLane,
    call: CallId,
    fact: watch::Sender<Option<Fact>>,
    /// What the page is to do, in order.
    page: mpsc::Sender<(&'static str, Value)>,
}

impl Crew {
    /// Calls about a case that the device has written.
    pub async fn call(
        mut client: RawClient,
        case: feldakte_core::ids::CaseId,
        (browser, said): (Browser, Said),
    ) -> Self {
        let browser = Arc::new(browser);
        let (fact, hears) = watch::channel(None);
        let (acts, wanted) = mpsc::channel(8);
        let (page, orders) = mpsc::channel(256);
        tokio::spawn(obey(browser.clone(), orders));
        let call = CallId(uuid());
        let mut line = client.enter(Lane::Urgent).await;
        line.send(&ClientMessage::Say(Say::Join)).await;
        let device = Device { _client: client, line, call, fact, page };
        let running = tokio::spawn(device.run(said, wanted));
        let crew = Self { browser, fact: hears, acts, running };
        crew.want(Act::Call { case, category: Category::Emergency, phone: None }).await;
        crew
    }

    /// Wants something of the call.
    pub async fn want(&self, act: Act) {
        self.acts.send(act).await.expect("the device lives");
    }

    /// Waits until the call stands so.
    pub async fn until(&mut self, phase: Phase) {
        let stands = self.fact.wait_for(|fact| fact.as_ref().is_some_and(|fact| fact.phase == phase));
        within(phase.name(), stands).await.expect("the device lives");
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// One order after the other: signals have an order.
async fn obey(browser: Arc<Browser>, mut orders: mpsc::Receiver<(&'static str, Value)>) {
    while let Some((code, argument)) = orders.recv().await {
        browser.run(PAGE, code, argument).await;
    }
}

impl Device {
    async fn run(mut self, mut said: Said, mut wanted: mpsc::Receiver<Act>) {
        let mut pulse = tokio::time::interval(Duration::from_millis(PULSE_EVERY_MS.unsigned_abs()));
        let mut beats = 0;
        loop {
            let say = tokio::select! {
                told = self.line.next() => match told {
                    Some(ServerMessage::Told(told)) => {
                        self.hear(told).await;
                        continue;
                    }
                    Some(_) => continue,
                    None => panic!("the crew's line is gone"),
                },
                Some((_, said)) = said.recv() => match self.say_of(&said) {
                    Some(say) => say,
                    None => continue,
                },
                Some(act) = wanted.recv() => self.intent(act),
                _ = pulse.tick() => {
                    beats += 1;
                    Say::Pulse(beats)
                }
            };
            self.line.send(&ClientMessage::Say(say)).await;
        }
    }

    async fn hear(&mut self, told: Told) {
        let order = match told {
            Told::Fact(fact) => return drop(self.fact.send_replace(Some(*fact))),
            Told::Signal(Signal { payload, .. }) => ("payload => crew.hear(payload)", payload.into()),
            Told::Relay(relay) => {
                let servers = json!([{ "urls": relay.urls, "username": relay.username, "credential": relay.password }]);
                ("servers => crew.setServers(servers)", servers)
            }
            Told::Joined(_) | Told::Reply(_) | Told::Pulse(_) => return,
        };
        self.page.send(order).await.expect("the page lives");
    }

    /// What the page has said, as the device says it.
    fn say_of(&self, said: &Value) -> Option<Say> {
        if let Some(payload) = said["signal"].as_str() {
            let fact = self.fact.borrow();
            let fact = fact.as_ref()?;
            let Standing::Leg(own) = fact.standing else { return None };
            let epoch = fact.legs.iter().find(|leg| leg.leg == own)?.epoch;
            let (call, payload) = (self.call, payload.to_owned());
            return Some(Say::Signal(Signal { call, from: own, to: fact.physician?, epoch, payload }));
        }
        if said["relay"].as_bool() == Some(true) {
            return Some(self.intent(Act::Relay));
        }
        let state = serde_json::from_value(said["media"].clone()).ok()?;
        let leg = self.fact.borrow().as_ref()?.physician?;
        Some(self.intent(Act::Media { leg, state }))
    }

    fn intent(&self, act: Act) -> Say {
        Say::Intent(Intent { key: IntentKey(uuid()), call: self.call, act })
    }
}

fn uuid() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

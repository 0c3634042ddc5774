//! Calls of a page at the browsers' port, with a device of an ambulance at the other end.

use std::time::{Duration, Instant, SystemTime};

use feldakte_core::{
    access::Role,
    call::{Act, Category, Fact, Intent, Phase, Relay, Say, Signal, Told},
    ids::{CallId, CaseId, IntentKey},
    lane::Lane,
    limits,
    live::{self, Moment, Publisher},
};
use feldakte_proto::{ClientMessage, ServerMessage};
use feldakte_tests::harness::{
    crew,
    issuer::{self, Issuer},
    local::Site,
    page::{self, PageClient},
    process::ChildGateway,
    raw::{RawClient, RawLane},
    within,
};
use serde_json::{Value, json};
use uuid::Uuid;

const HOUR: Duration = Duration::from_secs(3600);
const SECRET: &str = "0f2c5a1db7e64f0c9b9b7a0d6f1f35b2f2b8a1c4";

struct World {
    site: Site,
    gateway: ChildGateway,
    origin: String,
    token: String,
}

impl World {
    async fn new() -> Self {
        let (site, issuer) = (Site::new(), Issuer::new("key"));
        let (web, origin) = page::settings();
        std::fs::write(secret_file(&site), SECRET).expect("written");
        let relay = format!("[relay]\nurls = [\"turn:127.0.0.1:3478\"]\nsecret_file = {:?}\n", secret_file(&site));
        let route =
            "[[calls.route]]\ntenant = \"dortmund\"\n[[calls.route.group]]\ncentre = \"dortmund/tele-centre\"\n";
        let settings = format!("{route}{web}{relay}{}", issuer::settings(&issuer, &site));
        let gateway = site.spawn_with(&settings).await;
        let token = issuer.token_text("anna", Role::TelePhysician, SystemTime::now(), HOUR);
        Self { site, gateway, origin, token }
    }

    /// On duty.
    async fn desk(&self) -> PageClient {
        let web = self.gateway.web.expect("it serves browsers");
        let page = PageClient::connect(web, page::stranger(&self.site), Some(&self.origin)).await;
        let mut page = page.expect("the door is open");
        page.hello(Some(&self.token)).await.expect("let in");
        page.say(&json!("join")).await;
        until(&mut page, |told| told.get("joined").is_some()).await;
        page.say(&json!({ "duty": { "capacity": 1 } })).await;
        page
    }

    /// An ambulance with a case, and the line on which it calls.
    async fn ambulance(&self) -> (RawClient, RawLane, CaseId) {
        let tablet = self.site.pki.enrol(&crew("rtw-1"));
        let (mut client, _) = RawClient::session(&tablet, self.gateway.address, None).await;
        let case = client.push_documents(&tablet.principal, 1).await[0].0.case;
        let mut line = client.enter(Lane::Urgent).await;
        line.send(&ClientMessage::Say(Say::Join)).await;
        (client, line, case)
    }
}

fn secret_file(site: &Site) -> std::path::PathBuf {
    site.dir().join("relay.secret")
}

fn uuid() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

fn intent(call: CallId, act: Act) -> Say {
    Say::Intent(Intent { key: IntentKey(uuid()), call, act })
}

async fn say(line: &mut RawLane, say: Say) {
    line.send(&ClientMessage::Say(say)).await;
}

async fn until(page: &mut PageClient, is_it: impl Fn(&Value) -> bool) -> Value {
    within("the page is told", async {
        loop {
            let told = page.told().await.expect("the session lives");
            if is_it(&told) {
                return told;
            }
        }
    })
    .await
}

async fn hear<T>(line: &mut RawLane, what: impl Fn(Told) -> Option<T>) -> T {
    within("the ambulance is told", async {
        loop {
            if let ServerMessage::Told(told) = line.next().await.expect("the line lives")
                && let Some(heard) = what(told)
            {
                return heard;
            }
        }
    })
    .await
}

fn stands(phase: Phase) -> impl Fn(Told) -> Option<Box<Fact>> {
    move |told| match told {
        Told::Fact(fact) if fact.phase == phase => Some(fact),
        _ => None,
    }
}

fn relay(told: Told) -> Option<Relay> {
    if let Told::Relay(relay) = told { Some(relay) } else { None }
}

fn signal(told: Told) -> Option<Signal> {
    if let Told::Signal(signal) = told { Some(signal) } else { None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_takes_a_call_is_given_a_relay_and_signals_go_both_ways() {
    let world = World::new().await;
    let mut page = world.desk().await;
    let (_session, mut line, case) = world.ambulance().await;
    let call = CallId(uuid());
    say(&mut line, intent(call, Act::Call { case, category: Category::Urgent, phone: None })).await;
    until(&mut page, |told| told["fact"]["standing"]["rung"].is_object()).await;
    let accept = json!({ "intent": { "key": IntentKey(uuid()), "call": call, "act": "accept" } });
    page.say(&accept).await;
    // In whichever order they come.
    let (mut fact, mut given) = (Value::Null, Value::Null);
    while fact.is_null() || given.is_null() {
        let is_it = |told: &Value| told.get("relay").is_some() || told["fact"]["standing"]["leg"] == 1;
        let told = until(&mut page, is_it).await;
        for (kind, kept) in [("fact", &mut fact), ("relay", &mut given)] {
            told.get(kind).into_iter().for_each(|told| *kept = told.clone());
        }
    }
    assert_eq!(given["urls"], json!(["turn:127.0.0.1:3478"]));
    assert!(given["username"].as_str().unwrap().ends_with(&format!(":{call}-1")), "bound to the call and its leg");
    let of_crew = hear(&mut line, relay).await;
    assert!(of_crew.username.ends_with(&format!(":{call}-0")));

    let epoch = |leg: usize| fact["legs"][leg]["epoch"].as_u64().unwrap();
    let to_crew = json!({ "call": call, "from": 1, "to": 0, "epoch": epoch(1), "payload": "offer" });
    page.say(&json!({ "signal": to_crew })).await;
    assert_eq!(hear(&mut line, signal).await.payload, "offer");
    let epoch = u32::try_from(epoch(0)).unwrap();
    say(&mut line, Say::Signal(Signal { call, from: 0, to: 1, epoch, payload: "answer".into() })).await;
    let heard = until(&mut page, |told| told.get("signal").is_some()).await;
    assert_eq!(heard["signal"]["payload"], "answer");

    page.say(&json!({ "intent": { "key": IntentKey(uuid()), "call": call, "act": "hang_up" } })).await;
    hear(&mut line, stands(Phase::Ended)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_shown_the_vitals_of_its_call_and_of_no_other() {
    let world = World::new().await;
    let mut page = world.desk().await;
    let (mut session, mut line, case) = world.ambulance().await;
    let call = CallId(uuid());
    say(&mut line, intent(call, Act::Call { case, category: Category::Urgent, phone: None })).await;
    until(&mut page, |told| told["fact"]["standing"]["rung"].is_object()).await;
    let packet = |call, value| {
        let value = live::Numeric { code: "8867-4".into(), unit: "/min".into(), scale: 0, value };
        let moment = Moment { now_ms: 0, path_ms: 0, ago_ms: 0 };
        Publisher::new(call, 7).numerics(moment, vec![value]).unwrap()
    };
    // Who is only rung is shown nothing.
    let quic = session.quic().connection.clone();
    quic.send_datagram(packet(call, 60)).unwrap();
    page.say(&json!({ "intent": { "key": IntentKey(uuid()), "call": call, "act": "accept" } })).await;
    hear(&mut line, stands(Phase::Connecting)).await;
    quic.send_datagram(packet(CallId(uuid()), 61)).unwrap();
    quic.send_datagram(packet(call, 104)).unwrap();
    assert_eq!(page.shown().await.unwrap(), packet(call, 104));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_rotated_while_the_gateway_runs_and_a_bad_file_changes_nothing() {
    let world = World::new().await;
    let reloads = |result: &str| format!("feldakte_reloads_total{{part=\"relay\",result=\"{result}\"}}");
    std::fs::write(secret_file(&world.site), format!("{}\n{SECRET}\n", "n".repeat(40))).unwrap();
    world.gateway.until_metric(&reloads("taken"), 1).await;
    std::fs::write(secret_file(&world.site), "short").unwrap();
    world.gateway.until_metric(&reloads("refused"), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_says_too_much_is_heard_later_and_not_cut_off() {
    let world = World::new().await;
    let mut page = world.desk().await;
    let (began, more) = (Instant::now(), 40);
    let count = limits::WEB_MESSAGES.amount + more;
    for number in 0..count {
        page.say(&json!({ "pulse": number })).await;
    }
    until(&mut page, |told| told["pulse"] == count - 1).await;
    let each = limits::WEB_MESSAGES.every / u32::try_from(limits::WEB_MESSAGES.amount).unwrap();
    assert!(began.elapsed() >= each * u32::try_from(more).unwrap(), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_does_not_answer_is_gone_in_time() {
    let world = World::new().await;
    let page = world.desk().await;
    world.gateway.until_metric("feldakte_sessions", 1).await;
    let began = Instant::now();
    // It answers no question because nobody looks at its socket.
    within("its session ends", async {
        while world.gateway.metric("feldakte_sessions").await != 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let after = began.elapsed();
    assert!(after <= limits::WEB_SILENCE_MAX + 2 * limits::WEB_PING_EVERY, "{after:?}");
    drop(page);
}

//! A call that is under way: gateway, desk, crew, and the network between them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use feldakte_core::{access::Role, call::Phase};
use feldakte_tests::{
    browser::{Browser, Certificate, Said, tools::Tools},
    harness::{
        address::{Address, Transport},
        crew as ambulance, device,
        issuer::{self, Issuer, UNIT},
        local::Site,
        page,
        process::{ChildGateway, Serve},
        raw::RawClient,
        region::Region,
        within,
    },
    netns::{link::Cut, profile::Profile},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    FRAMES_WITHIN, NOTICED_WITHIN,
    crew::{self, Crew},
    noted_after, now_ms,
    relay::{Plan, TurnServer},
};

/// A call in which both sides have seen a frame of the other.
pub struct Consultation {
    crew: Crew,
    way: Arc<feldakte_tests::harness::region::Way>,
    desk: Browser,
    _desk_said: Said,
    _gateway: ChildGateway,
    _turn: Option<TurnServer>,
    _region: Arc<Region>,
    _site: Site,
}

/// By what the desk's page is known to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desk {
    /// A device's certificate, in the browser.
    Certificate,
    /// A user's token alone.
    Token,
}

const DESK: &str = "desk";

impl Consultation {
    /// Begins one, with media over any path, or over `relay` alone.
    pub async fn begin(policy: &str, turn: Option<Plan>, by: Desk) -> Self {
        let tools = Tools::find().expect("they were found a moment ago");
        let profile = Profile::named("U").expect("urban");
        let region = Region::new(profile).expect("it was possible a moment ago");
        let (site, issuer) = (Site::new(), Issuer::new("key"));
        let (web, origin) = page::settings();
        let address = region.gateway_address();
        let relay = turn.as_ref().map(|turn| turn.settings(address, site.dir())).unwrap_or_default();
        let settings = format!("{CALLS}{web}{relay}{}", issuer::settings(&issuer, &site));
        let mut command = Serve { site: &site, settings: &settings }.command().await;
        command.env("FELDAKTE__LISTEN__QUIC", format!("{address}:4433"));
        let gateway = ChildGateway::start_in(command, Some(region.gateway())).await;
        let turn = turn.map(|turn| turn.start(&tools, region.gateway(), address, site.dir()));

        let tablet = site.pki.enrol(&ambulance("rtw-1"));
        let at = Address::over(gateway.quic, Transport::Quic);
        let (mut client, _) = RawClient::session(&tablet, at, None).await;
        let way = client.way.clone().expect("the gateway is in a region");
        // Browsers take no address of a loopback interface, where the gateway has its own.
        region.gateway().ip("addr add 10.8.0.1/32 dev link0");
        let documents = client.push_documents(&tablet.principal, 1).await;

        let (desk, desk_said) = Browser::start(&tools, Some(region.gateway())).await;
        let url = format!("{origin}/");
        let token = match by {
            Desk::Certificate => {
                site.pki.enrol(&device("dortmund", UNIT, Role::TelePhysician)).write(site.dir());
                let [chain, key] = ["device.pem", "device.key"].map(|name| site.dir().join(name));
                desk.open(DESK, Some(&url), Some(Certificate { origin: &origin, chain: &chain, key: &key })).await;
                None
            }
            Desk::Token => {
                desk.open(DESK, Some(&url), None).await;
                Some(issuer.token_text("anna", Role::TelePhysician, SystemTime::now(), HOUR))
            }
        };
        let start = json!({ "token": token, "capacity": 1, "policy": policy, "media": media() });
        desk.run(DESK, "start => desk.start(start)", start).await;
        let duty = "() => notes.some(note => note.what === 'joined')";
        until(&desk, DESK, "the desk is on duty", duty).await;

        let (browser, said) = Browser::start(&tools, Some(way.link.device())).await;
        browser.open(crew::PAGE, None, None).await;
        let start = json!({ "servers": [], "policy": policy, "media": media() });
        browser.run(crew::PAGE, "start => crew.start(start)", start).await;
        let crew = Crew::call(client, documents[0].0.case, (browser, said)).await;

        let rung = "() => [...desk.facts.values()].some(fact => fact.standing.rung)";
        until(&desk, DESK, "the desk is rung", rung).await;
        desk.run(DESK, "() => desk.want([...desk.facts.keys()][0], 'accept')", Value::Null).await;
        let mut call = Self {
            crew,
            way,
            desk,
            _desk_said: desk_said,
            _gateway: gateway,
            _turn: turn,
            _region: region,
            _site: site,
        };
        call.until_frames("the first frames", [0, 0], 5).await;
        call.crew.until(Phase::Active).await;
        call
    }

    /// Decoded frames at the crew's and at the desk's.
    pub async fn frames(&self) -> [u64; 2] {
        let crew = self.crew.browser.run(crew::PAGE, "() => crew.media.decoded()", Value::Null).await;
        let desk = self.desk("() => [...desk.medias.values()][0]?.media.decoded() ?? 0").await;
        [crew, desk].map(|frames| frames.as_u64().expect("a count"))
    }

    /// Runs something in the desk's page.
    pub async fn desk(&self, code: &str) -> Value {
        self.desk.run(DESK, code, Value::Null).await
    }

    /// Waits until both sides have decoded so many more.
    pub async fn until_frames(&self, what: &str, since: [u64; 2], more: u64) {
        within(what, async {
            loop {
                let frames = self.frames().await;
                if frames.iter().zip(since).all(|(now, since)| *now >= since + more) {
                    return eprintln!("{what}: {frames:?}");
                }
                sleep(LOOK_AGAIN).await;
            }
        })
        .await;
    }

    /// What both sides' pages have noted.
    pub async fn notes(&self) -> [(&'static str, Value); 2] {
        let crew = self.crew.browser.run(crew::PAGE, "() => notes", Value::Null).await;
        [("crew", crew), ("desk", self.desk("() => notes").await)]
    }

    /// Waits until both sides have noted it after that moment.
    pub async fn until_noted(&self, what: &str, since_ms: u64) {
        within(what, async {
            while !self.notes().await.iter().all(|(_, notes)| noted_after(notes, since_ms, what).is_some()) {
                sleep(LOOK_AGAIN).await;
            }
        })
        .await;
    }

    /// The same of the desk alone.
    pub async fn until_desk_noted(&self, what: &str, since_ms: u64) {
        within(what, async {
            while noted_after(&self.desk("() => notes").await, since_ms, what).is_none() {
                sleep(LOOK_AGAIN).await;
            }
        })
        .await;
    }

    /// The ambulance gets another address: both sides notice in time, and frames are back in time.
    pub async fn change_address_and_judge(&mut self) {
        let since = now_ms();
        self.way.link.change_address();
        self.until_noted("stalled", since).await;
        self.until_noted("connected", since).await;
        for (side, notes) in self.notes().await {
            let [noticed, back] = ["stalled", "connected"].map(|what| noted_after(&notes, since, what).expect("noted"));
            eprintln!("{side}: another address: noticed after {noticed:?}, frames again after {back:?}");
            assert!(noticed <= NOTICED_WITHIN, "{side}: {noticed:?}");
            assert!(back <= FRAMES_WITHIN, "{side}: {back:?}");
        }
        let frames = self.frames().await;
        self.until_frames("frames go on", frames, 15).await;
    }

    /// Nothing passes until it is dropped.
    pub fn cut(&self) -> Cut {
        self.way.link.cut()
    }

    /// What kinds of candidates carry media, on both sides.
    pub async fn candidate_kinds(&self) -> [(&'static str, Value); 2] {
        let crew = format!("() => ({KINDS})(crew.media.pc)");
        let crew = self.crew.browser.run(crew::PAGE, &crew, Value::Null).await;
        let desk = self.desk(&format!("() => ({KINDS})([...desk.medias.values()][0].media.pc)")).await;
        [("crew", crew), ("desk", desk)]
    }

    /// The crew hangs up.
    pub async fn end(mut self) {
        self.crew.want(feldakte_core::call::Act::HangUp).await;
        self.crew.until(Phase::Ended).await;
        let ended = "() => [...desk.facts.values()].every(fact => fact.phase === 'ended')";
        until(&self.desk, DESK, "the desk hears that it is over", ended).await;
    }
}

async fn until(browser: &Browser, page: &str, what: &str, code: &str) {
    within(what, async {
        while browser.run(page, code, Value::Null).await != json!(true) {
            sleep(LOOK_AGAIN).await;
        }
    })
    .await;
}

/// What a radio link carries, and two cores encode and decode twice.
fn media() -> Value {
    json!({ "video": { "width": 320, "height": 240, "frameRate": 15 }, "audio": true })
}

/// Whom calls of the ambulance's tenant go to.
const CALLS: &str =
    "[calls]\n[[calls.route]]\ntenant = \"dortmund\"\n[[calls.route.group]]\ncentre = \"dortmund/tele-centre\"\n";
const HOUR: Duration = Duration::from_secs(3600);
/// Between two looks at a page.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Local candidates of pairs in use.
const KINDS: &str = "async pc => { const stats = [...(await pc.getStats()).values()]; \
    const pairs = stats.filter(s => s.type === 'candidate-pair' && s.nominated && s.state === 'succeeded'); \
    return [...new Set(pairs.map(pair => stats.find(s => s.id === pair.localCandidateId)?.candidateType))]; }";

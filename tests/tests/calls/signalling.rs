//! Calls between real SDKs through a real gateway, over both transports.

use std::time::{Duration, Instant};

use feldakte_client_sdk::{
    SdkError,
    view::{
        Access, CaseKind, CaseView, Entry, Subject, Value,
        call::{Category, End, Known, Phase, Refusal, Target},
    },
};
use feldakte_core::{
    access::{Grant, Role},
    call::Centre,
    ids::{CallId, CaseId, DocumentId, Part},
};
use feldakte_tests::harness::{
    address::Transport,
    caller::{Caller, PLAN, phone, plan},
    device,
    local::{Clock, LocalGateway, Site},
    tablet::{Tablet, fact},
    until_answered,
};

/// The same over QUIC and over gRPC.
macro_rules! both {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            use super::Transport;

            #[tokio::test(flavor = "multi_thread")]
            async fn over_quic() {
                super::$name(Transport::Quic).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn over_grpc() {
                super::$name(Transport::Grpc).await;
            }
        })+
    };
}

both! {
    a_call_is_taken_and_both_sides_speak,
    who_may_not_write_the_case_calls_nobody,
    a_desk_has_the_case_for_the_call_and_a_window,
    what_a_desk_had_before_a_call_it_has_afterwards,
    a_partner_takes_what_nobody_here_takes,
    a_killed_gateway_rings_again_and_resumes_calls,
    a_lost_crew_and_its_desk_are_told_to_phone,
    each_call_is_written_down_once_over_sessions,
    a_call_is_transferred_with_both_physicians_there,
    a_case_made_in_a_cellar_is_called_about_at_once,
}

fn site(over: Transport) -> Site {
    let mut site = Site::over(over);
    site.calls = plan();
    site
}

/// A gateway, a crew with a mission that is durable there, and a desk on duty.
struct Scene {
    site: Site,
    gateway: LocalGateway,
    crew: Caller,
    desk: Caller,
    case: CaseId,
}

impl Scene {
    async fn over(over: Transport) -> Self {
        let site = site(over);
        let gateway = site.start().await;
        Self::with(site, gateway).await
    }

    async fn with(site: Site, gateway: LocalGateway) -> Self {
        let crew = Caller::crew(&site, gateway.address, "rtw-1").await;
        let desk = Caller::desk(&site, gateway.address, "dortmund", 1).await;
        let case = mission(&crew.tablet).await;
        crew.tablet.wait_durable(case).await;
        Self { site, gateway, crew, desk, case }
    }

    /// A call that the desk has taken.
    async fn taken(&self) -> CallId {
        let call = self.crew.call(self.case).await;
        self.desk.until_rung(call).await;
        self.desk.tablet.client.accept(call).await.unwrap();
        call
    }

    /// Who may do what with that part of the case, as far as it is valid at that time.
    async fn grants(&self, part: Part, now_ms: i64) -> Vec<Grant> {
        let shared = self.gateway.gateway.shared();
        let document = DocumentId { case: self.case, part };
        let ledger = shared.ledgers.open_known(&shared.store, &shared.metrics, document).await.unwrap().unwrap();
        ledger.with(|ledger| ledger.grants().iter().filter(|grant| grant.covers(now_ms)).cloned().collect())
    }
}

/// A mission of that crew.
async fn mission(tablet: &Tablet) -> CaseId {
    let edits = vec![fact(Part::Operations, "keyword", "Brustschmerz"), fact(Part::Clinical, "allergy", "keine")];
    tablet.client.create(CaseKind::Mission, edits).await.unwrap()
}

async fn a_call_is_taken_and_both_sides_speak(over: Transport) {
    let scene = Scene::over(over).await;
    let call = scene.taken().await;
    let Scene { gateway, crew, desk, case, .. } = scene;
    crew.until_phase(call, Phase::Connecting).await;
    let offer = "v=0\r\no=- 4611 2 IN IP4 127.0.0.1\r\n".repeat(150);
    crew.tablet.client.send_signal(call, 1, offer.clone()).await.unwrap();
    assert_eq!(desk.signals(1).await, [(0, offer)]);
    for candidate in 0..20 {
        desk.tablet.client.send_signal(call, 0, format!("candidate {candidate}")).await.unwrap();
    }
    let arrived = crew.signals(20).await;
    assert!(arrived.iter().enumerate().all(|(n, (from, text))| *from == 1 && *text == format!("candidate {n}")));
    let too_long = desk.tablet.client.send_signal(call, 0, "x".repeat(20_000)).await;
    assert!(matches!(too_long, Err(SdkError::SignalTooLong)));
    desk.tablet.client.media(call, 0, feldakte_core::call::Media::Connected).await.unwrap();
    crew.until_phase(call, Phase::Active).await;
    crew.tablet.client.hang_up(call).await.unwrap();
    desk.until(call, "it has ended", |known| {
        known.and_then(|known| known.fact.as_ref()).is_none_or(|fact| fact.end.is_some())
    })
    .await;
    // Each side leaves an entry of its own.
    let both = |view: &CaseView| consultations(view).len() == 2;
    let view = crew.tablet.wait_case(case, "both sides have written down the call", both).await;
    for entry in consultations(&view) {
        let field = |name: &str| entry.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        assert_eq!(field("end_reason"), Some(Value::Text("crew_hung_up".to_owned())));
        assert_eq!(field("tele_centre"), Some(Value::Text("dortmund/tna".to_owned())));
        let (Some(Value::Timestamp(from)), Some(Value::Timestamp(to))) = (field("requested_at"), field("ended_at"))
        else {
            panic!("without times: {entry:?}")
        };
        assert!(from <= to);
    }
    let reasons: Vec<_> =
        gateway.gateway.shared().exchange.overview().await.calls.iter().map(|fact| fact.end).collect();
    assert_eq!(reasons, [Some(End::CrewHungUp)]);
}

fn consultations(view: &CaseView) -> Vec<Entry> {
    let entries = view.documents.iter().flat_map(|document| &document.entries);
    entries.filter(|entry| entry.kind == "consultation").cloned().collect()
}

async fn who_may_not_write_the_case_calls_nobody(over: Transport) {
    let site = site(over);
    let gateway = site.start().await;
    let crew = Caller::crew(&site, gateway.address, "rtw-1").await;
    let other = Caller::crew(&site, gateway.address, "rtw-2").await;
    let desk = Caller::desk(&site, gateway.address, "dortmund", 1).await;
    let case = mission(&crew.tablet).await;
    crew.tablet.wait_durable(case).await;
    let call = other.call(case).await;
    other.until(call, "it is refused", |known| known.is_none()).await;
    assert!(desk.tablet.client.calls().await.unwrap().is_empty());
    let staff = site.pki.enrol(&device("dortmund", "spd-1", Role::FieldStaff));
    let staff = Tablet::online(&staff, gateway.address).await;
    assert!(matches!(staff.client.call(case, Category::Urgent, None).await, Err(SdkError::NotPermitted)));
    assert!(matches!(crew.tablet.client.on_duty(1).await, Err(SdkError::NotPermitted)));
    // A stranger to a call neither hears nor ends it.
    let call = crew.call(case).await;
    desk.until_rung(call).await;
    let refused = other.tablet.client.hang_up(call).await;
    assert!(matches!(refused, Err(SdkError::CallRefused(Refusal::Unknown))), "{refused:?}");
    let refused = crew.tablet.client.accept(call).await;
    assert!(matches!(refused, Err(SdkError::CallRefused(Refusal::NotNow))), "{refused:?}");
    drop(gateway);
}

async fn a_desk_has_the_case_for_the_call_and_a_window(over: Transport) {
    let scene = Scene::over(over).await;
    let Scene { crew, desk, case, .. } = &scene;
    let case = *case;
    let call = crew.call(case).await;
    desk.until_rung(call).await;
    assert!(desk.tablet.client.read(case).await.is_err(), "who is only rung sees nothing");
    desk.tablet.client.accept(call).await.unwrap();
    desk.tablet.wait_equal(&crew.tablet, case).await;
    desk.tablet.set(case, "finding", "ST-Hebung").await;
    desk.tablet.wait_durable(case).await;
    let subject = Subject::Device(desk.enrolled.principal.device);
    let until = async || {
        let grants = scene.grants(Part::Clinical, 0).await;
        let grant = grants.into_iter().find(|grant| grant.subject == subject);
        grant.map(|grant| (grant.access, grant.until.unwrap()))
    };
    let during = until().await.unwrap();
    assert_eq!(during.0, Access::Write);
    desk.tablet.client.hang_up(call).await.unwrap();
    until_answered("the grant ends with the window", async || {
        until().await.is_some_and(|(_, until)| until < during.1 - 12 * 60 * 60 * 1000)
    })
    .await;
}

async fn what_a_desk_had_before_a_call_it_has_afterwards(over: Transport) {
    let (site, clock) = (site(over), Clock::default());
    let gateway = site.start_at(&clock).await;
    let scene = Scene::with(site, gateway).await;
    let Scene { gateway, desk, case, .. } = &scene;
    let subject = Subject::Device(desk.enrolled.principal.device);
    let clinical = DocumentId { case: *case, part: Part::Clinical };
    gateway.gateway.grant(clinical, vec![Grant::new(subject.clone(), Access::Read)]).await.unwrap();
    let held = async |part: Part| {
        let grants = scene.grants(part, clock.now_ms()).await;
        let held = grants.into_iter().find(|grant| grant.subject == subject);
        held.map(|grant| (grant.access, grant.until))
    };
    let call = scene.taken().await;
    until_answered("it may write for the call", async || {
        matches!(held(Part::Clinical).await, Some((Access::Write, Some(_)))) && held(Part::Operations).await.is_some()
    })
    .await;
    desk.tablet.client.hang_up(call).await.unwrap();
    clock.advance(Duration::from_secs(14 * 60));
    // Where it had nothing the end is known: whoever ends grants has looked.
    let window_ends = clock.now_ms() + 2 * 60 * 1000;
    until_answered("its grant ends with the window", async || {
        held(Part::Operations).await.is_some_and(|(_, until)| until.unwrap() < window_ends)
    })
    .await;
    assert!(matches!(held(Part::Clinical).await, Some((Access::Write, _))), "the window is not over");
    clock.advance(Duration::from_secs(2 * 60));
    until_answered("it has what it had before, and no more", async || {
        held(Part::Clinical).await == Some((Access::Read, None)) && held(Part::Operations).await.is_none()
    })
    .await;
}

async fn each_call_is_written_down_once_over_sessions(over: Transport) {
    let site = site(over);
    let gateway = site.start().await;
    let crew = Caller::crew(&site, gateway.address, "rtw-1").await;
    let case = mission(&crew.tablet).await;
    crew.tablet.wait_durable(case).await;
    let call = crew.call(case).await;
    let written = |view: &CaseView| consultations(view).len() == 1;
    crew.tablet.wait_case(case, "nobody is on duty, which is written down", written).await;
    crew.tablet.client.go_offline();
    crew.tablet.wait_link(feldakte_client_sdk::view::LinkState::Offline).await;
    let shared = gateway.gateway.shared();
    let calls = shared.exchange.overview().await.calls;
    assert!(calls.iter().any(|fact| fact.call == call && fact.end == Some(End::NobodyOnDuty)));
    crew.tablet.go_online().await;
    let second = crew.call(case).await;
    crew.until(second, "the next call has ended as well", |known| {
        known.and_then(|known| known.fact.as_ref()).is_none_or(|fact| fact.end.is_some())
    })
    .await;
    let both = |view: &CaseView| consultations(view).len() == 2;
    let view = crew.tablet.wait_case(case, "each call is written down once", both).await;
    let ids: std::collections::BTreeSet<_> = consultations(&view).into_iter().map(|entry| entry.id).collect();
    assert_eq!(ids.len(), 2);
}

async fn a_partner_takes_what_nobody_here_takes(over: Transport) {
    let scene = Scene::over(over).await;
    let partner = Caller::desk(&scene.site, scene.gateway.address, "hagen", 1).await;
    let Scene { crew, desk: own, case, .. } = &scene;
    let call = crew.call(*case).await;
    own.until_rung(call).await;
    own.tablet.client.decline(call).await.unwrap();
    partner.until_rung(call).await;
    partner.tablet.client.accept(call).await.unwrap();
    crew.until_phase(call, Phase::Connecting).await;
    let fact = crew.known(call).await.unwrap().fact.unwrap();
    assert_eq!(fact.phone, Some(phone("+49 2331 2")), "the number of the desk that has it");
    // The partner reads the case in Dortmund's log, as a guest.
    let guest = Subject::Guest { tenant: "hagen".parse().unwrap(), unit: "tna".parse().unwrap() };
    until_answered("the partner's centre is a guest", async || {
        scene.grants(Part::Clinical, 0).await.iter().any(|grant| grant.subject == guest)
    })
    .await;
}

async fn a_killed_gateway_rings_again_and_resumes_calls(over: Transport) {
    let site = site(over);
    let gateway = site.spawn_with(PLAN).await;
    let crew = Caller::crew(&site, gateway.address, "rtw-1").await;
    let second = Caller::crew(&site, gateway.address, "rtw-2").await;
    let desk = Caller::desk(&site, gateway.address, "dortmund", 2).await;
    let case = mission(&crew.tablet).await;
    let call = crew.call(case).await;
    desk.until_rung(call).await;
    desk.tablet.client.accept(call).await.unwrap();
    desk.tablet.client.media(call, 0, feldakte_core::call::Media::Connected).await.unwrap();
    crew.until_phase(call, Phase::Active).await;
    let ringing = second.call(mission(&second.tablet).await).await;
    desk.until_rung(ringing).await;
    let before = crew.known(call).await.unwrap().fact.unwrap();
    gateway.kill().await;
    let gateway = site.spawn_with(PLAN).await;
    let began = Instant::now();
    let is_back = |known: Option<&Known>| {
        let fact = known.and_then(|known| known.fact.as_ref());
        fact.is_some_and(|fact| {
            fact.phase == Phase::Active && fact.seq > before.seq && fact.legs.iter().all(|leg| leg.is_present)
        })
    };
    crew.until(call, "the call is resumed", is_back).await;
    let rings = |known: Option<&Known>| {
        let fact = known.and_then(|known| known.fact.as_ref());
        fact.is_some_and(|fact| {
            fact.phase == Phase::Offered && fact.legs.iter().all(|leg| leg.is_present && leg.epoch > 1)
        })
    };
    second.until(ringing, "the call rings again", rings).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let after = crew.known(call).await.unwrap().fact.unwrap();
    assert_eq!((after.physician, after.times, after.category), (before.physician, before.times, before.category));
    desk.tablet.client.accept(ringing).await.unwrap();
    second.until_phase(ringing, Phase::Connecting).await;
    gateway.kill().await;
}

async fn a_lost_crew_and_its_desk_are_told_to_phone(over: Transport) {
    let scene = Scene::over(over).await;
    let call = scene.taken().await;
    let Scene { crew, desk, .. } = &scene;
    crew.until_phase(call, Phase::Connecting).await;
    crew.tablet.client.go_offline();
    let began = Instant::now();
    let advised = |number: &'static str| {
        move |known: Option<&Known>| {
            let advice = known.and_then(|known| known.use_phone.as_ref());
            advice.is_some_and(|advice| advice.phone == Some(phone(number)))
        }
    };
    desk.until(call, "the desk is told to phone the crew", advised("0151 23456")).await;
    crew.until(call, "the crew is told to phone the desk", advised("+49 231 1")).await;
    // The two seconds themselves are measured where nothing else runs: `bars`, and by a clock that is moved in core.
    println!("both told after {:?}", began.elapsed());
    crew.tablet.client.go_online();
    crew.until(call, "the path lives again", |known| known.is_some_and(|known| known.use_phone.is_none())).await;
    desk.until(call, "the crew is back", |known| known.is_some_and(|known| known.use_phone.is_none())).await;
    crew.tablet.client.phoned(call).await.unwrap();
    desk.tablet.client.phoned(call).await.unwrap();
    let both = |known: Option<&Known>| {
        let fact = known.and_then(|known| known.fact.as_ref());
        fact.is_some_and(|fact| fact.phoned == [0, 1] && fact.phase == Phase::Active)
    };
    desk.until(call, "both have noted the telephone", both).await;
}

async fn a_call_is_transferred_with_both_physicians_there(over: Transport) {
    let site = site(over);
    let gateway = site.start().await;
    let crew = Caller::crew(&site, gateway.address, "rtw-1").await;
    let from = Caller::desk(&site, gateway.address, "dortmund", 1).await;
    let case = mission(&crew.tablet).await;
    let call = crew.call(case).await;
    from.until_rung(call).await;
    from.tablet.client.accept(call).await.unwrap();
    let to = Caller::desk(&site, gateway.address, "hagen", 1).await;
    let centre = Centre { tenant: "hagen".parse().unwrap(), unit: "tna".parse().unwrap() };
    until_answered("the desk is on duty", async || gateway.gateway.shared().exchange.overview().await.desks.len() == 2)
        .await;
    from.tablet.client.transfer(call, Target::Centre(centre)).await.unwrap();
    to.until_rung(call).await;
    to.tablet.client.accept(call).await.unwrap();
    crew.until(call, "both are there", |known| {
        known
            .and_then(|known| known.fact.as_ref())
            .is_some_and(|fact| fact.legs.len() == 3 && fact.physician == Some(1))
    })
    .await;
    crew.tablet.client.send_signal(call, 2, "offer".to_owned()).await.unwrap();
    assert_eq!(to.signals(1).await, [(0, "offer".to_owned())]);
    crew.tablet.client.media(call, 2, feldakte_core::call::Media::Connected).await.unwrap();
    from.until(call, "the first one is out", |known| known.is_none()).await;
    let fact = crew.known(call).await.unwrap().fact.unwrap();
    assert_eq!(fact.physician, Some(2));
    let refused = from.tablet.client.send_signal(call, 0, "late".to_owned()).await;
    assert!(matches!(refused, Err(SdkError::NotConnected)));
}

async fn a_case_made_in_a_cellar_is_called_about_at_once(over: Transport) {
    let site = site(over);
    let gateway = site.start().await;
    let crew = Caller::crew(&site, gateway.address, "rtw-1").await;
    let desk = Caller::desk(&site, gateway.address, "dortmund", 1).await;
    crew.tablet.go_offline().await;
    let case = mission(&crew.tablet).await;
    let call = crew.call(case).await;
    crew.until(call, "nothing answers: the telephone", |known| known.is_some_and(|known| known.use_phone.is_some()))
        .await;
    let advice = crew.known(call).await.unwrap().use_phone.unwrap();
    assert_eq!(advice.phone, Some(phone("112")));
    crew.tablet.client.go_online();
    desk.until_rung(call).await;
    desk.tablet.client.accept(call).await.unwrap();
    desk.tablet.wait_equal(&crew.tablet, case).await;
    drop(gateway);
}

//! Live vitals: from the crew's monitor to the physician's screen over whatever carries it, and into the case by themselves.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use feldakte_client_sdk::{Client, Monitor, SdkError, VitalsPublisher, VitalsWatch};
use feldakte_core::{
    access::Role,
    case::{Entry, schema::CaseKind, vitals::decode},
    crdt::Value,
    ids::{CallId, CaseId, Part},
    live::{Numeric, Seen, Trace, TraceKind},
};
use feldakte_tests::harness::{
    address::Transport,
    crew, device,
    local::{LocalGateway, Site},
    pki::Enrolled,
    raw::RawClient,
    tablet::{Tablet, fact},
    until_answered, within,
};
use uuid::Uuid;

const CALL: CallId = CallId(Uuid::from_u128(1));
const SERIAL: &str = "C3-004711";

fn monitor() -> Monitor {
    Monitor { serial_number: SERIAL.to_owned(), model: Some("corpuls3".to_owned()) }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn pulse(value: i32) -> Vec<Numeric> {
    vec![Numeric { code: "8867-4".to_owned(), unit: "/min".to_owned(), scale: 0, value }]
}

fn twelve_leads(samples: &[i16]) -> Vec<Trace> {
    let lead = |kind| Trace { kind, step_nano: 2_500, samples: samples.to_vec() };
    TraceKind::ALL.into_iter().take(12).map(lead).collect()
}

/// A crew with a case that its monitor is bound to, and a desk; both in session.
struct Call {
    gateway: LocalGateway,
    crew: Tablet,
    desk: Tablet,
    devices: [Enrolled; 2],
    case: CaseId,
    site: Site,
}

impl Call {
    async fn over(over: Transport) -> Self {
        let site = Site::over(over);
        let gateway = site.start().await;
        let devices =
            [crew("rtw-1"), device("dortmund", "desk-1", Role::TelePhysician)].map(|who| site.pki.enrol(&who));
        let crew = Tablet::online(&devices[0], gateway.address).await;
        let desk = Tablet::online(&devices[1], gateway.address).await;
        let case = crew
            .client
            .create(CaseKind::Mission, vec![fact(Part::Operations, "keyword", "Brustschmerz")])
            .await
            .unwrap();
        crew.client.bind_monitor(case, monitor()).await.unwrap();
        Self { gateway, crew, desk, devices, case, site }
    }

    /// What the exchange will do when the desk accepts.
    fn open(&self) {
        let shared = self.gateway.gateway.shared();
        let [crew, desk] = self.devices.each_ref().map(|device| shared.registry.sessions_of(device.principal.device));
        shared.live.open(CALL, crew[0], &desk).unwrap();
    }

    fn fate(&self, fate: &'static str) -> u64 {
        self.gateway.gateway.metrics().live_datagrams.get_or_create(&vec![("fate", fate)]).get()
    }
}

/// Sends a number again and again until the watch shows one; the way may still be opening.
async fn first_numbers(publisher: &VitalsPublisher, watch: &VitalsWatch) -> (Vec<Numeric>, u64) {
    within("numbers arrive", async {
        for second in 0.. {
            publisher.numerics(now_ms() + second * 1_000, pulse(80)).await.unwrap();
            let Ok(seen) = tokio::time::timeout(Duration::from_millis(100), watch.next()).await else { continue };
            match seen.unwrap() {
                Seen::Numerics { values, age_ms } => return (values, age_ms),
                Seen::Waves { .. } => panic!("no curves were sent"),
            }
        }
        unreachable!("it sends until it is heard")
    })
    .await
}

async fn what_the_crew_sends_is_on_the_desks_screen(over: Transport) {
    let call = Call::over(over).await;
    call.open();
    let watch = call.desk.client.watch_vitals(CALL);
    let publisher = call.crew.client.publish_vitals(CALL, SERIAL).await.unwrap();
    let (values, age_ms) = first_numbers(&publisher, &watch).await;
    assert_eq!(values, pulse(80));
    assert!(age_ms < 2_000, "{age_ms} ms");

    let samples: Vec<i16> = (0..250).map(|sample| (sample * 37 % 41) as i16).collect();
    publisher.waves(now_ms() - 1_000, 4_000, &twelve_leads(&samples)).await.unwrap();
    let mut shown = Vec::new();
    within("curves arrive", async {
        while shown.len() < samples.len() {
            match watch.next().await.unwrap() {
                Seen::Waves { period_us, traces, age_ms, missing } => {
                    assert_eq!((period_us, traces.len(), missing), (4_000, 12, 0));
                    assert!(age_ms >= 100, "{age_ms} ms since the first sample");
                    shown.extend_from_slice(&traces[11].samples);
                }
                Seen::Numerics { .. } => {}
            }
        }
    })
    .await;
    assert_eq!(shown, samples);
    let quality = watch.quality();
    assert_eq!((quality.waves.received, quality.waves.lost, quality.unreadable), (10, 0, 0));
    assert!(watch.silence().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_crew_sends_is_on_the_desks_screen_over_quic() {
    what_the_crew_sends_is_on_the_desks_screen(Transport::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_crew_sends_is_on_the_desks_screen_over_grpc() {
    what_the_crew_sends_is_on_the_desks_screen(Transport::Grpc).await;
}

async fn nobody_watches_a_call_that_is_not_his(over: Transport) {
    let call = Call::over(over).await;
    let watch = call.desk.client.watch_vitals(CALL);
    let publisher = call.crew.client.publish_vitals(CALL, SERIAL).await.unwrap();
    until_answered("the gateway refuses", async || {
        publisher.numerics(now_ms(), pulse(80)).await.unwrap();
        call.fate("not_permitted") > 0
    })
    .await;
    assert!(watch.silence().is_none());
    call.open();
    first_numbers(&publisher, &watch).await;
    call.gateway.gateway.shared().live.close(CALL);
    let refused = call.fate("not_permitted");
    until_answered("the gateway refuses again", async || {
        publisher.numerics(now_ms(), pulse(80)).await.unwrap();
        call.fate("not_permitted") > refused
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_watches_a_call_that_is_not_his_over_quic() {
    nobody_watches_a_call_that_is_not_his(Transport::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_watches_a_call_that_is_not_his_over_grpc() {
    nobody_watches_a_call_that_is_not_his(Transport::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_in_the_next_session() {
    let call = Call::over(Transport::Quic).await;
    call.open();
    let watch = call.desk.client.watch_vitals(CALL);
    let publisher = call.crew.client.publish_vitals(CALL, SERIAL).await.unwrap();
    first_numbers(&publisher, &watch).await;
    for tablet in [&call.crew, &call.desk] {
        tablet.go_offline().await;
        tablet.go_online().await;
    }
    call.open();
    first_numbers(&publisher, &watch).await;
}

async fn entries(client: &Client, case: CaseId, kind: &str) -> Vec<Entry> {
    let view = client.read(case).await.unwrap();
    let clinical = view.documents.into_iter().filter(|document| document.part == Part::Clinical);
    clinical.flat_map(|document| document.entries).filter(|entry| entry.kind == kind && entry.is_current()).collect()
}

/// Every number that the case holds, with its time.
async fn recorded(client: &Client, case: CaseId) -> Vec<(i64, f64)> {
    let mut all = Vec::new();
    for entry in entries(client, case, "vitals_block").await {
        assert_eq!(entry.field("source").and_then(Value::as_text), Some(SERIAL));
        let block = decode(entry.field("samples").and_then(Value::as_bytes).unwrap()).unwrap();
        all.extend(block.samples("8867-4").filter_map(|(time, value)| Some((time, value?))));
    }
    all.sort_by_key(|(time, _)| *time);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_in_the_case_by_itself_and_never_in_another() {
    let call = Call::over(Transport::Quic).await;
    let client = &call.crew.client;
    let publisher = client.publish_vitals(CALL, SERIAL).await.unwrap();
    let begin = now_ms();
    for second in 0..95 {
        publisher.numerics(begin + second * 1_000, pulse(60 + second as i32)).await.unwrap();
    }
    assert_eq!(recorded(client, call.case).await.len(), 90, "whole blocks of half a minute are saved as they end");
    let other = client.create(CaseKind::Mission, vec![fact(Part::Operations, "keyword", "Sturz")]).await.unwrap();
    client.bind_monitor(other, monitor()).await.unwrap();
    let expected: Vec<(i64, f64)> = (0..95).map(|second| (begin + second * 1_000, 60.0 + second as f64)).collect();
    assert_eq!(recorded(client, call.case).await, expected);

    let late = publisher.numerics(now_ms() + 1, pulse(200)).await;
    assert!(matches!(late, Err(SdkError::MonitorNotBound)), "another patient's numbers go into no call about this one");
    let publisher = client.publish_vitals(CALL, SERIAL).await.unwrap();
    let late = publisher.numerics(begin, pulse(200)).await;
    assert!(matches!(late, Err(SdkError::MonitorNotBound)), "it was measured under the binding before");
    publisher.numerics(now_ms() + 1, pulse(70)).await.unwrap();
    client.unbind_monitor(SERIAL).await.unwrap();
    assert_eq!(recorded(client, other).await.len(), 1);
    assert_eq!(recorded(client, call.case).await, expected);
    for case in [call.case, other] {
        let bindings = entries(client, case, "monitor_binding").await;
        let [binding] = &bindings[..] else { panic!("one binding in each case") };
        assert_eq!(binding.field("serial_number").and_then(Value::as_text), Some(SERIAL));
        assert!(binding.field("ended_at").is_some());
    }
    assert!(matches!(publisher.numerics(now_ms(), pulse(70)).await, Err(SdkError::MonitorNotBound)));
    assert!(matches!(client.publish_vitals(CALL, SERIAL).await, Err(SdkError::MonitorNotBound)));
    call.crew.wait_all_safe().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_datagrams_ends_its_session_and_disturbs_nobody() {
    let call = Call::over(Transport::Quic).await;
    call.open();
    let watch = call.desk.client.watch_vitals(CALL);
    let publisher = call.crew.client.publish_vitals(CALL, SERIAL).await.unwrap();
    let hostile = call.site.pki.enrol(&crew("rtw-9"));
    let (mut flooding, _) = RawClient::session(&hostile, call.gateway.address, None).await;
    let quic = flooding.quic().connection.clone();
    within("it is cut off", async {
        while quic.close_reason().is_none() {
            let _ = quic.send_datagram_wait(bytes::Bytes::new()).await;
        }
    })
    .await;
    first_numbers(&publisher, &watch).await;
}

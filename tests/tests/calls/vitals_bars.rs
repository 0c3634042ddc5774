//! Twelve calls at once, each with twelve leads and numbers, under profile U, measured in real time. `cargo test -p feldakte-tests
//! --test calls vitals_bars -- --ignored --nocapture` prints the figures; `FELDAKTE_SECONDS` sets how long it takes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use feldakte_client_sdk::{Monitor, VitalsPublisher, VitalsWatch};
use feldakte_core::{
    access::Role,
    case::{Edit, Event, OrderStep, schema::CaseKind},
    crdt::Value,
    ids::{CallId, Part},
    live::{Counts, Numeric, Seen, Trace, TraceKind},
};
use feldakte_tests::{
    harness::{
        address::Transport,
        crew, device,
        local::{LocalGateway, Site},
        region::Region,
        tablet::{Tablet, fact},
    },
    netns::{
        self,
        profile::{Profile, Radio},
    },
    skipped,
};
use tokio::task::JoinSet;
use uuid::Uuid;

/// A call between a crew and a desk, each behind a link of its own.
struct Pair {
    crew: Tablet,
    publisher: VitalsPublisher,
    watch: VitalsWatch,
    _desk: Tablet,
}

/// What a desk has seen.
#[derive(Default)]
struct Seeing {
    /// Since the first sample of each stretch was measured, when it is shown.
    waves: Vec<Duration>,
    numerics: Vec<Duration>,
    /// What was shown as the age, less what it was.
    errors_ms: Vec<i64>,
    counts: Counts,
}

async fn pair(site: &Site, gateway: &LocalGateway, number: u128) -> Pair {
    let call = CallId(Uuid::from_u128(number + 1));
    let crew = site.pki.enrol(&crew(&format!("rtw-{number}")));
    let desk = site.pki.enrol(&device("dortmund", &format!("desk-{number}"), Role::TelePhysician));
    let (on_scene, in_centre) =
        tokio::join!(Tablet::online(&crew, gateway.address), Tablet::online(&desk, gateway.address));
    let edits = vec![fact(Part::Operations, "keyword", "Brustschmerz")];
    let case = on_scene.client.create(CaseKind::Mission, edits).await.unwrap();
    let monitor = Monitor { serial_number: format!("C3-{number}"), model: None };
    on_scene.client.bind_monitor(case, monitor).await.unwrap();
    let shared = gateway.gateway.shared();
    let sessions = |device| shared.registry.sessions_of(device);
    let (publisher, watchers) = (sessions(crew.principal.device)[0], sessions(desk.principal.device));
    shared.live.open(call, publisher, &watchers).unwrap();
    let watch = in_centre.client.watch_vitals(call);
    let publisher = on_scene.client.publish_vitals(call, &format!("C3-{number}")).await.unwrap();
    Pair { crew: on_scene, publisher, watch, _desk: in_centre }
}

/// A heart that beats 75 times a minute, and noise. The first sample of a stretch tells which one it is.
fn leads(stretch: u64) -> Vec<Trace> {
    let lead = |(number, kind): (u64, TraceKind)| {
        let sample = |index: u64| {
            let at = (stretch * STRETCH + index) % 200;
            let beat = match at {
                80..84 => 250 * (at as i64 - 79),
                84..88 => 250 * (88 - at as i64),
                _ => 0,
            };
            let noise = (at.wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ (number << 17)) >> 40) as i64 % 7 - 3;
            (beat * (number as i64 % 3 + 1) / 3 + noise) as i16
        };
        let mut samples: Vec<i16> = (0..STRETCH).map(sample).collect();
        if number == 0 {
            samples[0] = stretch as i16;
        }
        Trace { kind, step_nano: 2_500, samples }
    };
    (0..).zip(TraceKind::ALL).take(12).map(lead).collect()
}

fn numbers(second: i32) -> Vec<Numeric> {
    let number =
        |(code, unit, value): (&str, &str, i32)| Numeric { code: code.into(), unit: unit.into(), scale: 0, value };
    let all = [("8867-4", "/min", second), ("59408-5", "%", 97), ("9279-1", "/min", 16), ("8480-6", "mm[Hg]", 125)];
    all.into_iter().map(number).collect()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Publishes what is measured from `began` on, each stretch when its last sample is there.
async fn publish(pair: &Pair, began: Instant, stretches: u64) {
    for stretch in 0..stretches {
        tokio::time::sleep_until((began + STRETCH_SPAN * (stretch as u32 + 1)).into()).await;
        let measured = began + STRETCH_SPAN * stretch as u32;
        pair.publisher
            .waves(now_ms() - measured.elapsed().as_millis() as i64, PERIOD_US, &leads(stretch))
            .await
            .unwrap();
        if stretch % 10 == 9 {
            pair.publisher.numerics(now_ms(), numbers(stretch as i32)).await.unwrap();
        }
    }
}

async fn see(pair: &Pair, began: Instant, until: Instant) -> Seeing {
    let mut seeing = Seeing::default();
    while let Ok(Some(seen)) = tokio::time::timeout_at(until.into(), pair.watch.next()).await {
        let (shown, measured) = match &seen {
            Seen::Waves { traces, age_ms, .. } => {
                (*age_ms, began + STRETCH_SPAN * u32::from(traces[0].samples[0] as u16))
            }
            Seen::Numerics { values, age_ms } => (*age_ms, began + STRETCH_SPAN * (values[0].value as u32 + 1)),
        };
        let age = measured.elapsed();
        seeing.errors_ms.push(shown as i64 - age.as_millis() as i64);
        match seen {
            Seen::Waves { .. } => seeing.waves.push(age),
            Seen::Numerics { .. } => seeing.numerics.push(age),
        }
    }
    seeing.counts = pair.watch.quality().waves;
    seeing
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a bar in real time: on a quiet machine"]
async fn vitals_of_twelve_calls_are_at_most_a_quarter_of_a_second_old() {
    twelve_calls(Transport::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a bar in real time: on a quiet machine"]
async fn vitals_of_twelve_calls_are_at_most_a_quarter_of_a_second_old_over_grpc() {
    twelve_calls(Transport::Grpc).await;
}

/// Twelve leads, each stretch twice, take nearly all that EDGE carries to the gateway, and datagrams go before all streams.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a bar in real time: on a quiet machine"]
async fn an_order_passes_twelve_leads_on_edge() {
    if let Some(why) = netns::unavailable() {
        return skipped(&why);
    }
    let site = Site::within(
        Region::new(Profile { radio: Radio { gaps: None, ..Profile::EDGE.radio }, ..Profile::EDGE }).unwrap(),
        Transport::Quic,
    );
    let gateway = site.start().await;
    let pair = pair(&site, &gateway, 0).await;
    let case = pair.crew.create("Sturz").await;
    pair.crew.wait_durable(case).await;
    let began = Instant::now();
    let order = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let since = Instant::now();
        let (order, content) =
            (pair.crew.client.new_order_id(), vec![("drug_text".into(), Value::Text("Morphin".into()))]);
        let event = Event::Order { order, step: OrderStep::Proposed { content } };
        pair.crew.client.edit(case, vec![Edit::Record { part: Part::Clinical, event }]).await.unwrap();
        pair.crew.wait_durable(case).await;
        since.elapsed()
    };
    let until = began + Duration::from_secs(25);
    let (took, seeing, ()) = tokio::join!(order, see(&pair, began, until), publish(&pair, began, 200));
    let numbers = seeing.numerics.len();
    println!(
        "an order was durable after {took:?}; {numbers} of 20 numbers and {:?} stretches of 200 came",
        seeing.counts
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(numbers >= 10);
}

async fn twelve_calls(over: Transport) {
    if let Some(why) = netns::unavailable() {
        return skipped(&why);
    }
    let seconds: u64 = std::env::var("FELDAKTE_SECONDS").map_or(30, |seconds| seconds.parse().expect("a number"));
    let site = Site::within(Region::new(Profile::URBAN).unwrap(), over);
    let gateway = site.start().await;
    let memory_before = resident_kib();
    let mut pairs = Vec::new();
    for number in 0..CALLS {
        pairs.push(pair(&site, &gateway, number).await);
    }
    let memory_connected = resident_kib();
    let (began, cpu_before) = (Instant::now() + Duration::from_secs(1), cpu());
    let stretches = seconds * 1_000 / STRETCH_SPAN.as_millis() as u64;
    let until = began + STRETCH_SPAN * (stretches as u32 + 5);
    let mut calls = JoinSet::new();
    for pair in pairs {
        calls.spawn(async move {
            let (seeing, ()) = tokio::join!(see(&pair, began, until), publish(&pair, began, stretches));
            pair.crew.wait_all_safe().await;
            seeing
        });
    }
    let mut all = Seeing::default();
    while let Some(seeing) = calls.join_next().await {
        let Seeing { waves, numerics, errors_ms, counts } = seeing.unwrap();
        all.waves.extend(waves);
        all.numerics.extend(numerics);
        all.errors_ms.extend(errors_ms);
        all.counts.received += counts.received;
        all.counts.lost += counts.lost;
        all.counts.late += counts.late;
        all.counts.repeated += counts.repeated;
        all.counts.skipped += counts.skipped;
    }
    let (cpu, memory) = (cpu() - cpu_before, resident_kib());
    let waves = percentiles(&mut all.waves);
    let numerics = percentiles(&mut all.numerics);
    all.errors_ms.sort_unstable();
    let error = |share: usize| all.errors_ms[all.errors_ms.len() * share / 100];
    println!(
        "age of curves (first sample of {STRETCH_SPAN:?}) p50 {:?}, p95 {:?}, p99 {:?}",
        waves[0], waves[1], waves[2]
    );
    println!("age of numbers p50 {:?}, p95 {:?}, p99 {:?}", numerics[0], numerics[1], numerics[2]);
    println!("shown age less true age, ms: p5 {}, p50 {}, p95 {}", error(5), error(50), error(95));
    println!("stretches: {:?} of {}", all.counts, stretches * CALLS as u64);
    println!(
        "gateway, 24 devices and emulator in one process: {:.0} % of a processor; {} KiB before, {} with 24 sessions, {} after",
        cpu.as_secs_f64() * 100.0 / seconds as f64,
        memory_before,
        memory_connected,
        memory
    );
    assert!(waves[1] <= BAR && numerics[1] <= BAR, "{waves:?}, {numerics:?}");
    assert!(all.counts.lost * 200 <= all.counts.received, "{:?}", all.counts);
}

fn percentiles(times: &mut [Duration]) -> [Duration; 3] {
    times.sort_unstable();
    [50, 95, 99].map(|share| times[times.len() * share / 100])
}

/// Of this process so far, in all its threads.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks: u64 = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    // USER_HZ is 100 on every Linux there is.
    Duration::from_millis(ticks * 10)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

const CALLS: u128 = 12;
/// Samples of a stretch, at 250 Hz.
const STRETCH: u64 = 25;
const STRETCH_SPAN: Duration = Duration::from_millis(100);
const PERIOD_US: u32 = 4_000;
/// Issue 6.
const BAR: Duration = Duration::from_millis(250);

//! Content at rest in a real gateway: what its files show, and how a case ends for good.

use std::time::{Duration, Instant};

use feldakte_client_sdk::{Client, SdkError};
use feldakte_core::{
    audit::Reason as Why,
    ids::{DocumentId, Part},
};
use feldakte_gateway::{
    control::{
        cases::{Shred, ShredOutcome, Shreds},
        keys::{KeyEntry, Rotate, RotatedKey},
    },
    store::registry::OperatorRole,
};
use feldakte_proto::Reason;
use feldakte_tests::harness::{
    address::Transport,
    author::Author,
    control::{self, operator, refusal},
    crew, files_with,
    local::{Clock, Site},
    new_document,
    raw::{RawClient, Seen},
    tablet::Tablet,
};

const CANARY: &str = "Kanarienvogel-Nachtweih";
const DAY: Duration = Duration::from_secs(24 * 3600);

const REQUEST: Shred = Shred { reason: Why::RetentionOver, approve: false };
const APPROVE: Shred = Shred { reason: Why::RetentionOver, approve: true };

async fn no_file_of_a_gateway_shows_what_a_case_says(over: Transport) {
    let site = Site::over(over);
    let gateway = site.spawn().await;
    let tablet = Tablet::online(&site.pki.enrol(&crew("rtw-1")), gateway.address).await;
    let case = tablet.create(CANARY).await;
    tablet.set(case, "gcs", CANARY).await;
    tablet.wait_durable(case).await;
    gateway.until_metric("feldakte_snapshots_written_total", 1).await;
    assert_eq!(files_with(site.dir(), CANARY.as_bytes()), Vec::<String>::new(), "while it runs");
    gateway.terminate();
    let ended = gateway.ended().await;
    assert!(!ended.log.contains(CANARY));
    assert_eq!(files_with(site.dir(), CANARY.as_bytes()), Vec::<String>::new(), "after its end");
    assert!(!files_with(site.dir(), b"rtw-1").is_empty(), "the search finds what is there");
    // And yet it is all there for whoever may read it.
    let gateway = site.spawn().await;
    let other = Tablet::online(&site.pki.enrol(&crew("rtw-1")), gateway.address).await;
    other.wait_equal(&tablet, case).await;
}

async fn two_operators_shred_a_case_and_every_device_loses_it_for_good(over: Transport) {
    let site = Site::over(over);
    let gateway = site.spawn().await;
    let [anna, berta] = ["anna", "berta"].map(|name| operator(&site, name, OperatorRole::Operator, Some("dortmund")));
    let (anna, berta) = (anna.await, berta.await);
    let enrolled = [site.pki.enrol(&crew("rtw-1")), site.pki.enrol(&crew("rtw-1"))];
    let a = Tablet::online(&enrolled[0], gateway.address).await;
    let b = Tablet::online(&enrolled[1], gateway.address).await;
    let (gone, stays) = (a.create("gone").await, a.create("stays").await);
    a.wait_durable(gone).await;
    a.wait_durable(stays).await;
    b.wait_equal(&a, gone).await;

    let path = format!("/cases/{gone}/shred");
    let asked: ShredOutcome = anna.post(&path, &REQUEST).await.unwrap();
    assert!(matches!(asked, ShredOutcome::Requested { .. }));
    assert_eq!(anna.get::<Shreds>("/cases/shreds").await.unwrap().pending.len(), 1);
    let began = Instant::now();
    let outcome: ShredOutcome = berta.post(&path, &APPROVE).await.unwrap();
    let ShredOutcome::Shredded { receipt, not_rotated: None } = outcome else { panic!("{outcome:?}") };
    assert_eq!((receipt.requested_by.as_str(), receipt.approved_by.as_str()), ("anna", "berta"));
    for tablet in [&a, &b] {
        let is_gone = async |client: &Client| matches!(client.read(gone).await, Err(SdkError::UnknownCase));
        tablet.until("it has nothing of it left", is_gone).await;
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(refusal(anna.post::<ShredOutcome>(&path, &REQUEST).await), "conflict");

    // Its device is somebody else's below, and would take over from him.
    a.go_offline().await;
    // What is pushed to it now is refused by its name, also in a part that was never written.
    let (mut raw, _) = RawClient::session(&enrolled[0], gateway.address, None).await;
    for part in [Part::Clinical, Part::Identity] {
        let mut author = Author::new(&enrolled[0].principal, DocumentId { case: gone, part });
        let answer = raw.push_and_wait(author.document, author.begin(2)).await;
        let reasons: Vec<Reason> = answer.refused.iter().map(|refused| refused.reason).collect();
        assert!(
            !reasons.is_empty() && reasons.iter().all(|reason| *reason == Reason::Shredded),
            "{part:?}: {reasons:?}"
        );
    }
    drop(raw);

    // A restart and a new device of the unit find the other case, and this one nowhere.
    gateway.terminate();
    assert!(gateway.ended().await.status.success());
    let gateway = site.spawn().await;
    let (mut raw, _) = RawClient::session(&site.pki.enrol(&crew("rtw-1")), gateway.address, None).await;
    let mut seen = Seen::default();
    raw.read_until(&mut seen, |seen| seen.caught_up).await;
    let with_content = seen.entries.iter().filter(|(_, entry)| !entry.changes.is_empty());
    let mut cases: Vec<_> = with_content.map(|(_, entry)| entry.document.case).collect();
    cases.dedup();
    assert_eq!(cases, [stays]);
    let of_gone = DocumentId { case: gone, part: Part::Clinical };
    assert_eq!(raw.fetch(&[of_gone]).await.unavailable, [of_gone]);
    let c = Tablet::online(&site.pki.enrol(&crew("rtw-1")), gateway.address).await;
    c.wait_equal(&a, stays).await;
    assert_eq!(berta.get::<Shreds>("/cases/shreds").await.unwrap().receipts.len(), 1, "the receipt stays");
}

async fn one_operator_alone_or_of_another_tenant_shreds_nothing(over: Transport) {
    let site = Site::over(over);
    let gateway = site.spawn().await;
    let anna = operator(&site, "anna", OperatorRole::Operator, None).await;
    let cem = operator(&site, "cem", OperatorRole::Operator, Some("hagen")).await;
    let dora = operator(&site, "dora", OperatorRole::Auditor, None).await;
    let a = Tablet::online(&site.pki.enrol(&crew("rtw-1")), gateway.address).await;
    let case = a.create("stays").await;
    a.wait_durable(case).await;
    let path = format!("/cases/{case}/shred");
    assert_eq!(refusal(anna.post::<ShredOutcome>(&path, &APPROVE).await), "conflict", "nobody has asked");
    anna.post::<ShredOutcome>(&path, &REQUEST).await.unwrap();
    assert_eq!(refusal(anna.post::<ShredOutcome>(&path, &APPROVE).await), "forbidden", "the same person");
    assert_eq!(refusal(cem.post::<ShredOutcome>(&path, &APPROVE).await), "not_found", "another tenant's");
    assert_eq!(refusal(dora.post::<ShredOutcome>(&path, &APPROVE).await), "forbidden", "without the role");
    let berta = operator(&site, "berta", OperatorRole::Operator, None).await;
    let other = Shred { reason: Why::PersonAsked, approve: true };
    assert_eq!(refusal(berta.post::<ShredOutcome>(&path, &other).await), "conflict", "for another reason");
    let free = Shred { reason: Why::LifeInDanger, approve: false };
    assert_eq!(refusal(anna.post::<ShredOutcome>(&path, &free).await), "invalid");
    assert_eq!(
        refusal(cem.post::<RotatedKey>("/keys/rotate", &Rotate { tenant: "dortmund".parse().unwrap() }).await),
        "forbidden"
    );
    a.set(case, "gcs", "15").await;
    a.wait_durable(case).await;
    let unknown = format!("/cases/{}/shred", new_document().case);
    assert_eq!(refusal(anna.post::<ShredOutcome>(&unknown, &REQUEST).await), "not_found");
}

async fn a_rotated_key_is_used_over_a_restart_and_a_lost_one_stops_the_start(over: Transport) {
    let site = Site::over(over);
    let gateway = site.spawn().await;
    let anna = operator(&site, "anna", OperatorRole::Operator, None).await;
    let a = Tablet::online(&site.pki.enrol(&crew("rtw-1")), gateway.address).await;
    let case = a.create("Sturz").await;
    a.wait_durable(case).await;
    let before: Vec<KeyEntry> = anna.get("/keys").await.unwrap();
    let rotated: RotatedKey = anna.post("/keys/rotate", &Rotate { tenant: "dortmund".parse().unwrap() }).await.unwrap();
    assert_eq!(rotated.rewrapped, 1);
    assert_ne!(rotated.key, before[0].key);
    a.set(case, "gcs", "15").await;
    a.wait_durable(case).await;
    gateway.terminate();
    gateway.ended().await;
    let gateway = site.spawn().await;
    let b = Tablet::online(&site.pki.enrol(&crew("rtw-1")), gateway.address).await;
    b.wait_equal(&a, case).await;
    gateway.terminate();
    gateway.ended().await;

    std::fs::rename(site.dir().join("tenant.keys"), site.dir().join("lost")).unwrap();
    let mut command = feldakte_tests::harness::process::Serve { site: &site, settings: "" }.command().await;
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("dortmund is missing"), "{said}");
    assert!(!site.dir().join("tenant.keys").exists(), "no new key takes the place of the lost one");
}

/// A second operator who comes too late does not come in time by turning the gateway's clock.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_by_a_day_revives_no_request_to_shred() {
    let (site, clock) = (Site::new(), Clock::default());
    let gateway = site.start_at(&clock).await;
    control::open(&site, &gateway).await;
    let [anna, berta] = ["anna", "berta"].map(|name| operator(&site, name, OperatorRole::Operator, Some("dortmund")));
    let (anna, berta) = (anna.await, berta.await);
    let tablet = Tablet::online(&site.pki.enrol(&crew("rtw-1")), gateway.address).await;
    let case = tablet.create("bleibt").await;
    tablet.wait_durable(case).await;
    let path = format!("/cases/{case}/shred");
    let asked: ShredOutcome = anna.post(&path, &REQUEST).await.unwrap();
    assert!(matches!(asked, ShredOutcome::Requested { .. }));

    clock.advance(3 * DAY);
    assert!(anna.get::<Shreds>("/cases/shreds").await.unwrap().pending.is_empty());
    clock.set_back(DAY);
    assert!(anna.get::<Shreds>("/cases/shreds").await.unwrap().pending.is_empty());
    assert_eq!(refusal(berta.post::<ShredOutcome>(&path, &APPROVE).await), "conflict");
    // Asked for under the clock as it is, it can be approved as long as ever.
    anna.post::<ShredOutcome>(&path, &REQUEST).await.unwrap();
    clock.advance(2 * DAY);
    let outcome: ShredOutcome = berta.post(&path, &APPROVE).await.unwrap();
    assert!(matches!(outcome, ShredOutcome::Shredded { .. }));
}

feldakte_tests::over_both!(
    no_file_of_a_gateway_shows_what_a_case_says,
    two_operators_shred_a_case_and_every_device_loses_it_for_good,
    one_operator_alone_or_of_another_tenant_shreds_nothing,
    a_rotated_key_is_used_over_a_restart_and_a_lost_one_stops_the_start,
);

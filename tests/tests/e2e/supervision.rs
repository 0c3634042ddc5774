//! What waits for a supervisor, and how it comes to him: late work, emergency access; shares, receipts and wipe orders.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use feldakte_client_sdk::{Client, SdkError, enrol, transport::DialConfig};
use feldakte_core::{
    access::{Access, BreakGlassReason, Grant, Principal, Role, Subject},
    audit::{Act, Actor, Chain, Record},
    ids::{CaseId, DeviceId, DocumentId, Part},
};
use feldakte_gateway::{
    control::{
        audit::PartName,
        grants::{AccessName, Changed, GrantOrder},
        reviews::{Decide, Decided, ReviewEntry},
        wipes::WipeEntry,
    },
    store::{
        audit::sqlite::reader::AuditReader,
        matters::{Matter, Review, Verdict, Wipe},
        registry::OperatorRole,
    },
};
use feldakte_proto::{BreakGlass, ClientMessage, CloseCode, OpenedOffline, Outcome, Reason, Receipts, ServerMessage};
use feldakte_tests::harness::{
    address::Transport,
    author::Author,
    control::{accept, invite, operator, refusal},
    crew, device, files_with,
    local::{Clock, LocalGateway, Site},
    new_document,
    pki::Enrolled,
    raw::{RawClient, Seen},
    tablet::{Tablet, texts},
    until_answered,
};

mod content;
mod wipes;

pub(super) const TEXT: &str = "Frau Kanarienvogel atmet nicht";

/// A crew that has written a document, in a session.
pub(super) async fn written(site: &Site, gateway: &LocalGateway) -> (Enrolled, RawClient, Author) {
    let crew = site.pki.enrol(&crew("rtw-1"));
    let (mut writer, _) = RawClient::session(&crew, gateway.address, None).await;
    let mut author = Author::new(&crew.principal, new_document());
    assert_eq!(writer.push_and_wait(author.document, author.begin(3)).await.refused, []);
    (crew, writer, author)
}

pub(super) async fn waiting(gateway: &LocalGateway) -> Vec<Review> {
    gateway.gateway.shared().matters.waiting(None, 100).await.unwrap()
}

fn reasons(refused: &[feldakte_proto::Refused]) -> Vec<Reason> {
    refused.iter().map(|refused| refused.reason).collect()
}

fn stranger() -> Principal {
    crew("rtw-9")
}

pub(super) fn emergency(case: CaseId, text: &str) -> ClientMessage {
    let (reason, text) = (BreakGlassReason::LifeInDanger, text.to_owned());
    ClientMessage::BreakGlass(BreakGlass { request: 1, case, reason, text })
}

pub(super) async fn audited(site: &Site, act: Act) -> Vec<Record> {
    let mut reader = AuditReader::open(&site.audit_path()).await.unwrap();
    let rows = reader.rows(&Chain::Tenant("dortmund".parse().unwrap()), 0, usize::MAX).await.unwrap();
    let records = rows.iter().map(|row| Record::decode(&row.record).unwrap());
    records.filter(|record| record.act == act).collect()
}

/// The device may forget what it was told is kept, so it is kept; a supervisor takes it into the case, under its name.
async fn late_work_is_kept_and_a_supervisor_takes_it_in_or_leaves_it_out(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let (crew, mut writer, mut author) = written(&site, &gateway).await;
    let document = author.document;
    let unit = Subject::Unit(crew.principal.unit.clone());
    gateway.gateway.revoke(document, vec![unit.clone()]).await.unwrap();
    let [first, second] = ["spaet", "zu spaet"].map(|value| author.set("gcs", value).bytes);
    for _ in 0..2 {
        let late = writer.push_and_wait(document, vec![first.clone(), Bytes::from_static(b"no change")]).await;
        assert_eq!(reasons(&late.refused), [Reason::Quarantined, Reason::Malformed]);
    }
    assert_eq!(reasons(&writer.push_and_wait(document, vec![second]).await.refused), [Reason::Quarantined]);
    // A stranger's is nobody's evidence.
    let stranger = site.pki.enrol(&stranger());
    let (mut other, _) = RawClient::session(&stranger, gateway.address, None).await;
    let forged = Author::new(&stranger.principal, document).begin(1);
    let refused = reasons(&other.push_and_wait(document, forged).await.refused);
    assert!(!refused.is_empty() && refused.iter().all(|reason| *reason == Reason::NotPermitted), "{refused:?}");

    let before = gateway.gateway.metrics().changes_durable.get();
    let mut reviews = waiting(&gateway).await;
    let holds = |review: &Review, change: &Bytes| {
        let content = review.content.as_deref().unwrap();
        content.windows(change.len()).any(|window| window == &change[..])
    };
    reviews.sort_by_key(|review| !holds(review, &first));
    assert_eq!(reviews.len(), 2, "told twice it is one: {reviews:?}");
    assert!(reviews.iter().all(|review| review.who == crew.principal));
    let by = "sibel".parse().unwrap();
    let shared = gateway.gateway.shared();
    // The second stands on the first: it waits on.
    let early = shared.decide(reviews[1].id, Verdict::Accepted, &by).await.unwrap();
    assert_eq!((early.taken, early.refused), (0, 1));
    assert_eq!(waiting(&gateway).await.len(), 2);
    let merged = shared.decide(reviews[0].id, Verdict::Accepted, &by).await.unwrap();
    assert_eq!((merged.taken, merged.refused), (1, 0));
    shared.decide(reviews[1].id, Verdict::Rejected, &by).await.unwrap();
    assert_eq!(waiting(&gateway).await, []);
    assert!(shared.decide(reviews[0].id, Verdict::Rejected, &by).await.is_err(), "decided once");

    let desk = site.pki.enrol(&device("dortmund", "tna-1", Role::TelePhysician));
    let grant = Grant::new(Subject::Device(desk.principal.device), Access::Read);
    gateway.gateway.grant(document, vec![grant]).await.unwrap();
    let (mut reader, _) = RawClient::session(&desk, gateway.address, None).await;
    let snapshot = reader.fetch(&[document]).await.snapshots.remove(0);
    assert!(snapshot.bindings.iter().all(|binding| binding.device == crew.principal.device));
    assert_eq!(gateway.gateway.metrics().changes_durable.get(), before + 1, "the one that was taken in");
    drop((writer, other, reader));
    gateway.stop().await;
    assert_eq!(audited(&site, Act::EvidenceMerged).await.len(), 2, "also the one that could not be taken yet");
    assert_eq!(audited(&site, Act::EvidenceRejected).await.len(), 1);
    assert!(!audited(&site, Act::EvidenceTaken).await.is_empty());
}

async fn an_emergency_opens_one_case_for_an_hour_and_is_reviewed(over: Transport) {
    let (site, clock) = (Site::over(over), Clock::default());
    let gateway = site.start_at(&clock).await;
    let (_, mut writer, mut author) = written(&site, &gateway).await;
    let (_, mut others, mut other) = written(&site, &gateway).await;
    let (document, case) = (author.document, author.document.case);
    let medic = site.pki.enrol(&crew("nef-7"));
    let (mut helper, _) = RawClient::session(&medic, gateway.address, None).await;
    assert_eq!(helper.fetch(&[document]).await.unavailable, [document], "nothing without it");
    assert_eq!(helper.ask(emergency(case, "  ")).await, Outcome::NotPermitted, "a reason has words");
    assert_eq!(helper.ask(emergency(new_document().case, TEXT)).await, Outcome::Unknown);
    assert_eq!(helper.ask(emergency(case, TEXT)).await, Outcome::Done);
    assert_eq!(helper.fetch(&[document]).await.snapshots.len(), 1);
    assert_eq!(helper.fetch(&[other.document]).await.unavailable, [other.document], "one case alone");
    let written = helper.push_and_wait(document, Author::new(&medic.principal, document).begin(1)).await;
    assert_eq!(written.refused, [], "and he works in it");
    let live = writer.push_and_wait(document, vec![author.set("gcs", "3").bytes]).await.position;
    let mut seen = Seen::default();
    helper.read_until(&mut seen, |seen| seen.entries.iter().any(|(at, _)| *at == live.0)).await;

    let reviews = waiting(&gateway).await;
    let [review] = reviews.as_slice() else { panic!("{reviews:?}") };
    let until_ms = match review.matter {
        Matter::BreakGlass { case: of, reason: BreakGlassReason::LifeInDanger, until_ms } if of == case => until_ms,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(review.content.as_deref(), Some(TEXT.as_bytes()));
    assert!(until_ms.is_some_and(|until_ms| (until_ms - clock.now_ms() - 3_600_000).abs() < 60_000));
    assert!(!format!("{review:?}").contains("Kanarienvogel"));
    assert_eq!(gateway.gateway.metrics().break_glass.get(), 1);

    clock.advance(Duration::from_secs(3601));
    assert_eq!(helper.fetch(&[document]).await.unavailable, [document], "an hour is over");
    others.push_and_wait(other.document, vec![other.set("gcs", "15").bytes]).await;
    drop((helper, writer, others));
    gateway.stop().await;
    let acts = audited(&site, Act::BreakGlass).await;
    assert_eq!((acts.len(), acts[0].about.case), (1, Some(case)));
}

async fn an_emergency_reaches_no_further_than_the_role_and_not_without_end(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let (_, _writer, author) = written(&site, &gateway).await;
    let case = author.document.case;
    for role in [Role::Quality, Role::Auditor, Role::Hospital] {
        let enrolled = site.pki.enrol(&device("dortmund", "desk-1", role));
        let (mut curious, _) = RawClient::session(&enrolled, gateway.address, None).await;
        assert_eq!(curious.ask(emergency(case, TEXT)).await, Outcome::Unknown, "{role}");
    }
    let neighbour = site.pki.enrol(&device("hagen", "rtw-1", Role::AmbulanceCrew));
    let (mut own, _) = RawClient::session(&neighbour, gateway.address, None).await;
    assert_eq!(own.ask(emergency(case, TEXT)).await, Outcome::Unknown, "not in its own log");
    let (mut guest, _) = RawClient::guest(&neighbour, gateway.address, &"dortmund".parse().unwrap()).await;
    assert_eq!(guest.ask(emergency(case, TEXT)).await, Outcome::NotPermitted, "nor as a guest");

    let greedy = site.pki.enrol(&crew("rtw-8"));
    let (mut greedy, _) = RawClient::session(&greedy, gateway.address, None).await;
    let mut outcomes = Vec::new();
    for _ in 0..20 {
        outcomes.push(greedy.ask(emergency(case, TEXT)).await);
    }
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Done).count(), 12);
    assert_eq!(outcomes.last(), Some(&Outcome::TooOften));
}

async fn what_a_device_did_without_network_is_recorded_when_it_says_so(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let (crew, mut writer, author) = written(&site, &gateway).await;
    let seen =
        feldakte_proto::Seen { document: author.document, user: None, first_ms: 1_000, last_ms: 2_000, count: 3 };
    let (case, reason, text) = (author.document.case, BreakGlassReason::TakenOver, TEXT.to_owned());
    let opened = OpenedOffline { case, user: None, reason, text, at_ms: 1_500 };
    let (purged, wiped, reads, opened) = (vec![author.document], Some([7; 16]), vec![seen], vec![opened]);
    let receipts = Receipts { request: 9, purged, wiped, reads, opened, ..Receipts::default() };
    for _ in 0..2 {
        assert_eq!(writer.ask(ClientMessage::Receipts(receipts.clone())).await, Outcome::Done);
    }
    let reviews = waiting(&gateway).await;
    assert_eq!(reviews.len(), 1, "told twice it is one");
    assert!(matches!(reviews[0].matter, Matter::BreakGlass { until_ms: None, .. }));
    drop(writer);
    gateway.stop().await;
    let reads = audited(&site, Act::ReadOffline).await;
    assert_eq!((reads[0].count, reads[0].claimed_ms, reads[0].about.document), (3, Some(2_000), Some(author.document)));
    assert_eq!(reads[0].who, Actor::of(&crew.principal));
    assert_eq!(audited(&site, Act::Purged).await[0].about.document, Some(author.document));
    assert_eq!(audited(&site, Act::BreakGlass).await[0].claimed_ms, Some(1_500));
    assert_eq!(audited(&site, Act::Wiped).await, [], "nobody has ordered it");
}

async fn a_lost_device_is_told_to_wipe_gets_nothing_else_and_what_it_brings_is_kept(over: Transport) {
    let site = Site::over(over);
    let gateway = site.spawn().await;
    let anna = operator(&site, "anna", OperatorRole::Operator, Some("dortmund")).await;
    let sibel = operator(&site, "sibel", OperatorRole::Supervisor, Some("dortmund")).await;
    let invited = invite(&anna, "dortmund").await.unwrap();
    let lost = enrol::enrol(accept(&invited, &gateway)).await.unwrap();
    let config = || DialConfig::new(&lost.identity().unwrap()).unwrap();
    let (mut raw, _) = RawClient::session_with(config(), gateway.address, None).await;
    let mut author = Author::new(&lost.principal, new_document());
    let document = author.document;
    raw.push_and_wait(document, author.begin(2)).await;

    let path = format!("/devices/{}/wipe", lost.principal.device);
    assert_eq!(refusal(sibel.post::<WipeEntry>(&path, &()).await), "forbidden");
    let unknown = format!("/devices/{}/wipe", DeviceId(uuid::Uuid::from_u128(1)));
    assert_eq!(refusal(anna.post::<WipeEntry>(&unknown, &()).await), "not_found");
    let ordered: WipeEntry = anna.post(&path, &()).await.unwrap();
    assert_eq!(raw.closed().await, Some(CloseCode::Lapsed));

    // Over a restart, too.
    drop((anna, sibel));
    gateway.terminate();
    gateway.ended().await;
    let gateway = site.spawn().await;
    let sibel = operator(&site, "sibel-2", OperatorRole::Supervisor, Some("dortmund")).await;
    let anna = operator(&site, "anna-2", OperatorRole::Operator, Some("dortmund")).await;
    let (mut raw, welcome) = RawClient::session_with(config(), gateway.address, None).await;
    assert!(welcome.caught_up, "there is nothing for it to read");
    match raw.next().await {
        Ok(ServerMessage::Wipe(order)) => assert_eq!(order.order, ordered.order.into_bytes()),
        other => panic!("{other:?}"),
    }
    assert_eq!(raw.fetch(&[document]).await.unavailable, [document]);
    let late = raw.push_and_wait(document, vec![author.set("gcs", "14").bytes]).await;
    assert_eq!(reasons(&late.refused), [Reason::Quarantined]);
    let mut never_sent = Author::new(&lost.principal, new_document());
    let late = raw.push_and_wait(never_sent.document, never_sent.begin(2)).await;
    assert!(reasons(&late.refused).iter().all(|reason| *reason == Reason::Quarantined), "{late:?}");
    assert_eq!(raw.ask(emergency(document.case, TEXT)).await, Outcome::NotPermitted);

    let wiped = Receipts { request: 3, wiped: Some(ordered.order.into_bytes()), ..Receipts::default() };
    assert_eq!(raw.ask(ClientMessage::Receipts(wiped)).await, Outcome::Done);
    let done: WipeEntry = anna.get(&path).await.unwrap();
    assert!(done.done_at_ms.is_some());

    // What it brought is taken into a case of which nobody knew, and into the known one.
    assert_eq!(refusal(anna.get::<Vec<ReviewEntry>>("/reviews").await), "forbidden");
    let reviews: Vec<ReviewEntry> = sibel.get("/reviews").await.unwrap();
    assert_eq!(reviews.len(), 2);
    for review in &reviews {
        let decided: Decided =
            sibel.post(&format!("/reviews/{}/decide", review.id), &Decide { accept: true }).await.unwrap();
        assert_eq!(decided.refused, 0, "{review:?}");
    }
    drop(raw);
    let colleague = site.pki.enrol(&Principal { role: Role::AmbulanceCrew, ..crew("rtw-1") });
    let (mut reader, _) = RawClient::session(&colleague, gateway.address, None).await;
    let both = [document, never_sent.document];
    assert_eq!(reader.fetch(&both).await.snapshots.len(), 2);
    assert_eq!(audited(&site, Act::Wiped).await.len(), 1);
}

async fn what_a_supervisor_reads_and_what_waits_for_him_is_sealed(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let (_, _writer, author) = written(&site, &gateway).await;
    let medic = site.pki.enrol(&crew("nef-7"));
    let (mut helper, _) = RawClient::session(&medic, gateway.address, None).await;
    assert_eq!(helper.ask(emergency(author.document.case, TEXT)).await, Outcome::Done);
    assert_eq!(files_with(site.dir(), b"Kanarienvogel"), Vec::<String>::new());
    assert_eq!(DocumentId { part: Part::Clinical, ..author.document }.case, waiting(&gateway).await[0].matter.case());
}

/// The whole way of a grant that ends: what was written offline reaches a supervisor, the content leaves the tablet, and the
/// gateway knows.
async fn a_tablet_that_loses_its_grant_delivers_destroys_and_confirms(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let enrolled = site.pki.enrol(&crew("rtw-1"));
    let tablet = Tablet::online(&enrolled, gateway.address).await;
    let case = tablet.create("Brustschmerz").await;
    tablet.wait_durable(case).await;
    tablet.go_offline().await;
    tablet.set(case, "gcs", "3").await;
    gateway.gateway.shared().end_case(case).await.unwrap();
    tablet.go_online().await;
    let is_gone = async |client: &Client| matches!(client.read(case).await, Err(SdkError::UnknownCase));
    tablet.until("nothing of it is left", is_gone).await;
    assert!(tablet.client.status().await.unwrap().all_safe, "a supervisor has the rest");
    let reviews = waiting(&gateway).await;
    assert_eq!(reviews.len(), 1, "{reviews:?}");
    let document = reviews[0].matter.document();
    until_answered("the gateway is told", async || !audited(&site, Act::Purged).await.is_empty()).await;
    assert_eq!(audited(&site, Act::Purged).await[0].about.document, Some(document));
    let merged = gateway.gateway.shared().decide(reviews[0].id, Verdict::Accepted, &"sibel".parse().unwrap()).await;
    assert_eq!(merged.unwrap().refused, 0);
    let colleague = site.pki.enrol(&crew("rtw-2"));
    let grant = Grant::new(Subject::Device(colleague.principal.device), Access::Read);
    gateway.gateway.grant(document, vec![grant]).await.unwrap();
    let reader = Tablet::online(&colleague, gateway.address).await;
    reader
        .wait_case(case, "what was written offline is there", |view| texts(view, "gcs") == ["3".to_owned()].into())
        .await;
}

async fn a_tablet_that_is_ordered_to_wipe_delivers_destroys_everything_and_says_so(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let enrolled = site.pki.enrol(&crew("rtw-1"));
    let device = enrolled.principal.device;
    let tablet = Tablet::online(&enrolled, gateway.address).await;
    let case = tablet.create("Brustschmerz").await;
    tablet.wait_durable(case).await;
    tablet.go_offline().await;
    tablet.set(case, "gcs", "3").await;
    let never_sent = tablet.create("Sturz").await;
    let wipe = Wipe { order: uuid::Uuid::from_u128(9), device, ordered_ms: 1, done_ms: None };
    let shared = gateway.gateway.shared();
    shared.matters.order_wipe(&wipe).await.unwrap();
    shared.wipes.order(&wipe);
    tablet.go_online().await;
    let is_done = async || shared.matters.wipe_of(device).await.unwrap().unwrap().done_ms.is_some();
    until_answered("the gateway is told", is_done).await;
    assert!(matches!(tablet.client.read(case).await, Err(SdkError::Wiped)));
    assert!(matches!(tablet.client.list().await, Err(SdkError::Wiped)));
    let kept: BTreeSet<CaseId> = waiting(&gateway).await.iter().map(|review| review.matter.case()).collect();
    assert_eq!(kept, BTreeSet::from([case, never_sent]), "nothing that was written is lost");
    assert_eq!(audited(&site, Act::Wiped).await.len(), 1);
}

/// As an app does it: asked for, opened, read, recorded; without a session nothing is asked for.
async fn a_tablet_opens_a_case_in_an_emergency_and_tells_who_has_read_it(over: Transport) {
    let (site, clock) = (Site::over(over), Clock::default());
    let gateway = site.start_at(&clock).await;
    let owner = Tablet::online(&site.pki.enrol(&crew("rtw-1")), gateway.address).await;
    let case = owner.create("Brustschmerz").await;
    owner.wait_durable(case).await;
    let enrolled = site.pki.enrol(&crew("nef-7"));
    let helper = Tablet::online(&enrolled, gateway.address).await;
    let open = async || helper.client.break_glass(case, BreakGlassReason::LifeInDanger, TEXT.to_owned()).await;
    let none = helper.client.break_glass(case, BreakGlassReason::Other, String::new()).await;
    assert!(matches!(none, Err(SdkError::NotPermitted)), "{none:?}");
    helper.go_offline().await;
    assert!(matches!(open().await, Err(SdkError::NotConnected)));
    helper.go_online().await;
    open().await.unwrap();
    helper.wait_equal(&owner, case).await;
    helper.set(case, "gcs", "3").await;
    helper.wait_durable(case).await;

    let subject = Subject::Unit("rtw-9".parse().unwrap());
    let share = helper.client.share(case, vec![Part::Clinical], subject, Some(Access::Read), None).await;
    share.unwrap();
    let colleague = Tablet::online(&site.pki.enrol(&crew("rtw-9")), gateway.address).await;
    colleague.wait_equal(&owner, case).await;
    let unknown = helper
        .client
        .share(new_document().case, vec![Part::Clinical], Subject::Device(enrolled.principal.device), None, None)
        .await;
    assert!(matches!(unknown, Err(SdkError::NotPermitted)), "{unknown:?}");

    clock.advance(Duration::from_secs(3601));
    let is_gone = async |client: &Client| matches!(client.read(case).await, Err(SdkError::UnknownCase));
    helper.until("the hour is over and nothing is left", is_gone).await;
    until_answered("the gateway is told who has read", async || {
        let reads = audited(&site, Act::ReadOffline).await;
        let by = Actor::of(&enrolled.principal);
        reads.iter().any(|read| read.who == by && read.about.case == Some(case))
    })
    .await;
}

async fn acts_on_cases_and_looks_at_reviews_stand_under_the_operators_name(over: Transport) {
    let site = Site::over(over);
    let gateway = site.spawn().await;
    let anna = operator(&site, "anna", OperatorRole::Operator, Some("dortmund")).await;
    let sibel = operator(&site, "sibel", OperatorRole::Supervisor, Some("dortmund")).await;
    let far = operator(&site, "far", OperatorRole::Supervisor, Some("hagen")).await;
    let crew = site.pki.enrol(&crew("rtw-1"));
    let (mut writer, _) = RawClient::session(&crew, gateway.address, None).await;
    let mut author = Author::new(&crew.principal, new_document());
    writer.push_and_wait(author.document, author.begin(1)).await;
    let (document, case) = (author.document, author.document.case);
    let desk = site.pki.enrol(&device("dortmund", "tna-1", Role::TelePhysician));
    let (mut reader, _) = RawClient::session(&desk, gateway.address, None).await;

    let order = GrantOrder {
        unit: None,
        device: Some(desk.principal.device),
        guest_of: None,
        parts: vec![PartName(document.part)],
        access: Some(AccessName(Access::Read)),
        until_ms: None,
    };
    let (grant, close) = (format!("/cases/{case}/grant"), format!("/cases/{case}/close"));
    assert_eq!(refusal(anna.post::<Changed>(&grant, &order).await), "forbidden");
    assert_eq!(refusal(far.post::<Changed>(&grant, &order).await), "not_found");
    assert_eq!(sibel.post::<Changed>(&grant, &order).await.unwrap().documents, 1);
    assert_eq!(reader.fetch(&[document]).await.snapshots.len(), 1);
    let end = GrantOrder { access: None, ..order };
    assert_eq!(sibel.post::<Changed>(&grant, &end).await.unwrap().documents, 1);
    assert_eq!(reader.fetch(&[document]).await.unavailable, [document]);

    let medic = site.pki.enrol(&device("dortmund", "nef-7", Role::AmbulanceCrew));
    let (mut helper, _) = RawClient::session(&medic, gateway.address, None).await;
    assert_eq!(helper.ask(emergency(case, TEXT)).await, Outcome::Done);
    let listed: Vec<ReviewEntry> = sibel.get("/reviews").await.unwrap();
    assert_eq!(listed[0].text, None, "a list shows no words");
    let shown: ReviewEntry = sibel.get(&format!("/reviews/{}", listed[0].id)).await.unwrap();
    assert_eq!(shown.text.as_deref(), Some(TEXT));
    assert_eq!(refusal(far.get::<ReviewEntry>(&format!("/reviews/{}", listed[0].id)).await), "not_found");

    assert_eq!(anna.post::<Changed>(&close, &()).await.unwrap().documents, 1);
    let late = writer.push_and_wait(document, vec![author.set("gcs", "3").bytes]).await;
    assert_eq!(reasons(&late.refused), [Reason::Quarantined]);
    for (act, by) in
        [(Act::GrantBegan, "sibel"), (Act::GrantEnded, "sibel"), (Act::Read, "sibel"), (Act::CaseClosed, "anna")]
    {
        let who = Actor::Operator(by.parse().unwrap());
        let records = audited(&site, act).await;
        assert!(
            records.iter().any(|record| record.who == who && record.about.case == Some(case)),
            "{act}: {records:?}"
        );
    }
}

feldakte_tests::over_both!(
    late_work_is_kept_and_a_supervisor_takes_it_in_or_leaves_it_out,
    an_emergency_opens_one_case_for_an_hour_and_is_reviewed,
    an_emergency_reaches_no_further_than_the_role_and_not_without_end,
    what_a_device_did_without_network_is_recorded_when_it_says_so,
    a_lost_device_is_told_to_wipe_gets_nothing_else_and_what_it_brings_is_kept,
    what_a_supervisor_reads_and_what_waits_for_him_is_sealed,
    a_tablet_that_loses_its_grant_delivers_destroys_and_confirms,
    a_tablet_that_is_ordered_to_wipe_delivers_destroys_everything_and_says_so,
    a_tablet_opens_a_case_in_an_emergency_and_tells_who_has_read_it,
    acts_on_cases_and_looks_at_reviews_stand_under_the_operators_name,
);

//! A supervisor sees what late work does to its case before he decides: he alone, recorded, and nothing of a shredded case.

use feldakte_core::{
    access::Role,
    audit::{Act, Actor, Reason as Why, Record},
    case::Edit,
};
use feldakte_gateway::{
    control::{
        cases::{Shred, ShredOutcome},
        client::Client as Operator,
        evidence::{ChangeEntry, DeedEntry, EvidenceEntry},
        grants::Changed,
        operators::{AddedOperator, OperatorEntry, RoleName},
        reviews::{Decide, Decided, ReviewEntry},
    },
    store::{matters::Wipe, registry::OperatorRole},
};
use feldakte_proto::Reason;
use feldakte_tests::harness::{
    address::Transport,
    author::Author,
    control::{operator, owner, refusal},
    crew, device, files_with,
    local::Site,
    new_document,
    process::{self, ChildGateway},
    raw::RawClient,
    within,
};
use serde_json::json;
use uuid::Uuid;

use super::{audited, reasons, waiting, written};

const CANARY: &str = "Kanarienvogel-Spätwerk";

/// A crew writes, a colleague of the unit writes beside it, the case is closed, and the crew delivers the rest: two changes,
/// and in a second push one that stands on them. Gives what waits, oldest first.
async fn late_work(site: &Site, gateway: &ChildGateway, sibel: &Operator) -> (Author, Vec<ReviewEntry>) {
    let anna = operator(site, "anna", OperatorRole::Operator, Some("dortmund")).await;
    let [first, second] = ["rtw-1", "rtw-1"].map(|unit| site.pki.enrol(&crew(unit)));
    let (mut writer, _) = RawClient::session(&first, gateway.quic, None).await;
    let (mut beside, _) = RawClient::session(&second, gateway.quic, None).await;
    let mut author = Author::new(&first.principal, new_document());
    let document = author.document;
    let mut colleague = Author::new(&second.principal, document);
    let begun = author.begin(1);
    assert_eq!(reasons(&writer.push_and_wait(document, begun.clone()).await.refused), []);
    colleague.apply(&begun);
    let known = vec![colleague.set("gcs", "12").bytes];
    assert_eq!(reasons(&beside.push_and_wait(document, known).await.refused), []);
    let closed: Changed = anna.post(&format!("/cases/{}/close", document.case), &()).await.unwrap();
    assert_eq!(closed.documents, 1);
    let narrate = Edit::Narrate { part: document.part, at: None, delete: 0, insert: CANARY.to_owned() };
    let late = vec![author.set("gcs", CANARY).bytes, author.save(&narrate).bytes];
    let answer = writer.push_and_wait(document, late).await;
    assert_eq!(reasons(&answer.refused), [Reason::Quarantined; 2]);
    let answer = writer.push_and_wait(document, vec![author.set("gcs", "3").bytes]).await;
    assert_eq!(reasons(&answer.refused), [Reason::Quarantined]);
    let mut waiting: Vec<ReviewEntry> = sibel.get("/reviews").await.unwrap();
    waiting.sort_by_key(|review| std::cmp::Reverse(review.changes));
    assert_eq!(waiting.iter().map(|review| review.changes).collect::<Vec<_>>(), [Some(2), Some(1)]);
    assert!(waiting.iter().all(|review| review.evidence.is_none()), "a list shows no content");
    (author, waiting)
}

/// What operators have read.
async fn looks(site: &Site) -> Vec<Record> {
    let reads = audited(site, Act::Read).await.into_iter();
    reads.filter(|read| matches!(read.who, Actor::Operator(_))).collect()
}

async fn shown(operator: &Operator, review: &ReviewEntry) -> EvidenceEntry {
    let shown: ReviewEntry = operator.get(&format!("/reviews/{}", review.id)).await.unwrap();
    shown.evidence.expect("it has content")
}

async fn a_supervisor_sees_what_late_work_does_and_the_look_stands_under_his_name(over: Transport) {
    let site = Site::over(over);
    let gateway = site.spawn_with("[log]\nlevel = \"trace\"").await;
    let sibel = operator(&site, "sibel", OperatorRole::Supervisor, Some("dortmund")).await;
    let far = operator(&site, "far", OperatorRole::Supervisor, Some("hagen")).await;
    let plain = operator(&site, "plain", OperatorRole::Operator, Some("dortmund")).await;
    let (author, waiting) = late_work(&site, &gateway, &sibel).await;
    let path = format!("/reviews/{}", waiting[0].id);
    assert_eq!(refusal(far.get::<ReviewEntry>(&path).await), "not_found", "another tenant's supervisor");
    assert_eq!(refusal(plain.get::<ReviewEntry>(&path).await), "forbidden", "an operator without the role");
    assert_eq!(looks(&site).await, [], "nobody has seen it");

    let evidence = shown(&sibel, &waiting[0]).await;
    let EvidenceEntry { changes, omitted: 0, unreadable: 0, refused, unseen: 1 } = &evidence else {
        panic!("{evidence:?}")
    };
    let [fact, narrative] = changes.as_slice() else { panic!("{evidence:?}") };
    let ChangeEntry { by: Some(by), at_ms: 1_700_000_000_000, does, base, strange: 0, cut: 0, .. } = fact else {
        panic!("not as it was written")
    };
    assert_eq!((by.device, &by.unit, by.role), (waiting[0].device, &waiting[0].unit, waiting[0].role));
    assert_eq!((base.len(), refused.len()), (1, 0));
    let path = "gcs".to_owned();
    let (value, before, in_case) = (json!(CANARY), vec![json!("0")], vec![json!("12")]);
    assert!(*does == [DeedEntry::Sets { path, value, before, in_case }], "what it sets, beside what the case says");
    let (removed, inserted) = (String::new(), CANARY.to_owned());
    assert!(narrative.does == [DeedEntry::Narrates { at: 0, removed, inserted }]);
    assert_eq!(narrative.base, std::slice::from_ref(&fact.change));
    // What stands on it can be taken only afterwards.
    let second = shown(&sibel, &waiting[1]).await;
    assert_eq!((second.changes.len(), second.refused.len()), (0, 1));

    let looks = looks(&site).await;
    let is_hers = |look: &Record| look.who == Actor::Operator("sibel".parse().unwrap());
    assert_eq!(looks.len(), 2);
    assert!(looks.iter().all(|look| is_hers(look) && look.about.document == Some(author.document)), "{looks:?}");
    assert!(looks.iter().all(|look| look.about.device == Some(waiting[0].device)), "{looks:?}");

    // A look changes nothing, and what was taken in is shown as it was.
    let path = format!("/reviews/{}/decide", waiting[0].id);
    let decided: Decided = sibel.post(&path, &Decide { accept: true }).await.unwrap();
    assert_eq!((decided.taken, decided.refused), (2, 0));
    assert!(shown(&sibel, &waiting[0]).await.changes == *changes);
    let second = shown(&sibel, &waiting[1]).await;
    assert_eq!((second.changes.len(), second.refused.len()), (1, 0));

    gateway.terminate();
    let log = gateway.ended().await.log;
    assert!(log.contains("TRACE") && !log.contains("Kanarienvogel"), "content is in the log");
    assert_eq!(files_with(site.dir(), b"Kanarienvogel"), Vec::<String>::new());
}

async fn of_a_shredded_case_a_supervisor_sees_no_late_work(over: Transport) {
    let site = Site::over(over);
    let gateway = site.spawn().await;
    let entry = OperatorEntry {
        name: "sibel".parse().unwrap(),
        roles: vec![RoleName(OperatorRole::Supervisor)],
        tenant: Some("dortmund".parse().unwrap()),
    };
    let AddedOperator { token, .. } = owner(&site).post("/operators", &entry).await.unwrap();
    let sibel = Operator::new(&site.dir().join("feldakte.sock"), Some(token.parse().unwrap()));
    let [berta, carl] = ["berta", "carl"].map(|name| operator(&site, name, OperatorRole::Operator, Some("dortmund")));
    let (berta, carl) = (berta.await, carl.await);
    let (author, waiting) = late_work(&site, &gateway, &sibel).await;
    let on_a_terminal = async |arguments: &[&str]| {
        let (socket, id) = (site.dir().join("feldakte.sock"), waiting[0].id.to_string());
        let all = [&["review", "show", &id, "--socket", socket.to_str().unwrap()], arguments].concat();
        let mut command = process::command(&all).await;
        let output = within("it is shown", command.env("FELDAKTE_OPERATOR_TOKEN", &token).output()).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = on_a_terminal(&[]).await;
    let set = format!("sets gcs = {CANARY:?} (its author saw \"0\"; the case says \"12\")");
    assert!(text.contains(&set) && text.contains("unseen   1 change(s)"), "{text}");
    let whole: ReviewEntry = serde_json::from_str(&on_a_terminal(&["--json"]).await).unwrap();
    assert!(whole.evidence == Some(shown(&sibel, &waiting[0]).await));

    let path = format!("/cases/{}/shred", author.document.case);
    let request = Shred { reason: Why::RetentionOver, approve: false };
    berta.post::<ShredOutcome>(&path, &request).await.unwrap();
    carl.post::<ShredOutcome>(&path, &Shred { approve: true, ..request }).await.unwrap();
    for review in &waiting {
        let gone: ReviewEntry = sibel.get(&format!("/reviews/{}", review.id)).await.unwrap();
        assert!(gone.evidence.is_none() && gone.text.is_none());
    }
    let text = on_a_terminal(&[]).await;
    assert!(text.contains("destroyed") && !text.contains("Kanarienvogel"), "{text}");
}

/// It would be kept for its own tenant's supervisor, who would look into the case, and take it in.
async fn a_lost_device_of_a_neighbour_opens_no_case_of_this_tenant_to_its_supervisor(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let (_, _writer, author) = written(&site, &gateway).await;
    let neighbour = site.pki.enrol(&device("hagen", "rtw-1", Role::AmbulanceCrew));
    let device = neighbour.principal.device;
    gateway.gateway.shared().wipes.order(&Wipe { order: Uuid::from_u128(9), device, ordered_ms: 1, done_ms: None });
    let (mut lost, _) = RawClient::session(&neighbour, gateway.address, None).await;
    let mut own = Author::new(&neighbour.principal, new_document());
    assert_eq!(reasons(&lost.push_and_wait(own.document, own.begin(1)).await.refused), [Reason::Quarantined; 2]);
    let mut thief = Author::new(&neighbour.principal, author.document);
    let refused = lost.push_and_wait(author.document, thief.begin(1)).await.refused;
    assert_eq!(reasons(&refused), [Reason::NotPermitted; 2]);
    let kept: Vec<_> = waiting(&gateway).await.iter().map(|review| review.matter.document()).collect();
    assert_eq!(kept, [own.document]);
}

feldakte_tests::over_both!(
    a_supervisor_sees_what_late_work_does_and_the_look_stands_under_his_name,
    of_a_shredded_case_a_supervisor_sees_no_late_work,
    a_lost_device_of_a_neighbour_opens_no_case_of_this_tenant_to_its_supervisor,
);

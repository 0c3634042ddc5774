//! The case model as apps on several tablets see it: what is checked, kept, shown, and told to observers.

use std::{collections::BTreeSet, time::Duration};

use feldakte_client_sdk::{
    SdkError,
    view::{
        CaseEvent, CaseKind, CaseView, Changed, Conflict, DocumentView, Edit, ElementId, OrderStep, Path, Value,
        schema::SchemaError,
    },
};
use feldakte_core::{
    access::Role,
    ids::{CaseId, Part},
};
use feldakte_tests::harness::{
    address::Transport,
    crew,
    local::Site,
    tablet::{Tablet, fact, texts},
    team::{Team, fields, mission, outcome, text},
};

mod entries;
mod finalise;
mod orders;

fn part(view: &CaseView, part: Part) -> &DocumentView {
    view.documents.iter().find(|document| document.part == part).expect("the tablet holds that document")
}

fn clinical(view: &CaseView) -> &DocumentView {
    part(view, Part::Clinical)
}

async fn read(tablet: &Tablet, case: CaseId) -> CaseView {
    tablet.client.read(case).await.expect("a case of this tablet")
}

async fn what_the_catalogue_knows_is_checked_and_what_it_does_not_know_travels(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [a, b] = [crew("rtw-1"), crew("rtw-1")].map(|principal| site.pki.enrol(&principal));
    let (a, b) = (Tablet::online(&a, gateway.address).await, Tablet::online(&b, gateway.address).await);
    let naca = |value| Edit::SetFact { part: Part::Clinical, name: "naca".into(), value };
    let refused = a.client.create(CaseKind::Mission, vec![naca(text("drei"))]).await.unwrap_err();
    assert_eq!(refused.to_string(), "`naca` must be integer, found text");
    assert_eq!(a.client.list().await.unwrap(), [], "nothing of a refused case is there");

    let case = mission(&a).await;
    let later = Edit::SetFact { part: Part::Clinical, name: "triage_colour_v9".into(), value: text("blau") };
    let (id, kind) = (a.client.new_entry_id(), "hologram".to_owned());
    let unknown = Edit::AddEntry { part: Part::Clinical, id, kind, fields: fields(&[("depth", Value::Integer(3))]) };
    a.client.edit(case, vec![naca(Value::Integer(3)), later, unknown]).await.unwrap();
    a.wait_durable(case).await;
    b.wait_equal(&a, case).await;
    let view = read(&b, case).await;
    assert_eq!(texts(&view, "triage_colour_v9"), ["blau".to_owned()].into());
    let entry = &clinical(&view).entries[0];
    assert_eq!((entry.id, entry.kind.as_str(), entry.field("depth")), (Some(id), "hologram", Some(&Value::Integer(3))));

    // The kind travels with the case: the other tablet checks too, and saves nothing of what it refuses.
    let (before, id) = (b.sync(case).await, b.client.new_entry_id());
    let gcs = fields(&[("eye", Value::Integer(4)), ("verbal", Value::Integer(5))]);
    let gcs = Edit::AddEntry { part: Part::Clinical, id, kind: "gcs".into(), fields: gcs };
    for (edit, message) in [
        (naca(Value::Decimal(3.0)), "`naca` must be integer, found decimal"),
        (gcs, "`gcs` lacks `motor`"),
        (
            fact(Part::Clinical, "family_name", "Müller"),
            "`family_name` belongs to the identity document, not to clinical",
        ),
    ] {
        let refused = b.client.edit(case, vec![fact(Part::Clinical, "outcome", "x"), edit]).await.unwrap_err();
        assert!(matches!(&refused, SdkError::Schema(error) if error.to_string() == message), "{refused}");
    }
    assert_eq!(b.sync(case).await, before);
    assert!(texts(&read(&b, case).await, "outcome").is_empty(), "all of an edit or nothing");
    let path = Path::Fact("naca".into());
    let decided = Edit::Resolve { part: Part::Clinical, path, value: text("drei"), among: vec![] };
    let decided = b.client.edit(case, vec![decided]).await;
    assert!(matches!(decided, Err(SdkError::Schema(SchemaError::WrongKind { .. }))), "{decided:?}");
    let decided = Edit::Resolve { part: Part::Clinical, path: Path::Entry(id), value: Value::Null, among: vec![] };
    assert!(matches!(b.client.edit(case, vec![decided]).await, Err(SdkError::Edit(_))));
    // A fact of the same name elsewhere does not make it another kind of case.
    let elsewhere = b.client.edit(case, vec![fact(Part::Clinical, "kind", "visit"), naca(text("drei"))]).await;
    assert!(matches!(elsewhere, Err(SdkError::Schema(SchemaError::WrongKind { .. }))), "{elsewhere:?}");
}

async fn a_conflict_says_who_and_when_until_somebody_decides(over: Transport) {
    let site = Site::over(over);
    let slow = Duration::from_secs(600);
    let team = Team::on(&site, slow).await;
    let Team { crew, physician, case, .. } = &team;
    let name = "diagnosis_text";
    let path = Path::Fact(name.into());
    let now_ms = || i64::try_from(team.clock.now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()).unwrap();
    team.both_offline().await;
    crew.set(*case, name, "Asthma").await;
    let before_ms = now_ms();
    physician.set(*case, name, "Lungenembolie").await;
    let after_ms = now_ms();
    team.reunited().await;

    let conflicts = clinical(&read(crew, *case).await).conflicts();
    let [Conflict { path: found, values }] = &conflicts[..] else { panic!("one conflict: {conflicts:?}") };
    assert_eq!((found, values.len()), (&path, 2));
    let theirs = values.iter().find(|claim| claim.value == text("Lungenembolie")).unwrap();
    let author = theirs.provenance.author.as_ref().expect("certified by the gateway");
    assert_eq!((author.unit.as_str(), author.role), ("tna-1", Role::TelePhysician));
    let stamp = theirs.provenance.origin.stamp;
    assert!((before_ms..=after_ms).contains(&stamp.time_ms), "the time of the device that wrote it");
    let offset_ms = stamp.clock_offset_ms.expect("measured when its session began");
    assert!((-660_000..=-590_000).contains(&offset_ms), "ten minutes fast: {offset_ms}");
    let own = values.iter().find(|claim| claim.value == text("Asthma")).unwrap();
    assert_eq!(own.provenance.author.as_ref().unwrap().unit.as_str(), "rtw-1");
    assert!(own.provenance.origin.stamp.clock_offset_ms.is_some_and(|offset| offset.abs() < 60_000));

    let among: Vec<_> = values.iter().map(|claim| claim.provenance.origin.change).collect();
    let value = text("Lungenembolie");
    let resolve = Edit::Resolve { part: Part::Clinical, path: path.clone(), value, among: among.clone() };
    crew.client.edit(*case, vec![resolve]).await.unwrap();
    crew.wait_durable(*case).await;
    physician.wait_equal(crew, *case).await;
    for tablet in [crew, physician, &team.late(&site).await] {
        let view = read(tablet, *case).await;
        assert_eq!(clinical(&view).conflicts(), []);
        assert_eq!(texts(&view, name), ["Lungenembolie".to_owned()].into());
        let [decision] = &clinical(&view).events[..] else { panic!("one event") };
        assert_eq!(decision.event, CaseEvent::Resolved { path: path.to_string(), among: among.clone() });
        assert_eq!(decision.provenance.author.as_ref().unwrap().unit.as_str(), "rtw-1");
    }
}

async fn an_app_that_is_too_old_reads_and_does_not_write(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [a, b] = [crew("rtw-1"), crew("rtw-1")].map(|principal| site.pki.enrol(&principal));
    let (a, b) = (Tablet::online(&a, gateway.address).await, Tablet::online(&b, gateway.address).await);
    let case = mission(&a).await;
    a.wait_durable(case).await;
    b.wait_equal(&a, case).await;
    a.go_offline().await;
    a.set(case, "outcome", "vor dem Anheben geschrieben").await;
    b.client.edit(case, vec![Edit::RaiseSchema { part: Part::Clinical, min_schema: 2 }]).await.unwrap();
    b.wait_durable(case).await;
    a.go_online().await;
    a.wait_all_safe().await;
    a.wait_equal(&b, case).await;

    for tablet in [&a, &b] {
        let refused = tablet.client.edit(case, vec![fact(Part::Clinical, "diagnosis_text", "Asthma")]).await;
        assert!(matches!(refused, Err(SdkError::AppTooOld)), "{refused:?}");
        let view = read(tablet, case).await;
        assert_eq!(clinical(&view).min_schema, 2);
        assert_eq!(texts(&view, "diagnosis_text"), ["unklar".to_owned()].into());
        assert_eq!(texts(&view, "outcome").len(), 1, "what was written before is merged");
        assert!(tablet.client.outcome(case).await.is_ok());
    }
    a.client.edit(case, vec![fact(Part::Operations, "destination", "Klinikum")]).await.expect("another document");
    a.wait_durable(case).await;
}

async fn observers_are_told_the_paths_that_changed_and_nothing_of_other_cases(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [a, b] = [crew("rtw-1"), crew("rtw-1")].map(|principal| site.pki.enrol(&principal));
    let (a, b) = (Tablet::online(&a, gateway.address).await, Tablet::online(&b, gateway.address).await);
    // Those of one delivery come in the order of their ids.
    let mut cases = [mission(&a).await, mission(&a).await];
    cases.sort_unstable();
    let [case, other] = cases;
    a.wait_all_safe().await;
    for case in [case, other] {
        b.wait_equal(&a, case).await;
    }
    let (path, told) = ((Part::Clinical, Path::Fact("outcome".into())), std::cell::RefCell::new(Vec::new()));
    a.set(other, "outcome", "danach wird gezählt").await;
    let is_told = |told: &[(CaseId, Changed)], wanted: &BTreeSet<(Part, Path)>| {
        let paths = told.iter().flat_map(|(_, changed)| match changed {
            Changed::Paths(paths) => paths.clone(),
            Changed::Everything => BTreeSet::new(),
        });
        wanted.is_subset(&paths.collect())
    };
    let wait_told = async |wanted: BTreeSet<(Part, Path)>| {
        b.until("the observer is told", async |_| {
            told.borrow_mut().extend(b.take_contents());
            is_told(&told.borrow(), &wanted)
        })
        .await;
    };
    wait_told([path].into()).await;
    told.borrow_mut().clear();

    let (entry, order) = (a.client.new_entry_id(), a.client.new_order_id());
    let element = ElementId { definition: "uebergabe".into(), version: 1, element: "4.2".into() };
    let status = CaseEvent::Status { of: "case".into(), status: "closed".into(), at_ms: None };
    let propose =
        CaseEvent::Order { order, step: OrderStep::Proposed { content: fields(&[("measure", text("EKG"))]) } };
    let pain = fields(&[("nrs", Value::Integer(7))]);
    let part = Part::Clinical;
    let edits = vec![
        Edit::SetFact { part, name: "naca".into(), value: Value::Integer(3) },
        Edit::AddEntry { part, id: entry, kind: "pain".into(), fields: pain },
        Edit::Narrate { part, at: None, delete: 0, insert: "Patient sitzt. ".into() },
        Edit::Answer { part, element: element.clone(), value: text("ja") },
        Edit::Record { part, event: propose },
        Edit::Record { part: Part::Operations, event: status },
    ];
    a.client.edit(case, edits).await.unwrap();
    let clinical =
        [Path::Fact("naca".into()), Path::Entry(entry), Path::Narrative, Path::Checklist(element), Path::Order(order)];
    let wanted = clinical.map(|path| (part, path)).into_iter().chain([(Part::Operations, Path::Events)]);
    let wanted: BTreeSet<_> = wanted.collect();
    wait_told(wanted.clone()).await;
    for (changed, what) in told.take() {
        assert_eq!(changed, case, "nothing of another case");
        assert!(matches!(&what, Changed::Paths(paths) if paths.is_subset(&wanted)), "{what:?}");
    }
}

feldakte_tests::over_both!(
    what_the_catalogue_knows_is_checked_and_what_it_does_not_know_travels,
    a_conflict_says_who_and_when_until_somebody_decides,
    an_app_that_is_too_old_reads_and_does_not_write,
    observers_are_told_the_paths_that_changed_and_nothing_of_other_cases,
);

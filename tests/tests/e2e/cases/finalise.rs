//! Finalised is finalised: what was written elsewhere in the meantime is an addendum, on every tablet.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use feldakte_client_sdk::{
    store::LocalStore,
    view::{Addendum, DocumentView, Edit, Finalisation, Path, Value, Verdict},
};
use feldakte_core::{
    ids::{CaseId, DocumentId, Part},
    limits,
};
use feldakte_tests::harness::{
    address::Transport,
    crew,
    local::{Clock, Site},
    pki::{DAY, Enrolled},
    tablet::{Tablet, memory_store, texts},
};

use super::{fields, mission, outcome, text};

fn enrol(site: &Site) -> Enrolled {
    site.pki.enrol_from(&crew("rtw-1"), SystemTime::now(), 30 * DAY)
}

/// The one signature, and the state it names: what was signed, and nothing of what came later.
async fn signed(tablet: &Tablet, case: CaseId) -> (Finalisation, DocumentView) {
    let mut finalisations = outcome(tablet, case).await.finalisations;
    assert_eq!(finalisations.len(), 1);
    let finalisation = finalisations.remove(0);
    let document = DocumentId { case, part: Part::Clinical };
    let state = tablet.client.signed(document, finalisation.heads.clone()).await.expect("it is held");
    // How many have written the document is a figure of the present.
    (finalisation, DocumentView { actors: 0, ..state })
}

fn paths(addenda: &[Addendum]) -> BTreeSet<&Path> {
    addenda.iter().flat_map(|addendum| &addendum.paths).collect()
}

async fn what_was_written_before_and_arrives_after_is_an_addendum_everywhere(over: Transport) {
    let site = Site::over(over);
    let clock = Clock::default();
    let gateway = site.start_at(&clock).await;
    let [a_device, b_device] = [enrol(&site), enrol(&site)];
    let (a_store, address) = (memory_store(), gateway.address);
    let a = Tablet::open_at(a_device.identity(), address, a_store.clone(), &clock).await;
    let b = Tablet::open_at(b_device.identity(), address, memory_store(), &clock).await;
    a.go_online().await;
    b.go_online().await;
    let case = mission(&a).await;
    // So many changes that a tablet that opens the case anew puts one snapshot in their place.
    for n in 0..limits::SNAPSHOT_EVERY {
        a.set(case, "outcome", &n.to_string()).await;
    }
    a.wait_all_safe().await;
    b.wait_equal(&a, case).await;

    b.go_offline().await;
    let part = Part::Clinical;
    let id = b.client.new_entry_id();
    let pain = fields(&[("nrs", Value::Integer(7))]);
    let entry = Edit::AddEntry { part, id, kind: "pain".into(), fields: pain };
    b.set(case, "diagnosis_text", "Herzinfarkt").await;
    b.client.edit(case, vec![entry]).await.unwrap();
    let note = Edit::Narrate { part, at: Some(0), delete: 0, insert: "Vor Ort notiert. ".into() };
    b.client.edit(case, vec![note]).await.unwrap();
    clock.advance(10 * DAY);
    a.client.edit(case, vec![super::fact(part, "diagnosis_text", "Panikattacke")]).await.unwrap();
    a.client.finalise(case).await.unwrap();
    a.wait_all_safe().await;
    let (before, state) = signed(&a, case).await;
    assert_eq!((before.verdict, before.addenda.len()), (Verdict::Intact, 0));
    let diagnosis: Vec<_> = state.facts.iter().filter(|fact| fact.name == "diagnosis_text").collect();
    assert_eq!((diagnosis[0].values.len(), &diagnosis[0].shown().value), (1, &text("Panikattacke")));
    assert_eq!((state.entries.len(), state.narrative.as_str()), (0, ""));

    b.go_online().await;
    b.wait_all_safe().await;
    a.wait_equal(&b, case).await;
    let c_store = memory_store();
    let c = Tablet::open_at(enrol(&site).identity(), address, c_store.clone(), &clock).await;
    c.go_online().await;
    c.wait_equal(&a, case).await;
    let document = DocumentId { case, part };
    let chunks = c_store.load(document).await.unwrap().unwrap().chunks.len();
    assert!(chunks < limits::SNAPSHOT_EVERY, "it came as a snapshot: {chunks}");

    let late_paths = [Path::Fact("diagnosis_text".into()), Path::Entry(id), Path::Narrative];
    let check = async |tablet: &Tablet| {
        let (finalisation, now) = signed(tablet, case).await;
        assert_eq!((finalisation.verdict, &now), (Verdict::Intact, &state), "what was signed stays as it was");
        assert_eq!(paths(&finalisation.addenda), BTreeSet::from(late_paths.each_ref()));
        assert_eq!(finalisation.addenda.len(), 3);
        for Addendum { provenance, paths: _ } in &finalisation.addenda {
            assert_eq!(provenance.author.as_ref().unwrap().device, b_device.principal.device);
            let early = before.provenance.origin.stamp.time_ms - provenance.origin.stamp.time_ms;
            assert!(Duration::from_millis(early.unsigned_abs()) >= 9 * DAY && early > 0, "written before, shown after");
        }
        assert_eq!(texts(&super::read(tablet, case).await, "diagnosis_text").len(), 2, "the present shows both");
    };
    for tablet in [&a, &b, &c] {
        check(tablet).await;
    }

    a.shutdown().await;
    let a_store = a_store.reopen().unwrap();
    assert!(a_store.load(document).await.unwrap().unwrap().chunks.len() > limits::SNAPSHOT_EVERY);
    let a = Tablet::open_at(a_device.identity(), address, a_store.clone(), &clock).await;
    check(&a).await;
    assert_eq!(a_store.load(document).await.unwrap().unwrap().chunks.len(), 1, "compacted");
    a.shutdown().await;
    let a = Tablet::open_at(a_device.identity(), address, a_store.reopen().unwrap(), &clock).await;
    check(&a).await;
}

feldakte_tests::over_both!(what_was_written_before_and_arrives_after_is_an_addendum_everywhere,);

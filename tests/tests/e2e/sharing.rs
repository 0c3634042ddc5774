//! What one writes, those who may see it see, and nobody else; edits without a network merge.

use std::collections::BTreeSet;

use feldakte_core::{access::Role, case::Edit, crdt::Value, ids::Part};
use feldakte_tests::harness::{
    address::Transport,
    crew, device,
    local::Site,
    raw::RawClient,
    tablet::{Tablet, fact, texts},
};

async fn a_new_case_reaches_its_unit_and_nobody_else(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let enrol = |principal| site.pki.enrol(&principal);
    let a = Tablet::online(&enrol(crew("rtw-1")), gateway.address).await;
    let b = Tablet::online(&enrol(crew("rtw-1")), gateway.address).await;
    let other_unit = enrol(crew("rtw-2"));
    let c = Tablet::online(&other_unit, gateway.address).await;
    let other_tenant = enrol(device("hagen", "rtw-1", Role::AmbulanceCrew));
    let d = Tablet::online(&other_tenant, gateway.address).await;

    let case = a.create("Brustschmerz").await;
    a.client.edit(case, vec![fact(Part::Identity, "family_name", "Müller")]).await.unwrap();
    a.wait_durable(case).await;
    let view = b.wait_case(case, "b sees the case", |view| view.documents.len() == 2).await;
    assert_eq!(texts(&view, "keyword"), BTreeSet::from(["Brustschmerz".to_owned()]));
    assert_eq!(texts(&view, "family_name"), BTreeSet::from(["Müller".to_owned()]));
    assert_eq!(view.authors.iter().map(|author| author.unit.as_str()).collect::<BTreeSet<_>>(), ["rtw-1"].into());
    b.wait_equal(&a, case).await;

    for (stranger, enrolled) in [(&c, &other_unit), (&d, &other_tenant)] {
        // Its own case has come back from the log, so whatever was sent before it has arrived.
        let own = stranger.create("Sturz").await;
        stranger.wait_durable(own).await;
        let cases: Vec<_> = stranger.client.list().await.unwrap().into_iter().map(|line| line.case).collect();
        assert_eq!(cases, [own]);
        stranger.go_offline().await;
        let (mut raw, _) = RawClient::session(enrolled, gateway.address, None).await;
        let wanted = Part::ALL.map(|part| feldakte_core::ids::DocumentId { case, part });
        let answer = raw.fetch(&wanted).await;
        assert_eq!((answer.snapshots.len(), answer.unavailable), (0, wanted.to_vec()), "asking for it by name");
    }
}

async fn edits_without_a_network_merge_and_conflicts_are_kept(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [a, b] = [crew("rtw-1"), crew("rtw-1")].map(|principal| site.pki.enrol(&principal));
    let (a, b) = (Tablet::online(&a, gateway.address).await, Tablet::online(&b, gateway.address).await);
    let case = a.create("Atemnot").await;
    a.wait_durable(case).await;
    b.wait_equal(&a, case).await;

    a.go_offline().await;
    b.go_offline().await;
    for (tablet, name, allergy) in [(&a, "a", "Penicillin"), (&b, "b", "keine")] {
        tablet.set(case, "allergy", allergy).await;
        tablet.set(case, "nkda", "nein").await;
        tablet.set(case, name, "eigener Eintrag").await;
        let vitals = [("hr".to_owned(), Value::Integer(104)), ("by".to_owned(), Value::Text(name.into()))];
        let id = tablet.client.new_entry_id();
        let entry = Edit::AddEntry { part: Part::Clinical, id, kind: "vitals".into(), fields: vitals.into() };
        let note = Edit::Narrate { part: Part::Clinical, at: None, delete: 0, insert: format!("Notiz von {name}. ") };
        tablet.client.edit(case, vec![entry, note]).await.unwrap();
        assert_eq!(tablet.sync(case).await.local, 4, "saved on the device, and only there");
    }
    a.go_online().await;
    b.go_online().await;
    a.wait_all_safe().await;
    b.wait_all_safe().await;
    let merged = |view: &feldakte_client_sdk::view::CaseView| texts(view, "allergy").len() == 2;
    let view = a.wait_case(case, "a has both", merged).await;
    b.wait_case(case, "b has both", merged).await;
    b.wait_equal(&a, case).await;

    assert_eq!(texts(&view, "allergy"), ["Penicillin", "keine"].map(str::to_owned).into(), "a conflict is kept");
    assert_eq!(texts(&view, "nkda").len(), 1, "the same value twice is agreement");
    assert_eq!((texts(&view, "a").len(), texts(&view, "b").len()), (1, 1));
    let clinical = view.documents.iter().find(|document| document.part == Part::Clinical).unwrap();
    assert_eq!(clinical.entries.len(), 2);
    assert!(clinical.narrative.contains("Notiz von a. ") && clinical.narrative.contains("Notiz von b. "));
    assert_eq!(clinical.conflicts().len(), 1);
}

feldakte_tests::over_both!(
    a_new_case_reaches_its_unit_and_nobody_else,
    edits_without_a_network_merge_and_conflicts_are_kept,
);

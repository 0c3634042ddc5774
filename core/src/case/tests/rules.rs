//! One test per rule of DOMAIN, named after it (rule 2 is in `orders`, rule 7 in the catalogue's tests).

use super::*;

fn crews() -> (Desk, Desk, Authors) {
    let (a, b) = (Desk::new(1, Role::AmbulanceCrew), Desk::new(2, Role::EmergencyPhysician));
    let authors = authors(&[&a, &b]);
    (a, b, authors)
}

#[test]
fn rule_1a_entries_are_appended_and_corrections_replace_without_losing_anything() {
    let (mut a, mut b, authors) = crews();
    a.save(&[add(1, "vitals", &[("rr_sys", Value::Integer(120))])]);
    sync(&mut a, &mut b);
    let correct = |id, value| Edit::Correct {
        part: Part::Clinical,
        id: entry(id),
        replaces: entry(1),
        kind: "vitals".into(),
        fields: vec![("rr_sys".into(), Value::Integer(value))],
    };
    a.save(&[correct(2, 130)]);
    b.save(&[correct(3, 140), add(4, "note", &[("text", text("Übelkeit"))])]);
    sync(&mut a, &mut b);
    let view = a.view(&authors);
    assert_eq!(view, b.view(&authors));
    let written: Vec<_> = view.entries.iter().map(|entry| entry.id.unwrap()).collect();
    assert_eq!(written.len(), 4, "nothing is ever lost");
    let old = view.entries.iter().find(|old| old.id == Some(entry(1))).unwrap();
    assert_eq!(old.field("rr_sys"), Some(&Value::Integer(120)));
    let mut corrections = old.replaced_by.clone();
    corrections.sort_unstable();
    assert_eq!(corrections, [entry(2), entry(3)]);
    let current: Vec<_> = view.current_entries().map(|entry| entry.id.unwrap().0.as_u128()).collect();
    assert_eq!(
        {
            let mut c = current;
            c.sort_unstable();
            c
        },
        [2, 3, 4]
    );
    let conflicts = view.conflicts();
    assert_eq!((conflicts.len(), &conflicts[0].path), (1, &Path::Entry(entry(1))), "two corrections disagree");
}

#[test]
fn rule_1a_a_withdrawn_entry_stays_with_the_reason() {
    let (mut a, _, authors) = crews();
    a.save(&[add(1, "medication", &[("drug", text("Aspirin"))])]);
    let reason = "falscher Patient".to_owned();
    a.save(&[Edit::Withdraw { part: Part::Clinical, id: entry(2), replaces: entry(1), reason }]);
    let view = a.view(&authors);
    assert_eq!(view.current_entries().count(), 0);
    assert_eq!(view.entries.len(), 2);
    assert_eq!(view.entries[1].field("reason"), Some(&text("falscher Patient")));
}

#[test]
fn rule_1b_facts_keep_every_concurrent_value_until_a_person_resolves() {
    let (mut a, mut b, authors) = crews();
    let changes = [
        a.save(&[set("allergy", "Penicillin"), set("nkda", "nein")]),
        b.save(&[set("allergy", "keine"), set("nkda", "nein")]),
    ];
    sync(&mut a, &mut b);
    let view = a.view(&authors);
    assert_eq!(view, b.view(&authors));
    let [conflict] = <[Conflict; 1]>::try_from(view.conflicts()).expect("equal values collapse, different ones do not");
    assert_eq!(conflict.path, Path::Fact("allergy".into()));
    let mut said: Vec<_> = conflict.values.iter().map(|claim| claim.value.as_text().unwrap().to_owned()).collect();
    said.sort_unstable();
    assert_eq!(said, ["Penicillin", "keine"]);
    for claim in &conflict.values {
        let author = claim.provenance.author.as_ref().expect("who");
        assert!(changes.iter().any(|change| change.hash == claim.provenance.origin.change));
        assert!([&a, &b].iter().any(|desk| desk.principal.device == author.device));
    }

    // Resolving to the value that already wins is a decision too.
    for value in ["keine", "Penicillin"] {
        let (mut one, mut two, _) = crews();
        one.sync_from(&mut a);
        two.sync_from(&mut a);
        let (path, among) = (conflict.path.clone(), conflict.values.iter().map(|claim| claim.provenance.origin.change));
        let among = among.collect();
        one.save(&[Edit::Resolve { part: Part::Clinical, path, value: text(value), among }]);
        sync(&mut one, &mut two);
        let view = two.view(&authors);
        assert_eq!(view.conflicts(), []);
        let fact = view.facts.iter().find(|fact| fact.name == "allergy").unwrap();
        assert_eq!((fact.values.len(), &fact.shown().value), (1, &text(value)));
        let decisions = view.events.iter().filter(|recorded| matches!(recorded.event, Event::Resolved { .. }));
        assert_eq!(decisions.count(), 1, "and it is recorded who decided");
    }
}

#[test]
fn rule_1c_narratives_of_two_devices_merge_letter_by_letter() {
    let (mut a, mut b, authors) = crews();
    a.save(&[narrate("Patientin ansprechbar. ")]);
    sync(&mut a, &mut b);
    a.save(&[narrate("Übelkeit 🤢. ")]);
    b.save(&[Edit::Narrate { part: Part::Clinical, at: Some(0), delete: 9, insert: "Die Patientin".into() }]);
    sync(&mut a, &mut b);
    let text = a.view(&authors).narrative;
    assert_eq!(text, b.view(&authors).narrative);
    assert_eq!(text, "Die Patientin ansprechbar. Übelkeit 🤢. ");
}

#[test]
fn rule_1c_places_in_a_narrative_can_be_counted_in_utf16_units() {
    let (mut a, _, authors) = crews();
    // A family of seven code points and eleven units, and an umlaut that is written as two code points.
    let text = "ab👨‍👩‍👧‍👦cü̈d";
    a.save(&[narrate(text)]);
    let units: Vec<u16> = text.encode_utf16().collect();
    for at in 0..=units.len() + 2 {
        for delete in [0, 1, 2, 3, 11, 100] {
            let mut desk = Desk::new(9, Role::AmbulanceCrew);
            desk.sync_from(&mut a);
            desk.save(&[Edit::NarrateUtf16 { part: Part::Clinical, at: Some(at), delete, insert: "🤢x".into() }]);
            // A place inside a letter counts as before it.
            let before = |units_before: usize| {
                let mut seen = 0;
                let fits = |letter: &char| {
                    seen += letter.len_utf16();
                    seen <= units_before
                };
                text.chars().take_while(fits).collect::<String>().len()
            };
            let (from, to) = (before(at), before(at + delete));
            let expected = format!("{}🤢x{}", &text[..from], &text[to..]);
            assert_eq!(desk.view(&authors).narrative, expected, "at {at}, delete {delete}");
        }
    }
}

#[test]
fn rule_1d_status_is_folded_and_concurrent_reports_are_both_shown() {
    let (mut a, mut b, authors) = crews();
    let status = |status: &str| {
        let event = Event::Status { of: "1-83-1".into(), status: status.into(), at_ms: None };
        Edit::Record { part: Part::Clinical, event }
    };
    a.save(&[status("3")]);
    sync(&mut a, &mut b);
    a.save(&[status("4")]);
    b.save(&[status("7")]);
    sync(&mut a, &mut b);
    let outcome = a.outcome(&authors);
    assert_eq!(outcome, b.outcome(&authors));
    let latest: Vec<_> = outcome.status[0].latest.iter().map(|reached| reached.status.as_str()).collect();
    assert_eq!(
        {
            let mut l = latest;
            l.sort_unstable();
            l
        },
        ["4", "7"]
    );
    b.save(&[status("8")]);
    let latest = b.outcome(&authors).status.remove(0).latest;
    assert_eq!(latest.iter().map(|reached| reached.status.as_str()).collect::<Vec<_>>(), ["8"]);
}

#[test]
fn rule_1e_checklists_are_registers_by_element_and_version_of_the_definition() {
    let (mut a, mut b, authors) = crews();
    let answer = |version, element: &str, answer: &str| Edit::Answer {
        part: Part::Clinical,
        element: ElementId { definition: "hygiene-kita".into(), version, element: element.into() },
        value: Value::Record(vec![("answer".into(), text(answer)), ("text".into(), text("Küche"))]),
    };
    a.save(&[answer(3, "4.1", "yes"), answer(3, "4.2", "no")]);
    b.save(&[answer(3, "4.1", "n.a."), answer(4, "4.2", "yes")]);
    sync(&mut a, &mut b);
    let view = a.view(&authors);
    assert_eq!(view, b.view(&authors));
    let names: Vec<_> = view.checklists.iter().map(|fact| fact.name.as_str()).collect();
    assert_eq!(names, ["hygiene-kita@3/4.1", "hygiene-kita@3/4.2", "hygiene-kita@4/4.2"]);
    let [conflict] = <[Conflict; 1]>::try_from(view.conflicts()).expect("one element has two answers");
    assert_eq!(conflict.path.to_string(), "checklists/hygiene-kita@3/4.1");
    assert_eq!(conflict.values.len(), 2, "each answer whole, none mixed from both");
}

#[test]
fn rule_3_what_arrives_after_the_signature_is_an_addendum_and_changes_nothing_signed() {
    let (mut a, mut b, authors) = crews();
    a.save(&[set("naca", "IV"), narrate("Übergabe im Klinikum."), add(1, "vitals", &[("hr", Value::Integer(90))])]);
    sync(&mut a, &mut b);
    // Written before the signature, on a tablet that was offline for ten days.
    let late = b.save(&[add(2, "note", &[("text", text("Angehörige informiert"))]), set("naca", "V")]);
    let signed_view = a.view(&authors);
    let signature = sign(&mut a.document, Part::Clinical);
    a.save(&[Edit::Record { part: Part::Clinical, event: signature }]);
    a.now_ms += 10 * 24 * 3600 * 1000;
    sync(&mut a, &mut b);
    let after = a.save(&[narrate(" Nachtrag.")]);
    sync(&mut a, &mut b);

    for desk in [&mut a, &mut b] {
        // Also after compaction: saved, and loaded again.
        let saved = desk.document.save(crate::crdt::Packing::Deflated);
        desk.document = Document::load(&saved, desk.actor).expect("loads");
        let outcome = desk.outcome(&authors);
        let [finalisation] = <[Finalisation; 1]>::try_from(outcome.finalisations).expect("one signature");
        assert_eq!(finalisation.verdict, Verdict::Intact);
        let signed = DocumentView::signed(Part::Clinical, &mut desk.document, &authors, &finalisation.heads);
        assert_eq!((&signed.facts, &signed.entries), (&signed_view.facts, &signed_view.entries));
        assert_eq!(signed.narrative, "Übergabe im Klinikum.");
        let addenda: Vec<_> = finalisation.addenda.iter().map(|one| one.provenance.origin.change).collect();
        assert_eq!(addenda, [late.hash, after.hash]);
        assert_eq!(finalisation.addenda[0].paths, [Path::Fact("naca".into()), Path::Entry(entry(2))]);
        assert_eq!(finalisation.addenda[1].paths, [Path::Narrative]);
        assert_eq!(finalisation.addenda[0].provenance.author.as_ref().unwrap().role, Role::EmergencyPhysician);
    }
}

#[test]
fn rule_3_a_signature_over_something_else_is_seen() {
    let (mut a, _, authors) = crews();
    a.save(&[set("naca", "IV")]);
    let Event::Finalised { heads, content } = sign(&mut a.document, Part::Clinical) else { panic!("a signature") };
    let mut wrong = content;
    wrong[0] ^= 1;
    let event = Event::Finalised { heads, content: wrong };
    a.save(&[Edit::Record { part: Part::Clinical, event }]);
    assert_eq!(a.outcome(&authors).finalisations[0].verdict, Verdict::Differs);
}

#[test]
fn rule_4_cases_are_linked_and_split_later_without_touching_clinical_entries() {
    let (mut a, mut b, authors) = crews();
    a.save(&[add(1, "vitals", &[("hr", Value::Integer(90))]), add(2, "note", &[("text", text("zweite Person"))])]);
    let (other, twin) = (CaseId(Uuid::from_u128(8)), CaseId(Uuid::from_u128(9)));
    let record = |event| Edit::Record { part: Part::Clinical, event };
    let linked = |case| Event::Linked { case, relation: "same_patient".into(), reason: "Ausweis gefunden".into() };
    a.save(&[record(linked(other)), record(linked(twin))]);
    a.save(&[record(Event::Unlinked { case: twin, reason: "Zwilling".into() })]);
    a.save(&[record(Event::Split { into: twin, entries: vec![entry(2)], reason: "zwei Patienten".into() })]);
    sync(&mut a, &mut b);
    let links = b.outcome(&authors).links;
    assert_eq!(links, a.outcome(&authors).links);
    assert_eq!(links.linked.iter().map(|link| link.case).collect::<Vec<_>>(), [other]);
    assert_eq!(links.moved.iter().map(|moved| (moved.entry, moved.into)).collect::<Vec<_>>(), [(entry(2), twin)]);
    assert_eq!(links.moved[0].provenance.author.as_ref().unwrap().role, Role::AmbulanceCrew, "by whom");
    assert_eq!(b.view(&authors).entries.len(), 2, "the entries are where they were");
}

#[test]
fn rule_5_every_value_has_the_devices_time_and_its_measured_offset_and_order_ignores_both() {
    let (mut a, mut b, authors) = crews();
    b.now_ms -= 365 * 24 * 3600 * 1000;
    a.save(&[set("gcs", "15")]);
    sync(&mut a, &mut b);
    let change = b.save(&[set("gcs", "14")]);
    sync(&mut a, &mut b);
    let view = a.view(&authors);
    let claim = view.facts[0].shown();
    assert_eq!(claim.value, text("14"), "who saw the other value overrules it, whatever the clock says");
    let origin = claim.provenance.origin;
    assert_eq!((origin.change, origin.stamp.time_ms, origin.stamp.clock_offset_ms), (change.hash, b.now_ms, Some(-40)));
}

#[test]
fn equal_values_of_three_devices_collapse_and_the_shown_one_stays_last() {
    let mut desks = [1, 2, 3].map(|number| Desk::new(number, Role::AmbulanceCrew));
    let authors = authors(&desks.iter().collect::<Vec<_>>());
    desks.sort_by_key(|desk| desk.actor);
    // The greatest actor's value is the one that is shown; its twin comes first.
    for (desk, value) in desks.iter_mut().zip(["A", "B", "A"]) {
        desk.save(&[set("allergy", value)]);
    }
    let [one, other, last] = &mut desks;
    last.sync_from(one);
    last.sync_from(other);
    let view = last.view(&authors);
    let values: Vec<_> = view.facts[0].values.iter().map(|claim| claim.value.as_text().unwrap()).collect();
    assert_eq!(values, ["B", "A"]);
}

#[test]
fn what_is_no_number_is_not_written() {
    let mut desk = Desk::new(1, Role::AmbulanceCrew);
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for value in [Value::Decimal(number), Value::Record(vec![("dose".into(), Value::Decimal(number))])] {
            let edit = Edit::SetFact { part: Part::Clinical, name: "temperature".into(), value };
            let refused = desk.document.edit(Stamp::default(), |target| edit.apply(target));
            assert!(matches!(refused, Err(CrdtError::NotANumber)), "{number}");
        }
    }
    assert!(Value::Decimal(f64::NAN).is_same(&Value::Decimal(f64::NAN)), "from an app that wrote it all the same");
}

#[test]
fn parallel_edits_and_conflicts_are_told_apart() {
    let (mut a, mut b, authors) = crews();
    a.save(&[set("gcs", "15")]);
    sync(&mut a, &mut b);
    let seen = a.document.heads();
    a.save(&[set("gcs", "14")]);
    b.save(&[set("gcs", "13"), set("allergy", "keine")]);
    sync(&mut a, &mut b);
    let view = a.view(&authors);
    let own = a.actor;
    let meanwhile = view.meanwhile(&mut a.document, &seen, own);
    let found: Vec<_> = meanwhile.iter().map(|one| (one.path.to_string(), one.kind)).collect();
    assert_eq!(found, [("allergy".to_owned(), MeanwhileKind::Parallel), ("gcs".to_owned(), MeanwhileKind::Conflict),]);
}

#[test]
fn observers_are_told_the_paths_that_changed_and_no_others() {
    let (mut a, mut b, _) = crews();
    a.save(&[set("gcs", "15"), add(1, "note", &[("text", text("alt"))]), narrate("Alt.")]);
    b.sync_from(&mut a);
    let seen = b.document.heads();
    assert_eq!(changed_paths(&mut b.document, &seen), []);
    let element = ElementId { definition: "liste".into(), version: 1, element: "2".into() };
    let part = Part::Clinical;
    let status = Event::Status { of: "case".into(), status: "closed".into(), at_ms: None };
    let acts = [
        (set("allergy", "keine"), vec![Path::Fact("allergy".into())]),
        (add(2, "vitals", &[("hr", Value::Integer(80))]), vec![Path::Entry(entry(2))]),
        (
            Edit::Withdraw { part, id: entry(3), replaces: entry(1), reason: "Irrtum".into() },
            vec![Path::Entry(entry(1)), Path::Entry(entry(3))],
        ),
        (narrate("Neu."), vec![Path::Narrative]),
        (
            Edit::Answer { part, element: element.clone(), value: Value::Record(vec![("answer".into(), text("yes"))]) },
            vec![Path::Checklist(element)],
        ),
        (step(5, OrderStep::ReadBack), vec![Path::Order(OrderId(Uuid::from_u128(5)))]),
        (Edit::Record { part, event: status }, vec![Path::Events]),
        (Edit::RaiseSchema { part, min_schema: 1 }, vec![Path::Other("min_schema".into())]),
    ];
    let mut all = Vec::new();
    for (edit, paths) in acts {
        let before = b.document.heads();
        a.save(&[edit]);
        b.sync_from(&mut a);
        assert_eq!(changed_paths(&mut b.document, &before), paths);
        all.extend(paths);
    }
    all.sort_unstable();
    assert_eq!(changed_paths(&mut b.document, &seen), all, "and all at once");
    // A value of another replica beside one's own is news as well.
    let before = b.document.heads();
    let concurrent = a.save(&[set("gcs", "14")]);
    b.save(&[set("gcs", "3")]);
    b.document.apply([&concurrent.bytes]).expect("applies");
    assert_eq!(changed_paths(&mut b.document, &before), [Path::Fact("gcs".into())]);
}

#[test]
fn what_a_newer_app_has_written_is_kept_and_travels_on() {
    let (mut a, mut b, authors) = crews();
    let newer = |edits: &mut Edits<'_>| {
        edits.put_root("future", &text("x"))?;
        let event = [("event", text("order.titrated")), ("order", text("?"))];
        edits.push(EVENTS, event.iter().map(|(name, value)| (*name, value)))?;
        edits.put(CHECKLISTS, "of another form", &Value::Boolean(true))
    };
    let change = a.document.edit(Stamp::default(), newer).unwrap().unwrap();
    b.sync_from(&mut a);
    b.save(&[set("gcs", "15"), Edit::RaiseSchema { part: Part::Clinical, min_schema: 7 }]);
    a.sync_from(&mut b);
    assert!(b.document.contains(change.hash));
    assert_eq!(a.document.root("future"), [text("x")]);
    let view = b.view(&authors);
    assert_eq!(
        (view.events.len(), view.checklists.len()),
        (0, 1),
        "events it does not know are not shown as something else"
    );
    assert_eq!((view.min_schema, may_write(view.min_schema)), (7, false));
}

#[test]
fn opening_a_document_fifty_times_leaves_one_actor() {
    let (mut a, _, authors) = crews();
    for round in 0..50 {
        let saved = a.document.save(crate::crdt::Packing::Deflated);
        a.document = Document::load(&saved, a.actor).expect("loads");
        a.save(&[set("gcs", &round.to_string())]);
    }
    // The genesis has an actor of its own.
    assert_eq!(a.view(&authors).actors, 2);
    assert!(!a.view(&authors).has_too_many_actors());
}

#[test]
fn every_event_round_trips() {
    let (order, case, id) = (OrderId(Uuid::from_u128(1)), CaseId(Uuid::from_u128(2)), entry(3));
    let (content, reason) = (vec![("dose".to_owned(), Value::Decimal(2.5))], "weil".to_owned());
    let of = |step| Event::Order { order, step };
    let hash = crate::ids::ChangeHash([9; 32]);
    let events = vec![
        of(OrderStep::Proposed { content: content.clone() }),
        of(OrderStep::Ordered { content: content.clone() }),
        of(OrderStep::ReadBack),
        of(OrderStep::Given { at_ms: 5, dose: content }),
        of(OrderStep::Refused { reason: reason.clone() }),
        of(OrderStep::Expired),
        of(OrderStep::Cancelled { reason: reason.clone() }),
        Event::Status { of: "case".into(), status: "closed".into(), at_ms: Some(-1) },
        Event::Status { of: "1-83-1".into(), status: "4".into(), at_ms: None },
        Event::Finalised { heads: vec![hash, hash], content: [7; 32] },
        Event::Linked { case, relation: "continues".into(), reason: reason.clone() },
        Event::Unlinked { case, reason: reason.clone() },
        Event::Split { into: case, entries: vec![id], reason },
        Event::Resolved { path: "gcs".into(), among: vec![hash] },
    ];
    let mut desk = Desk::new(1, Role::AmbulanceCrew);
    for event in &events {
        desk.save(&[Edit::Record { part: Part::Clinical, event: event.clone() }]);
    }
    let read: Vec<_> = desk.view(&Authors::default()).events.into_iter().map(|recorded| recorded.event).collect();
    assert_eq!(read, events);
}

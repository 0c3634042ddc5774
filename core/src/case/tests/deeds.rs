//! What a supervisor is shown of single changes.

use super::*;
use crate::{
    case::{Deed, Deeds, deeds, unseen},
    ids::ChangeHash,
};

fn set(name: &str, value: &str) -> Edit {
    Edit::SetFact { part: Part::Clinical, name: name.into(), value: Value::Text(value.into()) }
}

fn narrate(at: Option<usize>, delete: usize, insert: &str) -> Edit {
    Edit::Narrate { part: Part::Clinical, at, delete, insert: insert.into() }
}

/// What the last `count` changes of the desk do, in the document as the desk has it.
fn last(desk: &mut Desk, others: &[&Desk], count: usize) -> Vec<Deeds> {
    let mut authors = authors(others);
    authors.add_own(desk.actor, &desk.principal, &desk.principal.tenant);
    let all = desk.document.change_hashes();
    let own = desk.actor;
    let mut of_desk: Vec<_> = all
        .into_iter()
        .filter(|change| desk.document.history().origin_of(change).is_some_and(|origin| origin.actor == own))
        .collect();
    let decided_on = of_desk.split_off(of_desk.len() - count);
    deeds(Part::Clinical, &mut desk.document, &authors, &decided_on, usize::MAX).expect("honest changes")
}

#[test]
fn every_kind_of_work_is_shown_with_who_and_when() {
    let mut crew = Desk::new(1, Role::AmbulanceCrew);
    let (entry, order) = (EntryId(Uuid::from_u128(1)), OrderId(Uuid::from_u128(2)));
    crew.save(&[narrate(None, 0, "Sturz vom Rad")]);
    let element = ElementId { definition: "abcde".into(), version: 1, element: "airway".into() };
    let fields = vec![("hr".to_owned(), Value::Integer(120))];
    let step = OrderStep::Proposed { content: vec![("dose".to_owned(), Value::Decimal(0.5))] };
    crew.save(&[
        set("gcs", "3"),
        Edit::Answer { part: Part::Clinical, element: element.clone(), value: Value::Boolean(true) },
        Edit::AddEntry { part: Part::Clinical, id: entry, kind: "vitals".into(), fields: fields.clone() },
        Edit::Record { part: Part::Clinical, event: Event::Order { order, step } },
        narrate(Some(10), 3, "Boot"),
    ]);
    let found = last(&mut crew, &[], 1);
    let [Deeds { provenance, base, deeds, others: 0 }] = found.as_slice() else { panic!("{found:?}") };
    let author = provenance.author.as_ref().expect("certified");
    assert_eq!((author.device, author.role), (crew.principal.device, Role::AmbulanceCrew));
    assert_eq!(provenance.origin.stamp, Stamp { time_ms: crew.now_ms, clock_offset_ms: Some(-40) });
    assert_eq!(base.len(), 1);
    let sets = |path, value| Deed::Sets { path, value: Some(value), before: vec![], in_case: vec![] };
    assert!(deeds.contains(&sets(Path::Fact("gcs".into()), Value::Text("3".into()))), "{deeds:?}");
    assert!(deeds.contains(&sets(Path::Checklist(element), Value::Boolean(true))), "{deeds:?}");
    let narrates = Deed::Narrates { at: 10, removed: "Rad".into(), inserted: "Boot".into() };
    assert!(deeds.contains(&narrates), "{deeds:?}");
    let is_entry = |deed: &Deed| matches!(deed, Deed::Appends(e) if e.id == Some(entry) && e.fields == fields);
    assert!(deeds.iter().any(is_entry), "{deeds:?}");
    let is_order =
        |deed: &Deed| matches!(deed, Deed::Records(fields) if fields.iter().any(|(name, _)| name == "order"));
    assert!(deeds.iter().any(is_order), "{deeds:?}");
    assert_eq!(deeds.len(), 5);
}

/// Also what its author has written over himself: each change stands for itself.
#[test]
fn a_fact_is_shown_beside_what_its_author_saw_and_what_the_case_says() {
    let (mut late, mut crew) = (Desk::new(1, Role::AmbulanceCrew), Desk::new(2, Role::AmbulanceCrew));
    crew.save(&[set("gcs", "15")]);
    late.sync_from(&mut crew);
    late.save(&[set("gcs", "9")]);
    late.save(&[set("gcs", "3")]);
    crew.save(&[set("gcs", "14")]);
    late.sync_from(&mut crew);
    let found = last(&mut late, &[&crew], 2);
    let said = |value: &str| vec![Value::Text(value.into())];
    let shown: Vec<_> = found.iter().map(|deeds| deeds.deeds.as_slice()).collect();
    let path = || Path::Fact("gcs".into());
    let sets = |value: &str, before: &str| {
        let value = Some(Value::Text(value.into()));
        [Deed::Sets { path: path(), value, before: said(before), in_case: said("14") }]
    };
    assert_eq!(shown, [&sets("9", "15")[..], &sets("3", "9")[..]]);
}

#[test]
fn what_the_author_had_not_seen_is_counted() {
    let (mut late, mut crew) = (Desk::new(1, Role::AmbulanceCrew), Desk::new(2, Role::AmbulanceCrew));
    crew.save(&[set("gcs", "15")]);
    late.sync_from(&mut crew);
    let changes = ["9", "3"].map(|value| late.save(&[set("gcs", value)]).hash);
    assert_eq!(unseen(&mut late.document, &changes), 0);
    crew.save(&[set("gcs", "14")]);
    crew.save(&[set("gcs", "13")]);
    late.sync_from(&mut crew);
    assert_eq!(unseen(&mut late.document, &changes), 2);
}

#[test]
fn no_more_is_gathered_than_was_asked_for() {
    let mut crew = Desk::new(1, Role::AmbulanceCrew);
    let long = "x".repeat(10_000);
    let changes: Vec<_> = (0..8).map(|n| crew.save(&[set("gcs", &format!("{n}{long}"))]).hash).collect();
    let authors = authors(&[&crew]);
    let found = |len_max| deeds(Part::Clinical, &mut crew.document, &authors, &changes, len_max).expect("honest").len();
    assert_eq!([0, 15_000, usize::MAX].map(found), [1, 2, 8]);
}

#[test]
fn a_document_that_late_work_opens_is_shown_as_opened() {
    let mut crew = Desk::new(1, Role::AmbulanceCrew);
    let change = crew.save(&[set("gcs", "3")]);
    let all = [genesis(Part::Clinical).hash, change.hash, ChangeHash([9; 32])];
    let authors = authors(&[&crew]);
    let found = deeds(Part::Clinical, &mut crew.document, &authors, &all, usize::MAX).expect("honest changes");
    let shown: Vec<_> = found.into_iter().map(|deeds| deeds.deeds).collect();
    assert_eq!(shown.len(), 2, "one that is not there is left out");
    assert_eq!(shown[0], [Deed::Opens]);
    assert!(matches!(shown[1].as_slice(), [Deed::Sets { .. }]));
}

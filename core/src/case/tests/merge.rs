//! Whatever was written where, and in whatever order it arrives: the same everywhere, and nothing is lost.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::crdt::Moment;

/// One thing that happens to a team of devices.
#[derive(Debug, Clone)]
enum Deed {
    /// A device saves something.
    Save(Index, Save),
    /// One device hears everything from another.
    Hear(Index, Index),
    /// Nobody has a network for so many days.
    Wait(u8),
}

#[derive(Debug, Clone)]
enum Save {
    Fact(u8, u8),
    Entry(u8),
    Correct(Index, u8),
    Withdraw(Index),
    Answer(u8, u8),
    Order(u8, u8),
    Status(u8),
    Narrate(u8),
    Sign,
}

fn any_save() -> impl Strategy<Value = Save> {
    prop_oneof![
        4 => (0..4u8, any::<u8>()).prop_map(|(name, value)| Save::Fact(name, value)),
        4 => any::<u8>().prop_map(Save::Entry),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(which, value)| Save::Correct(which, value)),
        1 => any::<Index>().prop_map(Save::Withdraw),
        2 => (0..3u8, 0..3u8).prop_map(|(element, value)| Save::Answer(element, value)),
        3 => (0..3u8, 0..7u8).prop_map(|(order, step)| Save::Order(order, step)),
        1 => (0..5u8).prop_map(Save::Status),
        1 => any::<u8>().prop_map(Save::Narrate),
        1 => Just(Save::Sign),
    ]
}

fn any_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (any::<Index>(), any_save()).prop_map(|(who, what)| Deed::Save(who, what)),
        3 => (any::<Index>(), any::<Index>()).prop_map(|(who, whom)| Deed::Hear(who, whom)),
        1 => (1..30u8).prop_map(Deed::Wait),
    ]
}

const ROLES: [Role; 5] =
    [Role::AmbulanceCrew, Role::TelePhysician, Role::AmbulanceCrew, Role::EmergencyPhysician, Role::FieldStaff];

/// What was ever entered: value, who, when.
type Entered = BTreeSet<(String, DeviceId, i64)>;

struct Team {
    desks: Vec<Desk>,
    entries: u128,
    entered: Entered,
}

impl Team {
    fn new(size: usize) -> Self {
        let desks = (0..size).map(|number| Desk::new(number as u128 + 1, ROLES[number])).collect();
        Self { desks, entries: 0, entered: Entered::new() }
    }

    fn act(&mut self, deed: &Deed) {
        let size = self.desks.len();
        match deed {
            Deed::Save(who, what) => self.save(who.index(size), what),
            Deed::Hear(who, whom) => {
                let (who, whom) = (who.index(size), whom.index(size));
                if who != whom {
                    let all = changes_of(&mut self.desks[whom]);
                    self.desks[who].document.apply(&all).expect("honest changes apply");
                }
            }
            Deed::Wait(days) => {
                self.desks.iter_mut().for_each(|desk| desk.now_ms += i64::from(*days) * 24 * 3600 * 1000);
            }
        }
    }

    fn save(&mut self, who: usize, what: &Save) {
        let edit = self.edit_of(who, what);
        // Setting what stands there already is no change.
        let desk = &mut self.desks[who];
        desk.now_ms += 1_000;
        let stamp = Stamp::at(desk.now_ms);
        let saved = desk.document.edit(stamp, |target| edit.apply(target)).expect("an edit");
        if saved.is_some()
            && let Some(token) = token_of(&edit)
        {
            self.entered.insert((token, desk.principal.device, desk.now_ms));
        }
    }

    fn edit_of(&mut self, who: usize, what: &Save) -> Edit {
        let known = self.entries;
        let some_entry = |which: &Index| entry(which.index(known.max(1) as usize) as u128 + 1);
        let part = Part::Clinical;
        let token = |value: u8| vec![("wert".to_owned(), text(&format!("{what:?}/{who}/{known}/{value}")))];
        match what {
            Save::Fact(name, value) => set(&format!("fakt_{name}"), &value.to_string()),
            Save::Entry(value) => {
                self.entries += 1;
                let id = entry(self.entries);
                Edit::AddEntry { part, id, kind: "note".into(), fields: token(*value) }
            }
            Save::Correct(which, value) => {
                let replaces = some_entry(which);
                self.entries += 1;
                let id = entry(self.entries);
                Edit::Correct { part, id, replaces, kind: "note".into(), fields: token(*value) }
            }
            Save::Withdraw(which) => {
                let replaces = some_entry(which);
                self.entries += 1;
                Edit::Withdraw { part, id: entry(self.entries), replaces, reason: "Irrtum".into() }
            }
            Save::Answer(element, value) => {
                let element = ElementId { definition: "liste".into(), version: 1, element: element.to_string() };
                Edit::Answer {
                    part,
                    element,
                    value: Value::Record(vec![("answer".into(), Value::Integer(i64::from(*value)))]),
                }
            }
            Save::Order(order, number) => {
                let content = vec![("dose".to_owned(), Value::Integer(5))];
                let reason = "Grund".to_owned();
                let all = [
                    OrderStep::Proposed { content: content.clone() },
                    OrderStep::Ordered { content: content.clone() },
                    OrderStep::ReadBack,
                    OrderStep::Given { at_ms: 0, dose: content },
                    OrderStep::Refused { reason: reason.clone() },
                    OrderStep::Expired,
                    OrderStep::Cancelled { reason },
                ];
                step(u128::from(*order) + 1, all[usize::from(*number)].clone())
            }
            Save::Status(status) => {
                let event = Event::Status { of: "case".into(), status: status.to_string(), at_ms: None };
                Edit::Record { part, event }
            }
            Save::Narrate(letters) => narrate(&format!("Satz {letters}. ")),
            Save::Sign => Edit::Record { part, event: sign(&mut self.desks[who].document, part) },
        }
    }
}

fn token_of(edit: &Edit) -> Option<String> {
    match edit {
        Edit::AddEntry { fields, .. } | Edit::Correct { fields, .. } => fields[0].1.as_text().map(str::to_owned),
        _ => None,
    }
}

fn changes_of(desk: &mut Desk) -> Vec<bytes::Bytes> {
    desk.document.changes().into_iter().map(|change| change.bytes).collect()
}

/// Everything a document shows, by path.
fn shown(document: &mut Document) -> Vec<(Path, String)> {
    let view = DocumentView::of(Part::Clinical, document, &Authors::default());
    let registers = view.registers().map(|(path, fact)| (path, format!("{:?}", fact.values)));
    let entries = view.entries.iter().map(|entry| (Path::Entry(entry.id.expect("an id")), format!("{entry:?}")));
    let events = view.events.iter().map(|recorded| match &recorded.event {
        Event::Order { order, .. } => (Path::Order(*order), format!("{recorded:?}")),
        _ => (Path::Events, format!("{recorded:?}")),
    });
    let narrative = std::iter::once((Path::Narrative, view.narrative.clone()));
    registers.chain(entries).chain(events).chain(narrative).collect()
}

proptest! {
    // `PROPTEST_CASES=10000` takes as many as CI does.
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever a screen shows otherwise after changes were applied is among the observed paths, and so is all that a
    /// comparison of both states finds. Beyond that there are only registers: the comparison does not see a value
    /// that is not the one shown first.
    #[test]
    fn what_is_shown_otherwise_is_observed(
        size in 2..=4usize,
        deeds in vec(any_deed(), 1..40),
        portions in vec((any::<Index>(), 1..6usize), 40),
    ) {
        let mut team = Team::new(size);
        deeds.iter().for_each(|deed| team.act(deed));
        let mut all: Vec<bytes::Bytes> = team.desks.iter_mut().flat_map(changes_of).collect();
        let mut reader = team.desks.remove(0).document;
        for (from, len) in portions {
            let from = from.index(all.len());
            let portion: Vec<bytes::Bytes> = all.drain(from..all.len().min(from + len)).collect();
            let (heads, before) = (reader.heads(), shown(&mut reader));
            let observed = apply_observed(&mut reader, &portion).expect("honest changes apply");
            for (index, item) in reader.items(ENTRIES, Moment::Now).into_iter().enumerate() {
                prop_assert_eq!(reader.item(ENTRIES, index), Some(item), "one walk reads what single calls read");
            }
            let compared = changed_paths(&mut reader, &heads);
            prop_assert!(compared.iter().all(|path| observed.contains(path)), "{:?} of {:?}", observed, compared);
            let beyond = observed.iter().filter(|path| !compared.contains(path));
            prop_assert!(beyond.clone().all(|path| matches!(path, Path::Fact(_) | Path::Checklist(_))));
            let after = shown(&mut reader);
            let changed = before.iter().filter(|shown| !after.contains(shown));
            let changed = changed.chain(after.iter().filter(|shown| !before.contains(shown)));
            for (path, shown) in changed {
                prop_assert!(observed.contains(path), "{:?} {} of {:?}", path, shown, observed);
            }
            if all.is_empty() {
                break;
            }
        }
    }

    /// Two to five devices, partitions of days, every order of arrival.
    #[test]
    fn replicas_agree_and_every_value_ever_entered_is_found_with_author_and_time(
        size in 2..=5usize,
        deeds in vec(any_deed(), 1..40),
        shuffle in vec(any::<Index>(), 200),
    ) {
        let mut team = Team::new(size);
        deeds.iter().for_each(|deed| team.act(deed));
        let all: Vec<bytes::Bytes> = team.desks.iter_mut().flat_map(changes_of).collect();
        let desks: Vec<&Desk> = team.desks.iter().collect();
        let authors = authors(&desks);

        // One hears them one by one, in an order of its own; what came too early waits.
        let mut shuffled = all.clone();
        for (at, other) in shuffle.iter().enumerate().take(shuffled.len()) {
            let other = other.index(shuffled.len());
            shuffled.swap(at, other);
        }
        let mut late = Desk::new(99, Role::AmbulanceCrew);
        late.document.history();
        for change in &shuffled {
            late.document.apply([change]).expect("honest changes apply");
        }
        let expected = (late.view(&authors), late.outcome(&authors));
        for desk in &mut team.desks {
            desk.document.apply(&all).expect("honest changes apply");
            let found = (desk.view(&authors), desk.outcome(&authors));
            prop_assert_eq!(&found, &expected);
        }

        let found: Entered = expected.0.entries.iter().filter_map(|entry| {
            let token = entry.field("wert")?.as_text()?.to_owned();
            let author = entry.provenance.author.as_ref().expect("everybody is certified");
            Some((token, author.device, entry.provenance.origin.stamp.time_ms))
        }).collect();
        prop_assert_eq!(&found, &team.entered, "nothing is lost, nothing is invented");
        for finalisation in &expected.1.finalisations {
            prop_assert_eq!(finalisation.verdict, Verdict::Intact);
        }
    }
}

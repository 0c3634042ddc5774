//! What a tablet's user does: random edits of every kind, in the field's words.

use feldakte_core::{
    case::Edit,
    crdt::Value,
    ids::{EntryId, Part},
};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

/// The field of an entry that names it in the whole run, so that it can be found again.
pub const TOKEN: &str = "token";

/// A save of one to four edits. Entries carry tokens that `next_token` draws.
pub fn draw_save(rng: &mut StdRng, mut next_token: impl FnMut() -> String) -> Vec<Edit> {
    let count = rng.random_range(1..=4);
    (0..count).map(|_| draw_edit(rng, &mut next_token)).collect()
}

/// Tokens of the entries in a save.
pub fn tokens(edits: &[Edit]) -> impl Iterator<Item = &str> {
    edits.iter().flat_map(|edit| match edit {
        Edit::AddEntry { fields, .. } => token_of(fields),
        _ => None,
    })
}

/// The token among an entry's fields.
pub fn token_of(fields: &[(String, Value)]) -> Option<&str> {
    fields.iter().find_map(|(name, value)| match value {
        Value::Text(token) if name == TOKEN => Some(token.as_str()),
        _ => None,
    })
}

fn draw_edit(rng: &mut StdRng, next_token: &mut impl FnMut() -> String) -> Edit {
    let part = *Part::ALL.choose(rng).expect("three parts");
    match rng.random_range(0..10) {
        // Few names, so that tablets contradict each other.
        0..4 => {
            let name = (*FACTS.choose(rng).expect("not empty")).to_owned();
            Edit::SetFact { part, name, value: draw_value(rng) }
        }
        4..8 => {
            let kind = (*KINDS.choose(rng).expect("not empty")).to_owned();
            let mut fields = vec![(TOKEN.to_owned(), Value::Text(next_token()))];
            fields.extend((0..rng.random_range(0..4)).map(|n| (format!("wert_{n}"), draw_value(rng))));
            Edit::AddEntry {
                part,
                id: EntryId(uuid::Builder::from_random_bytes(rng.random()).into_uuid()),
                kind,
                fields,
            }
        }
        8 => Edit::Narrate { part, at: None, delete: 0, insert: draw_sentence(rng) },
        _ => {
            let at = Some(rng.random_range(0..200));
            Edit::Narrate { part, at, delete: rng.random_range(0..12), insert: draw_sentence(rng) }
        }
    }
}

fn draw_value(rng: &mut StdRng) -> Value {
    match rng.random_range(0..6) {
        0 => Value::Text((*WORDS.choose(rng).expect("not empty")).to_owned()),
        1 => Value::Integer(rng.random_range(-5..200)),
        2 => Value::Decimal(f64::from(rng.random_range(340..420)) / 10.0),
        3 => Value::Boolean(rng.random()),
        4 => Value::Timestamp(rng.random_range(1_700_000_000_000..1_900_000_000_000)),
        _ => Value::Null,
    }
}

fn draw_sentence(rng: &mut StdRng) -> String {
    let words: Vec<_> = (0..rng.random_range(1..8)).map(|_| *WORDS.choose(rng).expect("not empty")).collect();
    format!("{}. ", words.join(" "))
}

const FACTS: [&str; 6] = ["family_name", "date_of_birth", "destination", "allergy", "gcs", "status"];
const KINDS: [&str; 4] = ["vitals", "medication", "finding", "note"];
const WORDS: [&str; 12] = [
    "Patientin",
    "Übelkeit",
    "seit",
    "gestern",
    "ansprechbar",
    "Straße",
    "Größe",
    "Müller",
    "🤢",
    "kein",
    "Thoraxschmerz",
    "übergeben",
];

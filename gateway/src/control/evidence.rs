//! Late work as JSON, for the supervisor who decides on it: what each change does, cut to what a person can read.
//!
//! It is content of a case. It goes into the answer and nowhere else: no log, no error, no `Debug`.

use std::fmt;

use feldakte_core::{
    access::Role,
    case::{Author, Deed, Deeds, Entry, Provenance},
    crdt::Value,
    hex::hex,
    ids::{ChangeHash, DeviceId, TenantId, UnitId, UserId},
    limits,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::text;
use crate::gateway::Preview;

/// What late work would do to its case, or has done.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceEntry {
    /// Change by change.
    pub changes: Vec<ChangeEntry>,
    /// Changes that could be taken and are not shown, because they are too many or too long.
    pub omitted: usize,
    /// Changes that could be taken, and that no app could apply.
    pub unreadable: usize,
    /// Changes that cannot be taken.
    pub refused: Vec<RefusedEntry>,
    /// Changes of the case that their author had not seen.
    pub unseen: usize,
}

/// One change.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeEntry {
    /// Its name.
    pub change: String,
    /// Who made it; missing in the one that opens a document, which is the same for all.
    pub by: Option<AuthorEntry>,
    /// When, by the device's clock.
    pub at_ms: i64,
    /// The gateway's clock minus the device's, as far as it was known.
    pub clock_offset_ms: Option<i64>,
    /// The changes that it stands on.
    pub base: Vec<String>,
    /// What it does.
    pub does: Vec<DeedEntry>,
    /// More that it does and that is not shown.
    pub cut: usize,
    /// Operations that no app makes which keeps to the case model.
    pub strange: usize,
}

/// Under whose name it would stand in the case.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorEntry {
    /// Whose device.
    #[serde(with = "text")]
    pub device: DeviceId,
    /// Of which unit.
    #[serde(with = "text")]
    pub unit: UnitId,
    /// As what.
    #[serde(with = "text")]
    pub role: Role,
    /// Its user.
    #[serde(with = "text::optional", default)]
    pub user: Option<UserId>,
    /// His tenant, when it is another one.
    #[serde(with = "text::optional", default)]
    pub guest_of: Option<TenantId>,
}

/// A change that cannot be taken.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedEntry {
    /// Its name.
    pub change: String,
    /// Why.
    pub why: String,
}

/// Something that a change does. Times are `{"time_ms": n}`, packed content is `{"bytes": n, "hex": "…"}` with its first
/// bytes, `null` is asked and known to be absent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DeedEntry {
    /// Opens the document.
    Opens,
    /// Sets a fact or answers an element of a checklist.
    Sets {
        /// Which.
        path: String,
        /// To what.
        value: Json,
        /// What its author saw there.
        before: Vec<Json>,
        /// What stands there without the late work.
        in_case: Vec<Json>,
    },
    /// Takes away what stood there.
    Clears {
        /// Where.
        path: String,
        /// What its author saw there.
        before: Vec<Json>,
        /// What stands there without the late work.
        in_case: Vec<Json>,
    },
    /// Appends an entry.
    Appends {
        /// Its id.
        entry: Option<String>,
        /// What kind of entry.
        of: String,
        /// The entry that it corrects or withdraws.
        replaces: Option<String>,
        /// Its fields.
        fields: Map<String, Json>,
    },
    /// Records an event, such as a step of an order.
    Records {
        /// As it is stored.
        fields: Map<String, Json>,
    },
    /// Changes the narrative.
    Narrates {
        /// Where, in code points.
        at: usize,
        /// What was taken away there.
        removed: String,
        /// What was put there.
        inserted: String,
    },
    /// Reserves the document for newer apps.
    Reserves,
}

impl From<Preview> for EvidenceEntry {
    fn from(Preview { shown, omitted, unreadable, refused, unseen }: Preview) -> Self {
        let refused =
            refused.into_iter().map(|(name, why)| RefusedEntry { change: name_of(name), why: why.to_string() });
        let changes = shown.into_iter().map(ChangeEntry::from).collect();
        Self { changes, omitted, unreadable, refused: refused.collect(), unseen }
    }
}

impl From<Deeds> for ChangeEntry {
    fn from(Deeds { provenance, base, deeds, others }: Deeds) -> Self {
        let Provenance { origin, author } = provenance;
        let cut = deeds.len().saturating_sub(limits::EVIDENCE_DEEDS_SHOWN);
        Self {
            change: name_of(origin.change),
            by: author.map(AuthorEntry::from),
            at_ms: origin.stamp.time_ms,
            clock_offset_ms: origin.stamp.clock_offset_ms,
            base: base.into_iter().map(name_of).collect(),
            does: deeds.into_iter().take(limits::EVIDENCE_DEEDS_SHOWN).map(DeedEntry::from).collect(),
            cut,
            strange: others,
        }
    }
}

impl From<Author> for AuthorEntry {
    fn from(Author { device, home, unit, role, user }: Author) -> Self {
        Self { device, unit, role, user, guest_of: home }
    }
}

impl From<Deed> for DeedEntry {
    fn from(deed: Deed) -> Self {
        match deed {
            Deed::Opens => Self::Opens,
            Deed::Reserves => Self::Reserves,
            Deed::Sets { path, value, before, in_case } => {
                let (path, before, in_case) = (cut(&path.to_string()), values(&before), values(&in_case));
                match value {
                    Some(value) => Self::Sets { path, value: json_of(&value), before, in_case },
                    None => Self::Clears { path, before, in_case },
                }
            }
            Deed::Appends(Entry { id, kind, fields, replaces, provenance: _, replaced_by: _ }) => Self::Appends {
                entry: id.map(|id| id.to_string()),
                of: cut(&kind),
                replaces: replaces.map(|id| id.to_string()),
                fields: record(&fields),
            },
            Deed::Records(fields) => Self::Records { fields: record(&fields) },
            Deed::Narrates { at, removed, inserted } => {
                Self::Narrates { at, removed: cut(&removed), inserted: cut(&inserted) }
            }
        }
    }
}

impl fmt::Debug for EvidenceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { changes, omitted, unreadable, refused, unseen } = self;
        let counts = (changes.len(), omitted, unreadable, refused.len(), unseen);
        write!(f, "EvidenceEntry{counts:?}")
    }
}

fn name_of(change: ChangeHash) -> String {
    change.to_string()
}

fn values(values: &[Value]) -> Vec<Json> {
    values.iter().take(limits::EVIDENCE_DEEDS_SHOWN).map(json_of).collect()
}

fn record(fields: &[(String, Value)]) -> Map<String, Json> {
    let shown = fields.iter().take(limits::EVIDENCE_DEEDS_SHOWN);
    shown.map(|(name, value)| (cut(name), json_of(value))).collect()
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Text(text) => cut(text).into(),
        Value::Integer(number) => (*number).into(),
        Value::Decimal(number) => (*number).into(),
        Value::Boolean(flag) => (*flag).into(),
        Value::Timestamp(ms) => json!({ "time_ms": ms }),
        Value::Bytes(bytes) => json!({ "bytes": bytes.len(), "hex": hex(&bytes[..bytes.len().min(BYTES_SHOWN)]) }),
        Value::Record(fields) => record(fields).into(),
        Value::Null => Json::Null,
    }
}

/// As much of a text as is shown.
fn cut(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(limits::EVIDENCE_TEXT_SHOWN) else { return text.to_owned() };
    format!("{}… ({} more)", &text[..end], text[end..].chars().count())
}

/// Ids have 16 bytes, hashes 32.
const BYTES_SHOWN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_code_points_and_say_so() {
        let most = "ä".repeat(limits::EVIDENCE_TEXT_SHOWN);
        assert_eq!(cut(&most), most);
        assert_eq!(cut(&format!("{most}öü")), format!("{most}… (2 more)"));
    }

    #[test]
    fn values_keep_their_kind() {
        let record = Value::Record(vec![("a".into(), Value::Decimal(0.5)), ("b".into(), Value::Null)]);
        for (value, expected) in [
            (record, json!({ "a": 0.5, "b": null })),
            (Value::Timestamp(7), json!({ "time_ms": 7 })),
            (Value::Bytes(bytes::Bytes::from(vec![1; 40])), json!({ "bytes": 40, "hex": "01".repeat(32) })),
            (Value::Decimal(f64::NAN), Json::Null),
        ] {
            assert_eq!(json_of(&value), expected);
        }
    }

    #[test]
    fn nothing_of_the_content_is_printed_for_developers() {
        let does = vec![DeedEntry::Narrates { at: 0, removed: String::new(), inserted: "Kanarienvogel".into() }];
        let change = ChangeEntry {
            change: "ab".into(),
            by: None,
            at_ms: 0,
            clock_offset_ms: None,
            base: Vec::new(),
            does,
            cut: 0,
            strange: 0,
        };
        let evidence = EvidenceEntry { changes: vec![change], omitted: 0, unreadable: 0, refused: vec![], unseen: 0 };
        assert_eq!(format!("{evidence:?}"), "EvidenceEntry(1, 0, 0, 0, 0)");
    }
}

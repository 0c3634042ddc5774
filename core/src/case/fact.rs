//! Facts and checklist answers: registers that keep every concurrent value with who, where and when. Equal values
//! collapse; different ones are a conflict, which people resolve; nothing silently wins.

use super::{
    FACTS, Path,
    author::{Authors, Provenance},
    path::ElementId,
};
use crate::{
    crdt::{Document, Field, Held, History, Value},
    ids::ChangeHash,
};

/// A register.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq)]
pub struct Fact {
    /// The fact's name, or the checklist's key.
    pub name: String,
    /// One value; several while people disagree, the one shown first last.
    pub values: Vec<Claim>,
}

crate::hide_content! { Fact }

/// A value and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// What stands there.
    pub value: Value,
    /// Who wrote it, when.
    pub provenance: Provenance,
}

impl Fact {
    /// The value to show when one must be: the only one, or the one that every replica puts last.
    pub fn shown(&self) -> &Claim {
        self.values.last().expect("a register that is listed has a value")
    }

    /// Whether people disagree.
    pub fn is_in_conflict(&self) -> bool {
        self.values.len() > 1
    }
}

/// A field on which replicas disagree, for a person to resolve.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// Where.
    pub path: Path,
    /// What each of them says.
    pub values: Vec<Claim>,
}

/// What somebody else did while this device did something else: see [`super::DocumentView::meanwhile`].
#[derive(Debug, Clone, PartialEq)]
pub struct Meanwhile {
    /// Where.
    pub path: Path,
    /// Whether it met something of one's own.
    pub kind: MeanwhileKind,
    /// Who did it, when.
    pub provenance: Provenance,
}

/// Whether what others did met something of one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeanwhileKind {
    /// Different fields: merged, for information.
    Parallel,
    /// The same field: a person decides.
    Conflict,
}

pub(super) fn read(fields: Vec<Field>, authors: &Authors) -> Vec<Fact> {
    let claim = |Held { value, origin }| Claim { value, provenance: authors.provenance(origin) };
    let fact = |Field { name, values }| Fact { name, values: values.into_iter().map(claim).collect() };
    fields.into_iter().map(fact).filter(|fact: &Fact| !fact.values.is_empty()).collect()
}

/// The one text that stands in a fact; `None` when it is not there, is no text, or people disagree. Reads nothing else of
/// the document.
pub fn text_fact(document: &mut Document, name: &str) -> Option<String> {
    match document.field(FACTS, name)?.values.as_slice() {
        [only] => only.value.as_text().map(str::to_owned),
        _ => None,
    }
}

/// The path of a checklist's key.
pub(super) fn element_path(key: &str) -> Path {
    ElementId::parse(key).map_or_else(|| Path::Other(key.to_owned()), Path::Checklist)
}

/// What others wrote since `heads` that its reader, who wrote `own`, had not seen.
pub(super) fn meanwhile(
    registers: impl Iterator<Item = (Path, Vec<Claim>)>,
    history: &History,
    heads: &[ChangeHash],
) -> Vec<Meanwhile> {
    let before = history.clock_of(heads);
    let is_new = |claim: &Claim| !history.is_within(&claim.provenance.origin.change, &before);
    let mut found = Vec::new();
    for (path, values) in registers {
        let kind = if values.len() > 1 { MeanwhileKind::Conflict } else { MeanwhileKind::Parallel };
        for claim in values.iter().filter(|claim| is_new(claim)) {
            found.push(Meanwhile { path: path.clone(), kind, provenance: claim.provenance.clone() });
        }
    }
    found
}

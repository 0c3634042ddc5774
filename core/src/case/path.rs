//! Where in a document something stands, as people and forms name it.

use std::fmt;

use crate::ids::{EntryId, OrderId};

/// A place in a document.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// The fact of that name.
    Fact(String),
    /// The entry of that id.
    Entry(EntryId),
    /// The narrative.
    Narrative,
    /// An element of a checklist.
    Checklist(ElementId),
    /// The order of that id.
    Order(OrderId),
    /// Status, finalisations, links: events that belong to the case as a whole.
    Events,
    /// Something a newer app has written.
    Other(String),
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Fact(name) => f.write_str(name),
            Path::Entry(id) => write!(f, "entries/{id}"),
            Path::Narrative => f.write_str("narrative"),
            Path::Checklist(element) => write!(f, "checklists/{element}"),
            Path::Order(id) => write!(f, "orders/{id}"),
            Path::Events => f.write_str("events"),
            Path::Other(key) => write!(f, "other/{key}"),
        }
    }
}

/// One element of one version of a checklist's definition. Stored as `definition@version/element`.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElementId {
    /// The definition: lower-case letters, digits and `-`.
    pub definition: String,
    /// Its version: answers to another version are other elements.
    pub version: u32,
    /// The element in it; whatever the definition uses, without `/`.
    pub element: String,
}

crate::hide_content! { Path, ElementId }

impl ElementId {
    /// Reads what [`fmt::Display`] writes; `None` when it is not of that form.
    pub fn parse(key: &str) -> Option<Self> {
        let (checklist, element) = key.split_once('/')?;
        let (definition, version) = checklist.split_once('@')?;
        let version = version.parse().ok()?;
        let (definition, element) = (definition.to_owned(), element.to_owned());
        let id = Self { definition, version, element };
        // One element has one key.
        (id.to_string() == key && !id.definition.is_empty() && !id.element.is_empty()).then_some(id)
    }
}

impl fmt::Display for ElementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.definition, self.version, self.element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_ids_round_trip_and_have_one_key_each() {
        let id = ElementId { definition: "hygiene-kita".into(), version: 3, element: "4.2/a".into() };
        assert_eq!(ElementId::parse("hygiene-kita@3/4.2/a"), Some(id.clone()));
        assert_eq!(id.to_string(), "hygiene-kita@3/4.2/a");
        for bad in ["", "x", "x@1", "x/1", "@1/a", "x@1/", "x@01/a", "x@-1/a", "x@1@2/a"] {
            assert_eq!(ElementId::parse(bad), None, "{bad}");
        }
    }
}

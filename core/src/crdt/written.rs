//! What one change has written, operation by operation: also what has been written over since, and what nobody sees.

use std::collections::{BTreeSet, HashMap, HashSet};

use automerge::{
    AutoCommit, ObjId, ObjType, ROOT, ReadDoc, ValueRef,
    iter::MapRangeItem,
    legacy::{self, Key, ObjectId, Op, OpType},
};

use super::{CrdtError, Document};
use crate::ids::ChangeHash;

/// The operations of a change, by what they touch. Items that it appends to lists are named by their origin.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Fields of root maps: container and name.
    pub fields: BTreeSet<(String, String)>,
    /// Root texts.
    pub texts: BTreeSet<String>,
    /// Keys of the root itself.
    pub roots: BTreeSet<String>,
    /// Operations on anything else, such as the items of others: nobody who appends and never changes makes any.
    pub others: usize,
}

crate::hide_content! { Written { others } }

impl Document {
    /// What the change has written; nothing for one that is not here.
    ///
    /// # Errors
    /// [`CrdtError::Panicked`].
    pub fn written_by(&mut self, change: ChangeHash) -> Result<Written, CrdtError> {
        self.guarded(|inner| {
            let Some(change) = inner.get_change_by_hash(&automerge::ChangeHash(change.0)) else {
                return Ok(Written::default());
            };
            Ok(sort(&change.decode(), &containers(inner)))
        })
    }
}

type Containers = HashMap<legacy::OpId, (String, ObjType)>;

fn containers(inner: &AutoCommit) -> Containers {
    let container = |item: MapRangeItem<'_>| match (&item.value, item.id()) {
        (ValueRef::Object(kind), ObjId::Id(counter, actor, _)) => {
            Some((legacy::OpId::new(counter, &actor), (item.key.into_owned(), *kind)))
        }
        _ => None,
    };
    inner.map_range(ROOT, ..).filter_map(container).collect()
}

fn sort(change: &legacy::Change, containers: &Containers) -> Written {
    let (mut written, mut own) = (Written::default(), HashSet::new());
    for (counter, operation) in (change.start_op.get()..).zip(&change.operations) {
        if matches!(operation.action, OpType::Make(_)) {
            own.insert(legacy::OpId::new(counter, &change.actor_id));
        }
        written.take(operation, &own, containers);
    }
    written
}

impl Written {
    fn take(&mut self, operation: &Op, own: &HashSet<legacy::OpId>, containers: &Containers) {
        let is_plain = matches!(operation.action, OpType::Put(_) | OpType::Delete | OpType::Make(ObjType::Map));
        match (&operation.obj, &operation.key) {
            (ObjectId::Root, Key::Map(key)) => drop(self.roots.insert(key.to_string())),
            // What stands in something that came with the same change is a part of it.
            (ObjectId::Id(object), _) if own.contains(object) => {}
            (ObjectId::Id(object), key) => match (containers.get(object), key) {
                (Some((container, ObjType::Map)), Key::Map(name)) if is_plain => {
                    self.fields.insert((container.clone(), name.to_string()));
                }
                (Some((_, ObjType::List)), _) if operation.insert && is_plain => {}
                (Some((container, ObjType::Text)), _) => drop(self.texts.insert(container.clone())),
                _ => self.others += 1,
            },
            (ObjectId::Root, Key::Seq(_)) => self.others += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use automerge::transaction::Transactable;

    use super::*;
    use crate::{
        crdt::{Container, Edits, Stamp, Value},
        ids::ActorId,
    };

    /// A document with a map, a list with one item, and a text, of one actor.
    fn document() -> Document {
        let mut document = Document::empty(ActorId([1; 16]));
        let create = |edits: &mut Edits<'_>| {
            edits.create("map", Container::Map)?;
            edits.create("list", Container::List)?;
            edits.create("text", Container::Text)?;
            edits.put("map", "old", &Value::Integer(1))?;
            edits.push("list", [("id", &Value::Integer(1))])
        };
        document.edit(Stamp::at(0), create).expect("an edit").expect("a change");
        document
    }

    fn written(edit: impl FnOnce(&mut Edits<'_>) -> Result<(), CrdtError>) -> Written {
        let mut document = document();
        let change = document.edit(Stamp::at(1), edit).expect("an edit").expect("a change");
        document.written_by(change.hash).expect("no panic")
    }

    #[test]
    fn what_is_set_appended_and_typed_is_sorted_by_where_it_stands() {
        let found = written(|edits| {
            edits.put("map", "new", &Value::Integer(2))?;
            edits.put("map", "pair", &Value::Record(vec![("a".into(), Value::Integer(1))]))?;
            edits.push("list", [("id", &Value::Integer(2)), ("pair", &Value::Record(vec![]))])?;
            edits.splice("text", 0, 0, "abc")?;
            edits.put_root("schema", &Value::Integer(2))
        });
        let field = |name: &str| ("map".to_owned(), name.to_owned());
        let (texts, roots) = (BTreeSet::from(["text".to_owned()]), BTreeSet::from(["schema".to_owned()]));
        assert_eq!(found, Written { fields: [field("new"), field("pair")].into(), texts, roots, others: 0 });
    }

    #[test]
    fn what_touches_the_items_of_others_or_takes_them_away_is_counted() {
        let found = written(|edits| {
            let (_, list) = edits.inner.get(ROOT, "list")?.expect("it is there");
            let (_, item) = edits.inner.get(&list, 0)?.expect("it is there");
            edits.inner.put(&item, "id", 2)?;
            edits.inner.delete(&list, 0)?;
            let (_, map) = edits.inner.get(ROOT, "map")?.expect("it is there");
            edits.inner.put_object(&map, "odd", ObjType::List)?;
            Ok(edits.inner.delete(&map, "old")?)
        });
        assert_eq!((found.others, found.fields), (3, [("map".to_owned(), "old".to_owned())].into()));
    }

    #[test]
    fn a_change_that_is_not_there_has_written_nothing() {
        assert_eq!(document().written_by(ChangeHash([7; 32])).expect("no panic"), Written::default());
    }
}

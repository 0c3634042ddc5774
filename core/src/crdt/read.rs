//! Reading: what stands in a document, where it comes from, now or at an earlier state.

use std::collections::HashMap;

use automerge::{
    AutoCommit, ObjId, ObjType, ROOT, ReadDoc, ValueRef,
    iter::{DocItem, DocObjItem, MapRangeItem},
    legacy,
};

use super::{Document, History, Origin, Value};
use crate::ids::{ActorId, ChangeHash};

/// Which state of a document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment<'a> {
    /// The present one.
    Now,
    /// The one that these heads name. Heads that are not in the document count for nothing.
    At(&'a [ChangeHash]),
}

/// A field and every value that stands in it concurrently, the one shown first last.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq)]
pub struct Field {
    /// The field's name inside its container.
    pub name: String,
    /// One value; several when replicas disagree.
    pub values: Vec<Held>,
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// What stands there.
    pub value: Value,
    /// Who wrote it, when, and with which change.
    pub origin: Origin,
}

/// One appended item.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq)]
pub struct Item {
    /// Who appended it, when, and with which change.
    pub origin: Origin,
    /// Its fields, ascending by name.
    pub fields: Vec<(String, Value)>,
}

impl Item {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }
}

impl Document {
    /// The root value `key`, every concurrent one.
    pub fn root(&mut self, key: &str) -> Vec<Value> {
        let all = self.inner.get_all(ROOT, key).unwrap_or_default();
        all.into_iter().filter_map(|(value, _)| Value::of_scalar(&value)).collect()
    }

    /// The fields of map `container`, ascending.
    pub fn fields(&mut self, container: &str, moment: Moment<'_>) -> Vec<Field> {
        self.history();
        let reader = self.reader(moment);
        let Some(object) = reader.container(container) else {
            return Vec::new();
        };
        let names = reader.keys(&object);
        names.into_iter().map(|name| Field { values: reader.values(&object, &name), name }).collect()
    }

    /// One field of map `container`, as [`Document::fields`] gives it.
    pub fn field(&mut self, container: &str, name: &str) -> Option<Field> {
        self.field_at(container, name, Moment::Now)
    }

    /// The same as it was at some moment; `None` when nothing stood there.
    pub fn field_at(&mut self, container: &str, name: &str, moment: Moment<'_>) -> Option<Field> {
        self.history();
        let reader = self.reader(moment);
        let values = reader.values(&reader.container(container)?, name);
        (!values.is_empty()).then(|| Field { name: name.to_owned(), values })
    }

    /// The items of list `container` in document order.
    pub fn items(&mut self, container: &str, moment: Moment<'_>) -> Vec<Item> {
        self.history();
        let reader = self.reader(moment);
        reader.container(container).map(|list| reader.items(&list)).unwrap_or_default()
    }

    /// The text `container`; empty when it is not there.
    pub fn text(&self, container: &str, moment: Moment<'_>) -> String {
        let Some(text) = container_of(self, container) else { return String::new() };
        let read = match moment {
            Moment::Now => self.inner.text(text),
            Moment::At(heads) => self.inner.text_at(text, &to_library(heads)),
        };
        read.unwrap_or_default()
    }

    /// Length of text `container` in Unicode code points.
    pub fn text_len(&self, container: &str) -> usize {
        container_of(self, container).map_or(0, |text| self.inner.length(text))
    }

    fn reader(&self, moment: Moment<'_>) -> Reader<'_> {
        let heads = match moment {
            Moment::Now => None,
            Moment::At(heads) => Some(to_library(heads)),
        };
        Reader { document: self, history: self.history.get().expect("asked for by every caller"), heads }
    }
}

fn container_of(document: &Document, key: &str) -> Option<ObjId> {
    match document.inner.get(ROOT, key) {
        Ok(Some((automerge::Value::Object(_), id))) => Some(id),
        _ => None,
    }
}

fn to_library(heads: &[ChangeHash]) -> Vec<automerge::ChangeHash> {
    heads.iter().map(|head| automerge::ChangeHash(head.0)).collect()
}

/// A document at a state.
struct Reader<'a> {
    document: &'a Document,
    history: &'a History,
    heads: Option<Vec<automerge::ChangeHash>>,
}

type Found<'a> = (automerge::Value<'a>, ObjId);

impl Reader<'_> {
    fn container(&self, key: &str) -> Option<ObjId> {
        // Containers come with the genesis: there is no state without them.
        container_of(self.document, key)
    }

    fn keys(&self, object: &ObjId) -> Vec<String> {
        match &self.heads {
            None => self.document.inner.keys(object).collect(),
            Some(heads) => self.document.inner.keys_at(object, heads).collect(),
        }
    }

    fn all(&self, object: &ObjId, prop: impl Into<automerge::Prop>) -> Vec<Found<'_>> {
        let found = match &self.heads {
            None => self.document.inner.get_all(object, prop),
            Some(heads) => self.document.inner.get_all_at(object, prop, heads),
        };
        found.unwrap_or_default()
    }

    /// All items in one walk: a call for each field would compute the state that is read anew each time.
    fn items(&self, list: &ObjId) -> Vec<Item> {
        let mut items: Vec<ObjId> = Vec::new();
        let mut maps: HashMap<ObjId, Vec<(String, automerge::Value<'_>, ObjId)>> = HashMap::new();
        for DocObjItem { obj, item } in self.document.inner.iter_at(list, self.heads.as_deref()) {
            match item {
                DocItem::List(item) if *obj == *list && matches!(item.value, ValueRef::Object(ObjType::Map)) => {
                    items.push(item.id());
                }
                DocItem::Map(field) => {
                    let id = field.id();
                    maps.entry((*obj).clone()).or_default().push((field.key.into_owned(), field.value.into(), id));
                }
                DocItem::List(_) | DocItem::Text(_) => {}
            }
        }
        let record = |map: &ObjId| -> Vec<(String, Value)> {
            let fields = maps.get(map).into_iter().flatten();
            fields.filter_map(|(name, value, _)| Some((name.clone(), Value::of_scalar(value)?))).collect()
        };
        let value = |value: &automerge::Value<'_>, id: &ObjId| match value {
            automerge::Value::Object(ObjType::Map) => Some(Value::Record(record(id))),
            scalar => Value::of_scalar(scalar),
        };
        let item = |id: &ObjId| {
            let fields = maps.get(id).into_iter().flatten();
            let fields = fields.filter_map(|(name, found, id)| Some((name.clone(), value(found, id)?)));
            Some(Item { origin: self.origin(id)?, fields: fields.collect() })
        };
        items.iter().filter_map(item).collect()
    }

    fn item(&self, list: &ObjId, index: usize) -> Option<Item> {
        let (value, id) = self.all(list, index).pop()?;
        let automerge::Value::Object(ObjType::Map) = value else { return None };
        Some(Item { origin: self.origin(&id)?, fields: self.record(&id) })
    }

    /// The fields of a map of plain values and records.
    fn record(&self, map: &ObjId) -> Vec<(String, Value)> {
        let field = |name: String| {
            let (value, id) = self.all(map, name.as_str()).pop()?;
            Some((name, self.value(&value, &id)?))
        };
        self.keys(map).into_iter().filter_map(field).collect()
    }

    fn values(&self, object: &ObjId, name: &str) -> Vec<Held> {
        let all = self.all(object, name);
        let mut held: Vec<Held> = Vec::with_capacity(all.len());
        for (value, id) in all {
            let (Some(value), Some(origin)) = (self.value(&value, &id), self.origin(&id)) else { continue };
            // The same value written twice is agreement, not conflict; the later one keeps its place.
            held.retain(|other| !other.value.is_same(&value));
            held.push(Held { value, origin });
        }
        held
    }

    fn value(&self, value: &automerge::Value<'_>, id: &ObjId) -> Option<Value> {
        match value {
            automerge::Value::Object(ObjType::Map) => Some(Value::Record(self.plain_record(id))),
            scalar => Value::of_scalar(scalar),
        }
    }

    fn plain_record(&self, map: &ObjId) -> Vec<(String, Value)> {
        let field = |name: String| {
            let (value, _) = self.all(map, name.as_str()).pop()?;
            Some((name, Value::of_scalar(&value)?))
        };
        self.keys(map).into_iter().filter_map(field).collect()
    }

    fn origin(&self, id: &ObjId) -> Option<Origin> {
        let ObjId::Id(counter, actor, _) = id else { return None };
        self.history.origin(ActorId::from_slice(actor.to_bytes()).ok()?, *counter)
    }
}

/// A place where a document has changed: the root key, and where under it the change was.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Under this key of a root map; `None` for the root value itself, or a text.
    Key(String, Option<String>),
    /// At this index of a root list, as it is now.
    Index(String, usize),
}

crate::hide_content! { Field, Item, Place }

impl Document {
    /// What differs from the state that these heads name, ascending, each place once. Heads that are not here count
    /// for nothing.
    pub fn changed_since(&mut self, heads: &[ChangeHash]) -> Vec<Place> {
        let (before, after) = (to_library(heads), self.inner.get_heads());
        places(&self.inner.diff(&before, &after))
    }

    /// The item at an index of list `container`.
    pub fn item(&mut self, container: &str, index: usize) -> Option<Item> {
        self.history();
        let reader = self.reader(Moment::Now);
        reader.item(&reader.container(container)?, index)
    }
}

/// The places that patches name, ascending, each once.
pub(super) fn places(patches: &[automerge::Patch]) -> Vec<Place> {
    let mut places: Vec<Place> = patches.iter().flat_map(places_of).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// The fields of root maps that changes which are not part of these heads have written. The library tells of a value
/// only when another one is shown first.
pub(super) fn written(inner: &mut AutoCommit, before: &[automerge::ChangeHash]) -> Vec<Place> {
    let map = |item: MapRangeItem<'_>| match (&item.value, item.id()) {
        (ValueRef::Object(ObjType::Map), ObjId::Id(counter, actor, _)) => {
            Some((legacy::OpId::new(counter, &actor), item.key.into_owned()))
        }
        _ => None,
    };
    let maps: HashMap<legacy::OpId, String> = inner.map_range(ROOT, ..).filter_map(map).collect();
    let place = |operation: legacy::Op| match (operation.obj, operation.key) {
        (legacy::ObjectId::Id(id), legacy::Key::Map(name)) => {
            Some(Place::Key(maps.get(&id)?.clone(), Some(name.to_string())))
        }
        _ => None,
    };
    let changes = inner.get_changes(before);
    changes.into_iter().flat_map(|change| change.decode().operations).filter_map(place).collect()
}

fn places_of(patch: &automerge::Patch) -> Vec<Place> {
    use automerge::{PatchAction, Prop};
    let mut steps = patch.path.iter().map(|(_, prop)| prop);
    let Some(Prop::Map(root)) = steps.next() else {
        // Directly at the root.
        return match &patch.action {
            PatchAction::PutMap { key, .. } | PatchAction::DeleteMap { key } => vec![Place::Key(key.clone(), None)],
            PatchAction::Conflict { prop: Prop::Map(key) } => vec![Place::Key(key.clone(), None)],
            _ => Vec::new(),
        };
    };
    let under = |prop: &Prop| match prop {
        Prop::Map(key) => Place::Key(root.clone(), Some(key.clone())),
        Prop::Seq(index) => Place::Index(root.clone(), *index),
    };
    match (steps.next(), &patch.action) {
        (Some(prop), _) => vec![under(prop)],
        (None, PatchAction::PutMap { key, .. } | PatchAction::DeleteMap { key }) => {
            vec![Place::Key(root.clone(), Some(key.clone()))]
        }
        (None, PatchAction::Conflict { prop } | PatchAction::Increment { prop, .. }) => vec![under(prop)],
        (None, PatchAction::PutSeq { index, .. }) => vec![Place::Index(root.clone(), *index)],
        (None, PatchAction::Insert { index, values }) => {
            (*index..*index + values.len()).map(|index| Place::Index(root.clone(), index)).collect()
        }
        (None, PatchAction::SpliceText { .. } | PatchAction::DeleteSeq { .. } | PatchAction::Mark { .. }) => {
            vec![Place::Key(root.clone(), None)]
        }
    }
}

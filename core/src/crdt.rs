//! The one place that names automerge: a document that is created, edited, merged and read.
//!
//! Foreign bytes reach automerge only after [`crate::change::Change::parse`] has passed them. A method that
//! returns [`CrdtError::Panicked`] has left the document unusable: drop it and load it again from the store.

use std::{
    borrow::Cow,
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use automerge::{
    AutoCommit, ObjType, ROOT, ReadDoc, ScalarValue, TextEncoding,
    transaction::{CommitOptions, Transactable},
};
use bytes::Bytes;

use crate::{
    ids::{ActorId, ChangeHash},
    limits,
};

/// A value of a field. Times are milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A measured number.
    Decimal(f64),
    /// Yes or no.
    Boolean(bool),
    /// A point in time, milliseconds since 1970-01-01 UTC.
    Timestamp(i64),
    /// Asked and known to be absent.
    Null,
}

/// What a document could not do.
#[derive(Debug, thiserror::Error)]
pub enum CrdtError {
    /// The library panicked. Drop the document.
    #[error("the document library panicked")]
    Panicked,
    /// The library refused the bytes or the edit.
    #[error("the document library refused")]
    Rejected(#[source] Box<automerge::AutomergeError>),
    /// A container named by an edit is not there.
    #[error("the document has no container `{0}`")]
    NoContainer(String),
    /// The bytes load, but not to what they should.
    #[error("the stored document is damaged")]
    Damaged,
    /// A change that the library would write otherwise than it came: no save of the document would load again. Drop
    /// the document.
    #[error("the document library does not keep a change as it came")]
    Unfaithful,
    /// Values nest deeper than [`limits::DEPTH_MAX`].
    #[error("values nest deeper than {} levels", limits::DEPTH_MAX)]
    TooDeep,
}

impl From<automerge::AutomergeError> for CrdtError {
    fn from(error: automerge::AutomergeError) -> Self {
        CrdtError::Rejected(Box::new(error))
    }
}

/// A change this replica has just made. Not to be sent before it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChange {
    /// Its name.
    pub hash: ChangeHash,
    /// The uncompressed chunk.
    pub bytes: Bytes,
}

/// One automerge document.
pub struct Document {
    inner: AutoCommit,
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Document")
    }
}

impl Document {
    /// An empty document that writes as `actor`: for genesis changes. The only constructor; the library's own draw
    /// random actors, which would make simulations differ from run to run.
    #[expect(clippy::disallowed_methods, reason = "this is the one constructor; the actor is set in the same line")]
    pub fn empty(actor: ActorId) -> Self {
        let inner = AutoCommit::new_with_encoding(TextEncoding::UnicodeCodePoint);
        Self { inner: inner.with_actor(automerge::ActorId::from(actor.0.to_vec())) }
    }

    /// A document of these chunks (a snapshot, changes, or both), that writes as `actor`.
    ///
    /// # Errors
    /// When the bytes are not complete chunks, a change lacks a dependency, or is not kept as it came.
    pub fn load(bytes: &[u8], actor: ActorId) -> Result<Self, CrdtError> {
        if bytes.is_empty() {
            return Err(CrdtError::Damaged);
        }
        let mut document = Self::empty(actor);
        document.guarded(|inner| {
            let options = automerge::LoadOptions::new()
                .on_partial_load(automerge::OnPartialLoad::Error)
                .verification_mode(automerge::VerificationMode::Check)
                .text_encoding(TextEncoding::UnicodeCodePoint);
            #[expect(clippy::disallowed_methods, reason = "the random actor is replaced in the next line")]
            let loaded = AutoCommit::load_with_options(bytes, options)?;
            *inner = loaded.with_actor(automerge::ActorId::from(actor.0.to_vec()));
            // The library compares the heads of a document chunk itself; of changes it keeps only the names.
            if is_document_chunk(bytes) { Ok(()) } else { check_faithful(inner, &[]) }
        })?;
        match document.inner.get_missing_deps(&[]).is_empty() {
            true => Ok(document),
            false => Err(CrdtError::Damaged),
        }
    }

    /// Makes one change of what `edit` does. `None` when it changed nothing.
    ///
    /// # Errors
    /// When the edit fails; nothing of it remains.
    pub fn edit(
        &mut self,
        time_s: i64,
        edit: impl FnOnce(&mut Edits<'_>) -> Result<(), CrdtError>,
    ) -> Result<Option<NewChange>, CrdtError> {
        self.guarded(|inner| {
            let result = edit(&mut Edits { inner });
            if let Err(error) = result {
                inner.rollback();
                return Err(error);
            }
            let Some(hash) = inner.commit_with(CommitOptions::default().with_time(time_s)) else {
                return Ok(None);
            };
            let change = inner.get_change_by_hash(&hash).ok_or(CrdtError::Damaged)?;
            Ok(Some(NewChange { hash: ChangeHash(hash.0), bytes: Bytes::copy_from_slice(change.raw_bytes()) }))
        })
    }

    /// Applies changes that passed [`crate::change::Change::parse`]. Changes that are known are skipped; one that
    /// lacks a dependency waits inside the document for it.
    ///
    /// # Errors
    /// When the library refuses, panics, or does not keep a change as it came. The document must then be dropped.
    pub fn apply<'a>(&mut self, changes: impl IntoIterator<Item = &'a Bytes>) -> Result<(), CrdtError> {
        let chunks: Vec<&Bytes> = changes.into_iter().collect();
        self.guarded(|inner| {
            let parse = |bytes: &Bytes| automerge::Change::from_bytes(bytes.to_vec()).map_err(|_| CrdtError::Damaged);
            let parsed: Vec<_> = chunks.into_iter().map(parse).collect::<Result<_, _>>()?;
            let before = inner.get_heads();
            inner.apply_changes(parsed)?;
            check_faithful(inner, &before)
        })
    }

    /// The document as one compact chunk. `Deflated` is for storage of single documents, `Plain` for bundles that
    /// are compressed together.
    pub fn save(&mut self, packing: Packing) -> Vec<u8> {
        match packing {
            Packing::Deflated => self.inner.save(),
            Packing::Plain => self.inner.save_nocompress(),
        }
    }

    /// The current heads, ascending.
    pub fn heads(&mut self) -> Vec<ChangeHash> {
        let mut heads: Vec<_> = self.inner.get_heads().into_iter().map(|hash| ChangeHash(hash.0)).collect();
        heads.sort_unstable();
        heads
    }

    /// Whether the change is part of the document (not merely waiting for a dependency).
    pub fn contains(&mut self, hash: ChangeHash) -> bool {
        self.inner.get_change_meta_by_hash(&automerge::ChangeHash(hash.0)).is_some()
    }

    /// How many changes the document holds.
    pub fn change_count(&mut self) -> usize {
        self.inner.get_changes_meta(&[]).len()
    }

    /// Names of all changes in the document.
    pub fn change_hashes(&mut self) -> Vec<ChangeHash> {
        self.inner.get_changes_meta(&[]).into_iter().map(|change| ChangeHash(change.hash.0)).collect()
    }

    /// All changes, in an order that satisfies their dependencies.
    pub fn changes(&mut self) -> Vec<NewChange> {
        let to_new = |change: automerge::Change| NewChange {
            hash: ChangeHash(change.hash().0),
            bytes: Bytes::copy_from_slice(change.raw_bytes()),
        };
        self.inner.get_changes(&[]).into_iter().map(to_new).collect()
    }

    /// Walks the document without recursion and refuses one that nests too deep for readers.
    ///
    /// # Errors
    /// [`CrdtError::TooDeep`]; or the library panicked on what it holds.
    pub fn check_depth(&self) -> Result<(), CrdtError> {
        catch_unwind(AssertUnwindSafe(|| self.walk_depth())).unwrap_or(Err(CrdtError::Panicked))
    }

    fn walk_depth(&self) -> Result<(), CrdtError> {
        let mut open = vec![(ROOT, 1)];
        while let Some((object, depth)) = open.pop() {
            if depth > limits::DEPTH_MAX {
                return Err(CrdtError::TooDeep);
            }
            let mut push = |value: &automerge::Value<'_>, id| {
                if matches!(value, automerge::Value::Object(kind) if *kind != ObjType::Text) {
                    open.push((id, depth + 1));
                }
            };
            match self.inner.object_type(&object)? {
                ObjType::Map | ObjType::Table => {
                    let keys: Vec<String> = self.inner.keys(&object).collect();
                    for key in keys {
                        self.inner.get_all(&object, key)?.iter().for_each(|(value, id)| push(value, id.clone()));
                    }
                }
                ObjType::List => {
                    for index in 0..self.inner.length(&object) {
                        self.inner.get_all(&object, index)?.iter().for_each(|(value, id)| push(value, id.clone()));
                    }
                }
                ObjType::Text => {}
            }
        }
        Ok(())
    }

    /// The fields of map `container`, ascending; each with every concurrent value and who wrote it.
    pub fn fields(&self, container: &str) -> Vec<Field> {
        let Some(object) = self.container(container) else {
            return Vec::new();
        };
        let keys: Vec<String> = self.inner.keys(&object).collect();
        keys.into_iter().map(|name| Field { values: self.values(&object, &name), name }).collect()
    }

    /// The items of list `container` in document order.
    pub fn items(&self, container: &str) -> Vec<Item> {
        let Some(list) = self.container(container) else {
            return Vec::new();
        };
        let mut items = Vec::with_capacity(self.inner.length(&list));
        for index in 0..self.inner.length(&list) {
            let Ok(Some((automerge::Value::Object(ObjType::Map), map))) = self.inner.get(&list, index) else {
                continue;
            };
            let keys: Vec<String> = self.inner.keys(&map).collect();
            let field = |name: String| self.values(&map, &name).pop().map(|held| (name, held.value));
            items.push(Item { actor: actor_of(&map), fields: keys.into_iter().filter_map(field).collect() });
        }
        items
    }

    /// The text `container`; empty when it is not there.
    pub fn text(&self, container: &str) -> String {
        self.container(container).and_then(|text| self.inner.text(text).ok()).unwrap_or_default()
    }

    /// Length of text `container` in Unicode code points.
    pub fn text_len(&self, container: &str) -> usize {
        self.container(container).map_or(0, |text| self.inner.length(text))
    }

    fn values(&self, object: &automerge::ObjId, name: &str) -> Vec<Held> {
        let all = self.inner.get_all(object, name).unwrap_or_default();
        let mut held: Vec<Held> = Vec::with_capacity(all.len());
        for (value, id) in all {
            let Some(value) = scalar(&value) else { continue };
            // The same value written twice is agreement, not conflict.
            if !held.iter().any(|other| other.value == value) {
                held.push(Held { value, actor: actor_of(&id) });
            }
        }
        held
    }

    fn container(&self, key: &str) -> Option<automerge::ObjId> {
        match self.inner.get(ROOT, key) {
            Ok(Some((automerge::Value::Object(_), id))) => Some(id),
            _ => None,
        }
    }

    fn guarded<T>(&mut self, act: impl FnOnce(&mut AutoCommit) -> Result<T, CrdtError>) -> Result<T, CrdtError> {
        catch_unwind(AssertUnwindSafe(|| act(&mut self.inner))).unwrap_or(Err(CrdtError::Panicked))
    }
}

/// The library keeps operations, not bytes, and writes changes anew when it saves. A change that is not written as
/// an honest writer writes it would come out under another name, and what was saved would not load.
///
/// Costs 5 µs for a change that was just applied, a fifth of a load for all changes of a document.
fn check_faithful(inner: &mut AutoCommit, since: &[automerge::ChangeHash]) -> Result<(), CrdtError> {
    let names: HashSet<automerge::ChangeHash> =
        inner.get_changes_meta(since).into_iter().map(|change| change.hash).collect();
    let written = inner.get_changes(since);
    match written.len() == names.len() && written.iter().all(|change| names.contains(&change.hash())) {
        true => Ok(()),
        false => Err(CrdtError::Unfaithful),
    }
}

/// Whether the bytes are one document chunk and nothing else.
fn is_document_chunk(bytes: &[u8]) -> bool {
    const TYPE_AT: usize = 8;
    const DOCUMENT: u8 = 0;
    let Some((DOCUMENT, rest)) = bytes.get(TYPE_AT..).and_then(<[u8]>::split_first).map(|(kind, rest)| (*kind, rest))
    else {
        return false;
    };
    let mut len = 0u64;
    for (index, byte) in rest.iter().enumerate().take(9) {
        len |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return len == (rest.len() - index - 1) as u64;
        }
    }
    false
}

/// How a saved document is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Columns deflated.
    Deflated,
    /// Columns as they are.
    Plain,
}

/// A field and every value that stands in it concurrently, the one shown first last.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The field's name inside its container.
    pub name: String,
    /// One value; several when replicas disagree.
    pub values: Vec<Held>,
}

/// A value and the actor that wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// What stands there.
    pub value: Value,
    /// Who wrote it; a claim until the log's bindings are consulted.
    pub actor: Option<ActorId>,
}

/// One appended item.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Who appended it.
    pub actor: Option<ActorId>,
    /// Its fields, ascending by name.
    pub fields: Vec<(String, Value)>,
}

/// What an edit may do: containers stand at the document's root and are named by key.
pub struct Edits<'a> {
    inner: &'a mut AutoCommit,
}

impl Edits<'_> {
    /// Creates container `key` of that kind. For genesis changes and foreign schemas.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn create(&mut self, key: &str, kind: Container) -> Result<(), CrdtError> {
        self.inner.put_object(ROOT, key, kind.into())?;
        Ok(())
    }

    /// Sets a root value. For genesis changes.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn put_root(&mut self, key: &str, value: Value) -> Result<(), CrdtError> {
        Ok(self.inner.put(ROOT, key, ScalarValue::from(value))?)
    }

    /// Sets `container[name]`.
    ///
    /// # Errors
    /// When the container is not there.
    pub fn put(&mut self, container: &str, name: &str, value: Value) -> Result<(), CrdtError> {
        let object = self.container(container)?;
        Ok(self.inner.put(object, name, ScalarValue::from(value))?)
    }

    /// Appends a flat map to list `container`.
    ///
    /// # Errors
    /// When the container is not there.
    pub fn push(
        &mut self,
        container: &str,
        fields: impl IntoIterator<Item = (String, Value)>,
    ) -> Result<(), CrdtError> {
        let list = self.container(container)?;
        let end = self.inner.length(&list);
        let map = self.inner.insert_object(list, end, ObjType::Map)?;
        for (name, value) in fields {
            self.inner.put(&map, name, ScalarValue::from(value))?;
        }
        Ok(())
    }

    /// Deletes and inserts in text `container`; `at` and `delete` count Unicode code points.
    ///
    /// # Errors
    /// When the container is not there or the range is outside of it.
    pub fn splice(&mut self, container: &str, at: usize, delete: usize, insert: &str) -> Result<(), CrdtError> {
        let text = self.container(container)?;
        let delete = isize::try_from(delete).map_err(|_| CrdtError::NoContainer(container.to_owned()))?;
        Ok(self.inner.splice_text(text, at, delete, insert)?)
    }

    /// Length of text `container` in Unicode code points.
    ///
    /// # Errors
    /// When the container is not there.
    pub fn text_len(&self, container: &str) -> Result<usize, CrdtError> {
        Ok(self.inner.length(self.container(container)?))
    }

    fn container(&self, key: &str) -> Result<automerge::ObjId, CrdtError> {
        match self.inner.get(ROOT, key)? {
            Some((automerge::Value::Object(_), id)) => Ok(id),
            _ => Err(CrdtError::NoContainer(key.to_owned())),
        }
    }
}

/// Kinds of root containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// Named fields.
    Map,
    /// Appended items.
    List,
    /// Collaborative text.
    Text,
}

impl From<Container> for ObjType {
    fn from(kind: Container) -> Self {
        match kind {
            Container::Map => ObjType::Map,
            Container::List => ObjType::List,
            Container::Text => ObjType::Text,
        }
    }
}

impl From<Value> for ScalarValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Text(text) => ScalarValue::Str(text.into()),
            Value::Integer(number) => ScalarValue::Int(number),
            Value::Decimal(number) => ScalarValue::F64(number),
            Value::Boolean(flag) => ScalarValue::Boolean(flag),
            Value::Timestamp(ms) => ScalarValue::Timestamp(ms),
            Value::Null => ScalarValue::Null,
        }
    }
}

fn scalar(value: &automerge::Value<'_>) -> Option<Value> {
    let automerge::Value::Scalar(scalar) = value else {
        return None;
    };
    match Cow::as_ref(scalar) {
        ScalarValue::Str(text) => Some(Value::Text(text.to_string())),
        ScalarValue::Int(number) => Some(Value::Integer(*number)),
        ScalarValue::Uint(number) => i64::try_from(*number).ok().map(Value::Integer),
        ScalarValue::F64(number) => Some(Value::Decimal(*number)),
        ScalarValue::Boolean(flag) => Some(Value::Boolean(*flag)),
        ScalarValue::Timestamp(ms) => Some(Value::Timestamp(*ms)),
        ScalarValue::Null => Some(Value::Null),
        _ => None,
    }
}

fn actor_of(id: &automerge::ObjId) -> Option<ActorId> {
    match id {
        automerge::ObjId::Id(_, actor, _) => ActorId::from_slice(actor.to_bytes()).ok(),
        automerge::ObjId::Root => None,
    }
}

#[cfg(test)]
mod tests;

//! The one place that names automerge: a document that is created, edited, merged and read.
//!
//! Foreign bytes reach automerge only after [`crate::change::Change::parse`] has passed them. A method that
//! returns [`CrdtError::Panicked`] has left the document unusable: drop it and load it again from the store.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::OnceLock,
};

use automerge::{AutoCommit, ObjType, ROOT, ReadDoc, TextEncoding, transaction::CommitOptions};
use bytes::Bytes;

pub use self::{
    edits::{Container, Edits},
    history::{Clock, History, Origin},
    read::{Field, Held, Item, Moment, Place},
    stamp::Stamp,
    value::Value,
    written::Written,
};
use crate::{
    ids::{ActorId, ChangeHash},
    limits,
};

mod edits;
mod history;
mod read;
mod stamp;
mod value;
mod written;

/// What a document could not do. No variant carries content: not the library's own words, which may quote some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CrdtError {
    /// The library panicked. Drop the document.
    #[error("the document library panicked")]
    Panicked,
    /// The library refused the bytes or the edit.
    #[error("the document library refused")]
    Rejected,
    /// A container named by an edit is not there.
    #[error("the document has no such container")]
    NoContainer,
    /// The bytes load, but not to what they should.
    #[error("the stored document is damaged")]
    Damaged,
    /// A change that the library would write otherwise than it came: no save of the document would load again. Drop
    /// the document.
    #[error("the document library does not keep a change as it came")]
    Unfaithful,
    /// A decimal is infinite or not a number.
    #[error("a decimal is not a finite number")]
    NotANumber,
    /// A record holds a record.
    #[error("a record holds a record")]
    NestedRecord,
    /// Values nest deeper than [`limits::DEPTH_MAX`].
    #[error("values nest deeper than {} levels", limits::DEPTH_MAX)]
    TooDeep,
}

impl From<automerge::AutomergeError> for CrdtError {
    fn from(_: automerge::AutomergeError) -> Self {
        CrdtError::Rejected
    }
}

/// A change this replica has just made. Not to be sent before it is stored.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct NewChange {
    /// Its name.
    pub hash: ChangeHash,
    /// The uncompressed chunk.
    pub bytes: Bytes,
}

crate::hide_content! { NewChange { hash } }

/// One automerge document.
pub struct Document {
    inner: AutoCommit,
    /// Built when somebody first asks where a value comes from, and kept up to date from then on.
    history: OnceLock<History>,
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
        Self { inner: inner.with_actor(automerge::ActorId::from(actor.0.to_vec())), history: OnceLock::new() }
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
        stamp: Stamp,
        edit: impl FnOnce(&mut Edits<'_>) -> Result<(), CrdtError>,
    ) -> Result<Option<NewChange>, CrdtError> {
        let before = self.inner.get_heads();
        let made = self.guarded(|inner| {
            let result = edit(&mut Edits { inner });
            if let Err(error) = result {
                inner.rollback();
                return Err(error);
            }
            let options = CommitOptions::default().with_time(stamp.seconds());
            let options = match stamp.message() {
                Some(message) => options.with_message(message),
                None => options,
            };
            let Some(hash) = inner.commit_with(options) else {
                return Ok(None);
            };
            let change = inner.get_change_by_hash(&hash).ok_or(CrdtError::Damaged)?;
            Ok(Some(NewChange { hash: ChangeHash(hash.0), bytes: Bytes::copy_from_slice(change.raw_bytes()) }))
        })?;
        self.remember_since(&before);
        Ok(made)
    }

    /// Applies changes that passed [`crate::change::Change::parse`]. Changes that are known are skipped; one that
    /// lacks a dependency waits inside the document for it.
    ///
    /// # Errors
    /// When the library refuses, panics, or does not keep a change as it came. The document must then be dropped.
    pub fn apply<'a>(&mut self, changes: impl IntoIterator<Item = &'a Bytes>) -> Result<(), CrdtError> {
        let chunks: Vec<&Bytes> = changes.into_iter().collect();
        let before = self.inner.get_heads();
        self.guarded(|inner| {
            let parse = |bytes: &Bytes| automerge::Change::from_bytes(bytes.to_vec()).map_err(|_| CrdtError::Damaged);
            let parsed: Vec<_> = chunks.into_iter().map(parse).collect::<Result<_, _>>()?;
            inner.apply_changes(parsed)?;
            check_faithful(inner, &before)
        })?;
        self.remember_since(&before);
        Ok(())
    }

    /// Applies changes as [`Document::apply`] does and gives the places that differ afterwards, ascending, each once.
    ///
    /// [`Document::changed_since`] walks the whole document for it, and does not see a value that comes to stand in a
    /// field beside others, or goes, without being the one shown first.
    ///
    /// # Errors
    /// As [`Document::apply`].
    pub fn apply_observed<'a>(
        &mut self,
        changes: impl IntoIterator<Item = &'a Bytes>,
    ) -> Result<Vec<Place>, CrdtError> {
        let before = self.inner.get_heads();
        // From here on the library takes notes; a comparison of exactly these two states reads them.
        self.inner.update_diff_cursor();
        let applied = self.apply(changes);
        let places = self.guarded(|inner| {
            applied?;
            let after = inner.get_heads();
            let mut places = read::places(&inner.diff(&before, &after));
            places.extend(read::written(inner, &before));
            places.sort_unstable();
            places.dedup();
            // The library keeps the latest comparison in memory: leave it one of nothing with nothing.
            inner.update_diff_cursor();
            inner.diff(&after, &after);
            Ok(places)
        });
        self.inner.reset_diff_cursor();
        places
    }

    /// Where every value comes from, and what came before what. Costs a walk over all changes the first time.
    pub fn history(&mut self) -> &History {
        if self.history.get().is_none() {
            let mut history = History::default();
            self.inner.get_changes_meta(&[]).iter().for_each(|change| history.record(change));
            let _ = self.history.set(history);
        }
        self.history.get().expect("set above")
    }

    fn remember_since(&mut self, before: &[automerge::ChangeHash]) {
        let Some(history) = self.history.get_mut() else { return };
        self.inner.get_changes_meta(before).iter().for_each(|change| history.record(change));
    }

    /// The document as one compact chunk. `Deflated` is for storage of single documents, `Plain` for bundles that
    /// are compressed together.
    pub fn save(&mut self, packing: Packing) -> Vec<u8> {
        match packing {
            Packing::Deflated => self.inner.save(),
            Packing::Plain => self.inner.save_nocompress(),
        }
    }

    /// Under which actor it writes.
    pub fn actor(&self) -> ActorId {
        ActorId::from_slice(self.inner.get_actor().to_bytes()).expect("every constructor takes 16 bytes")
    }

    /// What a change stands on; nothing for one that is not here.
    pub fn deps(&mut self, change: ChangeHash) -> Vec<ChangeHash> {
        let meta = self.inner.get_change_meta_by_hash(&automerge::ChangeHash(change.0));
        meta.map(|meta| meta.deps.iter().map(|dep| ChangeHash(dep.0)).collect()).unwrap_or_default()
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

#[cfg(test)]
mod tests;

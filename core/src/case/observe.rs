//! What has changed since somebody last looked, as paths: a screen reads again what it shows of them, and no more.

use bytes::Bytes;

use super::{CHECKLISTS, ENTRIES, EVENTS, Event, FACTS, NARRATIVE, Path, entry, fact};
use crate::{
    crdt::{CrdtError, Document, Item, Place},
    ids::{ChangeHash, EntryId},
};

/// The paths that differ from the state that these heads name, ascending, each once. A correction names the corrected
/// entry too. The library's comparison does not see a value that joins or leaves a fact without being the one shown
/// first: who follows a document change by change uses [`apply_observed`], which does.
pub fn changed_paths(document: &mut Document, since: &[ChangeHash]) -> Vec<Path> {
    let places = document.changed_since(since);
    paths(document, places)
}

/// Applies changes, and gives the paths that differ afterwards as [`changed_paths`] does, without its walk over the
/// whole document. A fact is among them too when a value joined or left it that is not the one shown first.
///
/// # Errors
/// As [`Document::apply`].
pub fn apply_observed<'a>(
    document: &mut Document,
    changes: impl IntoIterator<Item = &'a Bytes>,
) -> Result<Vec<Path>, CrdtError> {
    let places = document.apply_observed(changes)?;
    Ok(paths(document, places))
}

fn paths(document: &mut Document, places: Vec<Place>) -> Vec<Path> {
    let mut paths: Vec<Path> = places.into_iter().flat_map(|place| paths_of(document, place)).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

fn paths_of(document: &mut Document, place: Place) -> Vec<Path> {
    match place {
        Place::Key(root, Some(name)) if root == FACTS => vec![Path::Fact(name)],
        Place::Key(root, Some(key)) if root == CHECKLISTS => vec![fact::element_path(&key)],
        Place::Key(root, _) if root == NARRATIVE => vec![Path::Narrative],
        Place::Index(root, index) if root == ENTRIES => {
            let ids = document.item(ENTRIES, index).map(|item| entry_paths(&item)).unwrap_or_default();
            if ids.is_empty() { vec![Path::Other(root)] } else { ids }
        }
        Place::Index(root, index) if root == EVENTS => {
            let event = document.item(EVENTS, index).and_then(|item| Event::of(&item));
            vec![match event {
                Some(Event::Order { order, .. }) => Path::Order(order),
                Some(_) => Path::Events,
                None => Path::Other(root),
            }]
        }
        Place::Key(root, _) | Place::Index(root, _) => vec![Path::Other(root)],
    }
}

fn entry_paths(item: &Item) -> Vec<Path> {
    let id = |name: &str| EntryId::from_slice(item.field(name)?.as_bytes()?).ok().map(Path::Entry);
    [entry::ID, entry::REPLACES].into_iter().filter_map(id).collect()
}

//! A batch of entries as rows: positions given, documents and tenants collected, so that each is written once.

use std::collections::BTreeMap;

use bytes::Bytes;
use feldakte_core::{
    access::Subject,
    ids::{DocumentId, Position, TenantId},
};

use super::{key, tenants::Tenants};
use crate::store::{Append, StoreError};

/// Everything one commit of the log writes.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    /// What each entry's author is told, in the order given.
    pub positions: Vec<Position>,
    pub entries: Vec<EntryRow<'a>>,
    /// Ascending: neighbours in the table are written together.
    pub documents: BTreeMap<DocumentId, DocumentRow>,
    /// In log order.
    pub authority: Vec<AuthorityRow<'a>>,
    /// Tenants of the batch and where their logs end after it.
    pub tenants: BTreeMap<&'a TenantId, TenantRow>,
}

/// One entry.
pub(super) struct EntryRow<'a> {
    pub id: i64,
    pub document: DocumentId,
    /// The document's entry before this one; `None` when that is not part of the batch.
    pub previous: Option<i64>,
    pub changes: i64,
    pub encoded: &'a Bytes,
}

/// Content is left out.
impl std::fmt::Debug for EntryRow<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntryRow").field("id", &self.id).field("document", &self.document).finish_non_exhaustive()
    }
}

/// What the batch does to one document.
#[derive(Debug)]
pub(super) struct DocumentRow {
    pub tenant: i64,
    /// Its first entry, should the document be new.
    pub created: i64,
    pub last: i64,
    /// How many are added.
    pub changes: i64,
}

/// The beginning or end of a grant.
#[derive(Debug)]
pub(super) struct AuthorityRow<'a> {
    pub tenant: i64,
    pub subject: &'a Subject,
    pub document: DocumentId,
    pub entry: i64,
    pub change: AuthorityChange,
}

/// What happens to a subject's grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuthorityChange {
    /// Until then, when it ends by itself.
    Begins(Option<i64>),
    Ends,
}

/// One tenant of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct TenantRow {
    pub number: i64,
    pub head: Position,
    /// Whether it has no row yet.
    pub new: bool,
}

impl<'a> Batch<'a> {
    /// Gives every entry its place after the heads of the tenants.
    ///
    /// # Errors
    /// When two tenants write the same document.
    pub fn plan(tenants: &Tenants, appends: &'a [Append]) -> Result<Self, StoreError> {
        let mut batch = Self::default();
        batch.positions.reserve(appends.len());
        batch.entries.reserve(appends.len());
        for append in appends {
            batch.add(tenants, append)?;
        }
        Ok(batch)
    }

    fn add(&mut self, tenants: &Tenants, append: &'a Append) -> Result<(), StoreError> {
        let (tenant, position) = self.next_position(tenants, &append.tenant)?;
        let document = append.entry.document;
        let id = key::entry_id(tenant, position);
        let changes = i64::try_from(append.entry.changes.len()).expect("a Vec's length fits");
        let previous = self.extend_document(document, DocumentRow { tenant, created: id, last: id, changes })?;
        // Ends come first: an entry that ends and begins a subject's grant leaves it valid, as in core's ledger.
        let ends = append.entry.revoked.iter().map(|subject| (subject, AuthorityChange::Ends));
        let begins = append.entry.grants.iter().map(|grant| (&grant.subject, AuthorityChange::Begins(grant.until)));
        let rows = ends.chain(begins);
        self.authority.extend(rows.map(|(subject, change)| AuthorityRow {
            tenant,
            subject,
            document,
            entry: id,
            change,
        }));
        self.entries.push(EntryRow { id, document, previous, changes, encoded: &append.encoded });
        self.positions.push(position);
        Ok(())
    }

    fn next_position(&mut self, tenants: &Tenants, tenant: &'a TenantId) -> Result<(i64, Position), StoreError> {
        let added = self.tenants.values().filter(|row| row.new).count();
        let row = match self.tenants.entry(tenant) {
            std::collections::btree_map::Entry::Occupied(row) => row.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(tenants.row(tenant, added)?),
        };
        row.head = row.head.next();
        Ok((row.number, row.head))
    }

    /// Returns the document's entry before this one.
    fn extend_document(&mut self, document: DocumentId, next: DocumentRow) -> Result<Option<i64>, StoreError> {
        let Some(row) = self.documents.get_mut(&document) else {
            self.documents.insert(document, next);
            return Ok(None);
        };
        if row.tenant != next.tenant {
            return Err(StoreError::Damaged("a document's tenant"));
        }
        row.changes += next.changes;
        Ok(Some(std::mem::replace(&mut row.last, next.last)))
    }

    /// About how many bytes the commit adds to the write-ahead log: payloads, and a page per document at most.
    pub fn write_ahead_len(&self) -> u64 {
        let payloads: usize = self.entries.iter().map(|entry| entry.encoded.len() + ROW_OVERHEAD).sum();
        let pages = 2 + self.documents.len() + self.authority.len();
        (payloads + pages * PAGE_LEN) as u64
    }
}

/// Rowid, digest and record header of an entry.
const ROW_OVERHEAD: usize = 64;

const PAGE_LEN: usize = 4096;

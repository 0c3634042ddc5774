//! What the store holds, written for clarity: every answer is found by looking at all there is.

use std::collections::{BTreeMap, BTreeSet};

use feldakte_core::{
    access::Subject,
    ids::{DocumentId, Position, TenantId},
};
use feldakte_gateway::store::{Append, Changed, DocumentLog, Reader, StoreError, Stored, StoredSnapshot};

use super::Lengths;

/// The logs, and what follows from them.
#[derive(Debug, Default)]
pub(super) struct Image {
    logs: BTreeMap<TenantId, Vec<Append>>,
    documents: BTreeMap<DocumentId, Document>,
    snapshots: BTreeMap<DocumentId, StoredSnapshot>,
}

#[derive(Debug)]
struct Document {
    tenant: TenantId,
    /// Never empty, ascending.
    positions: Vec<Position>,
    authority: BTreeMap<Subject, Held>,
}

/// A subject's last grant.
#[derive(Debug, Clone, Copy)]
struct Held {
    began: Position,
    ended: Option<Position>,
    until: Option<i64>,
}

impl Held {
    fn is_valid(&self, now_ms: i64) -> bool {
        self.ended.is_none() && self.until.is_none_or(|until| now_ms < until)
    }
}

impl Image {
    pub fn append(&mut self, appends: &[Append]) -> Result<Vec<Position>, StoreError> {
        let mut owners: BTreeMap<_, _> = self.documents.iter().map(|(id, document)| (*id, &document.tenant)).collect();
        for append in appends {
            if owners.entry(append.entry.document).or_insert(&append.tenant) != &&append.tenant {
                return Err(StoreError::Damaged("a document's tenant"));
            }
        }
        Ok(appends.iter().map(|append| self.add(append.clone())).collect())
    }

    fn add(&mut self, append: Append) -> Position {
        let position = self.head(&append.tenant).next();
        self.derive(&append, position);
        self.logs.entry(append.tenant.clone()).or_default().push(append);
        position
    }

    fn derive(&mut self, append: &Append, position: Position) {
        let document = self.documents.entry(append.entry.document).or_insert_with(|| Document {
            tenant: append.tenant.clone(),
            positions: Vec::new(),
            authority: BTreeMap::new(),
        });
        document.positions.push(position);
        for subject in &append.entry.revoked {
            if let Some(held) = document.authority.get_mut(subject) {
                held.ended.get_or_insert(position);
            }
        }
        for grant in &append.entry.grants {
            let held = document.authority.entry(grant.subject.clone());
            let held = held.or_insert(Held { began: position, ended: None, until: None });
            if held.ended.take().is_some() {
                held.began = position;
            }
            held.until = grant.until;
        }
    }

    /// Forgets entries beyond these lengths.
    pub fn truncate(&mut self, lengths: &Lengths) {
        for (tenant, log) in &mut self.logs {
            log.truncate(lengths.get(tenant).copied().unwrap_or_default());
        }
        self.logs.retain(|_, log| !log.is_empty());
        self.documents.clear();
        for (_, position, append) in self.entries() {
            self.derive(&append, position);
        }
        self.snapshots.retain(|document, _| self.documents.contains_key(document));
    }

    pub fn entries(&self) -> Vec<(TenantId, Position, Append)> {
        let of = |(tenant, log): (&TenantId, &Vec<Append>)| {
            let numbered = (1..).map(Position).zip(log.clone());
            numbered.map(|(position, append)| (tenant.clone(), position, append)).collect::<Vec<_>>()
        };
        self.logs.iter().flat_map(of).collect()
    }

    pub fn lengths(&self) -> Lengths {
        self.logs.iter().map(|(tenant, log)| (tenant.clone(), log.len())).collect()
    }

    pub fn head(&self, tenant: &TenantId) -> Position {
        Position(self.logs.get(tenant).map_or(0, |log| log.len() as u64))
    }

    pub fn document(&self, document: DocumentId) -> Option<DocumentLog> {
        let Document { tenant, positions, .. } = self.documents.get(&document)?;
        Some(DocumentLog { tenant: tenant.clone(), entries: self.read(tenant, positions) })
    }

    pub fn read(&self, tenant: &TenantId, positions: &[Position]) -> Vec<Stored> {
        let wanted: BTreeSet<_> = positions.iter().copied().collect();
        let found = wanted.into_iter().filter_map(|position| {
            let append = self.append_at(tenant, position)?;
            Some(Stored { position, encoded: append.encoded.clone() })
        });
        found.collect()
    }

    fn append_at(&self, tenant: &TenantId, position: Position) -> Option<&Append> {
        let index = usize::try_from(position.0.checked_sub(1)?).ok()?;
        self.logs.get(tenant)?.get(index)
    }

    pub fn positions(
        &self,
        tenant: &TenantId,
        documents: &[DocumentId],
        after: Position,
        up_to: Position,
    ) -> Vec<Position> {
        let documents = documents.iter().filter_map(|document| self.documents.get(document));
        let own = documents.filter(|document| document.tenant == *tenant);
        let positions = own.flat_map(|document| document.within(after, up_to)).collect::<BTreeSet<_>>();
        positions.into_iter().collect()
    }

    pub fn may_read(&self, reader: &Reader, document: DocumentId, now_ms: i64) -> bool {
        let own = self.documents.get(&document).filter(|document| document.tenant == reader.tenant);
        own.is_some_and(|document| document.held(reader).any(|held| held.is_valid(now_ms)))
    }

    pub fn lapsed(&self, now_ms: i64, after: Option<DocumentId>, limit: usize) -> Vec<DocumentId> {
        let has_lapsed = |document: &Document| {
            document.authority.values().any(|held| held.ended.is_none() && !held.is_valid(now_ms))
        };
        let lapsed = self.documents.iter().filter(|(id, document)| Some(**id) > after && has_lapsed(document));
        lapsed.map(|(id, _)| *id).take(limit).collect()
    }

    pub fn changed(&self, reader: &Reader, after: Position, up_to: Position, now_ms: i64) -> Vec<Changed> {
        let own = self.documents.iter().filter(|(_, document)| document.tenant == reader.tenant);
        let mut changed: Vec<_> = own
            .filter_map(|(id, document)| self.changed_document((*id, document), reader, (after, up_to), now_ms))
            .collect();
        changed.sort_by_key(|changed| self.documents[&changed.document].last());
        changed
    }

    fn changed_document(
        &self,
        (id, document): (DocumentId, &Document),
        reader: &Reader,
        (after, up_to): (Position, Position),
        now_ms: i64,
    ) -> Option<Changed> {
        let valid: Vec<Held> = document.held(reader).filter(|held| held.is_valid(now_ms)).collect();
        let until = valid.iter().map(|held| held.until.unwrap_or(i64::MAX)).max();
        let (granted, ended) = match valid.iter().map(|held| held.began).min() {
            Some(began) => (began, None),
            None => {
                let ended = document.held(reader).filter_map(|held| held.ended).max()?;
                (document.held(reader).map(|held| held.began).min()?, Some(ended))
            }
        };
        let visible = ended.map_or(granted <= up_to, |ended| after < ended && ended <= up_to);
        let within: Vec<_> = document.within(after, up_to).collect();
        if !visible || within.is_empty() {
            return None;
        }
        let appends = within.iter().filter_map(|position| self.append_at(&document.tenant, *position));
        let changes = appends.map(|append| append.entry.changes.len() as u64).sum();
        Some(Changed {
            document: id,
            created: document.positions[0],
            granted,
            ended,
            until: until.filter(|until| *until < i64::MAX),
            changes,
        })
    }

    pub fn snapshot(&self, document: DocumentId) -> Option<&StoredSnapshot> {
        self.snapshots.get(&document)
    }

    pub fn put_snapshot(&mut self, document: DocumentId, snapshot: &StoredSnapshot) -> Result<(), StoreError> {
        if !self.documents.contains_key(&document) {
            return Err(StoreError::Failed("the document is unknown".into()));
        }
        if self.snapshot(document).is_none_or(|stored| stored.position <= snapshot.position) {
            self.snapshots.insert(document, snapshot.clone());
        }
        Ok(())
    }

    /// Puts back what was there before.
    pub fn restore_snapshot(&mut self, document: DocumentId, before: Option<StoredSnapshot>) {
        match before {
            Some(before) => self.snapshots.insert(document, before),
            None => self.snapshots.remove(&document),
        };
    }

    pub fn unprojected(&self, limit: usize) -> Vec<DocumentId> {
        let lags = |id: &DocumentId, document: &Document| {
            self.snapshot(*id).is_none_or(|snapshot| snapshot.position < document.last())
        };
        let lagging = self.documents.iter().filter(|(id, document)| lags(id, document));
        lagging.map(|(id, _)| *id).take(limit).collect()
    }
}

impl Document {
    fn last(&self) -> Position {
        *self.positions.last().expect("a document begins with its first entry")
    }

    fn within(&self, after: Position, up_to: Position) -> impl Iterator<Item = Position> {
        self.positions.iter().copied().filter(move |position| after < *position && *position <= up_to)
    }

    fn held(&self, reader: &Reader) -> impl Iterator<Item = Held> {
        reader.subjects.iter().filter_map(|subject| self.authority.get(subject).copied())
    }
}

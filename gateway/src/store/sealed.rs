//! A store whose content is sealed: changes and snapshots stand on the disk under the keys of their cases.
//!
//! It wraps any [`Store`]. Entries without changes (grants, their ends, marks) stay in the open: they hold ids alone, and a
//! case that was shredded still has to end for its readers. Content of a shredded case is left out of everything, as if it
//! had never been written.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use feldakte_core::ids::{CaseId, DocumentId, Epoch, Position, TenantId};
use tokio::sync::Mutex;

use self::cipher::{CaseCipher, Kind, Place, document_of};
use super::{
    Append, Changed, DocumentLog, Head, Reader, SharedStore, Store, StoreError, Stored, StoredSnapshot,
    keyring::{Held, Keyring},
    sqlite::SqliteStore,
};
use crate::keys::CaseKey;

pub mod cipher;
mod matters;

pub use matters::SealedMatters;

/// A store and the keys of what is in it.
pub struct SealedStore {
    inner: SharedStore,
    keyring: Arc<Keyring>,
    /// Entries are bound to their positions, so one batch at a time is sealed and appended.
    appending: Mutex<()>,
}

impl SealedStore {
    /// Seals what goes into `inner` with the keys of `keyring`.
    pub fn new(inner: SharedStore, keyring: Arc<Keyring>) -> Arc<Self> {
        Arc::new(Self { inner, keyring, appending: Mutex::default() })
    }

    /// The same for a log in SQLite, which goes with no other keyring from then on.
    ///
    /// # Errors
    /// With [`DatabaseError::OtherKeyring`](super::sqlite::DatabaseError::OtherKeyring), or what SQLite says.
    pub async fn pair(log: Arc<SqliteStore>, keyring: Arc<Keyring>) -> Result<Arc<Self>, StoreError> {
        log.seal_with(keyring.id()).await?;
        Ok(Self::new(log, keyring))
    }

    /// Seals the entries that hold changes, for the positions that they will get.
    async fn seal(&self, entries: &[Append]) -> Result<(Vec<Append>, Vec<Position>), StoreError> {
        let with_content = entries.iter().filter(|append| has_content(append));
        let cases = with_content.map(|append| (append.entry.document.case, &append.tenant)).collect::<BTreeMap<_, _>>();
        let held = self.keyring.held_or_new(cases).await?;
        let mut heads: BTreeMap<&TenantId, Position> = BTreeMap::new();
        let (mut sealed, mut positions) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        for append in entries {
            let last = match heads.get(&append.tenant) {
                Some(last) => *last,
                None => self.inner.head(&append.tenant).await?.position,
            };
            let position = last.next();
            heads.insert(&append.tenant, position);
            positions.push(position);
            let mut append = append.clone();
            if has_content(&append) {
                let document = append.entry.document;
                let place = Place { kind: Kind::Entry, document, position };
                append.encoded = writing_key(held.get(&document.case))?.seal(place, &append.encoded)?;
            }
            sealed.push(append);
        }
        Ok((sealed, positions))
    }

    /// The content of a row; `None` when its case was shredded.
    async fn open(&self, Stored { position, encoded }: Stored) -> Result<Option<Stored>, StoreError> {
        let Some(document) = document_of(&encoded)? else { return Ok(Some(Stored { position, encoded })) };
        let Some(cipher) = self.reading_key(document.case).await? else { return Ok(None) };
        let encoded = cipher.open(Place { kind: Kind::Entry, document, position }, &encoded)?;
        Ok(Some(Stored { position, encoded }))
    }

    async fn open_all(&self, rows: Vec<Stored>) -> Result<Vec<Stored>, StoreError> {
        let mut opened = Vec::with_capacity(rows.len());
        for row in rows {
            opened.extend(self.open(row).await?);
        }
        Ok(opened)
    }

    /// `None` when the case was shredded.
    async fn reading_key(&self, case: CaseId) -> Result<Option<Arc<CaseCipher>>, StoreError> {
        match self.keyring.held(case).await? {
            Some(Held::Key(cipher)) => Ok(Some(cipher)),
            Some(Held::Shredded) => Ok(None),
            None => Err(StoreError::Damaged("a case's key: the keyring does not have it")),
        }
    }

    async fn is_shredded(&self, case: CaseId) -> Result<bool, StoreError> {
        Ok(matches!(self.keyring.held(case).await?, Some(Held::Shredded)))
    }
}

#[async_trait]
impl Store for SealedStore {
    async fn epoch(&self) -> Result<Epoch, StoreError> {
        self.inner.epoch().await
    }

    async fn head(&self, tenant: &TenantId) -> Result<Head, StoreError> {
        self.inner.head(tenant).await
    }

    async fn append(&self, entries: &[Append]) -> Result<Vec<Position>, StoreError> {
        let _one = self.appending.lock().await;
        let (sealed, expected) = self.seal(entries).await?;
        let positions = self.inner.append(&sealed).await?;
        match positions == expected {
            true => Ok(positions),
            // Durable, and sealed for places where it does not stand: nobody may be told that it can be read.
            false => Err(StoreError::Unknown("entries got other positions than they were sealed for".into())),
        }
    }

    /// # Errors
    /// Besides what the store says, [`StoreError::Shredded`].
    async fn document(&self, document: DocumentId) -> Result<Option<DocumentLog>, StoreError> {
        if self.is_shredded(document.case).await? {
            return Err(StoreError::Shredded);
        }
        let Some(DocumentLog { tenant, entries }) = self.inner.document(document).await? else { return Ok(None) };
        Ok(Some(DocumentLog { tenant, entries: self.open_all(entries).await? }))
    }

    async fn entries_after(&self, document: DocumentId, after: Position) -> Result<Vec<Stored>, StoreError> {
        self.open_all(self.inner.entries_after(document, after).await?).await
    }

    async fn changed(
        &self,
        reader: &Reader,
        after: Position,
        up_to: Position,
        now_ms: i64,
    ) -> Result<Vec<Changed>, StoreError> {
        self.inner.changed(reader, after, up_to, now_ms).await
    }

    async fn positions(
        &self,
        tenant: &TenantId,
        documents: &[DocumentId],
        after: Position,
        up_to: Position,
    ) -> Result<Vec<Position>, StoreError> {
        self.inner.positions(tenant, documents, after, up_to).await
    }

    async fn read(&self, tenant: &TenantId, positions: &[Position]) -> Result<Vec<Stored>, StoreError> {
        self.open_all(self.inner.read(tenant, positions).await?).await
    }

    async fn may_read(&self, reader: &Reader, document: DocumentId, now_ms: i64) -> Result<bool, StoreError> {
        self.inner.may_read(reader, document, now_ms).await
    }

    async fn lapsed(
        &self,
        now_ms: i64,
        after: Option<DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>, StoreError> {
        self.inner.lapsed(now_ms, after, limit).await
    }

    async fn snapshot(&self, document: DocumentId) -> Result<Option<StoredSnapshot>, StoreError> {
        let Some(stored) = self.inner.snapshot(document).await? else { return Ok(None) };
        let Some(sealed_for) = document_of(&stored.chunks)? else { return Ok(Some(stored)) };
        let Some(cipher) = self.reading_key(sealed_for.case).await? else { return Ok(None) };
        let place = Place { kind: Kind::Snapshot, document, position: stored.position };
        let chunks = cipher.open(place, &stored.chunks)?;
        Ok(Some(StoredSnapshot { chunks, ..stored }))
    }

    async fn put_snapshot(&self, document: DocumentId, snapshot: &StoredSnapshot) -> Result<(), StoreError> {
        let held = self.keyring.held(document.case).await?;
        let place = Place { kind: Kind::Snapshot, document, position: snapshot.position };
        let sealed = match held {
            // Of a case of which nothing was ever sealed: nothing but what already stands in the open.
            None => snapshot.clone(),
            held => StoredSnapshot {
                chunks: writing_key(held.as_ref())?.seal(place, &snapshot.chunks)?,
                ..snapshot.clone()
            },
        };
        self.inner.put_snapshot(document, &sealed).await
    }

    async fn unprojected(&self, limit: usize) -> Result<Vec<DocumentId>, StoreError> {
        self.inner.unprojected(limit).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.inner.probe().await
    }

    async fn close(&self) {
        self.inner.close().await;
        self.keyring.close().await;
    }
}

fn has_content(append: &Append) -> bool {
    !append.entry.changes.is_empty()
}

/// What is written for a case that was shredded a moment ago can be read by nobody: its key is forgotten at once.
fn writing_key(held: Option<&Held>) -> Result<Arc<CaseCipher>, StoreError> {
    match held {
        Some(Held::Key(cipher)) => Ok(cipher.clone()),
        Some(Held::Shredded) | None => Ok(Arc::new(CaseCipher::new(&CaseKey::generate()?)?)),
    }
}

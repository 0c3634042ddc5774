//! Content sealed under a key per document (AES-256-GCM), so that whoever destroys 32 bytes destroys all of it.
//!
//! SQLite overwrites what it deletes, but not what it has moved: when rows change pages, copies of them may stay behind.
//! So the documents' keys are wrapped under a sealing key that is one row of fixed size, overwritten in place. A new
//! sealing key makes every copy of a destroyed document's key worthless, wherever it stands.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sqlx::SqliteConnection;
use zeroize::Zeroizing;

use crate::store::LocalStoreError;

/// What is sealed: a value opens only as what it was sealed as. Numbers are disk format.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    Snapshot = 1,
    Change = 2,
    Intent = 3,
    Key = 4,
}

/// Seals and opens the content of one document.
pub(super) struct Sealer(LessSafeKey);

type Key = Zeroizing<Vec<u8>>;

impl Sealer {
    /// With the document's key.
    pub(super) async fn of(connection: &mut SqliteConnection, document: i64) -> Result<Self, LocalStoreError> {
        let found: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "select sealing.key, document_key.key from sealing, document_key where document_key.document = ?",
        )
        .bind(document)
        .fetch_optional(connection)
        .await?;
        let (sealing, wrapped) = found.ok_or(DAMAGED)?;
        let key = Self::new(&Zeroizing::new(sealing))?.open(Column::Key, wrapped)?;
        Self::new(&Zeroizing::new(key))
    }

    fn new(key: &Key) -> Result<Self, LocalStoreError> {
        Ok(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_| DAMAGED)?)))
    }

    /// Nonce, ciphertext, tag; nothing stays nothing.
    pub(super) fn seal(&self, column: Column, plain: &[u8]) -> Result<Vec<u8>, LocalStoreError> {
        if plain.is_empty() {
            return Ok(Vec::new());
        }
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        // A document has few changes: random nonces of 96 bits never meet.
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from([column as u8]), &mut sealed[NONCE_LEN..]);
        sealed.extend_from_slice(tag.map_err(|_| LocalStoreError::Failed("content cannot be sealed".into()))?.as_ref());
        Ok(sealed)
    }

    /// What [`Sealer::seal`] was given.
    pub(super) fn open(&self, column: Column, mut sealed: Vec<u8>) -> Result<Vec<u8>, LocalStoreError> {
        if sealed.is_empty() {
            return Ok(sealed);
        }
        let nonce = sealed.get(..NONCE_LEN).and_then(|nonce| Nonce::try_assume_unique_for_key(nonce).ok());
        let aad = Aad::from([column as u8]);
        let opened = self.0.open_within(nonce.ok_or(DAMAGED)?, aad, &mut sealed, NONCE_LEN..);
        let len = opened.map_err(|_| DAMAGED)?.len();
        sealed.truncate(len);
        Ok(sealed)
    }
}

/// The sealing key of a new store.
pub(super) async fn create(connection: &mut SqliteConnection) -> Result<(), LocalStoreError> {
    let key = new_key()?;
    sqlx::query("insert into sealing (one, key) values (1, ?)").bind(&key[..]).execute(connection).await?;
    Ok(())
}

/// A key for a new document.
pub(super) async fn add_key(connection: &mut SqliteConnection, document: i64) -> Result<(), LocalStoreError> {
    let wrapped = sealing(connection).await?.seal(Column::Key, &new_key()?)?;
    let sql = "insert or replace into document_key (document, key) values (?, ?)";
    sqlx::query(sql).bind(document).bind(wrapped).execute(connection).await?;
    Ok(())
}

/// Makes every key worthless that has been deleted or replaced: all others are wrapped under a new sealing key.
pub(super) async fn forget_deleted_keys(connection: &mut SqliteConnection) -> Result<(), LocalStoreError> {
    let old = sealing(connection).await?;
    let key = new_key()?;
    let new = Sealer::new(&key)?;
    let wrapped: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select document, key from document_key").fetch_all(&mut *connection).await?;
    for (document, wrapped) in wrapped {
        let rewrapped = new.seal(Column::Key, &Zeroizing::new(old.open(Column::Key, wrapped)?))?;
        sqlx::query("update document_key set key = ? where document = ?")
            .bind(rewrapped)
            .bind(document)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query("update sealing set key = ?").bind(&key[..]).execute(connection).await?;
    Ok(())
}

async fn sealing(connection: &mut SqliteConnection) -> Result<Sealer, LocalStoreError> {
    let key: Vec<u8> = sqlx::query_scalar("select key from sealing").fetch_one(connection).await?;
    Sealer::new(&Zeroizing::new(key))
}

fn new_key() -> Result<Key, LocalStoreError> {
    let mut key = Zeroizing::new(vec![0; AES_256_GCM.key_len()]);
    getrandom::fill(&mut key).map_err(|error| LocalStoreError::Failed(Box::new(error)))?;
    Ok(key)
}

fn random<const N: usize>() -> Result<[u8; N], LocalStoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| LocalStoreError::Failed(Box::new(error)))?;
    Ok(bytes)
}

const DAMAGED: LocalStoreError = LocalStoreError::Damaged("sealed content");

//! Two stores under the same random operations must give the same answers.

use anyhow::{Result, ensure};
use feldakte_core::{
    access::{PartSet, Subject},
    ids::{DocumentId, Position, TenantId},
};
use feldakte_gateway::store::{Append, Reader, Store, StoreError, StoredSnapshot};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::{NOW, about, device, document, tenant, unit};

/// One call.
#[derive(Debug)]
pub enum Operation {
    /// Writes a batch, then looks at the heads.
    Append(Vec<Append>),
    /// Writes a snapshot, then reads it.
    Snapshot(DocumentId, StoredSnapshot),
    /// Asks everything that can be asked about a document.
    Document(DocumentId, Position),
    /// What a reader that comes back asks.
    CatchUp(Reader, Vec<DocumentId>, Position, Position),
    /// The process that has the store open ends, and another opens it.
    Reopen,
}

/// So many operations; the same seed gives the same ones.
pub fn operations(seed: u64, count: usize) -> Vec<Operation> {
    let mut dice = Dice { rng: StdRng::seed_from_u64(seed), written: 0 };
    let mut operations: Vec<_> = (0..count).flat_map(|_| dice.next_operations()).collect();
    // Whatever happened, the log goes on.
    operations.push(Operation::Append(dice.batch(0.0)));
    operations
}

/// Runs one operation on both.
///
/// # Errors
/// When the answers differ.
pub async fn compare(one: &dyn Store, other: &dyn Store, operation: &Operation) -> Result<()> {
    let (one, other) = (answer(one, operation).await, answer(other, operation).await);
    ensure!(one == other, "different answers:\n{one}\n{other}");
    Ok(())
}

async fn answer(store: &dyn Store, operation: &Operation) -> String {
    let answer = match operation {
        Operation::Append(batch) => append(store, batch).await,
        Operation::Snapshot(document, snapshot) => put_snapshot(store, *document, snapshot).await,
        Operation::Document(document, after) => about_document(store, *document, *after).await,
        Operation::CatchUp(reader, documents, after, up_to) => catch_up(store, reader, documents, *after, *up_to).await,
        Operation::Reopen => Ok(String::new()),
    };
    match answer {
        Ok(answer) => answer,
        // Sources differ between stores; what a caller can tell apart must not.
        Err(StoreError::Failed(_)) => "failed".to_owned(),
        Err(error) => error.to_string(),
    }
}

async fn append(store: &dyn Store, batch: &[Append]) -> Result<String, StoreError> {
    let positions = store.append(batch).await?;
    let heads = [store.head(&tenants()[0]).await?, store.head(&tenants()[1]).await?];
    Ok(format!("{positions:?} {heads:?}"))
}

async fn put_snapshot(
    store: &dyn Store,
    document: DocumentId,
    snapshot: &StoredSnapshot,
) -> Result<String, StoreError> {
    store.put_snapshot(document, snapshot).await?;
    Ok(format!("{:?} {:?}", store.snapshot(document).await?, store.unprojected(usize::MAX).await?))
}

async fn about_document(store: &dyn Store, document: DocumentId, after: Position) -> Result<String, StoreError> {
    let (log, later) = (store.document(document).await?, store.entries_after(document, after).await?);
    Ok(format!("{log:?} {later:?} {:?}", store.snapshot(document).await?))
}

async fn catch_up(
    store: &dyn Store,
    reader: &Reader,
    documents: &[DocumentId],
    after: Position,
    up_to: Position,
) -> Result<String, StoreError> {
    let changed = store.changed(reader, after, up_to, NOW).await?;
    let positions = store.positions(&reader.tenant, documents, after, up_to).await?;
    let entries = store.read(&reader.tenant, &positions).await?;
    let mut readable = Vec::new();
    for document in documents {
        readable.push(store.may_read(reader, *document, NOW).await?);
    }
    let lapsed = store.lapsed(NOW, documents.first().copied(), 3).await?;
    Ok(format!("{changed:?} {positions:?} {entries:?} {readable:?} {lapsed:?}"))
}

struct Dice {
    rng: StdRng,
    /// About how many entries there are: ranges are chosen around them.
    written: u64,
}

impl Dice {
    fn next_operations(&mut self) -> Vec<Operation> {
        vec![match self.rng.random_range(0..100) {
            // Now and then a tenant writes what belongs to the other.
            0..40 => Operation::Append(self.batch(0.002)),
            40..50 => Operation::Snapshot(self.document(), self.snapshot()),
            50..65 => Operation::Document(self.document(), self.position()),
            65..98 => self.catch_up(),
            // Snapshots are durable with the next append at the latest.
            _ => return vec![Operation::Append(self.batch(0.0)), Operation::Reopen],
        }]
    }

    fn batch(&mut self, foreign: f64) -> Vec<Append> {
        let len = *[1, 1, 2, 3, 5, 70].choose(&mut self.rng).expect("not empty");
        self.written += len / 2;
        (0..len).map(|_| self.append(foreign)).collect()
    }

    fn append(&mut self, foreign: f64) -> Append {
        let document = self.rng.random_range(0..DOCUMENTS);
        let foreign = self.rng.random_bool(foreign);
        let owner = usize::from((document % 2 == 1) != foreign);
        let mut draft = about(super::document(document)).of(tenants()[owner].clone());
        for subject in subjects() {
            match self.rng.random_range(0..20) {
                0 | 1 => draft = draft.grant(&subject),
                2 => draft = draft.revoke(&subject),
                3 => draft = draft.grant_until(&subject, NOW + self.rng.random_range(-1..=1)),
                _ => {}
            }
        }
        draft.changes(self.rng.random_range(0..4)).change(&self.rng.random::<[u8; 8]>()).append()
    }

    fn catch_up(&mut self) -> Operation {
        let tenant = tenants().choose(&mut self.rng).expect("not empty").clone();
        let subjects = subjects().into_iter().filter(|_| self.rng.random_bool(0.6)).collect();
        let documents = (0..self.rng.random_range(0..4)).map(|_| self.document()).collect();
        Operation::CatchUp(
            Reader { tenant, subjects, parts: PartSet::ALL },
            documents,
            self.position(),
            self.position(),
        )
    }

    fn snapshot(&mut self) -> StoredSnapshot {
        StoredSnapshot { position: self.position(), ..super::snapshot(0, b"chunks") }
    }

    fn document(&mut self) -> DocumentId {
        document(self.rng.random_range(0..DOCUMENTS + 1))
    }

    fn position(&mut self) -> Position {
        Position(self.rng.random_range(0..self.written + 3))
    }
}

fn tenants() -> [TenantId; 2] {
    [tenant("dortmund"), tenant("hagen")]
}

fn subjects() -> [Subject; 4] {
    [unit("rtw-1"), unit("rtw-2"), device(1), device(2)]
}

/// Few, so that they meet often.
const DOCUMENTS: u128 = 12;

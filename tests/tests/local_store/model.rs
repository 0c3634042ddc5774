//! The encrypted store and the simulated one behave alike over random operations; both keep it all when closed.
//!
//! `FELDAKTE_SEED=17 cargo test -p feldakte-tests --test local_store model` repeats one run.

use std::{env, time::Duration};

use bytes::Bytes;
use feldakte_client_sdk::store::{
    Answer, LocalStore, LocalStoreError, OwnChange, Reader, Received, ReceivedSnapshot, Revoked,
};
use feldakte_core::{
    access::{BreakGlassReason, Role},
    ids::{ActorId, CaseId, ChangeHash, Cursor, DeviceId, DocumentId, Epoch, Part, Position, UserId},
    log::{Binding, Quarantine, QuarantineReason},
};
use feldakte_proto::{Login, LoginEvent, OpenedOffline, Reason};
use feldakte_tests::{
    local_store_conformance::{STORE, document, entry, hash, own, snapshot},
    memory_local_store::{Durability, MemoryLocalStore},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use uuid::Uuid;

const SEEDS: u64 = 40;
const OPERATIONS: usize = 60;
/// Few, so that operations meet each other.
const DOCUMENTS: u128 = 3;
const CHANGES: u32 = 12;

#[derive(Debug)]
enum Operation {
    Edit(DocumentId, Vec<OwnChange>),
    Receive(Received),
    Snapshot(ReceivedSnapshot),
    Answer(Answer),
    Redo(DocumentId, Vec<ChangeHash>, Vec<OwnChange>),
    Epoch(Cursor, Position),
    Compact(DocumentId, Vec<u8>, Vec<ChangeHash>),
    Purge,
    Evict,
    SetActive(Option<UserId>, Reader),
    Emergency(OpenedOffline, Vec<Part>),
    EndEmergency(CaseId),
    Login(Login),
    Confirm,
}

impl Operation {
    async fn run(&self, store: &dyn LocalStore) -> Result<(), LocalStoreError> {
        match self {
            Operation::Edit(document, changes) => store.save_edit(*document, changes).await,
            Operation::Receive(received) => store.save_received(received).await,
            Operation::Snapshot(snapshot) => store.save_snapshot(snapshot).await,
            Operation::Answer(answer) => store.save_answer(answer).await,
            Operation::Redo(document, replaced, changes) => store.save_redone(*document, replaced, changes).await,
            Operation::Epoch(cursor, restored_to) => store.begin_epoch(*cursor, *restored_to).await,
            Operation::Compact(document, chunks, covered) => store.compact(*document, chunks, covered).await,
            Operation::Purge => store.purge().await.map(drop),
            Operation::Evict => store.evict().await.map(drop),
            Operation::SetActive(user, reader) => store.set_active(*user, *reader).await,
            Operation::Emergency(opened, parts) => store.begin_emergency(opened, parts).await.map(drop),
            Operation::Login(login) => store.note_login(*login).await,
            Operation::EndEmergency(case) => store.end_emergency(*case).await,
            Operation::Confirm => store.confirm(&store.receipts().await?).await,
        }
    }
}

/// Draws operations; positions rise as in a log.
struct Source {
    rng: StdRng,
    position: u64,
}

impl Source {
    fn operation(&mut self) -> Operation {
        self.position += 1;
        match self.rng.random_range(0..100) {
            0..25 => Operation::Edit(self.document(), self.numbers().into_iter().map(own).collect()),
            25..50 => Operation::Receive(self.received()),
            50..59 => Operation::Snapshot(self.snapshot()),
            59..72 => Operation::Answer(self.answer()),
            72..75 => {
                let changes = self.numbers().into_iter().map(own).collect();
                Operation::Redo(self.document(), self.hashes(), changes)
            }
            75..79 => Operation::Purge,
            79 => Operation::Confirm,
            80 => Operation::Evict,
            81..87 => self.sign_in(),
            87..92 => self.emergency(),
            92 => Operation::EndEmergency(self.document().case),
            93 => Operation::Login(self.login()),
            94 => Operation::Epoch(self.cursor(), Position(self.rng.random_range(0..=self.position))),
            _ => {
                let label = format!("compacted {}", self.position);
                Operation::Compact(self.document(), label.into_bytes(), self.hashes())
            }
        }
    }

    fn received(&mut self) -> Received {
        let mut received = Received::default();
        for _ in 0..self.rng.random_range(0..3) {
            self.position += 1;
            let mut entry = entry(self.document(), self.position, &self.numbers());
            let revoked = [Revoked::Reader, Revoked::Device, Revoked::Everybody, Revoked::Everybody];
            entry.revoked = self.rng.random_bool(0.25).then(|| *revoked.choose(&mut self.rng).unwrap());
            entry.bindings = self.bindings();
            entry.quarantined = self.quarantined();
            if self.rng.random_bool(0.2) {
                entry.changes.clear();
            }
            received.entries.push(entry);
        }
        if self.rng.random_bool(0.2) {
            received.bootstrap.push(self.document());
        }
        received.cursor = self.rng.random_bool(0.7).then(|| self.cursor());
        received
    }

    fn snapshot(&mut self) -> ReceivedSnapshot {
        let (document, covered) = (self.document(), self.numbers());
        let mut snapshot = snapshot(document, self.position, &covered);
        snapshot.bindings = self.bindings();
        snapshot.quarantined = self.quarantined();
        snapshot
    }

    fn answer(&mut self) -> Answer {
        let (document, position) = (self.document(), Position(self.position));
        let reasons = [Reason::SequenceGap, Reason::Quarantined];
        let refused = match self.rng.random_bool(0.4) {
            true => self.hashes().into_iter().map(|hash| (hash, *reasons.choose(&mut self.rng).unwrap())).collect(),
            false => Vec::new(),
        };
        let durable = self.hashes();
        let cursor = self.rng.random_bool(0.5).then(|| self.cursor());
        Answer { document, durable, position, refused, cursor }
    }

    fn sign_in(&mut self) -> Operation {
        let user = UserId(Uuid::from_u128(self.rng.random_range(1..3)));
        let reader = *[Reader::Device, Reader::Local, Reader::User(user)].choose(&mut self.rng).unwrap();
        Operation::SetActive(self.rng.random_bool(0.7).then_some(user), reader)
    }

    fn login(&mut self) -> Login {
        let user = UserId(Uuid::from_u128(self.rng.random_range(1..3)));
        let what = *LoginEvent::ALL.choose(&mut self.rng).unwrap();
        Login { user, what, at_ms: self.rng.random_range(0..3) }
    }

    fn emergency(&mut self) -> Operation {
        let (case, user) = (self.document().case, UserId(Uuid::from_u128(self.rng.random_range(1..3))));
        let (reason, text) = (BreakGlassReason::Other, "bewusstlos".to_owned());
        let opened = OpenedOffline { case, user: Some(user), reason, text, at_ms: self.position as i64 };
        let parts = Part::ALL.into_iter().filter(|_| self.rng.random_bool(0.8)).collect();
        Operation::Emergency(opened, parts)
    }

    fn document(&mut self) -> DocumentId {
        document(self.rng.random_range(0..DOCUMENTS))
    }

    fn numbers(&mut self) -> Vec<u32> {
        (0..self.rng.random_range(0..5)).map(|_| self.rng.random_range(0..CHANGES)).collect()
    }

    fn hashes(&mut self) -> Vec<ChangeHash> {
        self.numbers().into_iter().map(hash).collect()
    }

    fn cursor(&mut self) -> Cursor {
        let epoch = Epoch(Uuid::from_u128(self.rng.random_range(1..3)));
        Cursor { epoch, position: Position(self.position) }
    }

    fn bindings(&mut self) -> Vec<Binding> {
        let unit = "rtw-1-83-1".parse().unwrap();
        let (actor, device) = (self.rng.random_range(1..4), self.rng.random_range(1..4));
        let (actor, device) = (ActorId([actor; 16]), DeviceId(Uuid::from_u128(device)));
        let binding =
            Binding { actor, device, home: None, unit, role: *Role::ALL.choose(&mut self.rng).unwrap(), user: None };
        if self.rng.random_bool(0.3) { vec![binding] } else { Vec::new() }
    }

    fn quarantined(&mut self) -> Vec<Quarantine> {
        let change = hash(self.rng.random_range(0..CHANGES));
        let quarantine = Quarantine { change, reason: QuarantineReason::Rejected };
        if self.rng.random_bool(0.05) { vec![quarantine] } else { Vec::new() }
    }
}

#[tokio::test]
async fn both_stores_behave_alike() {
    let seeds = match env::var("FELDAKTE_SEED") {
        Ok(seed) => vec![seed.parse().expect("FELDAKTE_SEED is a number")],
        Err(_) => (0..SEEDS).collect(),
    };
    for seed in seeds {
        println!("FELDAKTE_SEED={seed} cargo test -p feldakte-tests --test local_store model");
        run(seed).await;
    }
}

async fn run(seed: u64) {
    let directory = tempfile::tempdir().unwrap();
    let sqlcipher = super::open(directory.path()).await.unwrap();
    let memory = MemoryLocalStore::new(STORE, Duration::ZERO, Durability::SyncsFirst);
    let mut source = Source { rng: StdRng::seed_from_u64(seed), position: 0 };
    for step in 0..OPERATIONS {
        let operation = source.operation();
        println!("{step}: {operation:?}");
        operation.run(&*sqlcipher).await.unwrap();
        operation.run(&*memory).await.unwrap();
        assert_same(&*sqlcipher, &*memory, &mut source.rng).await;
    }
    sqlcipher.close().await;
    memory.close().await;
    let (sqlcipher, memory) = (super::open(directory.path()).await.unwrap(), memory.reopen().unwrap());
    assert_same(&*sqlcipher, &*memory, &mut source.rng).await;
    sqlcipher.close().await;
}

/// Compares all that can be read.
async fn assert_same(left: &dyn LocalStore, right: &dyn LocalStore, rng: &mut StdRng) {
    assert_eq!(left.state().await.unwrap(), right.state().await.unwrap());
    assert_eq!(left.pending().await.unwrap(), right.pending().await.unwrap());
    assert_eq!(left.users().await.unwrap(), right.users().await.unwrap());
    assert_eq!(left.hidden_cases().await.unwrap(), right.hidden_cases().await.unwrap());
    assert_eq!(left.unsafe_of_others().await.unwrap(), right.unsafe_of_others().await.unwrap());
    assert_eq!(left.receipts().await.unwrap(), right.receipts().await.unwrap());
    assert_eq!(left.documents().await.unwrap(), right.documents().await.unwrap());
    for id in (0..DOCUMENTS).map(document) {
        assert_eq!(left.load(id).await.unwrap(), right.load(id).await.unwrap());
        assert_eq!(left.document(id).await.unwrap(), right.document(id).await.unwrap());
        assert_eq!(left.parked(id).await.unwrap(), right.parked(id).await.unwrap());
        assert_eq!(left.is_hidden(id).await.unwrap(), right.is_hidden(id).await.unwrap());
        assert_eq!(left.first_generation(id).await.unwrap(), right.first_generation(id).await.unwrap());
    }
    for (after, limit) in [(0, usize::MAX), (rng.random_range(0..20), rng.random_range(0..60))] {
        assert_eq!(left.unsent(after, limit).await.unwrap(), right.unsent(after, limit).await.unwrap());
    }
}

/// The comparison above means something only if the operations meet each other.
#[tokio::test]
async fn random_operations_reach_every_state() {
    let (mut durable, mut refused, mut pending, mut shown) = (0, 0, 0, Bytes::new());
    let (mut kept, mut purged, mut opened) = (0, 0, 0);
    for seed in 0..SEEDS {
        let memory = MemoryLocalStore::new(STORE, Duration::ZERO, Durability::SyncsFirst);
        let mut source = Source { rng: StdRng::seed_from_u64(seed), position: 0 };
        let mut most_opened = 0;
        for _ in 0..OPERATIONS {
            source.operation().run(&*memory).await.unwrap();
            most_opened = most_opened.max(memory.receipts().await.unwrap().opened.len());
        }
        opened += most_opened;
        purged += memory.receipts().await.unwrap().purged.len();
        for user in [None, Some(1), Some(2)] {
            let user = user.map(|n| UserId(Uuid::from_u128(n)));
            memory.set_active(user, user.map_or(Reader::Device, Reader::User)).await.unwrap();
            for state in memory.documents().await.unwrap() {
                durable += state.durable;
                refused += state.refused;
                kept += state.kept;
                pending += u64::from(state.bootstrap_pending);
                let chunks = memory.load(state.document).await.unwrap().unwrap().chunks;
                shown = [shown, chunks.concat().into()].concat().into();
            }
        }
    }
    assert!(durable > 50 && refused > 10 && pending > 5, "{durable} {refused} {pending}");
    assert!(kept >= 3 && purged >= 3 && opened >= 3, "{kept} {purged} {opened}");
    let shows = |text: &str| shown.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(shows("snapshot") && shows("compacted") && shows("change"));
}

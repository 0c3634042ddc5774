//! Users who come and go on one device, in any order, with restarts and power cuts between: nobody loses anything, and
//! nobody sees what is not his.
//!
//! `FELDAKTE_SEED=17 cargo test -p feldakte-tests --test local_store users` repeats one run.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use feldakte_client_sdk::store::{Answer, LocalStore, Reader};
use feldakte_core::ids::{ChangeHash, DocumentId, Position, UserId};
use feldakte_proto::Reason;
use feldakte_tests::{
    local_store_conformance::{STORE, content, document, entry, hash, own},
    memory_local_store::{Durability, MemoryLocalStore},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

const SEEDS: u64 = 60;
const STEPS: usize = 80;
const DOCUMENTS: u128 = 3;

/// What was told saved, and what became of it.
#[derive(Default)]
struct Truth {
    saved: BTreeMap<(DocumentId, u32), Option<UserId>>,
    durable: BTreeSet<(DocumentId, u32)>,
    refused: BTreeSet<(DocumentId, u32)>,
    shared: BTreeSet<DocumentId>,
}

fn user(n: u128) -> Option<UserId> {
    (n > 0).then(|| UserId(Uuid::from_u128(n)))
}

async fn switch(store: &MemoryLocalStore, user: Option<UserId>) -> bool {
    store.set_active(user, Reader::Device).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn nobody_loses_anything_and_nobody_sees_what_is_not_his() {
    let seeds = match env::var("FELDAKTE_SEED") {
        Ok(seed) => vec![seed.parse().expect("FELDAKTE_SEED is a number")],
        Err(_) => (0..SEEDS).collect(),
    };
    let mut hidden = 0;
    for seed in seeds {
        println!("FELDAKTE_SEED={seed} cargo test -p feldakte-tests --test local_store users");
        hidden += run(seed).await;
    }
    assert!(hidden > 100 || env::var("FELDAKTE_SEED").is_ok(), "only {hidden} times was there anything to hide");
}

async fn run(seed: u64) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut store = MemoryLocalStore::new(STORE, Duration::from_millis(2), Durability::SyncsFirst);
    let (mut truth, mut active, mut hidden) = (Truth::default(), None, 0);
    for number in 0..STEPS as u32 {
        let id = document(rng.random_range(0..DOCUMENTS));
        match rng.random_range(0..100) {
            0..40 => {
                store.save_edit(id, &[own(number)]).await.unwrap();
                truth.saved.insert((id, number), active);
            }
            40..55 => {
                active = user(rng.random_range(0..4));
                assert!(switch(&store, active).await);
            }
            55..65 => store = cut_power(&store, &mut rng, &mut truth, (id, number, active)).await,
            65..75 => {
                store.close().await;
                store = store.reopen().unwrap();
            }
            75..80 => {
                let entries = vec![entry(id, u64::from(number) + 1, &[10_000 + number])];
                let received = feldakte_client_sdk::store::Received { entries, ..Default::default() };
                store.save_received(&received).await.unwrap();
                truth.shared.insert(id);
            }
            _ => answer(&store, &mut rng, &mut truth).await,
        }
        assert_eq!(store.state().await.unwrap().user, active, "whoever has signed in stays so");
        hidden += check(&store, &truth, active).await;
    }
    for n in 0..4 {
        assert!(switch(&store, user(n)).await);
        hidden += check(&store, &truth, user(n)).await;
    }
    hidden
}

/// While an edit is being saved that nobody is told of.
async fn cut_power(
    store: &Arc<MemoryLocalStore>,
    rng: &mut StdRng,
    truth: &mut Truth,
    (id, number, active): (DocumentId, u32, Option<UserId>),
) -> Arc<MemoryLocalStore> {
    let saving = {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.save_edit(id, &[own(number)]).await.is_ok() })
    };
    tokio::time::sleep(Duration::from_millis(rng.random_range(0..4))).await;
    store.crash();
    if saving.await.unwrap() {
        truth.saved.insert((id, number), active);
    }
    store.reopen().unwrap()
}

/// The gateway takes some of what is delivered, whoever uses the device, and refuses some.
async fn answer(store: &MemoryLocalStore, rng: &mut StdRng, truth: &mut Truth) {
    let unsent = store.unsent(0, usize::MAX).await.unwrap();
    for sent in unsent {
        let number: u32 = std::str::from_utf8(&sent.bytes).unwrap().trim_start_matches("change ").parse().unwrap();
        assert_eq!(truth.saved[&(sent.document, number)], sent.user, "it is delivered in its author's name");
        let (durable, refused) = match rng.random_range(0..10) {
            0..5 => (vec![sent.hash], vec![]),
            5 => (vec![], vec![(sent.hash, Reason::SequenceGap)]),
            _ => continue,
        };
        match refused.is_empty() {
            true => drop(truth.durable.insert((sent.document, number))),
            false => drop(truth.refused.insert((sent.document, number))),
        }
        truth.shared.extend(durable.first().map(|_| sent.document));
        let position = Position(u64::from(number) + 1);
        store.save_answer(&Answer { document: sent.document, durable, position, refused, cursor: None }).await.unwrap();
        // Whoever uses the device may see it: so the gateway says when it is asked.
        let bootstrap = store.pending().await.unwrap();
        let received = feldakte_client_sdk::store::Received { bootstrap, ..Default::default() };
        store.save_received(&received).await.unwrap();
    }
}

/// How many changes of others were hidden.
async fn check(store: &MemoryLocalStore, truth: &Truth, active: Option<UserId>) -> usize {
    let unsent: BTreeSet<(DocumentId, ChangeHash)> =
        store.unsent(0, usize::MAX).await.unwrap().into_iter().map(|unsent| (unsent.document, unsent.hash)).collect();
    let mut hidden = 0;
    for (change @ (id, number), author) in &truth.saved {
        let loaded = store.load(*id).await.unwrap();
        let is_shown = loaded.iter().flat_map(|loaded| &loaded.chunks).any(|chunk: &Bytes| *chunk == content(*number));
        let parked = store.parked(*id).await.unwrap();
        let is_parked = parked.iter().any(|parked| parked.hash == hash(*number));
        let is_his = *author == active;
        match (truth.durable.contains(change), truth.refused.contains(change)) {
            (true, _) => assert!(is_shown, "{number} is durable, and shown to everybody"),
            (_, true) => assert_eq!((is_shown, is_parked), (false, is_his), "{number} is parked for its author alone"),
            _ => {
                assert!(unsent.contains(&(*id, hash(*number))), "{number} is still delivered");
                assert_eq!(is_shown, is_his, "{number} is its author's alone");
            }
        }
        hidden += usize::from(!is_his && !truth.durable.contains(change));
        let is_listed = store.document(*id).await.unwrap().is_some();
        let has_own = truth.saved.iter().any(|((other, _), author)| other == id && *author == active);
        assert_eq!(is_listed, has_own || truth.shared.contains(id), "{id} is listed for whom it concerns");
    }
    hidden
}

//! Matters: one list of behaviours over the file, the memory, and the file with its content sealed.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use feldakte_core::{
    access::{BreakGlassReason, Principal, Role},
    audit::Reason,
    ids::{DeviceId, UserId},
};
use feldakte_gateway::{
    keys::TenantKeys,
    store::{
        StoreError,
        keyring::{Keyring, Receipt, Shredded},
        matters::{Decision, Matter, Review, SharedMatterStore, Verdict, Wipe, sqlite::SqliteMatterStore},
        sealed::SealedMatters,
    },
};
use feldakte_tests::{
    harness::files_with,
    memory_matter_store::MemoryMatterStore,
    store_conformance::{document, tenant},
};
use uuid::Uuid;

/// A store that can be opened again.
struct Fixture {
    directory: tempfile::TempDir,
    kind: Kind,
    store: SharedMatterStore,
    keyring: Option<Arc<Keyring>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Memory,
    Sealed,
}

impl Fixture {
    async fn new(kind: Kind) -> Result<Fixture> {
        let directory = tempfile::tempdir()?;
        let (store, keyring) = match kind {
            Kind::Memory => (MemoryMatterStore::new() as SharedMatterStore, None),
            _ => Fixture::open(&directory, kind).await?,
        };
        Ok(Fixture { directory, kind, store, keyring })
    }

    async fn open(directory: &tempfile::TempDir, kind: Kind) -> Result<(SharedMatterStore, Option<Arc<Keyring>>)> {
        let file = SqliteMatterStore::open(&directory.path().join("matters.db")).await?;
        if kind == Kind::File {
            return Ok((file, None));
        }
        let keys = TenantKeys::in_file(&directory.path().join("tenant.keys"))?;
        let keyring = Keyring::open(&directory.path().join("keys.db"), Arc::new(keys)).await?;
        Ok((SealedMatters::new(file, keyring.clone()), Some(keyring)))
    }

    /// Nothing is synced lazily: what a call has taken is there.
    async fn reopen(&mut self) -> Result<()> {
        if self.kind != Kind::Memory {
            self.store.close().await;
            (self.store, self.keyring) = Fixture::open(&self.directory, self.kind).await?;
        }
        Ok(())
    }
}

async fn everywhere(test: impl AsyncFn(&mut Fixture) -> Result<()>) -> Result<()> {
    for kind in [Kind::File, Kind::Memory, Kind::Sealed] {
        let mut fixture = Fixture::new(kind).await?;
        test(&mut fixture).await.with_context(|| format!("{kind:?}"))?;
    }
    Ok(())
}

fn review(number: u128, log: &str, matter: Matter) -> Review {
    let who = Principal {
        tenant: tenant(log),
        unit: "rtw-1".parse().expect("a slug"),
        device: DeviceId(Uuid::from_u128(77)),
        role: Role::AmbulanceCrew,
        user: Some(UserId(Uuid::from_u128(78))),
    };
    let content = Some(Bytes::from_static(CANARY));
    let at_ms = 1_000 - i64::try_from(number).expect("a small number");
    Review { id: Uuid::from_u128(number), log: tenant(log), who, at_ms, matter, content, decision: None }
}

pub fn evidence(number: u128, log: &str) -> Review {
    review(number, log, Matter::Evidence { document: document(number), changes: 3 })
}

fn emergency(number: u128, log: &str) -> Review {
    let (case, reason) = (document(number).case, BreakGlassReason::TakenOver);
    review(number, log, Matter::BreakGlass { case, reason, until_ms: Some(9) })
}

#[tokio::test]
async fn what_is_kept_waits_until_it_is_decided_once() -> Result<()> {
    everywhere(async |fixture| {
        let all = [evidence(1, "dortmund"), emergency(2, "dortmund"), evidence(3, "hagen")];
        for review in all.iter().chain(&all) {
            fixture.store.keep(review).await?;
        }
        fixture.reopen().await?;
        let store = &fixture.store;
        let [first, second, third] = all;
        assert_eq!(store.waiting(None, 9).await?, [third, second.clone(), first.clone()], "oldest first, each once");
        assert_eq!(store.waiting(Some(&tenant("dortmund")), 1).await?, [second]);
        let decision = |verdict| Decision { verdict, by: "sibel".parse().expect("a slug"), at_ms: 5 };
        assert!(store.decide(first.id, &decision(Verdict::Accepted)).await?);
        assert!(!store.decide(first.id, &decision(Verdict::Rejected)).await?, "once");
        assert!(!store.decide(Uuid::from_u128(99), &decision(Verdict::Rejected)).await?);
        store.keep(&first).await?;
        fixture.reopen().await?;
        let decided = fixture.store.review(first.id).await?.context("it is there")?;
        assert_eq!(
            decided,
            Review { decision: Some(decision(Verdict::Accepted)), ..first },
            "told again it stays decided"
        );
        assert_eq!(fixture.store.waiting(Some(&tenant("dortmund")), 9).await?.len(), 1);
        assert_eq!(fixture.store.review(Uuid::from_u128(99)).await?, None);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_wipe_order_stands_for_good_and_is_carried_out_once() -> Result<()> {
    everywhere(async |fixture| {
        let device = DeviceId(Uuid::from_u128(7));
        let order = |number| Wipe { order: Uuid::from_u128(number), device, ordered_ms: 3, done_ms: None };
        fixture.store.order_wipe(&order(1)).await?;
        fixture.store.order_wipe(&order(2)).await?;
        fixture.reopen().await?;
        let store = &fixture.store;
        assert_eq!(store.wipes().await?, [order(2)], "the newest order counts");
        assert!(!store.wiped(device, order(1).order, 8).await?);
        assert!(store.wiped(device, order(2).order, 8).await?);
        assert!(!store.wiped(device, order(2).order, 9).await?, "once");
        fixture.reopen().await?;
        let done = Wipe { done_ms: Some(8), ..order(2) };
        assert_eq!(fixture.store.wipes().await?, [done], "whoever says that it is done is no reader again");
        assert_eq!(fixture.store.wipe_of(device).await?, Some(done));
        assert_eq!(fixture.store.wipe_of(DeviceId(Uuid::from_u128(8))).await?, None);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn content_is_sealed_and_gone_with_its_case() -> Result<()> {
    let fixture = Fixture::new(Kind::Sealed).await?;
    let (gone, stays) = (evidence(1, "dortmund"), emergency(4, "dortmund"));
    fixture.store.keep(&gone).await?;
    fixture.store.keep(&stays).await?;
    assert_eq!(files_with(fixture.directory.path(), CANARY), Vec::<String>::new());
    let name = |name: &str| name.parse().expect("a slug");
    let receipt = Receipt {
        case: gone.matter.case(),
        tenant: tenant("dortmund"),
        requested_by: name("anna"),
        approved_by: name("berta"),
        reason: Reason::PersonAsked,
        at_ms: 1,
    };
    let keyring = fixture.keyring.as_ref().context("it is sealed")?;
    assert_eq!(keyring.shred(&receipt).await?, Shredded::Now);
    let left = fixture.store.review(gone.id).await?.context("the matter stays")?;
    assert_eq!(left, Review { content: None, ..gone.clone() });
    assert_eq!(fixture.store.review(stays.id).await?, Some(stays));
    // What comes later is kept as a matter, and can be read by nobody.
    let later = Review { id: Uuid::from_u128(50), ..gone };
    fixture.store.keep(&later).await?;
    assert_eq!(fixture.store.review(later.id).await?.context("it is there")?.content, None);
    Ok(())
}

#[tokio::test]
async fn content_that_was_moved_to_another_review_does_not_open() -> Result<()> {
    let fixture = Fixture::new(Kind::Sealed).await?;
    fixture.store.keep(&evidence(1, "dortmund")).await?;
    let again = Review { id: Uuid::from_u128(1 << 100), ..evidence(1, "dortmund") };
    fixture.store.keep(&again).await?;
    let path = fixture.directory.path().join("matters.db");
    let mut connection =
        <sqlx::SqliteConnection as sqlx::Connection>::connect(path.to_str().context("a path")?).await?;
    let swap = "create temp table other as select id, content from review;
        update review set content = (select content from other where other.id <> review.id)";
    sqlx::raw_sql(swap).execute(&mut connection).await?;
    let moved = fixture.store.review(again.id).await;
    assert!(matches!(moved, Err(StoreError::Damaged(_))), "{moved:?}");
    Ok(())
}

const CANARY: &[u8] = b"Brunhilde Kanarienvogel";

//! Emergencies without network.

use anyhow::Result;
use feldakte_client_sdk::store::{Reader, ReceivedEntry, Revoked, SharedLocalStore};
use feldakte_core::{
    access::BreakGlassReason,
    ids::{CaseId, DocumentId, Part, UserId},
};
use feldakte_proto::{OpenedOffline, Receipts};
use uuid::Uuid;

use super::{chunks, contents, document, entry, own, receive, state};

fn user(n: u128) -> UserId {
    UserId(Uuid::from_u128(n))
}

async fn sign_in(store: &SharedLocalStore, n: u128) -> Result<()> {
    Ok(store.set_active(Some(user(n)), Reader::User(user(n))).await?)
}

fn emergency(case: CaseId, n: u128, at_ms: i64) -> OpenedOffline {
    let (user, text) = (Some(user(n)), "bewusstlos aufgefunden".to_owned());
    OpenedOffline { case, user, reason: BreakGlassReason::LifeInDanger, text, at_ms }
}

async fn open(store: &SharedLocalStore, case: CaseId, n: u128) -> Result<Vec<DocumentId>> {
    Ok(store.begin_emergency(&emergency(case, n, 1_000), &Part::ALL).await?)
}

/// Two documents of one case, and one of another, that came for the first user.
async fn held_for_the_first(store: &SharedLocalStore) -> Result<()> {
    sign_in(store, 1).await?;
    receive(store, vec![entry(document(2), 3, &[1]), entry(document(3), 4, &[2]), entry(document(4), 5, &[3])]).await
}

/// And longer than the store is open in no case.
pub async fn an_emergency_shows_what_came_for_others_until_it_ends(store: SharedLocalStore) -> Result<()> {
    held_for_the_first(&store).await?;
    sign_in(&store, 2).await?;
    assert_eq!(store.hidden_cases().await?, [document(2).case, document(4).case]);
    assert_eq!(open(&store, document(2).case, 2).await?, [document(2), document(3)]);
    assert_eq!(chunks(&store, document(3)).await?, contents(&[2]));
    let seen: Vec<_> = store.documents().await?.iter().map(|state| state.document).collect();
    assert_eq!(seen, [document(2), document(3)]);
    store.end_emergency(document(4).case).await?;
    assert_eq!(store.documents().await?.len(), 2, "that was another one");
    store.end_emergency(document(2).case).await?;
    assert_eq!((store.documents().await?, store.load(document(3)).await?), (vec![], None));
    Ok(())
}

/// Not of the next one's, and not of the same one's when he comes back.
pub async fn an_emergency_is_of_one_case_of_some_parts_and_of_whoever_asked(store: SharedLocalStore) -> Result<()> {
    held_for_the_first(&store).await?;
    sign_in(&store, 2).await?;
    let opened = store.begin_emergency(&emergency(document(2).case, 2, 1), &[Part::Clinical]).await?;
    assert_eq!(opened, [document(3)]);
    assert_eq!((store.load(document(2)).await?, store.load(document(4)).await?), (None, None));
    for n in [3, 2] {
        sign_in(&store, n).await?;
        assert_eq!((store.documents().await?, store.load(document(3)).await?), (vec![], None), "{n}");
    }
    Ok(())
}

/// Nor is anything written down then.
pub async fn what_is_not_here_or_not_for_anybody_is_opened_in_no_emergency(store: SharedLocalStore) -> Result<()> {
    held_for_the_first(&store).await?;
    sign_in(&store, 3).await?;
    store.save_edit(document(6), &[own(6)]).await?;
    receive(&store, vec![ReceivedEntry { revoked: Some(Revoked::Everybody), ..entry(document(4), 0, &[]) }]).await?;
    sign_in(&store, 2).await?;
    for nothing in [document(4), document(6), document(8)] {
        assert_eq!(open(&store, nothing.case, 2).await?, [], "{nothing}");
        assert_eq!(store.load(nothing).await?, None);
    }
    assert_eq!(store.begin_emergency(&emergency(document(2).case, 2, 1), &[]).await?, []);
    assert_eq!(store.hidden_cases().await?, [document(2).case]);
    sign_in(&store, 1).await?;
    assert_eq!(open(&store, document(2).case, 1).await?, [], "he sees it anyway");
    store.evict().await?;
    sign_in(&store, 2).await?;
    assert_eq!(open(&store, document(2).case, 2).await?, [], "it was removed from the device");
    assert_eq!(store.receipts().await?, Receipts::default());
    Ok(())
}

/// A shredding in the middle takes it away at once.
pub async fn an_emergency_gives_no_right_to_write_and_no_unsent_work_of_others(store: SharedLocalStore) -> Result<()> {
    held_for_the_first(&store).await?;
    store.save_edit(document(3), &[own(7)]).await?;
    sign_in(&store, 2).await?;
    open(&store, document(2).case, 2).await?;
    assert_eq!(chunks(&store, document(3)).await?, contents(&[2]));
    assert!(state(&store, document(3)).await?.revoked && store.is_hidden(document(3)).await?);
    assert_eq!(store.pending().await?, [], "nothing is fetched for him");
    receive(&store, vec![ReceivedEntry { revoked: Some(Revoked::Everybody), ..entry(document(3), 0, &[]) }]).await?;
    assert_eq!(store.load(document(3)).await?, None);
    Ok(())
}

/// The same one told again is the same; one that was not told stays.
pub async fn emergencies_are_receipted_until_they_are_confirmed(store: SharedLocalStore) -> Result<()> {
    held_for_the_first(&store).await?;
    sign_in(&store, 2).await?;
    let [first, second] = [2, 4].map(|n| emergency(document(n).case, 2, n as i64));
    store.begin_emergency(&first, &Part::ALL).await?;
    let told = store.receipts().await?;
    assert_eq!(told.opened, [first]);
    store.begin_emergency(&second, &Part::ALL).await?;
    store.confirm(&told).await?;
    store.confirm(&told).await?;
    assert_eq!(store.receipts().await?.opened, std::slice::from_ref(&second));
    assert_eq!(chunks(&store, document(3)).await?, contents(&[2]), "told is not over");
    store.order_wipe([1; 16]).await?;
    store.wipe().await?;
    let owed = store.receipts().await?;
    assert_eq!(owed.opened, [OpenedOffline { text: String::new(), ..second }], "who and when, not about whom");
    assert_eq!((owed.wiped, store.hidden_cases().await?), (Some([1; 16]), vec![]));
    Ok(())
}

//! Several users of one device.

use anyhow::Result;
use bytes::Bytes;
use feldakte_client_sdk::{
    pin::PinRecord,
    store::{ActiveUser, LocalUser, ReceivedEntry, SharedLocalStore},
};
use feldakte_core::ids::{Position, UserId};
use uuid::Uuid;

use super::{answer, chunks, contents, counts, cursor, document, entry, hash, own, receive, state, unsent};

fn user(n: u128) -> UserId {
    UserId(Uuid::from_u128(n))
}

async fn switch(store: &SharedLocalStore, n: u128) -> Result<()> {
    Ok(store.set_active(Some(ActiveUser { user: user(n), has_own_cursor: false })).await?)
}

/// Whatever is asked for.
pub async fn unsent_work_of_another_user_is_hidden_and_still_delivered(store: SharedLocalStore) -> Result<()> {
    receive(&store, vec![entry(document(2), 3, &[7])]).await?;
    switch(&store, 1).await?;
    store.save_edit(document(1), &[own(1), own(2)]).await?;
    store.save_edit(document(2), &[own(3)]).await?;
    assert_eq!(chunks(&store, document(2)).await?, contents(&[7, 3]));
    switch(&store, 2).await?;
    assert_eq!(store.document(document(1)).await?, None, "nothing but somebody else's work");
    assert_eq!(store.load(document(1)).await?, None);
    assert_eq!(chunks(&store, document(2)).await?, contents(&[7]));
    let seen: Vec<_> = store.documents().await?.iter().map(|state| (state.document, state.local)).collect();
    assert_eq!(seen, [(document(2), 0)]);
    store.save_edit(document(2), &[own(4)]).await?;
    assert_eq!(chunks(&store, document(2)).await?, contents(&[7, 4]));
    assert_eq!(store.unsafe_of_others().await?, 3);
    let whose: Vec<_> = store.unsent(0, usize::MAX).await?.into_iter().map(|it| (it.hash, it.user)).collect();
    let [first, second] = [1, 2].map(|n| Some(user(n)));
    assert_eq!(whose, [(hash(1), first), (hash(2), first), (hash(3), first), (hash(4), second)]);
    store.set_active(None).await?;
    assert_eq!(chunks(&store, document(2)).await?, contents(&[7]), "nobody sees neither");
    switch(&store, 1).await?;
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1, 2]), "it is still there for him");
    assert_eq!(counts(&store, document(2)).await?, (1, 0, 0));
    Ok(())
}

/// Parked under him, with a new actor for him.
pub async fn a_refusal_of_one_users_work_is_his_alone(store: SharedLocalStore) -> Result<()> {
    receive(&store, vec![entry(document(1), 3, &[7])]).await?;
    switch(&store, 1).await?;
    store.save_edit(document(1), &[own(1)]).await?;
    switch(&store, 2).await?;
    store.save_edit(document(1), &[own(2)]).await?;
    store.save_answer(&answer(document(1), 5, &[], &[1])).await?;
    assert_eq!(counts(&store, document(1)).await?, (1, 0, 0));
    assert_eq!((store.parked(document(1)).await?, state(&store, document(1)).await?.generation), (vec![], 0));
    store.save_redone(document(1), &[hash(1)], &[own(3)]).await?;
    assert_eq!(store.unsafe_of_others().await?, 1, "nobody does it again for him");
    switch(&store, 1).await?;
    assert_eq!(store.parked(document(1)).await?[0].intent, own(1).intent);
    assert_eq!(state(&store, document(1)).await?.generation, 1);
    Ok(())
}

/// The log has it: who may read the log may read it.
pub async fn work_becomes_everybodys_when_it_is_durable(store: SharedLocalStore) -> Result<()> {
    switch(&store, 1).await?;
    store.save_edit(document(1), &[own(1), own(2)]).await?;
    switch(&store, 2).await?;
    store.save_answer(&answer(document(1), 5, &[1], &[])).await?;
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1]));
    assert_eq!(counts(&store, document(1)).await?, (0, 0, 0), "it is not his");
    switch(&store, 1).await?;
    assert_eq!(counts(&store, document(1)).await?, (1, 1, 0));
    Ok(())
}

/// Whoever is signed in meanwhile.
pub async fn a_document_of_two_users_is_purged_when_both_have_delivered(store: SharedLocalStore) -> Result<()> {
    for n in [1, 2] {
        switch(&store, n).await?;
        store.save_edit(document(1), &[own(n as u32)]).await?;
    }
    receive(&store, vec![ReceivedEntry { revoked: true, ..entry(document(1), 4, &[]) }]).await?;
    store.save_answer(&answer(document(1), 5, &[2], &[])).await?;
    assert_eq!(store.purge().await?, [], "the other one's is not delivered");
    store.save_answer(&answer(document(1), 6, &[1], &[])).await?;
    assert_eq!(store.purge().await?, [document(1)]);
    Ok(())
}

/// And their unsent changes are counted.
pub async fn users_are_kept_with_pin_and_ticket(store: SharedLocalStore) -> Result<()> {
    let pin = PinRecord { salt: [1; 16], hash: [2; 32], wrong: 3 };
    let first = LocalUser { user: user(1), pin: Some(pin), ticket: None, unsent: 0 };
    let second = LocalUser { user: user(2), pin: None, ticket: Some(Bytes::from_static(b"ticket")), unsent: 0 };
    store.save_user(&second).await?;
    store.save_user(&first).await?;
    assert_eq!(store.users().await?, [first.clone(), second.clone()]);
    let changed = LocalUser { ticket: second.ticket.clone(), ..first };
    store.save_user(&changed).await?;
    switch(&store, 2).await?;
    store.save_edit(document(1), &[own(1), own(2)]).await?;
    assert_eq!(store.users().await?, [changed, LocalUser { unsent: 2, ..second }]);
    store.order_wipe([1; 16]).await?;
    store.wipe().await?;
    assert_eq!((store.users().await?, store.state().await?.user), (vec![], None));
    Ok(())
}

/// He is sent what others are not.
pub async fn a_reader_of_his_own_has_a_cursor_of_his_own(store: SharedLocalStore) -> Result<()> {
    store.begin_epoch(cursor(3), Position(0)).await?;
    store.set_active(Some(ActiveUser { user: user(1), has_own_cursor: true })).await?;
    assert_eq!((store.state().await?.user, store.state().await?.cursor), (Some(user(1)), None));
    store.begin_epoch(cursor(9), Position(0)).await?;
    switch(&store, 1).await?;
    assert_eq!(store.state().await?.cursor, Some(cursor(3)), "without his token he reads as the device");
    assert_eq!(store.cursor_of(Some(user(1))).await?, Some(cursor(9)));
    assert_eq!((store.cursor_of(None).await?, store.cursor_of(Some(user(2))).await?), (Some(cursor(3)), None));
    Ok(())
}

/// The second reader who meets a restored log must not take back what was delivered to it since.
pub async fn an_epoch_begins_once_for_all_readers(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1)]).await?;
    store.save_answer(&answer(document(1), 8, &[1], &[])).await?;
    store.begin_epoch(cursor(2), Position(2)).await?;
    assert_eq!(unsent(&store).await?, [hash(1)]);
    store.save_answer(&answer(document(1), 5, &[1], &[])).await?;
    store.set_active(Some(ActiveUser { user: user(1), has_own_cursor: true })).await?;
    store.begin_epoch(cursor(2), Position(2)).await?;
    assert_eq!(unsent(&store).await?, []);
    Ok(())
}

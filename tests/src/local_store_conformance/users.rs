//! Several users of one device.

use anyhow::Result;
use bytes::Bytes;
use feldakte_client_sdk::{
    pin::PinRecord,
    store::{LocalUser, Reader, Received, ReceivedEntry, Revoked, SharedLocalStore},
};
use feldakte_core::{
    access::Role,
    ids::{Position, UserId},
    limits,
};
use feldakte_proto::{Login, LoginEvent, Receipts};
use uuid::Uuid;

use super::{answer, chunks, contents, counts, cursor, document, entry, hash, own, receive, snapshot, state, unsent};

fn user(n: u128) -> UserId {
    UserId(Uuid::from_u128(n))
}

/// With a token.
async fn sign_in(store: &SharedLocalStore, n: u128) -> Result<()> {
    Ok(store.set_active(Some(user(n)), Reader::User(user(n))).await?)
}

async fn switch(store: &SharedLocalStore, n: u128) -> Result<()> {
    Ok(store.set_active(Some(user(n)), Reader::Local).await?)
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
    store.set_active(None, Reader::Device).await?;
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

/// And not before: the gateway knows who may see it.
pub async fn work_is_shown_to_others_when_the_gateway_has_sent_it_to_them(store: SharedLocalStore) -> Result<()> {
    switch(&store, 1).await?;
    store.save_edit(document(1), &[own(1), own(2)]).await?;
    switch(&store, 2).await?;
    store.save_answer(&answer(document(1), 5, &[1], &[])).await?;
    assert_eq!((store.document(document(1)).await?, store.pending().await?), (None, vec![document(1)]));
    assert!(store.is_hidden(document(1)).await?);
    store.save_snapshot(&snapshot(document(1), 5, &[])).await?;
    assert_eq!((store.pending().await?, store.is_hidden(document(1)).await?), (vec![], false));
    assert_eq!(chunks(&store, document(1)).await?[1..], contents(&[1]));
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
    receive(&store, vec![ReceivedEntry { revoked: Some(Revoked::Device), ..entry(document(1), 4, &[]) }]).await?;
    store.save_answer(&answer(document(1), 5, &[2], &[])).await?;
    assert_eq!(store.purge().await?, [], "the other one's is not delivered");
    store.save_answer(&answer(document(1), 6, &[1], &[])).await?;
    assert_eq!(store.purge().await?, [], "the gateway has taken it, so it is asked");
    receive(&store, vec![ReceivedEntry { revoked: Some(Revoked::Reader), ..entry(document(1), 0, &[]) }]).await?;
    assert_eq!(store.purge().await?, [document(1)]);
    Ok(())
}

/// And their unsent changes are counted.
pub async fn users_are_kept_with_pin_and_ticket(store: SharedLocalStore) -> Result<()> {
    let pin = PinRecord { salt: [1; 16], hash: [2; 32], wrong: 3 };
    let first = LocalUser { user: user(1), pin: Some(pin), ticket: None, role: None, unsent: 0 };
    let (ticket, role) = (Some(Bytes::from_static(b"ticket")), Some(Role::Dispatcher));
    let second = LocalUser { user: user(2), pin: None, ticket, role, unsent: 0 };
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

/// A wipe takes none of them.
pub async fn sign_ins_are_told_one_by_one_and_the_first_of_too_many_stay(store: SharedLocalStore) -> Result<()> {
    let login = |n: u128| Login { user: user(n % 2), what: LoginEvent::PinWrong, at_ms: (n / 4) as i64 };
    for n in 0..limits::LOGINS_UNTOLD_MAX as u128 + 8 {
        store.note_login(login(n)).await?;
    }
    store.order_wipe([1; 16]).await?;
    store.wipe().await?;
    let mut told = Vec::new();
    loop {
        let receipts = store.receipts().await?;
        let is_last = receipts.wiped.is_some();
        told.extend(receipts.logins.clone());
        store.confirm(&receipts).await?;
        if is_last {
            break;
        }
    }
    assert_eq!(told, (0..limits::LOGINS_UNTOLD_MAX as u128).map(login).collect::<Vec<_>>());
    assert_eq!(store.receipts().await?, Receipts::default());
    Ok(())
}

/// He is sent what others are not.
pub async fn a_reader_of_his_own_has_a_cursor_of_his_own(store: SharedLocalStore) -> Result<()> {
    store.begin_epoch(cursor(3), Position(0)).await?;
    sign_in(&store, 1).await?;
    assert_eq!((store.state().await?.user, store.state().await?.cursor), (Some(user(1)), None));
    store.begin_epoch(cursor(9), Position(0)).await?;
    store.set_active(Some(user(1)), Reader::Device).await?;
    assert_eq!(store.state().await?.cursor, Some(cursor(3)), "without his token he reads as the device");
    assert_eq!(store.cursor_of(Reader::User(user(1))).await?, Some(cursor(9)));
    assert_eq!(store.cursor_of(Reader::Device).await?, Some(cursor(3)));
    for nobody in [Reader::Local, Reader::User(user(2))] {
        assert_eq!(store.cursor_of(nobody).await?, None);
    }
    Ok(())
}

/// The second reader who meets a restored log must not take back what was delivered to it since.
pub async fn an_epoch_begins_once_for_all_readers(store: SharedLocalStore) -> Result<()> {
    store.save_edit(document(1), &[own(1)]).await?;
    store.save_answer(&answer(document(1), 8, &[1], &[])).await?;
    store.begin_epoch(cursor(2), Position(2)).await?;
    assert_eq!(unsent(&store).await?, [hash(1)]);
    store.save_answer(&answer(document(1), 5, &[1], &[])).await?;
    sign_in(&store, 1).await?;
    store.begin_epoch(cursor(2), Position(2)).await?;
    assert_eq!(unsent(&store).await?, []);
    Ok(())
}

/// Neither the device without him nor the next user, whoever vouches for that one.
pub async fn what_came_for_a_user_with_a_token_is_shown_to_nobody_else(store: SharedLocalStore) -> Result<()> {
    sign_in(&store, 1).await?;
    store.save_snapshot(&snapshot(document(1), 3, &[1])).await?;
    receive(&store, vec![entry(document(2), 4, &[2])]).await?;
    for other in [(None, Reader::Device), (Some(user(2)), Reader::Local), (Some(user(2)), Reader::User(user(2)))] {
        store.set_active(other.0, other.1).await?;
        assert_eq!(store.documents().await?, [], "{other:?}");
        for n in [1, 2] {
            assert_eq!((store.load(document(n)).await?, store.is_hidden(document(n)).await?), (None, true));
        }
    }
    store.set_active(Some(user(1)), Reader::Device).await?;
    assert_eq!(store.documents().await?, [], "nor to himself without his token");
    sign_in(&store, 1).await?;
    assert_eq!(chunks(&store, document(2)).await?, contents(&[2]));
    Ok(())
}

/// Who signs in without a network begins with what is there.
pub async fn a_user_with_a_pin_sees_what_the_device_may_see(store: SharedLocalStore) -> Result<()> {
    receive(&store, vec![entry(document(1), 3, &[1])]).await?;
    switch(&store, 1).await?;
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1]));
    receive(&store, vec![entry(document(2), 4, &[2])]).await?;
    switch(&store, 2).await?;
    assert_eq!(store.documents().await?.len(), 2, "as the device does in the hands of a colleague");
    store.set_active(None, Reader::Device).await?;
    assert_eq!(store.documents().await?.len(), 1, "some gateways send nothing to a device that nobody uses");
    Ok(())
}

/// Content that came under somebody else's permit meanwhile is not shown to whose own has ended.
pub async fn who_lost_access_sees_his_own_unsent_work_and_nothing_newer(store: SharedLocalStore) -> Result<()> {
    receive(&store, vec![entry(document(1), 3, &[1])]).await?;
    store.save_edit(document(1), &[own(2)]).await?;
    sign_in(&store, 1).await?;
    let revoked = Some(Revoked::Device);
    receive(&store, vec![entry(document(1), 4, &[1]), ReceivedEntry { revoked, ..entry(document(1), 5, &[]) }]).await?;
    let bootstrap = vec![document(1)];
    store.save_received(&Received { bootstrap, ..Default::default() }).await?;
    receive(&store, vec![entry(document(1), 6, &[3])]).await?;
    assert_eq!(chunks(&store, document(1)).await?, contents(&[1, 3]), "he has a grant of his own");
    store.set_active(None, Reader::Device).await?;
    assert_eq!(chunks(&store, document(1)).await?, contents(&[2]));
    assert!(state(&store, document(1)).await?.revoked);
    assert_eq!(store.purge().await?, [], "somebody may still read it");
    Ok(())
}

/// He reads an old end of a grant that has begun again since, and the device has read that.
pub async fn an_old_end_takes_nothing_from_a_reader_who_is_ahead(store: SharedLocalStore) -> Result<()> {
    let ahead = Received { cursor: Some(cursor(9)), entries: vec![entry(document(1), 9, &[1])], bootstrap: vec![] };
    store.save_received(&ahead).await?;
    sign_in(&store, 1).await?;
    store.begin_epoch(cursor(0), Position(0)).await?;
    let entries = vec![ReceivedEntry { revoked: Some(Revoked::Device), ..entry(document(1), 5, &[2]) }];
    store.save_received(&Received { cursor: Some(cursor(5)), entries, bootstrap: vec![] }).await?;
    store.set_active(None, Reader::Device).await?;
    assert!(store.document(document(1)).await?.is_some());
    Ok(())
}

/// Wherever else it is still held for somebody.
pub async fn a_shredded_document_is_destroyed_whoever_may_read_it(store: SharedLocalStore) -> Result<()> {
    receive(&store, vec![entry(document(1), 3, &[1])]).await?;
    sign_in(&store, 1).await?;
    receive(&store, vec![entry(document(1), 3, &[1])]).await?;
    receive(&store, vec![ReceivedEntry { revoked: Some(Revoked::Reader), ..entry(document(1), 4, &[]) }]).await?;
    assert_eq!(store.purge().await?, [], "the device may read it");
    receive(&store, vec![ReceivedEntry { revoked: Some(Revoked::Everybody), ..entry(document(1), 0, &[]) }]).await?;
    assert_eq!(store.purge().await?, [document(1)]);
    Ok(())
}

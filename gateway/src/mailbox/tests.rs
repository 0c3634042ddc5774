use feldakte_core::ids::{CaseId, Part};
use uuid::Uuid;

use super::*;

fn entry(position: u64, len: usize) -> Arc<LiveEntry> {
    entry_of(position, len, false)
}

fn entry_of(position: u64, len: usize, is_urgent: bool) -> Arc<LiveEntry> {
    let document = DocumentId { case: CaseId(Uuid::nil()), part: Part::Clinical };
    Arc::new(LiveEntry {
        document,
        position: Position(position),
        has_content: true,
        is_urgent,
        encoded: Bytes::from(vec![0; len]),
    })
}

fn mailbox() -> Arc<Mailbox> {
    Mailbox::new(SessionId(Uuid::nil()), PartSet::ALL)
}

fn answer(push: u64) -> Answer {
    Answer { push, position: Position(push), refused: Vec::new() }
}

#[tokio::test]
async fn mail_comes_out_in_the_order_it_went_in() {
    let mailbox = mailbox();
    mailbox.deliver(&entry(1, 10));
    mailbox.answer(answer(2));
    mailbox.deliver(&entry(3, 10));
    let post = mailbox.take(usize::MAX).await;
    let order: Vec<_> = post
        .mail
        .iter()
        .map(|mail| match mail {
            Mail::Answer(answer) => answer.position.0,
            Mail::Entry(entry) => entry.position.0,
            Mail::Own(position) => position.0,
        })
        .collect();
    assert_eq!((order, post.lagged), (vec![1, 2, 3], false));
}

#[tokio::test]
async fn a_reader_that_lags_loses_entries_and_keeps_answers() {
    let mailbox = mailbox();
    mailbox.answer(answer(1));
    let kept = (0..=limits::READER_OUTBOX as u64).filter(|n| mailbox.deliver(&entry(n + 2, 10))).count();
    assert_eq!(kept, limits::READER_OUTBOX);
    let post = mailbox.take(usize::MAX).await;
    assert!(post.lagged);
    assert!(matches!(post.mail.as_slice(), [Mail::Answer(Answer { push: 1, .. })]));
    assert!(!mailbox.deliver(&entry(999, 1)), "stays out of the tail until it has read the store");
    mailbox.restart();
    assert!(mailbox.deliver(&entry(1000, 1)));
}

#[tokio::test]
async fn an_urgent_entry_goes_ahead_however_far_the_session_lags() {
    let mailbox = mailbox();
    let urgent = mailbox.beside();
    mailbox.tell_urgent(&urgent);
    mailbox.deliver(&entry(1, limits::READER_OUTBOX_BYTES + 1));
    assert!(!mailbox.deliver(&entry_of(2, 10, true)), "it has lagged");
    mailbox.deliver(&entry(3, 10));
    let ahead = urgent.take(usize::MAX).await;
    assert!(matches!(ahead.mail.as_slice(), [Mail::Entry(entry)] if entry.position == Position(2)));
    drop(urgent);
    mailbox.deliver(&entry_of(4, 10, true));
}

#[tokio::test]
async fn a_grant_that_ends_takes_back_what_waits_to_go_ahead() {
    let mailbox = mailbox();
    let urgent = mailbox.beside();
    mailbox.tell_urgent(&urgent);
    mailbox.deliver(&entry_of(1, 10, true));
    urgent.answer(answer(2));
    mailbox.revoke(Position(3));
    let post = urgent.take(usize::MAX).await;
    assert!(matches!(post.mail.as_slice(), [Mail::Answer(Answer { push: 2, .. })]), "{:?}", post.mail);
}

#[tokio::test]
async fn a_second_urgent_lane_takes_back_what_waits_on_the_first() {
    let mailbox = mailbox();
    let [first, second] = [(); 2].map(|()| mailbox.beside());
    mailbox.tell_urgent(&first);
    mailbox.deliver(&entry_of(1, 10, true));
    mailbox.tell_urgent(&second);
    mailbox.deliver(&entry_of(2, 10, true));
    assert_eq!((first.load(), second.load().entries), (MailboxLoad::default(), 1));
}

#[tokio::test]
async fn what_is_answered_on_another_lane_is_passed_in_the_order_of_the_log() {
    let mailbox = mailbox();
    let beside = mailbox.beside();
    mailbox.deliver(&entry(1, 10));
    beside.answer(answer(2));
    beside.answer(answer(3));
    mailbox.deliver(&entry(4, 10));
    let post = mailbox.take(usize::MAX).await;
    let passed = matches!(post.mail.as_slice(), [Mail::Entry(_), Mail::Own(Position(3)), Mail::Entry(_)]);
    assert!(passed, "{:?}", post.mail);
    assert_eq!(mailbox.load(), MailboxLoad::default());
}

#[test]
fn bytes_count_as_well_as_entries() {
    let mailbox = mailbox();
    assert!(mailbox.deliver(&entry(1, limits::READER_OUTBOX_BYTES)));
    assert!(!mailbox.deliver(&entry(2, 1)));
}

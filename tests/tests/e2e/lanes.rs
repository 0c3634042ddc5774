//! Lanes: what is pushed on one is answered there, the log is told in its order on the session's own, and what is urgent goes
//! ahead of everything.

use bytes::Bytes;
use feldakte_core::{
    ids::{DocumentId, Position},
    lane::Lane,
    limits,
};
use feldakte_proto::{ChangesFrame, ClientMessage, Durable, ServerMessage, decode_entry};
use feldakte_tests::harness::{
    address::Transport,
    author::{Author, name_of},
    crew,
    local::Site,
    new_document, noise,
    raw::{RawClient, RawLane, Seen},
    tablet::{Tablet, fact, memory_store},
    until,
};

async fn durable_on(lane: &mut RawLane) -> Durable {
    loop {
        match lane.next().await.expect("the lane lives") {
            ServerMessage::Durable(durable) => return durable,
            ServerMessage::Changes(_) => {}
            other => panic!("not to be expected here: {other:?}"),
        }
    }
}

async fn changes_on(lane: &mut RawLane) -> ChangesFrame {
    match lane.next().await.expect("the lane lives") {
        ServerMessage::Changes(changes) => changes,
        other => panic!("not to be expected here: {other:?}"),
    }
}

async fn what_is_pushed_on_a_lane_is_answered_there_and_the_cursor_moves_with_the_session(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [writer, reader] = [(); 2].map(|()| site.pki.enrol(&crew("rtw-1")));
    let (mut reader, _) = RawClient::session(&reader, gateway.address, None).await;
    for lane in [Lane::Urgent, Lane::Background] {
        let (mut session, _) = RawClient::session(&writer, gateway.address, None).await;
        let mut beside = session.enter(lane).await;
        let mut author = Author::new(&writer.principal, new_document());
        let push = beside.push(author.document, author.begin(1)).await;
        let durable = durable_on(&mut beside).await;
        assert_eq!((durable.push, durable.cursor, durable.refused.as_slice()), (push, None, &[][..]), "{lane:?}");

        let mut own = Seen::default();
        session.read_until(&mut own, |seen| seen.cursor >= durable.position.0).await;
        assert!(own.entries.iter().all(|(_, entry)| entry.document != author.document), "its own is not sent back");
        let mut seen = Seen::default();
        reader.read_until(&mut seen, |seen| seen.cursor >= durable.position.0).await;
        assert!(seen.entries.iter().any(|(_, entry)| entry.document == author.document));
    }
}

/// A reader whose session's stream is full of what came before.
async fn an_urgent_entry_goes_ahead_of_a_log_that_waits(over: Transport) {
    const DOCUMENTS: usize = 400;
    let site = Site::over(over);
    let gateway = site.start().await;
    let [writer, reader] = [(); 2].map(|()| site.pki.enrol(&crew("rtw-1")));
    let (mut session, _) = RawClient::session(&writer, gateway.address, None).await;
    let mut author = Author::new(&writer.principal, new_document());
    session.push_and_wait(author.document, author.begin(1)).await;
    session.push_documents(&writer.principal, DOCUMENTS).await;

    let (mut behind, _) = RawClient::session_with(reader.dial().narrow(NARROW), gateway.address, None).await;
    let mut urgent = behind.enter(Lane::Urgent).await;
    let order = vec![author.set("gcs", "3").bytes];
    let name = name_of(&order[0]);
    // The lane is there when the gateway has answered something on it.
    let mut own = Author::new(&reader.principal, new_document());
    urgent.push(own.document, own.begin(1)).await;
    durable_on(&mut urgent).await;
    let mut writing = session.enter(Lane::Urgent).await;
    writing.push(author.document, order).await;

    let ChangesFrame { to, entries, bootstrap, caught_up } = changes_on(&mut urgent).await;
    assert_eq!((to, bootstrap, caught_up), (None, vec![], false), "the log is told elsewhere");
    let entry = decode_entry(entries[0].entry.clone()).unwrap();
    assert_eq!(entry.changes.iter().map(name_of).collect::<Vec<_>>(), [name]);
    let mut seen = Seen::default();
    behind.read_until(&mut seen, |seen| seen.changes().contains(&name)).await;
    assert!(seen.entries.len() > DOCUMENTS, "and comes again in its place");
    assert_eq!(seen.cursor, entries[0].position.0);
}

async fn what_is_told_of_authority_does_not_go_ahead(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [writer, reader] = [(); 2].map(|()| site.pki.enrol(&crew("rtw-1")));
    let (mut reader, _) = RawClient::session(&reader, gateway.address, None).await;
    let mut ahead = reader.enter(Lane::Urgent).await;
    let (mut session, _) = RawClient::session(&writer, gateway.address, None).await;
    let mut urgent = session.enter(Lane::Urgent).await;
    let mut author = Author::new(&writer.principal, new_document());
    // The first push of a document brings grants with it, the second one does not.
    urgent.push(author.document, author.begin(1)).await;
    let first = durable_on(&mut urgent).await;
    urgent.push(author.document, vec![author.set("gcs", "3").bytes]).await;
    let second = durable_on(&mut urgent).await;
    let mut seen = Seen::default();
    reader.read_until(&mut seen, |seen| seen.cursor >= second.position.0).await;
    assert!(
        seen.entries.iter().any(|(position, entry)| Position(*position) == first.position && !entry.grants.is_empty())
    );
    let frame = changes_on(&mut ahead).await;
    assert_eq!(frame.entries.iter().map(|entry| entry.position).collect::<Vec<_>>(), [second.position]);
}

async fn what_was_written_before_a_restart_goes_behind_and_arrives(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [enrolled, other] = [(); 2].map(|()| site.pki.enrol(&crew("rtw-1")));
    let store = memory_store();
    let tablet = Tablet::open(enrolled.identity(), gateway.address, store.clone()).await;
    let mut cases = Vec::new();
    for n in 0..20 {
        cases.push(tablet.create(&format!("Fall {n}")).await);
        tablet.set(cases[n], "gcs", &n.to_string()).await;
    }
    tablet.shutdown().await;

    let store = store.reopen().unwrap();
    let tablet = Tablet::open(enrolled.identity(), gateway.address, store).await;
    // One of them is in use again: what is new there stands on what waits.
    tablet.client.edit(cases[7], vec![fact(feldakte_core::ids::Part::Clinical, "gcs", "15")]).await.unwrap();
    tablet.go_online().await;
    tablet.wait_all_safe().await;
    let reader = Tablet::online(&other, gateway.address).await;
    for case in cases {
        reader.wait_equal(&tablet, case).await;
    }
    let metrics = gateway.metrics();
    until("nothing was refused", || metrics.changes_durable.get() >= 41).await;
    assert_eq!(metrics.changes_refused.get_or_create(&vec![("reason", "UnknownDependency".to_owned())]).get(), 0);
}

/// Each takes the place of another while both lanes are full.
async fn looking_at_one_case_after_the_other_leaves_none_behind(over: Transport) {
    const CASES: usize = 5 * limits::IN_USE_MAX;
    const TEXT: usize = 24 << 10;
    let site = Site::over(over);
    let gateway = site.start().await;
    let enrolled = site.pki.enrol(&crew("rtw-1"));
    let tablet = Tablet::open(enrolled.identity(), gateway.address, memory_store()).await;
    let mut cases = Vec::new();
    for n in 0..CASES {
        cases.push(tablet.create(&noise(n as u64, TEXT)).await);
    }
    tablet.client.go_online();
    for case in &cases {
        tablet.client.read(*case).await.unwrap();
        tablet.set(*case, "gcs", "15").await;
    }
    tablet.wait_all_safe().await;
}

async fn a_message_that_is_alone_on_the_urgent_lane_is_followed_by_its_tail(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let writer = site.pki.enrol(&crew("rtw-1"));
    let (mut session, _) = RawClient::session(&writer, gateway.address, None).await;
    let mut urgent = session.enter(Lane::Urgent).await;
    let mut author = Author::new(&writer.principal, new_document());
    urgent.push(author.document, author.begin(1)).await;
    assert!(matches!(urgent.next_of_all().await, Some(ServerMessage::Durable(_))));
    assert_eq!(urgent.next_of_all().await, Some(ServerMessage::Tail));
    urgent.send(&ClientMessage::Tail).await;
    urgent.push(author.document, vec![author.set("gcs", "3").bytes]).await;
    assert!(matches!(urgent.next_of_all().await, Some(ServerMessage::Durable(_))));
}

/// A device may let go of a lane and open it again; what it has pushed is answered before.
async fn a_lane_that_was_let_go_is_answered_to_its_end(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let writer = site.pki.enrol(&crew("rtw-1"));
    let (mut session, _) = RawClient::session(&writer, gateway.address, None).await;
    for _ in 0..3 * limits::LANES_MAX {
        let mut lane = session.enter(Lane::Background).await;
        let mut author = Author::new(&writer.principal, new_document());
        lane.push(author.document, author.begin(1)).await;
        lane.finish();
        assert_eq!(durable_on(&mut lane).await.refused, []);
        assert!(lane.next().await.is_none(), "the gateway lets go as well");
    }
    let mut author = Author::new(&writer.principal, new_document());
    let begun: (DocumentId, Vec<Bytes>) = (author.document, author.begin(1));
    assert_eq!(session.push_and_wait(begun.0, begun.1).await.refused, []);
}

feldakte_tests::over_both!(
    what_is_pushed_on_a_lane_is_answered_there_and_the_cursor_moves_with_the_session,
    an_urgent_entry_goes_ahead_of_a_log_that_waits,
    what_is_told_of_authority_does_not_go_ahead,
    what_was_written_before_a_restart_goes_behind_and_arrives,
    a_lane_that_was_let_go_is_answered_to_its_end,
    looking_at_one_case_after_the_other_leaves_none_behind,
    a_message_that_is_alone_on_the_urgent_lane_is_followed_by_its_tail,
);

/// What the gateway may send of a stream before it is read.
const NARROW: u32 = 4 << 10;

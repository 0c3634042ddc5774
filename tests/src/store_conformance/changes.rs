//! What a reader that comes back is told has happened.

use anyhow::Result;
use feldakte_core::{access::Subject, ids::Position};
use feldakte_gateway::store::{Changed, Store};

use super::{Fixture, NOW, about, append, change, device, document, reader, unit};

async fn changed(store: &dyn Store, subjects: &[Subject], after: u64, up_to: u64) -> Result<Vec<Changed>> {
    Ok(store.changed(&reader(subjects), Position(after), Position(up_to), NOW).await?)
}

/// Whatever others do, a reader without news gets an empty answer.
pub async fn nothing_new_is_nothing_changed(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let crew = [unit("rtw-1")];
    assert_eq!(changed(&*store, &crew, 0, u64::MAX).await?, []);
    append(&*store, [about(document(1)).grant(&crew[0]).changes(1)]).await?;
    append(&*store, [about(document(2)).grant(&unit("rtw-2")).changes(1)]).await?;
    for (after, up_to) in [(1, 1), (1, 2), (2, 2), (2, 1), (2, 9)] {
        assert_eq!(changed(&*store, &crew, after, up_to).await?, [], "({after}, {up_to}]");
    }
    assert_eq!(changed(&*store, &[], 0, 2).await?, []);
    assert_eq!(changed(&*store, &[unit("rtw-3")], 0, 2).await?, []);
    Ok(())
}

/// A document that was there before the grant is told with the place of both.
pub async fn a_new_grant_is_a_change(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let (crew, desk) = (unit("rtw-1"), [unit("desk"), device(3)]);
    append(&*store, [about(document(1)).grant(&crew).changes(3), about(document(1)).changes(2)]).await?;
    append(&*store, [about(document(1)).grant(&desk[0])]).await?;
    append(&*store, [about(document(1)).changes(1)]).await?;
    assert_eq!(changed(&*store, &desk, 2, 4).await?, [change(document(1), 1, 3, 1)]);
    assert_eq!(changed(&*store, &desk, 0, 4).await?, [change(document(1), 1, 3, 6)]);
    assert_eq!(changed(&*store, &desk, 2, 3).await?, [change(document(1), 1, 3, 0)]);
    assert_eq!(changed(&*store, &[crew], 0, 4).await?, [change(document(1), 1, 1, 6)]);
    Ok(())
}

/// Not before it, not after it, whatever the range covers of the document.
pub async fn changes_are_counted_within_the_range(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let crew = [unit("rtw-1")];
    append(&*store, [about(document(1)).grant(&crew[0]).changes(1), about(document(2))]).await?;
    append(&*store, [about(document(1)).changes(20), about(document(1)).changes(300)]).await?;
    append(&*store, [about(document(2)), about(document(1)).changes(4000)]).await?;
    let cases =
        [(0, 6, 4321), (0, 9, 4321), (0, 5, 321), (1, 6, 4320), (2, 3, 20), (3, 6, 4300), (4, 6, 4000), (0, 1, 1)];
    for (after, up_to, changes) in cases {
        let found = changed(&*store, &crew, after, up_to).await?;
        assert_eq!(found, [change(document(1), 1, 1, changes)], "({after}, {up_to}]");
    }
    assert_eq!(changed(&*store, &crew, 4, 5).await?, []);
    Ok(())
}

/// In the range in which it lies, and in no later one.
pub async fn an_end_is_told_once(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let crew = [unit("rtw-1")];
    append(&*store, [about(document(1)).grant(&crew[0]).changes(1)]).await?;
    append(&*store, [about(document(1)).revoke(&crew[0])]).await?;
    append(&*store, [about(document(1)).changes(1)]).await?;
    let ended = |changes| Changed { ended: Some(Position(2)), ..change(document(1), 1, 1, changes) };
    assert_eq!(changed(&*store, &crew, 0, 3).await?, [ended(2)]);
    assert_eq!(changed(&*store, &crew, 1, 2).await?, [ended(0)]);
    assert_eq!(changed(&*store, &crew, 2, 3).await?, []);
    // The reader may not read any more, and will hear of the end in the next range.
    assert_eq!(changed(&*store, &crew, 0, 1).await?, []);
    Ok(())
}

/// Of several grants the earliest valid one counts, and an end only when none is left.
pub async fn another_subject_keeps_a_document_readable(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let both = [unit("rtw-1"), device(3)];
    append(&*store, [about(document(1)).grant(&both[0]), about(document(1)).grant(&both[1])]).await?;
    assert_eq!(changed(&*store, &both, 0, 9).await?, [change(document(1), 1, 1, 0)]);
    append(&*store, [about(document(1)).revoke(&both[0])]).await?;
    assert_eq!(changed(&*store, &both, 2, 9).await?, [change(document(1), 1, 2, 0)]);
    append(&*store, [about(document(1)).revoke(&both[1])]).await?;
    let ended = Changed { ended: Some(Position(4)), ..change(document(1), 1, 1, 0) };
    assert_eq!(changed(&*store, &both, 2, 9).await?, [ended]);
    Ok(())
}

/// A reader that lost a document and got it back must fetch it again: the later beginning counts.
pub async fn a_new_grant_after_an_end_begins_there(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let crew = [unit("rtw-1")];
    append(&*store, [about(document(1)).grant(&crew[0]).changes(1)]).await?;
    append(&*store, [about(document(1)).grant(&crew[0])]).await?;
    assert_eq!(changed(&*store, &crew, 0, 9).await?, [change(document(1), 1, 1, 1)]);
    append(&*store, [about(document(1)).revoke(&crew[0])]).await?;
    append(&*store, [about(document(1)).grant(&crew[0])]).await?;
    assert_eq!(changed(&*store, &crew, 2, 9).await?, [change(document(1), 1, 4, 0)]);
    append(&*store, [about(document(1)).revoke(&crew[0]).grant(&crew[0])]).await?;
    assert_eq!(changed(&*store, &crew, 4, 9).await?, [change(document(1), 1, 5, 0)]);
    Ok(())
}

/// What the reader could not read at the end of the range is told when its beginning comes.
pub async fn a_grant_beyond_the_range_is_not_told_yet(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let crew = [unit("rtw-1")];
    append(&*store, [about(document(1)).changes(1), about(document(1)).grant(&crew[0])]).await?;
    assert_eq!(changed(&*store, &crew, 0, 1).await?, []);
    assert_eq!(changed(&*store, &crew, 1, 2).await?, [change(document(1), 1, 2, 0)]);
    Ok(())
}

/// So that a reader that stops in the middle has the older news.
pub async fn changed_documents_come_by_their_last_position(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let crew = [unit("rtw-1")];
    append(&*store, [3, 1, 2].map(|n| about(document(n)).grant(&crew[0]))).await?;
    append(&*store, [about(document(1)).changes(1)]).await?;
    let found = changed(&*store, &crew, 0, 9).await?;
    assert_eq!(found.iter().map(|changed| changed.document).collect::<Vec<_>>(), [3, 2, 1].map(document));
    Ok(())
}

//! Who may read.

use anyhow::Result;
use feldakte_core::{access::PartSet, ids::Position};
use feldakte_gateway::store::Reader;

use super::{Fixture, NOW, about, append, device, document, reader, tenant, unit};

/// A grant is for a unit or for one device, and for nobody else.
pub async fn grants_reach_units_and_devices(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let (crew, tablet) = (unit("rtw-1"), device(7));
    append(&*store, [about(document(1)).grant(&crew), about(document(2)).grant(&tablet)]).await?;
    let cases = [
        (vec![crew.clone()], [true, false]),
        (vec![tablet.clone()], [false, true]),
        (vec![crew, tablet], [true, true]),
        (vec![unit("rtw-2"), device(8)], [false, false]),
        (vec![], [false, false]),
    ];
    for (subjects, expected) in cases {
        let reader = reader(&subjects);
        let found =
            [store.may_read(&reader, document(1), NOW).await?, store.may_read(&reader, document(2), NOW).await?];
        assert_eq!(found, expected, "{subjects:?}");
    }
    assert!(!store.may_read(&reader(&[unit("rtw-1")]), document(9), NOW).await?);
    Ok(())
}

/// Ended means ended, for that subject on that document; a new grant begins.
pub async fn grants_end_and_begin_again(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let (crew, desk) = (unit("rtw-1"), unit("desk"));
    let may_read = async |number: u128, subject| store.may_read(&reader(&[subject]), document(number), NOW).await;
    append(&*store, [about(document(1)).grant(&crew).grant(&desk), about(document(2)).grant(&crew)]).await?;
    append(&*store, [about(document(1)).revoke(&crew)]).await?;
    assert!(!may_read(1, crew.clone()).await?);
    assert!(may_read(1, desk.clone()).await?);
    assert!(may_read(2, crew.clone()).await?);
    // Ending what is not there changes nothing.
    append(&*store, [about(document(1)).revoke(&crew).revoke(&device(1))]).await?;
    append(&*store, [about(document(1)).grant(&crew)]).await?;
    assert!(may_read(1, crew).await?);
    assert!(!may_read(1, device(1)).await?);
    Ok(())
}

/// Ends apply before beginnings, as in the ledger of admission.
pub async fn an_entry_that_ends_and_begins_a_grant_leaves_it_valid(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let crew = unit("rtw-1");
    append(&*store, [about(document(1)).grant(&crew)]).await?;
    append(&*store, [about(document(1)).grant(&crew).revoke(&crew)]).await?;
    assert!(store.may_read(&reader(&[crew]), document(1), NOW).await?);
    Ok(())
}

/// Names of units mean nothing across tenants.
pub async fn the_same_unit_in_another_tenant_reads_nothing(fixture: &mut impl Fixture) -> Result<()> {
    let store = fixture.store();
    let crew = unit("rtw-1");
    append(&*store, [about(document(1)).grant(&crew).changes(1)]).await?;
    append(&*store, [about(document(11)).of(tenant("hagen")).grant(&unit("other"))]).await?;
    for name in ["hagen", "unna"] {
        let stranger = Reader { tenant: tenant(name), subjects: vec![crew.clone()], parts: PartSet::ALL };
        assert!(!store.may_read(&stranger, document(1), NOW).await?);
        let (start, end) = (Default::default(), Position(u64::MAX));
        assert_eq!(store.changed(&stranger, start, end, NOW).await?, []);
        assert_eq!(store.positions(&tenant(name), &[document(1)], start, end).await?, []);
    }
    Ok(())
}

/// A grant that names its end is valid until then, whoever else ends it or prolongs it.
pub async fn a_grant_ends_by_itself(fixture: &mut impl Fixture) -> Result<()> {
    let (crew, desk) = (unit("rtw-1"), unit("tna-1"));
    let store = fixture.store();
    let batch =
        [about(document(1)).grant(&crew).grant_until(&desk, NOW + 10).changes(1), about(document(2)).grant(&crew)];
    append(&*store, batch).await?;
    let may_read = async |now_ms| store.may_read(&reader(std::slice::from_ref(&desk)), document(1), now_ms).await;
    assert!(may_read(NOW + 9).await?);
    assert!(!may_read(NOW + 10).await?);
    assert!(store.may_read(&reader(std::slice::from_ref(&crew)), document(1), i64::MAX).await?);
    assert_eq!(store.lapsed(NOW + 9, None, 10).await?, []);
    assert_eq!(store.lapsed(NOW + 10, None, 10).await?, [document(1)]);
    assert_eq!(store.lapsed(NOW + 10, None, 0).await?, []);
    assert_eq!(store.lapsed(NOW + 10, Some(document(1)), 10).await?, []);
    // What was written is told until then, and neither it nor an end after it.
    let told = async |now_ms| {
        let reader = reader(std::slice::from_ref(&desk));
        let changed = store.changed(&reader, Position(0), Position(9), now_ms).await?;
        let told = changed.iter().map(|changed| (changed.document, changed.until));
        Ok::<_, feldakte_gateway::store::StoreError>(told.collect::<Vec<_>>())
    };
    assert_eq!(told(NOW + 9).await?, [(document(1), Some(NOW + 10))]);
    assert_eq!(told(NOW + 10).await?, []);
    // Of several grants the one that lasts counts.
    let both = reader(&[crew.clone(), desk.clone()]);
    assert_eq!(store.changed(&both, Position(0), Position(2), NOW).await?[0].until, None);
    // Prolonged, ended, begun again without an end.
    append(&*store, [about(document(1)).grant_until(&desk, NOW + 20)]).await?;
    assert!(may_read(NOW + 10).await?);
    assert_eq!(told(NOW + 10).await?, [(document(1), Some(NOW + 20))]);
    append(&*store, [about(document(1)).revoke(&desk)]).await?;
    assert_eq!(store.lapsed(NOW + 20, None, 10).await?, [], "its end is in the log");
    append(&*store, [about(document(1)).grant(&desk)]).await?;
    drop(store);
    fixture.reopen().await?;
    let store = fixture.store();
    assert!(store.may_read(&reader(&[desk]), document(1), i64::MAX).await?);
    assert_eq!(store.lapsed(i64::MAX, None, 10).await?, []);
    Ok(())
}

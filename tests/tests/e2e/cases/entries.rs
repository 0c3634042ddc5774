//! Entries: corrected, withdrawn, and found again by their ids, whatever became of the change they came with.

use feldakte_client_sdk::{
    SdkError,
    view::{Edit, Entry, EntryId, Path, Value},
};
use feldakte_core::{
    change::{Change, craft::Draft},
    ids::{CaseId, DocumentId, Part},
};
use feldakte_proto::Snapshot;
use feldakte_tests::harness::{
    address::Transport,
    author::Author,
    crew,
    local::{LocalGateway, Site},
    new_document,
    raw::RawClient,
    tablet::{Tablet, fact, texts},
    within,
};

use super::{clinical, fields, mission, outcome, read};

fn pain(nrs: i64) -> Vec<(String, Value)> {
    fields(&[("nrs", Value::Integer(nrs))])
}

async fn add(tablet: &Tablet, case: CaseId, nrs: i64) -> EntryId {
    let id = tablet.client.new_entry_id();
    let add = Edit::AddEntry { part: Part::Clinical, id, kind: "pain".into(), fields: pain(nrs) };
    tablet.client.edit(case, vec![add]).await.expect("saved");
    id
}

async fn correct(tablet: &Tablet, case: CaseId, replaces: EntryId, nrs: i64) -> EntryId {
    let id = tablet.client.new_entry_id();
    let correct = Edit::Correct { part: Part::Clinical, id, replaces, kind: "pain".into(), fields: pain(nrs) };
    tablet.client.edit(case, vec![correct]).await.expect("saved");
    id
}

async fn withdraw(tablet: &Tablet, case: CaseId, replaces: EntryId) -> EntryId {
    let id = tablet.client.new_entry_id();
    let withdraw = Edit::Withdraw { part: Part::Clinical, id, replaces, reason: "falscher Patient".into() };
    tablet.client.edit(case, vec![withdraw]).await.expect("saved");
    id
}

async fn entries(tablet: &Tablet, case: CaseId) -> Vec<Entry> {
    clinical(&read(tablet, case).await).entries.clone()
}

fn the_one(entries: &[Entry], id: EntryId) -> &Entry {
    let found: Vec<_> = entries.iter().filter(|entry| entry.id == Some(id)).collect();
    assert_eq!(found.len(), 1, "one entry of that id");
    found[0]
}

async fn corrected_and_withdrawn_entries_stay_with_what_replaced_them(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [a, b] = [crew("rtw-1"), crew("rtw-1")].map(|principal| site.pki.enrol(&principal));
    let (a, b) = (Tablet::online(&a, gateway.address).await, Tablet::online(&b, gateway.address).await);
    let case = mission(&a).await;
    let (wrong, foreign, argued) = (add(&a, case, 7).await, add(&a, case, 2).await, add(&a, case, 5).await);
    a.wait_durable(case).await;
    b.wait_equal(&a, case).await;
    let corrected = correct(&b, case, wrong, 4).await;
    let withdrawal = withdraw(&b, case, foreign).await;
    b.wait_durable(case).await;
    a.wait_equal(&b, case).await;
    a.go_offline().await;
    let ours = correct(&a, case, argued, 6).await;
    let theirs = correct(&b, case, argued, 8).await;
    b.wait_durable(case).await;
    a.go_online().await;
    a.wait_all_safe().await;
    a.wait_equal(&b, case).await;

    for tablet in [&a, &b] {
        let view = read(tablet, case).await;
        let entries = &clinical(&view).entries;
        assert_eq!(entries.len(), 7, "nothing is deleted");
        assert_eq!(the_one(entries, wrong).replaced_by, [corrected]);
        assert_eq!(the_one(entries, wrong).field("nrs"), Some(&Value::Integer(7)), "what was said stays said");
        assert_eq!(the_one(entries, corrected).field("nrs"), Some(&Value::Integer(4)));
        assert_eq!(the_one(entries, foreign).replaced_by, [withdrawal]);
        assert_eq!(the_one(entries, withdrawal).field("reason"), Some(&super::text("falscher Patient")));
        let current: Vec<_> = clinical(&view).current_entries().filter_map(|entry| entry.id).collect();
        assert_eq!(current.len(), 3, "{current:?}");
        assert!([corrected, ours, theirs].iter().all(|id| current.contains(id)));
        let conflicts = clinical(&view).conflicts();
        assert_eq!(conflicts.len(), 1, "corrected in two ways: a person decides");
        assert_eq!((&conflicts[0].path, conflicts[0].values.len()), (&Path::Entry(argued), 2));
    }
    withdraw(&a, case, ours).await;
    a.wait_durable(case).await;
    b.wait_equal(&a, case).await;
    let view = read(&b, case).await;
    assert_eq!(clinical(&view).conflicts(), [], "and has decided");
    assert_eq!(the_one(&clinical(&view).entries, argued).replaced_by.len(), 2, "what was said stays said");
}

/// A case that an attacker has begun, with a change on top that nobody can apply.
struct Poisoned {
    gateway: LocalGateway,
    document: DocumentId,
}

impl Poisoned {
    /// The tablet holds it, and went offline before it was known for what it is.
    async fn on(site: &Site) -> (Self, Tablet) {
        let gateway = site.start().await;
        let [attacker, live] = [(); 2].map(|()| site.pki.enrol(&crew("rtw-1")));
        let (live, metrics) = (Tablet::online(&live, gateway.address).await, gateway.metrics());
        let (mut client, _) = RawClient::session(&attacker, gateway.address, None).await;
        // A busy machine may need longer to take the tablet offline than the gateway to find out.
        loop {
            let (document, marked) = (new_document(), metrics.changes_quarantined.get());
            let mut author = Author::new(&attacker.principal, document);
            let honest = author.begin(1);
            let last = Change::parse(honest[1].clone()).unwrap();
            let attack = Draft::new(author.actor).at([last.hash], 2, last.max_op() + 1).with_nested_maps("tief", 40);
            client.push_and_wait(document, [honest, vec![attack.chunk()]].concat()).await;
            live.wait_case(document.case, "the case", |view| !texts(view, "gcs").is_empty()).await;
            live.go_offline().await;
            if metrics.changes_quarantined.get() == marked {
                return (Self { gateway, document }, live);
            }
            live.go_online().await;
        }
    }

    /// Another tablet of the unit, once so many changes of the case are marked in the log.
    async fn late(&self, site: &Site, marks: usize) -> Tablet {
        let enrolled = site.pki.enrol(&crew("rtw-1"));
        let (mut reader, _) = RawClient::session(&enrolled, self.gateway.address, None).await;
        let is_marked = |snapshot: &Snapshot| snapshot.quarantined.len() >= marks;
        within("they are marked", async {
            while !reader.fetch(&[self.document]).await.snapshots.iter().any(is_marked) {}
        })
        .await;
        let late = Tablet::online(&enrolled, self.gateway.address).await;
        late.wait_case(self.document.case, "the honest part", |view| !view.sync.incomplete).await;
        late
    }
}

async fn entries_that_are_written_again_keep_their_ids(over: Transport) {
    let site = Site::over(over);
    let (poisoned, live) = Poisoned::on(&site).await;
    let case = poisoned.document.case;
    let (first, second) = (add(&live, case, 7).await, add(&live, case, 2).await);
    let withdrawal = withdraw(&live, case, second).await;
    live.go_online().await;
    let late = poisoned.late(&site, 4).await;
    live.until("three changes are made again", async |_| live.told_saved().len() >= 6).await;
    live.wait_durable(case).await;
    late.wait_equal(&live, case).await;
    let by_writer = correct(&live, case, first, 6).await;
    live.wait_durable(case).await;
    late.wait_equal(&live, case).await;
    let by_other = correct(&late, case, by_writer, 5).await;
    late.wait_durable(case).await;
    live.wait_equal(&late, case).await;

    for tablet in [&live, &late] {
        let entries = entries(tablet, case).await;
        assert_eq!(entries.len(), 5);
        assert_eq!(the_one(&entries, first).replaced_by, [by_writer]);
        assert_eq!(the_one(&entries, by_writer).replaced_by, [by_other]);
        assert_eq!(the_one(&entries, second).replaced_by, [withdrawal]);
        assert_eq!(entries.iter().filter(|entry| entry.is_current()).count(), 1);
    }
}

async fn a_signature_under_lost_work_waits_for_its_signer(over: Transport) {
    let site = Site::over(over);
    let (poisoned, live) = Poisoned::on(&site).await;
    let case = poisoned.document.case;
    let id = add(&live, case, 7).await;
    live.client.finalise(case).await.unwrap();
    live.go_online().await;
    let late = poisoned.late(&site, 3).await;
    late.wait_case(case, "the entry, written again", |view| clinical(view).entries.len() == 1).await;
    live.until("the signature waits", async |client| {
        client.case_sync(case).await.is_ok_and(|sync| sync.refused == 1 && sync.local == 0 && sync.sent == 0)
    })
    .await;
    assert!(outcome(&late, case).await.finalisations.is_empty(), "nobody has signed what is there");

    live.client.finalise(case).await.unwrap();
    late.until("it is signed", async |_| !outcome(&late, case).await.finalisations.is_empty()).await;
    let finalisation = outcome(&late, case).await.finalisations.remove(0);
    assert_eq!(finalisation.verdict, feldakte_client_sdk::view::Verdict::Intact);
    let signed = late.client.signed(poisoned.document, finalisation.heads).await.unwrap();
    assert_eq!(signed.entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), [Some(id)]);
}

/// Work that has to be done again meets a gate that was raised meanwhile: it waits, and holds up nothing else.
async fn work_that_an_old_app_cannot_do_again_does_not_end_its_session(over: Transport) {
    let site = Site::over(over);
    let (poisoned, live) = Poisoned::on(&site).await;
    let case = poisoned.document.case;
    add(&live, case, 7).await;
    let late = poisoned.late(&site, 1).await;
    late.client.edit(case, vec![Edit::RaiseSchema { part: Part::Clinical, min_schema: 2 }]).await.unwrap();
    late.wait_durable(case).await;
    live.go_online().await;
    live.wait_case(case, "the gate", |view| clinical(view).min_schema == 2).await;
    live.until("the work waits", async |client| client.case_sync(case).await.is_ok_and(|sync| sync.refused == 1)).await;
    let refused = live.client.edit(case, vec![fact(Part::Clinical, "outcome", "x")]).await;
    assert!(matches!(refused, Err(SdkError::AppTooOld)), "{refused:?}");
    live.go_offline().await;
    live.go_online().await;
    let other = mission(&live).await;
    live.wait_durable(other).await;
    let parked = live.client.parked(case).await.unwrap();
    assert!(matches!(&parked[..], [one] if matches!(one.edits[..], [Edit::AddEntry { .. }])), "{parked:?}");
}

feldakte_tests::over_both!(
    corrected_and_withdrawn_entries_stay_with_what_replaced_them,
    entries_that_are_written_again_keep_their_ids,
    a_signature_under_lost_work_waits_for_its_signer,
    work_that_an_old_app_cannot_do_again_does_not_end_its_session,
);

//! A tablet that dies in the middle of documenting, with a gateway in session and without.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path, time::Duration};

use feldakte_client_sdk::{
    key::FileKey,
    store::{SharedLocalStore, sqlcipher::SqlCipherStore},
    view::CaseView,
};
use feldakte_core::{case::Edit, crdt::Value, ids::Part};
use feldakte_tests::harness::{
    address::Address,
    again, crew,
    local::Site,
    new_epoch,
    pki::read_identity,
    tablet::{Tablet, fact},
    within,
};
use rand::Rng;

use super::{kills, moments};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_tablet_loses_nothing_that_was_told_saved() {
    let site = Site::new();
    let gateway = site.start().await;
    let home = tempfile::tempdir().unwrap();
    site.pki.enrol(&crew("rtw-1")).write(home.path());
    let mut rng = moments();
    let mut told = BTreeSet::new();
    for kill in 0..kills() {
        // Every third time without a network.
        let address = if kill % 3 == 2 { String::new() } else { gateway.address.to_string() };
        fs::write(home.path().join("gateway"), address).unwrap();
        let mut child = again::command("kills::tablet::child_documents_until_killed", home.path()).spawn().unwrap();
        let mut words = again::Words::of(&mut child);
        for _ in 0..rng.random_range(1..25) {
            told.insert(number_of(within("the tablet saves", words.next()).await.expect("it goes on until killed")));
        }
        // The moment itself: anywhere between two commits, not always right after an answer.
        tokio::time::sleep(Duration::from_micros(rng.random_range(0..15_000))).await;
        child.kill().await.unwrap();
        // What it said between our last look and its death counts as well.
        while let Some(word) = within("its output ends", words.next()).await {
            told.insert(number_of(word));
        }
        let tablet = open(home.path(), gateway.address).await;
        assert_nothing_missing(&told, &the_case(&tablet).await);
        tablet.shutdown().await;
    }
    println!("{} edits told saved over {} kills of the tablet, 0 missing", told.len(), kills());

    // Nothing about it is stuck either: everything becomes durable, and another tablet shows it.
    let tablet = open(home.path(), gateway.address).await;
    tablet.go_online().await;
    tablet.wait_all_safe().await;
    let case = the_case(&tablet).await.case;
    let other = Tablet::online(&site.pki.enrol(&crew("rtw-1")), gateway.address).await;
    other.wait_equal(&tablet, case).await;
    assert_nothing_missing(&told, &other.client.read(case).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs as a child of a_killed_tablet_loses_nothing_that_was_told_saved"]
async fn child_documents_until_killed() {
    let Some(home) = again::directory() else { return };
    let gateway = fs::read_to_string(home.join("gateway")).unwrap().parse::<SocketAddr>();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let tablet = open(&home, *gateway.as_ref().unwrap_or(&nowhere)).await;
    if gateway.is_ok() {
        tablet.client.go_online();
    }
    if tablet.client.list().await.unwrap().is_empty() {
        tablet.create("Reanimation").await;
    }
    let view = the_case(&tablet).await;
    for n in numbers(&view).last().map_or(0, |last| last + 1).. {
        let fields = vec![("n".to_owned(), Value::Integer(n))];
        let id = tablet.client.new_entry_id();
        let entry = Edit::AddEntry { part: Part::Clinical, id, kind: "vitals".into(), fields };
        let both = vec![entry, fact(Part::Operations, "n", &n.to_string())];
        tablet.client.edit(view.case, both).await.unwrap();
        again::say(&n.to_string());
    }
}

async fn open(home: &Path, gateway: impl Into<Address>) -> Tablet {
    let key = FileKey { path: home.join("key") };
    let store: SharedLocalStore = SqlCipherStore::open(&home.join("tablet.db"), &key, new_epoch()).await.unwrap();
    Tablet::open(read_identity(home), gateway, store).await
}

async fn the_case(tablet: &Tablet) -> CaseView {
    let cases = tablet.client.list().await.unwrap();
    assert_eq!(cases.len(), 1, "one case was created, and one only");
    tablet.client.read(cases[0].case).await.unwrap()
}

fn numbers(view: &CaseView) -> BTreeSet<i64> {
    let entries = view.documents.iter().flat_map(|document| &document.entries);
    let fields = entries.flat_map(|entry| &entry.fields);
    fields
        .filter_map(|(name, value)| match value {
            Value::Integer(n) if name == "n" => Some(*n),
            _ => None,
        })
        .collect()
}

fn number_of(word: String) -> i64 {
    word.parse().expect("the child says numbers")
}

fn assert_nothing_missing(told: &BTreeSet<i64>, view: &CaseView) {
    let missing: Vec<_> = told.difference(&numbers(view)).copied().collect();
    assert!(missing.is_empty(), "{missing:?} of {}", told.len());
}

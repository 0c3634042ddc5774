//! What devices and gateway do, whatever the network is like.

use std::time::{Duration, Instant};

use feldakte_client_sdk::{
    Client, SignIn,
    view::{CaseEvent, Edit, LinkState, OrderStep, SyncState, Value},
};
use feldakte_core::{
    ids::{CaseId, Part},
    limits,
};
use feldakte_tests::{
    harness::{
        noise,
        tablet::{Tablet, texts},
        team::{Team, fields},
        until,
    },
    netns::loss::Loss,
};

use super::world::{World, link, noticed};

/// A case that two tablets hold, both online.
async fn shared_case(world: &World) -> (Tablet, Tablet, CaseId) {
    let (a, b) = tokio::join!(world.tablet(), world.tablet());
    let case = a.create("Sturz").await;
    a.wait_durable(case).await;
    b.wait_equal(&a, case).await;
    (a, b, case)
}

/// The tablet was told of each change it has saved that it is in the log.
pub fn assert_all_in_log(tablet: &Tablet) {
    let (saved, in_log) = (tablet.told_saved(), tablet.told_in_log());
    assert_eq!(saved.difference(&in_log).count(), 0, "of {}", saved.len());
}

pub async fn add_pain(tablet: &Tablet, case: CaseId, nrs: i64) {
    let (id, kind) = (tablet.client.new_entry_id(), "pain".to_owned());
    let fields = fields(&[("nrs", Value::Integer(nrs))]);
    tablet.client.edit(case, vec![Edit::AddEntry { part: Part::Clinical, id, kind, fields }]).await.unwrap();
}

/// How many entries the tablet shows in the case.
pub async fn entries(tablet: &Tablet, case: CaseId) -> usize {
    let view = tablet.client.read(case).await.unwrap();
    view.documents.iter().map(|document| document.entries.len()).sum()
}

pub async fn an_edit_arrives_at_the_other_device(world: &World) {
    let (a, b, case) = shared_case(world).await;
    b.set(case, "gcs", "15").await;
    b.wait_durable(case).await;
    let view = a.wait_case(case, "a sees it", |view| !texts(view, "gcs").is_empty()).await;
    assert_eq!(texts(&view, "gcs"), ["15".to_owned()].into());
    for tablet in [&a, &b] {
        assert_all_in_log(tablet);
    }
}

pub async fn an_order_is_given(world: &World) {
    let team = Team::at(world.gateway.clone(), &world.site, Duration::ZERO).await;
    team.order_and_give().await;
    assert_eq!(team.agreed(&world.site).await.flags, []);
}

pub async fn work_without_a_link_is_delivered_when_it_is_back(world: &World) {
    let (a, b, known) = shared_case(world).await;
    let cut = link(&a).cut();
    let new = a.create("Atemnot").await;
    for n in 0..20 {
        add_pain(&a, known, n % 10).await;
        a.set(new, "gcs", &n.to_string()).await;
    }
    noticed(&a).await;
    for case in [known, new] {
        assert!(matches!(a.sync(case).await.state(), SyncState::Local | SyncState::Sent));
    }
    drop(cut);
    a.wait_all_safe().await;
    for case in [known, new] {
        b.wait_equal(&a, case).await;
    }
    assert_eq!(entries(&b, known).await, 20);
    assert_all_in_log(&a);
}

pub async fn a_session_that_was_cut_resumes_from_its_cursor(world: &World) {
    let (a, b, case) = shared_case(world).await;
    let snapshots = world.gateway.metrics().snapshots_sent.get();
    let cut = link(&b).cut();
    for n in 0..30 {
        add_pain(&a, case, n % 10).await;
    }
    a.wait_durable(case).await;
    b.set(case, "gcs", "3").await;
    noticed(&b).await;
    drop(cut);
    b.wait_durable(case).await;
    b.wait_equal(&a, case).await;
    a.wait_equal(&b, case).await;
    assert_eq!(entries(&b, case).await, 30);
    assert_eq!(world.gateway.metrics().snapshots_sent.get(), snapshots, "what was missed comes as it was written");
}

pub async fn hundreds_of_documents_are_caught_up(world: &World) {
    const DOCUMENTS: usize = 300;
    let enrolled = world.enrol();
    let mut writer = world.writer(&enrolled).await;
    writer.push_documents(&enrolled.principal, DOCUMENTS).await;
    let tablet = world.tablet().await;
    let has_all = async |client: &Client| {
        client.status().await.is_ok_and(|status| status.cases == DOCUMENTS as u64 && !status.sync.incomplete)
    };
    tablet.until("the tablet has all documents", has_all).await;
}

pub async fn a_denied_device_loses_its_session(world: &World) {
    let denied = world.enrol();
    let (lost, other) = tokio::join!(Tablet::online(&denied, world.gateway.address), world.tablet());
    let case = lost.create("Sturz").await;
    lost.wait_durable(case).await;
    other.wait_equal(&lost, case).await;
    let id = denied.principal.device;
    world.gateway.deny.replace(format!("device {id}").parse().unwrap());
    assert!(world.gateway.gateway.close_lapsed() > 0);
    lost.set(case, "gcs", "3").await;
    lost.wait_link(LinkState::Refused).await;
    other.set(case, "gcs", "15").await;
    other.wait_durable(case).await;
    assert_eq!(texts(&other.client.read(case).await.unwrap(), "gcs"), ["15".to_owned()].into());
}

pub async fn what_a_user_with_a_pin_writes_is_his(world: &World) {
    let (writer, reader) = tokio::join!(world.tablet(), world.tablet());
    let weber = writer.client.set_pin("weber".into(), None, "493817".into()).await.unwrap();
    let pin = SignIn::Pin { login: "weber".into(), pin: "493817".into() };
    assert_eq!(writer.client.sign_in(pin).await.unwrap(), weber);
    let case = writer.create("Sturz").await;
    writer.wait_durable(case).await;
    let is_his = |view: &feldakte_client_sdk::view::CaseView| view.authors.iter().any(|by| by.user == Some(weber));
    reader.wait_case(case, "the gateway certifies who wrote it", is_his).await;
}

pub async fn a_lost_acknowledgement_loses_and_repeats_nothing(world: &World) {
    const ENTRIES: usize = 5;
    let (a, b, case) = shared_case(world).await;
    let metrics = world.gateway.metrics();
    let durable = metrics.changes_durable.get();
    let down = link(&a).emulator.conditions().down;
    link(&a).change(|conditions| conditions.down.loss = Loss::Random(1.0));
    for n in 0..ENTRIES {
        add_pain(&a, case, n as i64).await;
    }
    until("the gateway has them", || metrics.changes_durable.get() == durable + ENTRIES as u64).await;
    assert_eq!(a.sync(case).await.state(), SyncState::Sent, "as far as the tablet knows");
    noticed(&a).await;
    link(&a).change(|conditions| conditions.down = down);
    a.wait_durable(case).await;
    b.wait_equal(&a, case).await;
    assert_eq!((entries(&a, case).await, entries(&b, case).await), (ENTRIES, ENTRIES));
    assert_eq!(metrics.changes_durable.get(), durable + ENTRIES as u64);
    assert_all_in_log(&a);
}

/// On a link that takes a quarter of a minute for what was written without one.
pub async fn an_edit_and_an_order_pass_a_backlog(world: &World) {
    const CASES: u64 = 50;
    const TEXT: usize = 12 << 10;
    let (a, b, case) = shared_case(world).await;
    a.go_offline().await;
    for n in 0..CASES {
        a.create(&noise(n, TEXT)).await;
    }
    // What was written last is in use, and goes with the session.
    for _ in 0..limits::IN_USE_MAX {
        a.create("klein").await;
    }
    link(&a).change(|conditions| conditions.up.rate = Some(300_000));
    a.client.go_online();
    a.wait_link(LinkState::Connected).await;
    let durable = world.gateway.metrics().changes_durable.get();
    until("the backlog is on its way", || world.gateway.metrics().changes_durable.get() > durable).await;

    let since = Instant::now();
    add_pain(&a, case, 7).await;
    a.wait_durable(case).await;
    let edit = since.elapsed();
    let (order, part) = (a.client.new_order_id(), Part::Clinical);
    let event = CaseEvent::Order {
        order,
        step: OrderStep::Proposed { content: fields(&[("drug", Value::Text("N02AA01".into()))]) },
    };
    let since = Instant::now();
    a.client.edit(case, vec![Edit::Record { part, event }]).await.unwrap();
    a.wait_durable(case).await;
    let order = since.elapsed();
    let waiting = a.client.status().await.unwrap().sync;
    println!("edit durable after {edit:?}, order after {order:?}; {} changes wait", waiting.local + waiting.sent);
    assert!(waiting.local + waiting.sent > CASES / 2, "the backlog had gone already");
    assert!(edit.max(order) < Duration::from_secs(3), "edit {edit:?}, order {order:?}");
    b.wait_equal(&a, case).await;
}

pub async fn another_address_amid_edits_loses_nothing(world: &World) {
    let (a, b, case) = shared_case(world).await;
    for n in 0..4 {
        add_pain(&a, case, n).await;
        match n % 2 {
            0 => link(&a).change_address(),
            _ => link(&a).emulator.rebind_nat(),
        }
        add_pain(&a, case, n).await;
        a.wait_durable(case).await;
    }
    b.wait_equal(&a, case).await;
    assert_eq!(entries(&b, case).await, 8);
    assert_all_in_log(&a);
}

pub async fn edits_outlive_the_weather(world: &World) {
    const ROUNDS: usize = 300;
    let (a, b, case) = shared_case(world).await;
    // Real time, and long enough for what happens to the profile's links to happen.
    let mut beat = tokio::time::interval(Duration::from_millis(500));
    for n in 0..ROUNDS {
        beat.tick().await;
        add_pain(if n % 2 == 0 { &a } else { &b }, case, (n % 10) as i64).await;
    }
    for tablet in [&a, &b] {
        tablet.wait_all_safe().await;
    }
    a.wait_equal(&b, case).await;
    assert_eq!((entries(&a, case).await, entries(&b, case).await), (ROUNDS, ROUNDS));
    assert_all_in_log(&a);
    assert_all_in_log(&b);
}

//! Thousands of attacks against a gateway process: its memory stays where it was, and a crew goes on working.
//!
//! A fair sample by default; `FELDAKTE_ATTACKS=1000` makes it so many of each kind.

use std::{env, net::SocketAddr, sync::Arc};

use feldakte_certs::policy;
use feldakte_core::change::craft::Draft;
use feldakte_core::{change::Change, limits};
use feldakte_tests::harness::{
    author::Author,
    crew,
    local::Site,
    new_document,
    pki::quic,
    raw::{self, RawClient, hello},
    within,
};
use quinn::Endpoint;
use rustls::{ClientConfig, version::TLS13};
use tokio::task::JoinSet;

use super::{bystander::Bystander, frames::Attack};

/// How many of each kind.
fn repetitions() -> usize {
    env::var("FELDAKTE_ATTACKS").map_or(100, |text| text.parse().expect("FELDAKTE_ATTACKS is a number"))
}

/// Connections at once.
const ABREAST: usize = 8;
/// What each attack costs shows only when nobody is slowed or refused for the sake of all the others: see `shares`.
const NO_SHARES: &str = "[limits]\nhandshakes_per_address_per_minute = 1000000\npushed_changes_per_hour = 1000000000\n\
    pushed_bytes_per_hour = 1000000000000\nstored_bytes_per_day = 1000000000000";
/// The bar.
const GROWTH_KIB_MAX: u64 = 64 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_attacks_leave_the_gateways_memory_where_it_was() {
    let site = Site::new();
    let gateway = site.spawn_with(NO_SHARES).await;
    let bystander = Bystander::start(&site, gateway.quic).await;
    let before = gateway.rss_kib();
    let mut attacks = 0;
    let mut most = before;
    // Each attacker attacks over and over: a device whose sessions end early may come back.
    let attackers: Vec<_> = (0..ABREAST).map(|_| site.pki.enrol(&crew("attacker")).quic()).collect();
    for attack in Attack::ALL {
        attacks += flood(gateway.quic, &attackers, move |endpoint, config, gateway| async move {
            let Ok(mut client) = RawClient::connect(&endpoint, config, gateway).await else { return };
            assert_eq!(attack.perform(&mut client).await, Some(attack.code()), "{attack:?}");
        })
        .await;
        most = most.max(gateway.rss_kib());
    }
    let mut nobody = ClientConfig::builder_with_provider(policy::provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(site.pki.roots())
        .with_no_client_auth();
    nobody.alpn_protocols = vec![policy::ALPN.to_vec()];
    attacks += flood(gateway.quic, &vec![quic(nobody); ABREAST], |endpoint: Endpoint, config, gateway| async move {
        if let Ok(mut client) = RawClient::connect(&endpoint, config, gateway).await {
            client.send(&hello(None)).await;
            assert!(client.next().await.is_err());
            assert_eq!(client.received, 0);
        }
    })
    .await;
    // Leaves without a word, in the middle of the largest frame there may be.
    attacks += flood(gateway.quic, &attackers, |endpoint: Endpoint, config, gateway| async move {
        let Ok(mut client) = RawClient::connect(&endpoint, config, gateway).await else { return };
        client.send(&hello(None)).await;
        client.send_bytes((limits::FRAME_LEN_MAX as u32).to_be_bytes().to_vec().into()).await;
        client.send_bytes(vec![1; limits::FRAME_LEN_MAX - 1].into()).await;
        client.quic().connection.close(0_u32.into(), b"");
    })
    .await;
    attacks += refused_changes(&site, gateway.quic).await;

    most = most.max(gateway.rss_kib());
    let growth = most.saturating_sub(before);
    println!("{attacks} attacks: {before} KiB before, {most} KiB at most");
    assert!(growth <= GROWTH_KIB_MAX, "{before} KiB before, {most} KiB at most");
    assert_eq!(gateway.metric("feldakte_changes_quarantined").await, 0);
    bystander.unharmed().await;
}

/// Honest in form: the largest changes there may be, pushed as fast as the gateway takes them, by a device whose sessions
/// supersede each other. What waits for the disk is bounded in bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_the_largest_pushes_fills_no_memory() {
    let site = Site::new();
    let gateway = site.spawn_with(NO_SHARES).await;
    let attacker = site.pki.enrol(&crew("attacker"));
    let large = |document| {
        let genesis = Change::parse(Author::genesis(document)).unwrap();
        let actor = Author::new(&attacker.principal, document).actor;
        let large = Draft::new(actor).at([genesis.hash], 1, genesis.max_op() + 1);
        let large = large.with_text("x", &"x".repeat(limits::CHANGE_LEN_MAX - 1_000)).chunk();
        vec![Author::genesis(document), large]
    };
    // The same in peace, one after the other, fills what the database keeps in memory anyway.
    let (mut client, _) = RawClient::session(&attacker, gateway.quic, None).await;
    for _ in 0..2 * limits::PUSHES_IN_FLIGHT {
        let document = new_document();
        assert_eq!(client.push_and_wait(document, large(document)).await.refused, []);
    }
    let before = gateway.rss_kib();
    let mut most = before;
    for _ in 0..4 {
        // Each session is superseded by the next one, with its pushes still in the queue.
        let (mut client, _) = RawClient::session(&attacker, gateway.quic, None).await;
        let flood = async {
            for _ in 0..2 * limits::PUSHES_IN_FLIGHT {
                let document = new_document();
                client.push(document, large(document)).await;
            }
        };
        // Nobody reads the answers: sooner or later the gateway takes no more.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), flood).await;
        most = most.max(gateway.rss_kib());
    }
    println!("{before} KiB before, {most} KiB at most");
    assert!(most.saturating_sub(before) <= GROWTH_KIB_MAX, "{before} KiB before, {most} KiB at most");
}

/// Performs an attack [`repetitions`] times, [`ABREAST`] at once.
async fn flood<F>(
    gateway: SocketAddr,
    attackers: &[quinn::ClientConfig],
    attack: impl Fn(Endpoint, quinn::ClientConfig, SocketAddr) -> F + Copy + Send + 'static,
) -> usize
where
    F: Future<Output = ()> + Send,
{
    let share = repetitions().div_ceil(attackers.len());
    let mut running = JoinSet::new();
    for config in attackers {
        let config = config.clone();
        running.spawn(async move {
            let endpoint = raw::endpoint();
            for _ in 0..share {
                attack(endpoint.clone(), config.clone(), gateway).await;
            }
            endpoint.close(0_u32.into(), b"");
            within("the goodbyes are sent", endpoint.wait_idle()).await;
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("the gateway answers as it must");
    }
    share * attackers.len()
}

/// Changes that are refused one by one, on documents that are opened for the purpose.
async fn refused_changes(site: &Site, gateway: SocketAddr) -> usize {
    let attacker = Arc::new(site.pki.enrol(&crew("attacker")));
    let (mut client, _) = RawClient::session(&attacker, gateway, None).await;
    let rounds = repetitions();
    for _ in 0..rounds {
        let document = new_document();
        let author = Author::new(&attacker.principal, document);
        let genesis = Change::parse(Author::genesis(document)).unwrap();
        let honest = Draft::new(author.actor).at([genesis.hash], 1, genesis.max_op() + 1);
        let many = honest.clone().with_puts("x", 4_000_000).chunk();
        let gap = Draft { seq: 9, ..honest.clone() }.with_puts("x", 1).chunk();
        let push = vec![many; 100].into_iter().chain(vec![gap; 100]).collect();
        assert_eq!(client.push_and_wait(document, push).await.refused.len(), 200);
    }
    200 * rounds
}

//! A gateway that is killed leaves a chain that is whole, and goes on with it.

use feldakte_core::audit::{Act, Chain};
use feldakte_tests::harness::{author::Author, crew, local::Site, new_document, raw::RawClient};
use rand::Rng;

use super::{acts, dortmund, public_key, records, verify};

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_writing_the_chain_stays_whole() {
    let site = Site::new();
    let crew = site.pki.enrol(&crew("rtw-1"));
    let mut rows = 0;
    for round in 0..KILLS {
        let gateway = site.spawn().await;
        let pushes = rand::rng().random_range(1..40);
        for _ in 0..pushes {
            let (mut writer, _) = RawClient::session(&crew, gateway.quic, None).await;
            let mut author = Author::new(&crew.principal, new_document());
            writer.push_and_wait(author.document, author.begin(1)).await;
        }
        gateway.kill().await;
        let whole = verify(&site.audit_path(), &dortmund(), &public_key(&site)).await.unwrap();
        // What a session leaves before it is welcomed was durable when it was.
        assert!(whole.rows >= rows + pushes, "round {round}");
        rows = whole.rows;
    }
    let own = records(&site.audit_path(), &Chain::Gateway).await;
    assert_eq!(acts(&own), vec![Act::GatewayStarted; KILLS], "a start without a stop before it is a crash");
}

const KILLS: usize = 8;

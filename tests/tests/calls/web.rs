//! The browsers' port: who gets in, and what ends it. What is said there is in the tests of calls.

use std::time::{Duration, Instant, SystemTime};

use feldakte_core::{access::Role, limits};
use feldakte_tests::harness::{
    crew, device,
    issuer::{self, Issuer, UNIT},
    local::Site,
    page::{self, Over, PageClient},
    process::{self, ChildGateway},
    within,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The bar.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

const NOT_PERMITTED: Over = Over::Closed(4004);
const SUPERSEDED: Over = Over::Closed(4009);
const SIGN_IN_ENDED: Over = Over::Closed(4011);
const PROTOCOL: Over = Over::Closed(4001);

struct World {
    site: Site,
    issuer: Issuer,
    gateway: ChildGateway,
    origin: String,
}

impl World {
    async fn new() -> Self {
        let (site, issuer) = (Site::new(), Issuer::new("key"));
        let (web, origin) = page::settings();
        let gateway = site.spawn_with(&format!("{web}{}", issuer::settings(&issuer, &site))).await;
        Self { site, issuer, gateway, origin }
    }

    async fn stranger(&self) -> PageClient {
        let web = self.gateway.web.expect("it serves browsers");
        PageClient::connect(web, page::stranger(&self.site), Some(&self.origin)).await.expect("the door is open")
    }

    async fn desk(&self, desk: &feldakte_tests::harness::pki::Enrolled) -> Result<PageClient, Over> {
        let web = self.gateway.web.expect("it serves browsers");
        PageClient::connect(web, page::certified(desk, self.site.pki.roots()), Some(&self.origin)).await
    }

    fn token(&self, role: Role, lifetime: Duration) -> String {
        self.issuer.token_text("anna", role, SystemTime::now(), lifetime)
    }

    fn deny(&self, line: &str) {
        std::fs::write(process::deny_list(&self.site), line).expect("written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_is_known_by_its_certificate_and_its_user_by_a_token() {
    let world = World::new().await;
    let desk = world.site.pki.enrol(&device("dortmund", "tz-1", Role::TelePhysician));
    let mut page = world.desk(&desk).await.unwrap();
    let welcome = page.hello(None).await.unwrap()["welcome"].clone();
    assert_eq!(welcome["device"], desk.principal.device.to_string());
    assert_eq!((&welcome["unit"], &welcome["user"]), (&json!("tz-1"), &json!(null)));
    let mut page = world.desk(&desk).await.unwrap();
    let welcome = page.hello(Some(&world.token(Role::TelePhysician, HOUR))).await.unwrap()["welcome"].clone();
    assert_eq!(welcome["user"], issuer::user("anna").to_string());
    assert_eq!(welcome["device"], desk.principal.device.to_string());
    assert!(welcome["until_ms"].is_i64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_device_is_known_by_his_token_alone_and_is_the_same_every_time() {
    let world = World::new().await;
    let mut devices = Vec::new();
    for _ in 0..2 {
        let mut page = world.stranger().await;
        let welcome = page.hello(Some(&world.token(Role::TelePhysician, HOUR))).await.unwrap()["welcome"].clone();
        assert_eq!((&welcome["tenant"], &welcome["unit"]), (&json!("dortmund"), &json!(UNIT)));
        assert_eq!(
            (&welcome["role"], &welcome["user"]),
            (&json!("tele_physician"), &json!(issuer::user("anna").to_string()))
        );
        devices.push(welcome["device"].clone());
    }
    assert_eq!(devices[0], devices[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_gets_in() {
    let world = World::new().await;
    assert_eq!(world.stranger().await.hello(None).await, Err(NOT_PERMITTED), "neither certificate nor token");
    let forged = Issuer::new("key").token_text("anna", Role::TelePhysician, SystemTime::now(), HOUR);
    for (token, code) in [
        (forged, SIGN_IN_ENDED),
        (world.issuer.token_text("anna", Role::TelePhysician, SystemTime::now() - 2 * HOUR, HOUR), SIGN_IN_ENDED),
        ("no token".to_owned(), SIGN_IN_ENDED),
        (world.token(Role::AmbulanceCrew, HOUR), NOT_PERMITTED),
        (world.token(Role::BackOffice, HOUR), NOT_PERMITTED),
    ] {
        assert_eq!(world.stranger().await.hello(Some(&token)).await, Err(code));
    }
    let tablet = world.site.pki.enrol(&crew("rtw-1"));
    assert_eq!(world.desk(&tablet).await.unwrap().hello(None).await, Err(NOT_PERMITTED), "crews have an app");
    let desk = world.site.pki.enrol(&device("dortmund", "tz-1", Role::TelePhysician));
    let forged = world.desk(&desk).await.unwrap().hello(Some("no token")).await;
    assert_eq!(forged, Err(SIGN_IN_ENDED), "a bad token is not overlooked because the certificate is good");
    let other = Site::new();
    let foreign = other.pki.enrol(&desk.principal);
    let tls = page::certified(&foreign, world.site.pki.roots());
    let connected = PageClient::connect(world.gateway.web.unwrap(), tls, Some(&world.origin)).await;
    assert!(connected.is_err(), "nor is a certificate of another authority");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_are_refused() {
    let world = World::new().await;
    let web = world.gateway.web.unwrap();
    let evil = format!("{}.evil.example", world.origin);
    for origin in [None, Some("https://evil.example"), Some("null"), Some(evil.as_str())] {
        let connected = PageClient::connect(web, page::stranger(&world.site), origin).await;
        assert_eq!(connected.err(), Some(Over::Status(403)), "{origin:?}");
    }
    assert_eq!(world.gateway.metric("feldakte_connections_rejected_total{reason=\"origin\"}").await, 4);
}

async fn assert_closed(page: &mut PageClient, code: Over, act: impl FnOnce()) {
    act();
    let began = Instant::now();
    assert_eq!(page.told().await, Err(code));
    assert!(began.elapsed() < CLOSED_WITHIN, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_denied_is_gone_within_a_second() {
    let world = World::new().await;
    let desk = world.site.pki.enrol(&device("dortmund", "tz-1", Role::TelePhysician));
    let mut page = world.desk(&desk).await.unwrap();
    page.hello(None).await.unwrap();
    let device = desk.principal.device;
    assert_closed(&mut page, NOT_PERMITTED, || world.deny(&format!("device {device}\n"))).await;
    assert!(world.desk(&desk).await.is_err(), "nor does it come back");
    let token = world.token(Role::TelePhysician, HOUR);
    let mut page = world.stranger().await;
    page.hello(Some(&token)).await.unwrap();
    let user = issuer::user("anna");
    assert_closed(&mut page, SIGN_IN_ENDED, || world.deny(&format!("user {user}\n"))).await;
    assert_eq!(world.stranger().await.hello(Some(&token)).await, Err(SIGN_IN_ENDED));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_ends_the_session() {
    let world = World::new().await;
    // Believed for so long beyond its end.
    let (now, left) = (SystemTime::now(), Duration::from_secs(3));
    let token = world.issuer.token_text("anna", Role::TelePhysician, now - HOUR, HOUR + left - limits::TOKEN_LEEWAY);
    let mut page = world.stranger().await;
    page.hello(Some(&token)).await.unwrap();
    assert_eq!(page.told().await, Err(SIGN_IN_ENDED));
    let late = now.elapsed().unwrap().saturating_sub(left);
    // Tokens have whole seconds.
    assert!(late < CLOSED_WITHIN, "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_page_takes_over_from_the_first() {
    let world = World::new().await;
    let token = world.token(Role::TelePhysician, HOUR);
    let (mut first, mut second) = (world.stranger().await, world.stranger().await);
    first.hello(Some(&token)).await.unwrap();
    second.hello(Some(&token)).await.unwrap();
    assert_eq!(first.told().await, Err(SUPERSEDED));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_ends_it() {
    let world = World::new().await;
    let token = world.token(Role::TelePhysician, HOUR);
    for first in ["", "[]", "\"join\"", "{\"hello\":{},\"more\":1}"] {
        let mut page = world.stranger().await;
        page.say_text(first).await;
        assert_eq!(page.told().await, Err(PROTOCOL), "{first}");
    }
    for next in ["{", "{\"hello\":{}}", "{\"unheard_of\":1}"] {
        let mut page = world.stranger().await;
        page.hello(Some(&token)).await.unwrap();
        page.say_text(next).await;
        assert_eq!(page.told().await, Err(PROTOCOL), "{next}");
    }
    let mut page = world.stranger().await;
    page.hello(Some(&token)).await.unwrap();
    page.say_text(&" ".repeat(limits::WEB_MESSAGE_LEN_MAX + 1)).await;
    assert!(page.told().await.is_err(), "nobody makes the gateway hold more than that");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_is_gone_in_time() {
    let world = World::new().await;
    let mut page = world.stranger().await;
    let began = Instant::now();
    assert_eq!(page.told().await, Err(Over::Closed(4005)));
    assert!(began.elapsed() < limits::HELLO_WITHIN + CLOSED_WITHIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_tests_may_do_nothing_but_talk_to_its_gateway() {
    let world = World::new().await;
    let mut stream = page::connect(world.gateway.web.unwrap(), page::stranger(&world.site)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within("the page comes", stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{head}");
    assert!(!body.contains("<script>") && !body.contains("style=") && !body.contains("onclick"), "nothing inline");
}

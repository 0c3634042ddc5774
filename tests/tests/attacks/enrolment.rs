//! Who tries to become a device without having been invited, or to keep others from it.

use std::net::{Ipv4Addr, SocketAddr};

use feldakte_certs::identity::Fingerprint;
use feldakte_client_sdk::enrol::{self, EnrolError, EnrolOptions, Trust};
use feldakte_core::{code::Code, limits};
use feldakte_gateway::{
    control::{
        client::{Client, ClientError},
        devices::{DeviceEntry, InviteEntry, Revoke},
        operators::RemovedOperator,
    },
    store::registry::{OperatorRole, RevocationReason},
};
use feldakte_proto::enrolment::EnrolmentError;
use feldakte_tests::harness::{
    control::{accept, invite, operator, owner},
    local::Site,
    until_answered, within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

fn refused(result: Result<enrol::Enrolled, EnrolError>) -> EnrolmentError {
    match result {
        Err(EnrolError::Refused(refused)) => refused.error,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guessed_codes_are_refused_like_used_ones_and_soon_not_looked_at() {
    let site = Site::new();
    let gateway = site.spawn().await;
    let anna = operator(&site, "anna", OperatorRole::Operator, None).await;
    let (used, unused) = (invite(&anna, "dortmund").await.unwrap(), invite(&anna, "dortmund").await.unwrap());
    enrol::enrol(accept(&used, &gateway)).await.unwrap();
    assert_eq!(refused(enrol::enrol(accept(&used, &gateway)).await), EnrolmentError::CodeRefused);
    let guess = |seed: u32| {
        let mut options = accept(&unused, &gateway);
        options.code = Code::from_random([seed as u8; 12]).to_string();
        enrol::enrol(options)
    };
    let mut guesses = tokio::task::JoinSet::new();
    (1..limits::ENROLMENT_GUESSES_PER_ADDRESS).for_each(|seed| drop(guesses.spawn(guess(seed))));
    let answers = within("answers", guesses.join_all()).await;
    assert!(answers.into_iter().all(|answer| refused(answer) == EnrolmentError::CodeRefused));
    assert_eq!(refused(guess(99).await), EnrolmentError::SlowDown);
    // Nor is the right one, from there.
    assert_eq!(refused(enrol::enrol(accept(&unused, &gateway)).await), EnrolmentError::SlowDown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_another_root_gets_no_code_to_see() {
    let (site, other) = (Site::new(), Site::new());
    let (gateway, impostor) = (site.spawn().await, other.spawn().await);
    let anna = operator(&site, "anna", OperatorRole::Operator, None).await;
    let invited = invite(&anna, "dortmund").await.unwrap();
    let astray = EnrolOptions { gateway: impostor.enrol.unwrap().to_string(), ..accept(&invited, &gateway) };
    assert!(matches!(enrol::enrol(astray).await, Err(EnrolError::Untrusted)));
    // The fingerprint of something that is shown but is no authority is worth nothing either.
    let (chain, _) = other.pki.gateway();
    let leaf = Trust::Fingerprint(Fingerprint::of(&chain[0]));
    let astray =
        EnrolOptions { gateway: impostor.enrol.unwrap().to_string(), trust: leaf, ..accept(&invited, &gateway) };
    assert!(matches!(enrol::enrol(astray).await, Err(EnrolError::Untrusted)));
    assert!(enrol::enrol(accept(&invited, &gateway)).await.is_ok(), "the code has not been used up");
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_and_endless_connections_do_not_keep_others_from_enrolling() {
    let site = Site::new();
    let gateway = site.spawn().await;
    let anna = operator(&site, "anna", OperatorRole::Operator, None).await;
    let invited = invite(&anna, "dortmund").await.unwrap();
    let address = gateway.enrol.unwrap();
    let mut silent = Vec::new();
    for _ in 0..limits::ENROLMENT_CONNECTIONS_MAX {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // All places are taken until the handshakes run out of time; then somebody gets in.
    within("the silent are thrown out", silent[0].read_u8()).await.unwrap_err();
    let gets_in = async || match enrol::enrol(accept(&invited, &gateway)).await {
        Err(EnrolError::Unreachable) => false,
        answer => answer.map(|_| true).unwrap(),
    };
    until_answered("somebody gets in", gets_in).await;
    assert_eq!(answer_to_plain_text(address).await, 0, "no byte without TLS but an alert");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_holds_connections_without_end_and_another_enrols() {
    let site = Site::new();
    let gateway = site.spawn().await;
    let anna = operator(&site, "anna", OperatorRole::Operator, None).await;
    let invited = invite(&anna, "dortmund").await.unwrap();
    let address = gateway.enrol.unwrap();
    let mut silent = Vec::new();
    for _ in 0..2 * limits::ENROLMENT_CONNECTIONS_MAX {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into()).unwrap();
        silent.push(socket.connect(address).await.unwrap());
    }
    // From 127.0.0.1, at once and at the first try.
    enrol::enrol(accept(&invited, &gateway)).await.unwrap();
    drop(silent);
}

/// How many bytes of HTTP come back.
async fn answer_to_plain_text(address: SocketAddr) -> usize {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST /v1/enrol HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    let mut answer = Vec::new();
    let _ = within("an end", stream.read_to_end(&mut answer)).await;
    answer.windows(4).filter(|window| window == b"HTTP").count()
}

fn message(error: ClientError) -> String {
    match error {
        ClientError::Refused(refused) => refused.error,
        other => panic!("not refused: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_does_what_his_token_role_and_tenant_allow_and_nothing_else() {
    let site = Site::new();
    let gateway = site.spawn().await;
    let boss = operator(&site, "boss", OperatorRole::Operator, None).await;
    let bound = operator(&site, "bound", OperatorRole::Operator, Some("dortmund")).await;
    let auditor = operator(&site, "auditor", OperatorRole::Auditor, None).await;
    let elsewhere = invite(&boss, "essen").await.unwrap();
    let device = enrol::enrol(accept(&elsewhere, &gateway)).await.unwrap().principal.device;

    assert_eq!(message(invite(&owner(&site), "dortmund").await.unwrap_err()), "unauthorised");
    let forged = format!("feldakte_op_{}", "0".repeat(64)).parse().unwrap();
    let forged = Client::new(&site.dir().join("feldakte.sock"), Some(forged));
    assert_eq!(message(invite(&forged, "dortmund").await.unwrap_err()), "unauthorised");
    assert_eq!(message(invite(&auditor, "dortmund").await.unwrap_err()), "forbidden");
    assert_eq!(message(invite(&bound, "essen").await.unwrap_err()), "forbidden");
    let path = format!("/devices/{device}");
    assert_eq!(message(bound.get::<DeviceEntry>(&path).await.unwrap_err()), "not_found");
    let revoke = Revoke { reason: RevocationReason::Misused, unwiped: false };
    let revoked = bound.post::<DeviceEntry>(&format!("{path}/revoke"), &revoke).await;
    assert_eq!(message(revoked.unwrap_err()), "not_found");
    assert_eq!(message(bound.get::<Vec<InviteEntry>>("/invites?tenant=essen").await.unwrap_err()), "forbidden");
    assert!(bound.get::<Vec<DeviceEntry>>("/devices").await.unwrap().is_empty());
    assert_eq!(boss.get::<Vec<DeviceEntry>>("/devices").await.unwrap().len(), 1);

    // A removed operator's token is worth nothing at once.
    let _: RemovedOperator = owner(&site).delete("/operators/boss").await.unwrap();
    assert_eq!(message(invite(&boss, "essen").await.unwrap_err()), "unauthorised");
}

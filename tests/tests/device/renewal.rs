//! A certificate that is renewed inside the session: answers that are lost, refused, or cannot be kept. The enrolment port
//! answers nobody here.

use std::{
    io,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use feldakte_client_sdk::{
    Client, ClientOptions, Transports,
    enrol::Enrolled,
    environment::Environment,
    renewal::{IdentityStore, Renewal},
};
use feldakte_core::ids::Part;
use feldakte_proto::{ClientMessage, Outcome, Push, Renew, Renewed, ServerMessage};
use feldakte_tests::harness::{
    pki::{DAY, GATEWAY_NAME},
    scripted::Session,
    tablet::{fact, memory_store},
    until,
};
use quinn::VarInt;
use rustls_pki_types::CertificateDer;

use super::World;

/// Keeps what it is given, or cannot.
#[derive(Default)]
struct Kept {
    is_full: bool,
    tried: Mutex<Vec<Enrolled>>,
}

impl IdentityStore for Kept {
    fn keep(&self, renewed: &Enrolled) -> io::Result<()> {
        self.tried.lock().unwrap().push(renewed.clone());
        if self.is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Kept {
    fn count(&self) -> usize {
        self.tried.lock().unwrap().len()
    }
}

/// A device whose certificate is due.
async fn due(world: &World, kept: &Arc<Kept>) -> Client {
    let renewal = Renewal { gateway: "127.0.0.1:9".to_owned(), store: kept.clone(), renew_at_ms: Some(0) };
    let options = ClientOptions {
        identity: world.enrolled.identity(),
        gateway: world.endpoint.local_addr().unwrap().to_string(),
        server_name: GATEWAY_NAME.to_owned(),
        transports: Transports::Quic,
        renewal: Some(renewal),
        store: memory_store(),
        log: None,
        purge_after: None,
        environment: Environment::system(),
    };
    let client = Client::open(options).await.unwrap();
    client.go_online();
    client
}

async fn asked(session: &mut Session) -> Renew {
    match session.next().await {
        ClientMessage::Renew(renew) => renew,
        other => panic!("it asks for no certificate: {other:?}"),
    }
}

fn grant(world: &World, Renew { request, csr }: Renew) -> ServerMessage {
    let issued = world.site.pki.root().sign_device(&csr, &world.enrolled.principal, DAY, SystemTime::now()).unwrap();
    let [root, ..] = world.site.pki.files();
    let (certificate, roots) = (issued.certificate_pem, std::fs::read_to_string(root).unwrap());
    ServerMessage::Renewed(Renewed { request, certificate, roots, renew_at_ms: None })
}

/// The certificate that the device has shown.
fn shown(session: &Session) -> CertificateDer<'static> {
    let chain = session.connection.peer_identity().unwrap().downcast::<Vec<CertificateDer<'static>>>().unwrap();
    chain[0].clone()
}

fn end(session: Session) {
    session.connection.close(VarInt::from_u32(0), b"");
}

/// What the device says next shows that it has nothing else to say before.
async fn pushes_next(client: &Client, session: &mut Session) -> Push {
    client.create_case(vec![fact(Part::Clinical, "keyword", "Sturz")]).await.unwrap();
    session.next_push().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_for_again_in_the_next_session() {
    let (world, kept) = (World::new(), Arc::<Kept>::default());
    let client = due(&world, &kept).await;
    let mut first = world.session().await;
    asked(&mut first).await;
    end(first);

    let mut second = world.session().await;
    let renew = asked(&mut second).await;
    let other = Renew { request: renew.request + 7, csr: renew.csr.clone() };
    second.send(grant(&world, other)).await;
    pushes_next(&client, &mut second).await;
    assert_eq!(kept.count(), 0, "the answer to another question is none");
    second.send(grant(&world, renew)).await;
    until("the certificate is kept", || kept.count() == 1).await;
    assert_eq!(shown(&second), world.enrolled.certificate, "the session at hand goes on");
    end(second);

    let mut third = world.session().await;
    let renewed = kept.tried.lock().unwrap()[0].identity().unwrap();
    assert_eq!(renewed.principal, world.enrolled.principal);
    assert_ne!(shown(&third), world.enrolled.certificate);
    third.next_push().await;
    client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_certifies_nobody_is_not_asked_again_at_once() {
    for outcome in [Outcome::Unavailable, Outcome::NotPermitted, Outcome::TooOften, Outcome::Unknown] {
        let (world, kept) = (World::new(), Arc::<Kept>::default());
        let client = due(&world, &kept).await;
        let mut session = world.session().await;
        let renew = asked(&mut session).await;
        session.answer(renew.request, outcome).await;
        pushes_next(&client, &mut session).await;
        pushes_next(&client, &mut session).await;
        end(session);
        // Nor in the sessions that follow.
        let mut session = world.session().await;
        session.next_push().await;
        pushes_next(&client, &mut session).await;
        assert_eq!((shown(&session), kept.count()), (world.enrolled.certificate.clone(), 0));
        client.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_or_does_not_fit_the_key_is_not_used() {
    let (world, kept) = (World::new(), Arc::new(Kept { is_full: true, ..Kept::default() }));
    let client = due(&world, &kept).await;
    let mut session = world.session().await;
    let renew = asked(&mut session).await;
    session.send(grant(&world, renew)).await;
    until("it is to be kept", || kept.count() == 1).await;
    end(session);
    assert_eq!(shown(&world.session().await), world.enrolled.certificate);
    client.shutdown().await;

    let (world, kept) = (World::new(), Arc::<Kept>::default());
    let client = due(&world, &kept).await;
    let mut session = world.session().await;
    let Renew { request, .. } = asked(&mut session).await;
    let csr = feldakte_certs::request::DeviceKey::generate().unwrap().csr_pem().unwrap();
    session.send(grant(&world, Renew { request, csr })).await;
    pushes_next(&client, &mut session).await;
    end(session);
    assert_eq!((shown(&world.session().await), kept.count()), (world.enrolled.certificate.clone(), 0));
    client.shutdown().await;
}

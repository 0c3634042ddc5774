//! Bulk and echo over one QUIC connection, each in its lane.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use feldakte_certs::{authority::Authority, deny::DenyList, pem, policy, request::DeviceKey, verifier::DeviceVerifier};
use feldakte_core::{
    access::{Principal, Role},
    ids::DeviceId,
    lane::TAIL_AFTER,
};
use quinn::{
    ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig, TransportConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use tokio::task::JoinSet;

use super::{contender::Contender, echo::Message, run::Ends};
use crate::netns::{link::Link, network::Network};

/// Connects, and starts both.
///
/// # Errors
/// When there is no connection.
pub async fn start(
    contender: Contender,
    network: &Network,
    link: &Link,
    ends: &Ends,
    tasks: &mut JoinSet<Result<()>>,
) -> Result<()> {
    let (server, client) = configs(contender)?;
    let address = SocketAddr::from((network.address(), PORT));
    let gateway = network.gateway().enter(|| Endpoint::server(server, address))?;
    let device = link.device().enter(|| Endpoint::client(SocketAddr::from((link.address(), 0))))?;
    tasks.spawn(serve(gateway, ends.clone(), contender == Contender::Quic));
    let connection = device.connect_with(client, address, "localhost")?.await.context("no connection")?;
    let (mut to, mut from) = connection.open_bi().await?;
    to.set_priority(HIGHEST)?;
    // A client believes it is connected before the server has all of its handshake: what is lost of that is not measured.
    let has_tails = contender == Contender::Quic;
    send_message(&mut to, &[0; size_of::<Message>()], has_tails).await?;
    next_message(&mut from).await?;
    tasks.spawn(upload(connection));
    tasks.spawn(exchange(device, (to, has_tails), from, ends.clone()));
    Ok(())
}

async fn upload(connection: Connection) -> Result<()> {
    let mut stream = connection.open_uni().await?;
    stream.set_priority(LOWEST)?;
    loop {
        stream.write_all(&[0; 16 << 10]).await?;
    }
}

async fn exchange(
    _endpoint: Endpoint,
    (to, has_tails): (SendStream, bool),
    from: RecvStream,
    ends: Ends,
) -> Result<()> {
    tokio::try_join!(send(to, has_tails, &ends), take_back(from, &ends)).map(|((), ())| ())
}

async fn send(mut to: SendStream, has_tails: bool, ends: &Ends) -> Result<()> {
    let mut clock = Ends::clock();
    loop {
        let message = ends.next_message(&mut clock).await;
        send_message(&mut to, &message, has_tails).await?;
    }
}

async fn send_message(to: &mut SendStream, message: &Message, has_tails: bool) -> Result<()> {
    to.write_all(&[&[MESSAGE], message.as_slice()].concat()).await?;
    if has_tails {
        tokio::time::sleep(TAIL_AFTER).await;
        to.write_all(&[TAIL]).await?;
    }
    Ok(())
}

async fn next_message(from: &mut RecvStream) -> Result<Message> {
    let (mut kind, mut message) = ([0], [0; size_of::<Message>()]);
    loop {
        from.read_exact(&mut kind).await?;
        if kind != [TAIL] {
            from.read_exact(&mut message).await?;
            return Ok(message);
        }
    }
}

async fn take_back(mut from: RecvStream, ends: &Ends) -> Result<()> {
    loop {
        ends.on_back(&next_message(&mut from).await?).await;
    }
}

async fn serve(endpoint: Endpoint, ends: Ends, has_tails: bool) -> Result<()> {
    let connection = endpoint.accept().await.context("closed")?.await?;
    tokio::try_join!(answer(&connection, has_tails), count(&connection, &ends)).map(|((), ())| ())
}

async fn answer(connection: &Connection, has_tails: bool) -> Result<()> {
    let (mut to, mut from) = connection.accept_bi().await?;
    to.set_priority(HIGHEST)?;
    loop {
        let message = next_message(&mut from).await?;
        send_message(&mut to, &message, has_tails).await?;
    }
}

async fn count(connection: &Connection, ends: &Ends) -> Result<()> {
    let mut stream = connection.accept_uni().await?;
    while let Some(chunk) = stream.read_chunk(usize::MAX, true).await? {
        ends.arrived.fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

fn configs(contender: Contender) -> Result<(ServerConfig, ClientConfig)> {
    let now = SystemTime::now();
    let authority = Authority::generate("root", 2 * DAY, now)?;
    let gateway = authority.issue_gateway(&["localhost".to_owned()], DAY, now)?;
    let key = pem::private_key(gateway.key_pem.as_bytes())?;
    let verifier = DeviceVerifier::new(authority.roots(), DenyList::default())?;
    let tls = policy::server_config(vec![gateway.certificate.der], key, verifier)?;
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let transport = Arc::new(transport(contender));
    server.transport_config(transport.clone());

    let key = DeviceKey::generate()?;
    let device = authority.sign_device(&key.csr_pem()?, &principal(), DAY, now)?;
    let tls = policy::client_config(authority.roots(), vec![device.der], key.private_key())?;
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    client.transport_config(transport);
    Ok((server, client))
}

fn transport(contender: Contender) -> TransportConfig {
    let mut transport = TransportConfig::default();
    // The echo's stream keeps room of its own, however much bulk has been written.
    transport.stream_receive_window(WINDOW.into()).receive_window((4 * WINDOW).into());
    if contender == Contender::Quic {
        feldakte_proto::quic::configure(&mut transport);
    }
    transport
}

fn principal() -> Principal {
    Principal {
        tenant: "dortmund".parse().expect("a slug"),
        unit: "rtw-1".parse().expect("a slug"),
        device: DeviceId(uuid::Uuid::from_u128(1)),
        role: Role::AmbulanceCrew,
        user: None,
    }
}

const PORT: u16 = 4433;
const MESSAGE: u8 = 1;
const TAIL: u8 = 2;
const DAY: Duration = Duration::from_secs(24 * 3600);
const WINDOW: u32 = 1 << 20;
const LOWEST: i32 = 0;
const HIGHEST: i32 = 100;

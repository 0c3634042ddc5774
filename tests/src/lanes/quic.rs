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
    tasks.spawn(serve(gateway, ends.clone()));
    let connection = device.connect_with(client, address, "localhost")?.await.context("no connection")?;
    let (mut to, mut from) = connection.open_bi().await?;
    to.set_priority(HIGHEST)?;
    // A client believes it is connected before the server has all of its handshake: what is lost of that is not measured.
    let mut message: Message = [0; size_of::<Message>()];
    to.write_all(&message).await?;
    from.read_exact(&mut message).await?;
    tasks.spawn(upload(connection));
    tasks.spawn(exchange(device, to, from, ends.clone()));
    Ok(())
}

async fn upload(connection: Connection) -> Result<()> {
    let mut stream = connection.open_uni().await?;
    stream.set_priority(LOWEST)?;
    loop {
        stream.write_all(&[0; 16 << 10]).await?;
    }
}

async fn exchange(_endpoint: Endpoint, to: SendStream, from: RecvStream, ends: Ends) -> Result<()> {
    tokio::try_join!(send(to, &ends), take_back(from, &ends)).map(|((), ())| ())
}

async fn send(mut to: SendStream, ends: &Ends) -> Result<()> {
    let mut clock = Ends::clock();
    loop {
        to.write_all(&ends.next_message(&mut clock).await).await?;
    }
}

async fn take_back(mut from: RecvStream, ends: &Ends) -> Result<()> {
    let mut message: Message = [0; size_of::<Message>()];
    loop {
        from.read_exact(&mut message).await?;
        ends.on_back(&message).await;
    }
}

async fn serve(endpoint: Endpoint, ends: Ends) -> Result<()> {
    let connection = endpoint.accept().await.context("closed")?.await?;
    tokio::try_join!(answer(&connection), count(&connection, &ends)).map(|((), ())| ())
}

async fn answer(connection: &Connection) -> Result<()> {
    let (mut to, mut from) = connection.accept_bi().await?;
    to.set_priority(HIGHEST)?;
    let mut message: Message = [0; size_of::<Message>()];
    loop {
        from.read_exact(&mut message).await?;
        to.write_all(&message).await?;
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
const DAY: Duration = Duration::from_secs(24 * 3600);
const WINDOW: u32 = 1 << 20;
const LOWEST: i32 = 0;
const HIGHEST: i32 = 100;

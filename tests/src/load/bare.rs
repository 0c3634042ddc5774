//! A QUIC server that accepts connections and does nothing: the floor of what a gateway can cost.
//!
//! Same TLS policy, same allocator, mutual TLS; no streams, no session, no store.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result};
use feldakte_certs::{deny::DenyList, pem, policy, verifier::DeviceVerifier};
use feldakte_core::limits;
use quinn::{Endpoint, IdleTimeout, ServerConfig, TransportConfig, crypto::rustls::QuicServerConfig};

/// Serves until it is killed.
///
/// # Errors
/// When the PKI cannot be used or there is no socket.
pub async fn serve(pki: &Path) -> Result<()> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let endpoint = Endpoint::server(config(pki)?, any)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "ready quic={}", endpoint.local_addr()?)?;
    stdout.flush()?;
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            if let Ok(connection) = incoming.await {
                connection.closed().await;
            }
        });
    }
    Ok(())
}

fn config(pki: &Path) -> Result<ServerConfig> {
    let read = |name: &str| std::fs::read(pki.join(name)).with_context(|| format!("cannot read {name}"));
    let devices = DeviceVerifier::new(pem::roots(&read("root.pem")?)?, DenyList::default())?;
    let chain = pem::certificates(&read("gateway.pem")?)?;
    let tls = policy::server_config(chain, pem::private_key(&read("gateway.key")?)?, devices)?;
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(0u32.into()).max_concurrent_uni_streams(0u32.into());
    transport.datagram_receive_buffer_size(None);
    transport.max_idle_timeout(Some(IdleTimeout::try_from(limits::IDLE_TIMEOUT).expect("a minute fits")));
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

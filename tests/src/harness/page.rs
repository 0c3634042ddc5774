//! A page's side of the gateway's WebSocket, without a browser: it may say anything.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
};

use feldakte_certs::policy;
use futures_util::{SinkExt, StreamExt};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::HeaderValue},
};

use super::{
    local::Site,
    pki::{Enrolled, GATEWAY_NAME},
    within,
};

/// A page's WebSocket.
pub struct PageClient(WebSocketStream<TlsStream<TcpStream>>);

/// Nothing came of it, or it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// TLS did not come about, or the connection is gone without a word.
    Gone,
    /// The upgrade was refused with this status.
    Status(u16),
    /// Closed with this code.
    Closed(u16),
}

/// `[web]` of a gateway, and the origin of its page.
pub fn settings() -> (String, String) {
    // Its own page's origin has to be known before it listens.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let port = free.expect("a free port").port();
    let origin = format!("https://{GATEWAY_NAME}:{port}");
    (format!("[web]\nlisten = \"127.0.0.1:{port}\"\norigins = [\"{origin}\"]\ntest_page = true\n"), origin)
}

/// What a browser without a device's certificate has.
pub fn stranger(site: &Site) -> ClientConfig {
    policy::enrolment_client_config(site.pki.roots()).expect("a client configuration")
}

/// What a browser with a device's certificate has, that believes gateways under these roots.
pub fn certified(device: &Enrolled, roots: RootCertStore) -> ClientConfig {
    let tls = policy::client_config(roots, vec![device.certificate.clone()], device.private_key());
    let mut tls = tls.expect("a client configuration");
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    tls
}

impl PageClient {
    /// Connects as a page of that origin.
    ///
    /// # Errors
    /// When the gateway does not want it.
    pub async fn connect(web: SocketAddr, tls: ClientConfig, origin: Option<&str>) -> Result<Self, Over> {
        within("a page connects", async {
            let stream = connect(web, tls).await?;
            let mut request = format!("wss://{GATEWAY_NAME}:{}/v1/calls", web.port());
            let mut request = std::mem::take(&mut request).into_client_request().expect("an address");
            if let Some(origin) = origin {
                request.headers_mut().insert("origin", HeaderValue::from_str(origin).expect("visible"));
            }
            match client_async(request, stream).await {
                Ok((socket, _)) => Ok(Self(socket)),
                Err(Error::Http(response)) => Err(Over::Status(response.status().as_u16())),
                Err(error) => {
                    eprintln!("no upgrade: {error}");
                    Err(Over::Gone)
                }
            }
        })
        .await
    }

    /// Says who it is; what it is told.
    ///
    /// # Errors
    /// When it is not let in.
    pub async fn hello(&mut self, token: Option<&str>) -> Result<Value, Over> {
        let hello = token.map_or_else(|| json!({}), |token| json!({ "token": token }));
        self.say(&json!({ "hello": hello })).await;
        self.told().await
    }

    /// Says something, to whoever still listens.
    pub async fn say(&mut self, message: &Value) {
        self.say_text(&message.to_string()).await;
    }

    /// The same, of any form.
    pub async fn say_text(&mut self, text: &str) {
        let _ = within("the gateway reads", self.0.send(Message::text(text))).await;
    }

    /// The next packet of live vitals.
    ///
    /// # Errors
    /// When none comes.
    pub async fn shown(&mut self) -> Result<tokio_tungstenite::tungstenite::Bytes, Over> {
        within("something is shown", async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Binary(datagram))) => return Ok(datagram),
                    Some(Ok(Message::Close(Some(frame)))) => return Err(Over::Closed(frame.code.into())),
                    Some(Ok(Message::Close(None)) | Err(_)) | None => return Err(Over::Gone),
                    Some(Ok(_)) => {}
                }
            }
        })
        .await
    }

    /// What comes next.
    ///
    /// # Errors
    /// When nothing does.
    pub async fn told(&mut self) -> Result<Value, Over> {
        within("something is told", async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("JSON")),
                    Some(Ok(Message::Close(Some(frame)))) => return Err(Over::Closed(frame.code.into())),
                    Some(Ok(Message::Close(None)) | Err(_)) | None => return Err(Over::Gone),
                    Some(Ok(_)) => {}
                }
            }
        })
        .await
    }
}

/// A TLS connection to the browsers' port.
///
/// # Errors
/// When there is none.
pub async fn connect(web: SocketAddr, tls: ClientConfig) -> Result<TlsStream<TcpStream>, Over> {
    let stream = TcpStream::connect(web).await.map_err(|_| Over::Gone)?;
    let name = ServerName::try_from(GATEWAY_NAME).expect("a name");
    TlsConnector::from(Arc::new(tls)).connect(name, stream).await.map_err(|_| Over::Gone)
}

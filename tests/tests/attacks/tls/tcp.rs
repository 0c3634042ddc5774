//! A server of ours on a TCP port of loopback, for one client at a time.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use feldakte_tests::harness::pki::GATEWAY_NAME;
use rustls::{ClientConfig, ClientConnection, Connection, HandshakeKind, ServerConfig, ServerConnection};

/// What a client reads only when it was let in.
pub const CANARY: &[u8] = b"for devices only";

/// What became of a handshake on the server's side, which alone has judged the client.
pub type Judged = Result<HandshakeKind, String>;

/// Let in after all of a handshake, with or without a second round for the key exchange.
pub fn is_full(judged: &Judged) -> bool {
    matches!(judged, Ok(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest))
}

/// Lets `client` try; returns the server's judgement and what the client returned.
///
/// # Panics
/// When the client did not even connect.
pub fn serve_one<T: std::fmt::Debug>(config: &Arc<ServerConfig>, client: impl FnOnce(SocketAddr) -> T) -> (Judged, T) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = config.clone();
    let server = thread::spawn(move || judge(config, listener.accept().unwrap().0));
    let said = client(address);
    // Ends the wait for a client that never came.
    drop(TcpStream::connect(address));
    let judged = server.join().unwrap();
    assert_ne!(judged.as_ref().err().map(String::as_str), Some(NOBODY), "the client did not connect: {said:?}");
    (judged, said)
}

/// A client of rustls; returns what it has read.
pub fn client(config: &Arc<ClientConfig>) -> impl FnOnce(SocketAddr) -> Vec<u8> {
    let config = config.clone();
    move |address| {
        let mut socket = patient(TcpStream::connect(address).unwrap());
        let mut connection = ClientConnection::new(config, GATEWAY_NAME.try_into().unwrap()).unwrap();
        if let Some(mut early) = connection.early_data() {
            let _ = early.write(CANARY);
        }
        let mut read = Vec::new();
        let _ = rustls::Stream::new(&mut connection, &mut socket).read_to_end(&mut read);
        read
    }
}

fn judge(config: Arc<ServerConfig>, socket: TcpStream) -> Judged {
    let mut socket = patient(socket);
    if socket.peek(&mut [0]).is_ok_and(|len| len == 0) {
        return Err(NOBODY.into());
    }
    let mut connection = ServerConnection::new(config).unwrap();
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut socket) {
            let _ = connection.write_tls(&mut socket);
            return Err(format!("{error:?}"));
        }
    }
    let kind = connection.handshake_kind().unwrap();
    assert!(connection.early_data().is_none(), "the server took early data");
    let mut connection = Connection::from(connection);
    connection.writer().write_all(CANARY).unwrap();
    connection.send_close_notify();
    while connection.wants_write() && connection.write_tls(&mut socket).is_ok() {}
    // A socket that is dropped with unread bytes would take back what is on its way.
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let _ = socket.read_to_end(&mut Vec::new());
    Ok(kind)
}

fn patient(socket: TcpStream) -> TcpStream {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

const PATIENCE: Duration = Duration::from_secs(10);
const NOBODY: &str = "nobody came";

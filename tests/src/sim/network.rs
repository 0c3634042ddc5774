//! Turmoil's network under quinn: simulated sockets and timers, with loss and duplication on top of turmoil's latency
//! and partitions.
//!
//! Time is the host's tokio clock, which turmoil moves. Nothing here reads the real one.

use std::{
    fmt,
    future::Future,
    io::{self, IoSliceMut},
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use async_trait::async_trait;
use feldakte_client_sdk::environment::{Network, Stream};
use quinn::{
    AsyncTimer, AsyncUdpSocket, Endpoint, EndpointConfig, Runtime, ServerConfig, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};

/// What becomes of the datagrams a host sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// Share of them that is lost.
    pub loss: f64,
    /// Share of them that arrives twice.
    pub duplication: f64,
}

impl Weather {
    /// Everything arrives once.
    pub const FAIR: Weather = Weather { loss: 0.0, duplication: 0.0 };
}

/// A host's way into the network: its sockets, its weather and its randomness. Survives restarts of the host.
#[derive(Clone)]
pub struct Port(Arc<Mutex<PortState>>);

struct PortState {
    weather: Weather,
    rng: StdRng,
}

impl Port {
    /// In fair weather.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(PortState { weather: Weather::FAIR, rng: StdRng::seed_from_u64(seed) })))
    }

    /// Changes the weather.
    pub fn set_weather(&self, weather: Weather) {
        self.lock().weather = weather;
    }

    /// A server endpoint. Must be called on a simulated host.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn server(&self, port: u16, mut config: EndpointConfig, server: ServerConfig) -> io::Result<Endpoint> {
        config.rng_seed(Some(self.draw()));
        self.open(port, config, Some(server))
    }

    fn open(&self, port: u16, config: EndpointConfig, server: Option<ServerConfig>) -> io::Result<Endpoint> {
        let binding = turmoil::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port));
        let socket = ready(binding)?;
        let local = socket.local_addr()?;
        let socket = Socket { port: self.clone(), socket: Arc::new(socket), local, readable: Mutex::new(None) };
        Endpoint::new_with_abstract_socket(config, server, Arc::new(socket), Arc::new(HostRuntime))
    }

    /// How many copies of the next datagram arrive.
    fn copies(&self) -> u32 {
        let mut state = self.lock();
        let Weather { loss, duplication } = state.weather;
        // Always two draws, so that a change of weather does not shift the draws after it.
        let (is_lost, is_doubled) = (state.rng.random::<f64>() < loss, state.rng.random::<f64>() < duplication);
        match (is_lost, is_doubled) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        }
    }

    fn draw(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.lock().rng.fill_bytes(&mut bytes);
        bytes
    }

    fn lock(&self) -> MutexGuard<'_, PortState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A device's network: finds the one gateway.
pub struct HostNetwork {
    /// The device's port.
    pub port: Port,
    /// Name of the gateway's host.
    pub gateway: &'static str,
    /// Called whenever the device dials.
    pub on_dial: Box<dyn Fn() + Send + Sync>,
}

#[async_trait]
impl Network for HostNetwork {
    fn endpoint(&self) -> io::Result<Endpoint> {
        let mut config = EndpointConfig::default();
        config.rng_seed(Some(self.port.draw()));
        self.port.open(0, config, None)
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(turmoil::net::TcpStream::connect(address).await?))
    }

    async fn resolve(&self, gateway: &str) -> io::Result<Vec<SocketAddr>> {
        (self.on_dial)();
        let port = gateway.rsplit(':').next().and_then(|port| port.parse().ok());
        let port: u16 = port.ok_or_else(|| io::Error::other("no port in the gateway's address"))?;
        Ok(vec![SocketAddr::from((turmoil::lookup(self.gateway), port))])
    }
}

/// The result of a future that never waits: turmoil's `bind` is async in name only.
fn ready<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

type Readable = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

struct Socket {
    port: Port,
    socket: Arc<turmoil::net::UdpSocket>,
    local: SocketAddr,
    /// Turmoil's socket has no `poll_recv`; this future holds its receive queue while it waits.
    readable: Mutex<Option<Readable>>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("local", &self.local).finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        for _ in 0..self.port.copies() {
            self.socket.try_send_to(transmit.contents, transmit.destination)?;
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut readable = self.readable.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match self.socket.try_recv_from(&mut bufs[0]) {
                Ok((len, addr)) => {
                    meta[0] = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
                    return Poll::Ready(Ok(1));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            let waiting = readable.get_or_insert_with(|| {
                let socket = self.socket.clone();
                Box::pin(async move { socket.readable().await })
            });
            match waiting.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => {
                    *readable = None;
                    result?;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Debug)]
struct HostRuntime;

impl Runtime for HostRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer(Box::pin(tokio::time::sleep_until(at.into()))))
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::spawn(task);
    }

    fn wrap_udp_socket(&self, _: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::Error::other("a simulated host has no real sockets"))
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

#[derive(Debug)]
struct Timer(Pin<Box<tokio::time::Sleep>>);

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, at: Instant) {
        self.0.as_mut().reset(at.into());
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(self.0.as_mut(), cx)
    }
}

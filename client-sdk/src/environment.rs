//! Time, randomness, threads and the network, passed in: a simulation replaces all of them.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use feldakte_core::ids::{CaseId, DeviceId, Epoch};
use quinn::{Endpoint, EndpointConfig};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use uuid::Uuid;

/// Where the client gets everything from that is not in its arguments.
#[derive(Clone)]
pub struct Environment {
    clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    uptime: Arc<dyn Fn() -> Duration + Send + Sync>,
    rng: Arc<Mutex<StdRng>>,
    threads: Threads,
    network: Arc<dyn Network>,
}

/// Where long computations run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Threads {
    Pool,
    Inline,
}

/// Opens sockets and finds gateways: the internet, or a simulated network.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// A client endpoint on any free port.
    ///
    /// # Errors
    /// When no socket can be opened.
    fn endpoint(&self) -> io::Result<Endpoint>;

    /// Gives the endpoint a new socket, after the network has changed. Where there is but one there is nothing to do.
    ///
    /// # Errors
    /// When no socket can be opened.
    fn rebind(&self, _endpoint: &Endpoint) -> io::Result<()> {
        Ok(())
    }

    /// A connection to that address over TCP.
    ///
    /// # Errors
    /// When there is none to be had.
    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>>;

    /// Which of the device's own addresses leads to that one, if that can be told: networks are told apart by it.
    fn local_address(&self, _to: SocketAddr) -> Option<IpAddr> {
        None
    }

    /// Addresses of `host:port`, best first.
    ///
    /// # Errors
    /// When the name cannot be resolved; that includes "there is no network".
    async fn resolve(&self, gateway: &str) -> io::Result<Vec<SocketAddr>>;
}

/// A connection over TCP.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

impl Environment {
    /// The system's clock, entropy, thread pool and network.
    pub fn system() -> Self {
        Self::system_over(Arc::new(Internet))
    }

    /// The same over a network of the caller's.
    pub fn system_over(network: Arc<dyn Network>) -> Self {
        Self {
            clock: Arc::new(SystemTime::now),
            uptime: Arc::new(uptime),
            rng: Arc::new(Mutex::new(StdRng::from_os_rng())),
            threads: Threads::Pool,
            network,
        }
    }

    /// A clock and network of the caller's, randomness from a seed; computations run in place.
    pub fn simulated(clock: Arc<dyn Fn() -> SystemTime + Send + Sync>, seed: u64, network: Arc<dyn Network>) -> Self {
        let (began, rng) = (tokio::time::Instant::now(), Arc::new(Mutex::new(StdRng::seed_from_u64(seed))));
        Self { clock, uptime: Arc::new(move || began.elapsed()), rng, threads: Threads::Inline, network }
    }

    pub(crate) fn network(&self) -> &dyn Network {
        &*self.network
    }

    /// Milliseconds since 1970-01-01 UTC by the device's clock; 0 for a clock before that.
    pub(crate) fn now_ms(&self) -> i64 {
        since_1970_ms((self.clock)())
    }

    /// Time that has passed since some moment, however long the device has slept and whatever was done to its clock.
    pub(crate) fn uptime(&self) -> Duration {
        (self.uptime)()
    }

    /// Uniform in `[0, 1)`, for jitter.
    pub(crate) fn draw(&self) -> f64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).random()
    }

    /// A UUIDv7 (RFC 9562): time-ordered, made without asking anybody.
    pub(crate) fn case_id(&self) -> CaseId {
        let millis = u64::try_from(self.now_ms()).unwrap_or(0);
        CaseId(uuid::Builder::from_unix_timestamp_millis(millis, &self.random()).into_uuid())
    }

    /// A random id for a device that introduces itself for the first time.
    pub fn device_id(&self) -> DeviceId {
        DeviceId(self.random_uuid())
    }

    /// A random id for a new local store.
    pub fn store_id(&self) -> Epoch {
        Epoch(self.random_uuid())
    }

    /// Runs a computation that takes milliseconds off the async threads.
    pub(crate) async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self.threads {
            Threads::Inline => work(),
            Threads::Pool => match tokio::task::spawn_blocking(work).await {
                Ok(result) => result,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
        }
    }

    pub(crate) fn random_uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.random()).into_uuid()
    }

    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }
}

/// `Instant` stands still while a device with Linux sleeps (`clock_gettime(2)`); the monotonic clock of others does not.
fn uptime() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = rustix::time::ClockId::Monotonic;
    let passed = rustix::time::clock_gettime(clock);
    let (seconds, nanoseconds) = (u64::try_from(passed.tv_sec), u32::try_from(passed.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
}

/// Milliseconds since 1970-01-01 UTC; 0 for a moment before that.
pub(crate) fn since_1970_ms(moment: SystemTime) -> i64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// Real sockets, real names.
struct Internet;

impl Internet {
    /// IPv6 sockets reach IPv4 as well; a device without IPv6 falls back.
    fn socket() -> io::Result<std::net::UdpSocket> {
        std::net::UdpSocket::bind("[::]:0").or_else(|_| std::net::UdpSocket::bind("0.0.0.0:0"))
    }
}

#[async_trait]
impl Network for Internet {
    fn endpoint(&self) -> io::Result<Endpoint> {
        let runtime = quinn::default_runtime().ok_or_else(|| io::Error::other("no tokio runtime"))?;
        Endpoint::new(EndpointConfig::default(), None, Self::socket()?, runtime)
    }

    fn rebind(&self, endpoint: &Endpoint) -> io::Result<()> {
        endpoint.rebind(Self::socket()?)
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(address).await?;
        as_sessions_need(&stream)?;
        Ok(Box::new(stream))
    }

    fn local_address(&self, to: SocketAddr) -> Option<IpAddr> {
        let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
        // Asks the kernel for a route; nothing is sent.
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    }

    async fn resolve(&self, gateway: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host(gateway).await?.collect())
    }
}

/// Small messages leave at once, and little waits in the kernel, where nothing can be overtaken or taken back. Networks of
/// the caller's do the same with theirs.
///
/// # Errors
/// When the socket is gone already.
pub fn as_sessions_need(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_MAX)?;
    // Radio links lose what no queue has dropped, and CUBIC takes each loss for one. Where the system has it and lets us.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_congestion(b"bbr");
    Ok(())
}

/// Two TLS records: enough to keep a link busy between two looks of the kernel.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_MAX: u32 = 32 << 10;

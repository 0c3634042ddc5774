//! A part of the country with networks of one kind: a gateway there, and a link of its own for each device.
//!
//! Whoever opens a device only knows the gateway's address. If that is one of a region, the device is put into it: a
//! test need not know where it runs, and `FELDAKTE_LINK=M` puts the gateways of all tests into a region of profile M.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use feldakte_client_sdk::environment::{self, Stream, as_sessions_need};
use quinn::{Endpoint, EndpointConfig};
use tokio::net::{TcpSocket, TcpStream};

use crate::netns::{
    self, link::Link, namespace::Namespace, network::Network, profile::Profile, timetable::Timetable, weather::Weather,
};

/// A network of one profile.
#[derive(Debug)]
pub struct Region {
    network: Network,
    profile: Profile,
}

/// A device's way to the gateway.
#[derive(Debug)]
pub struct Way {
    /// Its link.
    pub link: Arc<Link>,
    dials: AtomicU64,
    _weather: Weather,
}

impl Region {
    /// A new one.
    ///
    /// # Errors
    /// When this process may not make network namespaces.
    pub fn new(profile: Profile) -> io::Result<Arc<Self>> {
        let region = Arc::new(Self { network: Network::new()?, profile });
        regions().insert(region.gateway_address().into(), Arc::downgrade(&region));
        Ok(region)
    }

    /// A new one as `FELDAKTE_LINK` wants it; `None` without that.
    ///
    /// # Panics
    /// When it is no profile's letter, or there are no emulated links here.
    pub fn of_environment() -> Option<Arc<Self>> {
        let name = std::env::var("FELDAKTE_LINK").ok()?;
        let profile = Profile::named(&name).expect("FELDAKTE_LINK is a profile's letter");
        if let Some(why) = netns::unavailable() {
            panic!("FELDAKTE_LINK: {why}");
        }
        // Most tests are about one transport. What stands in the way of it is for tests of both.
        let profile = Profile { passes_udp: true, ..profile };
        Some(Self::new(profile).expect("it was possible a moment ago"))
    }

    /// Where gateways have their sockets.
    pub fn gateway(&self) -> &Namespace {
        self.network.gateway()
    }

    /// Where they listen.
    pub fn gateway_address(&self) -> Ipv4Addr {
        self.network.address()
    }

    /// What it is like.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// A way for another device.
    ///
    /// # Panics
    /// When there are no links left.
    pub fn way(&self) -> Way {
        let link = Arc::new(self.network.link(self.profile.conditions()).expect("another link"));
        let timetable = Timetable::of(&self.profile, self.network.seed(), FORESEEN).beginning_within(BASEMENT);
        let weather = Weather::start(link.clone(), self.profile.clone(), timetable);
        Way { link, dials: AtomicU64::new(0), _weather: weather }
    }
}

impl Way {
    /// A way to a gateway in a region; `None` for one on loopback.
    pub fn to(gateway: IpAddr) -> Option<Self> {
        let region = regions().get(&gateway)?.upgrade()?;
        Some(region.way())
    }

    /// How often the device has begun to look for its gateway.
    pub fn dials(&self) -> u64 {
        self.dials.load(Ordering::Relaxed)
    }

    fn socket(&self) -> io::Result<UdpSocket> {
        self.link.device().enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))
    }
}

#[async_trait]
impl environment::Network for Way {
    fn endpoint(&self) -> io::Result<Endpoint> {
        let runtime = quinn::default_runtime().ok_or_else(|| io::Error::other("no tokio runtime"))?;
        Endpoint::new(EndpointConfig::default(), None, self.socket()?, runtime)
    }

    fn rebind(&self, endpoint: &Endpoint) -> io::Result<()> {
        endpoint.rebind(self.socket()?)
    }

    async fn connect(&self, gateway: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let socket = self.link.device().enter(TcpSocket::new_v4)?;
        let stream = socket.connect(gateway).await?;
        as_sessions_need(&stream)?;
        Ok(Box::new(stream))
    }

    fn local_address(&self, _: SocketAddr) -> Option<IpAddr> {
        Some(self.link.address().into())
    }

    async fn resolve(&self, gateway: &str) -> io::Result<Vec<SocketAddr>> {
        self.dials.fetch_add(1, Ordering::Relaxed);
        Ok(tokio::net::lookup_host(gateway).await?.collect())
    }
}

/// A connection over TCP: over a device's link, or by loopback.
///
/// # Errors
/// When there is none to be had.
pub async fn connect(way: Option<&Way>, gateway: SocketAddr) -> io::Result<Box<dyn Stream>> {
    match way {
        Some(way) => environment::Network::connect(way, gateway).await,
        None => Ok(Box::new(TcpStream::connect(gateway).await?)),
    }
}

/// All regions by the address of their gateway.
fn regions() -> MutexGuard<'static, BTreeMap<IpAddr, Weak<Region>>> {
    static REGIONS: Mutex<BTreeMap<IpAddr, Weak<Region>>> = Mutex::new(BTreeMap::new());
    REGIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Longer than any test.
const FORESEEN: Duration = Duration::from_secs(2 * 60 * 60);
/// What tests wait of the time without a network at the beginning: a device that has had none for so long does not
/// behave otherwise after an hour in real time. The clock of long absence is the simulation's.
const BASEMENT: Duration = Duration::from_secs(2);

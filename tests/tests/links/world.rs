//! A region of one profile with a gateway, and what tests do to devices there.

use std::sync::Arc;

use feldakte_client_sdk::Transports;
use feldakte_tests::{
    harness::{
        address::Transport,
        crew,
        local::{Clock, LocalGateway, Site},
        pki::Enrolled,
        raw::RawClient,
        region::{Region, Way},
        tablet::Tablet,
        until,
    },
    netns::{self, conditions::Conditions, link::Link, network::Network, profile::Profile},
    skipped,
};

/// A gateway in a region.
pub struct World {
    pub site: Site,
    pub gateway: Arc<LocalGateway>,
}

impl World {
    /// Nothing where there are no emulated links, which is said.
    pub async fn under(profile: Profile, transports: Transports) -> Option<Self> {
        Self::under_at(profile, transports, &Clock::default()).await
    }

    /// The same with a clock of the test's.
    pub async fn under_at(profile: Profile, transports: Transports, clock: &Clock) -> Option<Self> {
        if !can_be_emulated() {
            return None;
        }
        // Without UDP there is nothing to be shown of QUIC: it meets all else of the profile.
        let passes_udp = profile.passes_udp || transports == Transports::Quic;
        let region = Region::new(Profile { passes_udp, ..profile }).unwrap();
        let over = if transports == Transports::Grpc { Transport::Grpc } else { Transport::Quic };
        let site = Site::within(region, over);
        let mut gateway = site.start_at(clock).await;
        if transports == Transports::Both {
            gateway.address = gateway.address.over_any();
        }
        Some(Self { site, gateway: Arc::new(gateway) })
    }

    /// Another device of the crew's.
    pub fn enrol(&self) -> Enrolled {
        self.site.pki.enrol(&crew("rtw-1"))
    }

    /// A tablet of the crew's, online and caught up.
    pub async fn tablet(&self) -> Tablet {
        Tablet::online(&self.enrol(), self.gateway.address).await
    }

    /// A writer who sits beside the gateway.
    pub async fn writer(&self, enrolled: &Enrolled) -> RawClient {
        let (writer, _) = RawClient::session(enrolled, self.gateway.address, None).await;
        writer.way.as_ref().unwrap().link.change(|conditions| *conditions = Conditions::PERFECT);
        writer
    }
}

/// The tablet's link.
pub fn link(tablet: &Tablet) -> &Arc<Link> {
    &way(tablet).link
}

/// Waits until the tablet looks for its gateway again: it has noticed that nothing comes back.
pub async fn noticed(tablet: &Tablet) {
    let before = way(tablet).dials();
    until("the tablet notices that nothing comes back", || way(tablet).dials() > before).await;
}

fn way(tablet: &Tablet) -> &Way {
    tablet.way.as_ref().expect("it is in a region")
}

/// A network without profile, or nothing where none can be made, which is said.
pub fn network() -> Option<Network> {
    can_be_emulated().then(|| Network::new().expect("it was possible a moment ago"))
}

fn can_be_emulated() -> bool {
    let why_not = netns::unavailable();
    if let Some(why) = &why_not {
        skipped(why);
    }
    why_not.is_none()
}

//! Everything the demo plays with: directory, PKI, gateway, network, two tablets.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use anyhow::Context;
use feldakte_certs::development::DevelopmentPki;
use serde_json::json;
use tempfile::TempDir;

use super::{
    evidence::Evidence,
    gateway::Gateway,
    mission::Who,
    relay::Relay,
    replicas::{self, Replica, Replicas},
    screen::Screen,
    tablet::{Plan, Tablet},
};

/// The demo's directory: a fresh one that vanishes after success, or the one that was named, which stays.
pub enum Place {
    /// Vanishes.
    Fresh(TempDir),
    /// Stays.
    Named(PathBuf),
}

impl Place {
    /// Makes it; a named one must be new or empty.
    pub fn make(named: Option<PathBuf>) -> anyhow::Result<Place> {
        let Some(path) = named else {
            let fresh = tempfile::Builder::new().prefix("feldakte-demo-").tempdir();
            return Ok(Place::Fresh(fresh.context("no temporary directory can be made; name one with --dir")?));
        };
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut content = path.read_dir().with_context(|| format!("cannot read {}", path.display()))?;
        anyhow::ensure!(content.next().is_none(), "{} is not empty; name a new directory", path.display());
        let path = path.canonicalize().with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Place::Named(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Place::Fresh(dir) => dir.path(),
            Place::Named(path) => path,
        }
    }

    /// It stays, whatever it was.
    pub fn keep(self) -> PathBuf {
        match self {
            Place::Fresh(dir) => dir.keep(),
            Place::Named(path) => path,
        }
    }
}

/// All that runs.
pub struct Stage {
    /// The development PKI's directory.
    pub pki: PathBuf,
    /// The gateway process.
    pub gateway: Gateway,
    /// The network.
    pub relay: Relay,
    /// The paramedic's tablet.
    pub a: Tablet,
    /// The vehicle's tablet.
    pub b: Tablet,
    /// What they were told.
    pub evidence: Arc<Evidence>,
}

impl Stage {
    /// Starts everything, offline.
    pub async fn set(dir: &Path, program: &Path, screen: &mut Screen) -> anyhow::Result<Stage> {
        let pki_dir = dir.join("pki");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let pki = DevelopmentPki::create(&pki_dir, &names, SystemTime::now())?;
        let gateway = Gateway::start(dir, &pki).await?;
        let relay = Relay::start(gateway.quic()).await?;
        let evidence = Arc::new(Evidence::new()?);
        let plan = |name: &str, label: &'static str| Plan {
            program,
            dir: dir.join(name),
            label,
            gateway: relay.address().to_string(),
            pki: &pki_dir,
        };
        let (a, b) = tokio::try_join!(
            Tablet::start(plan("tablet-a", "A paramedic"), evidence.clone()),
            Tablet::start(plan("tablet-b", "B vehicle  "), evidence.clone()),
        )?;
        screen.watch_wire(relay.wire());
        screen.add(Who::A, a.label(), a.state());
        screen.add(Who::B, b.label(), b.state());
        Ok(Stage { pki: pki_dir, gateway, relay, a, b, evidence })
    }

    /// What both tablets show, and what one shows that has never seen anything but the gateway's store, opened again.
    pub async fn compare(&mut self, dir: &Path, program: &Path, cases: &[String]) -> anyhow::Result<Replicas> {
        self.gateway.restart().await?;
        let gateway = self.gateway.quic().to_string();
        let plan = Plan { program, dir: dir.join("tablet-c"), label: "C newcomer", gateway, pki: &self.pki };
        let mut c = Tablet::start(plan, self.evidence.clone()).await?;
        c.ask(json!({"online": true})).await?;
        let a = Replica::of(&mut self.a, cases).await?;
        let b = Replica::of(&mut self.b, cases).await?;
        let c = replicas::newcomer(&mut c, cases, &a).await?;
        Ok(Replicas::of([a, b, c]))
    }

    /// The tablet of that name.
    pub fn tablet(&mut self, who: Who) -> &mut Tablet {
        match who {
            Who::A => &mut self.a,
            Who::B => &mut self.b,
        }
    }

    /// The label of a device, for a person.
    pub fn label_of(&self, device: &str) -> &str {
        let known = [&self.a, &self.b].into_iter().find(|tablet| tablet.device() == device);
        known.map_or("?", |tablet| tablet.label().trim())
    }
}

//! A tablet's directory: who it is, where its gateway is, and the files that hold the rest.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow};
use feldakte_client_sdk::{
    Client, ClientOptions, Identity, Transports,
    environment::Environment,
    key::FileKey,
    renewal::Renewal,
    store::{LocalStoreError, sqlcipher::SqlCipherStore},
};
use feldakte_core::{
    access::Principal,
    ids::{CaseId, DeviceId},
};
use serde::{Deserialize, Serialize};

use crate::{
    enrolment::FileIdentity,
    files::{self, Readers},
};

/// What stands in `config.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Number of this file's format.
    pub format: u32,
    /// The device's id.
    pub device: String,
    /// What people call the tablet.
    pub label: String,
    /// The gateway as `host:port`.
    pub gateway: String,
    /// The name in the gateway's certificate.
    pub server_name: String,
    /// Where the certificate is renewed, as `host:port`; somebody else sees to it when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrol: Option<String>,
}

/// A tablet's directory that has been through `init`.
#[derive(Debug)]
pub struct Device {
    dir: PathBuf,
    /// Its configuration.
    pub config: Config,
}

/// An opened tablet.
pub struct Opened {
    /// The SDK.
    pub client: Client,
    /// Who the certificate says this device is.
    pub principal: Principal,
    /// The gateway it belongs to, for messages.
    pub gateway: String,
}

impl Device {
    /// The directory, whatever is in it.
    pub fn at(dir: &Path, config: Config) -> Self {
        Self { dir: dir.to_owned(), config }
    }

    /// Reads the directory.
    pub fn load(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(CONFIG);
        let bytes = std::fs::read(&path).with_context(|| {
            format!(
                "there is no tablet in {dir}: run `tablet --data {dir} init --gateway HOST:PORT …` first",
                dir = dir.display()
            )
        })?;
        let config: Config =
            serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?;
        anyhow::ensure!(config.format == FORMAT, "{} was written by another version of tablet", path.display());
        Ok(Self { dir: dir.to_owned(), config })
    }

    /// Whether there is a tablet in the directory.
    pub fn exists(dir: &Path) -> bool {
        dir.join(CONFIG).exists()
    }

    /// Writes the configuration: from here on the directory is a tablet.
    pub fn save(&self) -> anyhow::Result<()> {
        let json = serde_json::to_vec_pretty(&self.config).context("the configuration does not serialise")?;
        files::write(&self.dir.join(CONFIG), &json, Readers::Default)
    }

    /// The certificate request.
    pub fn csr(&self) -> PathBuf {
        self.dir.join("device.csr")
    }

    /// The device's private key.
    pub fn key(&self) -> PathBuf {
        self.dir.join("device.key")
    }

    /// The device's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("device.pem")
    }

    /// The roots of the gateway's certificate.
    pub fn roots(&self) -> PathBuf {
        self.dir.join("roots.pem")
    }

    /// When the certificate is renewed.
    pub fn renew_at(&self) -> PathBuf {
        self.dir.join("renew_at")
    }

    fn renewal(&self) -> Option<Renewal> {
        let gateway = self.config.enrol.clone()?;
        let renew_at_ms = std::fs::read_to_string(self.renew_at()).ok().and_then(|text| text.trim().parse().ok());
        Some(Renewal { gateway, store: Arc::new(FileIdentity::of(self)), renew_at_ms })
    }

    /// The device's id.
    pub fn id(&self) -> anyhow::Result<DeviceId> {
        Ok(self.config.device.parse()?)
    }

    /// Key, certificate and roots, checked.
    pub fn identity(&self) -> anyhow::Result<Identity> {
        anyhow::ensure!(
            self.certificate().exists(),
            "this tablet has no certificate yet: have {csr} signed, then run `tablet --data {dir} install \
             --certificate FILE --roots FILE`",
            csr = self.csr().display(),
            dir = self.dir.display()
        );
        let roots = files::read(&self.roots())?;
        let certificate = files::read(&self.certificate())?;
        let key = zeroize::Zeroizing::new(files::read(&self.key())?);
        Ok(Identity::from_pem(&roots, &certificate, &key)?)
    }

    /// Opens the encrypted store; makes it when there is none.
    pub async fn store(&self) -> anyhow::Result<Arc<SqlCipherStore>> {
        let key = FileKey { path: self.dir.join("store.key") };
        let opened = SqlCipherStore::open(&self.dir.join("store.db"), &key, Environment::system().store_id()).await;
        opened.map_err(|error| match error {
            LocalStoreError::InUse => {
                anyhow!("another tablet process uses {}: end it, then try again", self.dir.display())
            }
            LocalStoreError::WrongKey => {
                anyhow!("store.key in {} does not open store.db: put the right key back", self.dir.display())
            }
            error => anyhow::Error::new(error).context(format!("the store in {} cannot be opened", self.dir.display())),
        })
    }

    /// Opens the tablet, offline.
    pub async fn open(&self, transports: Transports) -> anyhow::Result<Opened> {
        let identity = self.identity()?;
        let principal = identity.principal.clone();
        let Config { gateway, server_name, .. } = self.config.clone();
        let options = ClientOptions {
            identity,
            gateway: gateway.clone(),
            server_name,
            transports,
            store: self.store().await?,
            renewal: self.renewal(),
            log: None,
            purge_after: None,
            environment: Environment::system(),
        };
        let client = Client::open(options).await?;
        Ok(Opened { client, principal, gateway })
    }
}

impl Opened {
    /// The case whose id begins or ends with `text`.
    pub async fn case(&self, text: &str) -> anyhow::Result<CaseId> {
        let cases = self.client.list().await?;
        let cases: Vec<CaseId> = cases.iter().map(|summary| summary.case).collect();
        one_of(&cases, text, "tablet list")
    }
}

/// The case whose id begins or ends like that; `listed_by` shows them all.
pub fn one_of(cases: &[CaseId], text: &str, listed_by: &str) -> anyhow::Result<CaseId> {
    let wanted = text.to_lowercase();
    let matches = |id: &str| id.starts_with(&wanted) || id.ends_with(&wanted);
    let mut found = cases.iter().filter(|case| matches(&case.to_string()));
    match (found.next(), found.next()) {
        (Some(case), None) => Ok(*case),
        (Some(_), Some(_)) => Err(anyhow!("several cases match `{text}`: give more of the id (`{listed_by}`)")),
        (None, _) => Err(anyhow!("no case matches `{text}`: `{listed_by}` shows what is on this device")),
    }
}

const CONFIG: &str = "config.json";
/// The format this build reads and writes.
pub const FORMAT: u32 = 1;

//! `tablet init` and `tablet install`: the key is made on the device and never leaves it; a PKI signs a request.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use clap::Args;
use feldakte_certs::{development::DevelopmentPki, request::DeviceKey};
use feldakte_client_sdk::{enrol::Trust, environment::Environment, store::LocalStore};
use feldakte_core::{
    access::{Principal, Role},
    ids::{TenantId, UnitId},
};
use serde_json::json;

use crate::{
    Options,
    device::{Config, Device, FORMAT},
    enrolment::{self, Invitation},
    files::{self, Readers},
    output,
};

/// Make this directory a tablet: key, certificate, encrypted store.
///
/// With an invitation (`feldakte device invite`) the gateway certifies it at once and says who it is: give --invite with what
/// the QR code says, or --code, --gateway and --root. With --dev-pki the development PKI of that directory signs.
/// Without any of them, a certificate request is written and the commands that finish the tablet are printed.
#[derive(Args)]
pub struct Init {
    /// The gateway; with --code, the address in the invitation.
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "invite")]
    gateway: Option<String>,
    /// The text of an invitation's QR code.
    #[arg(long, value_name = "URI", conflicts_with_all = ["code", "gateway", "root", "dev_pki", "tenant", "unit", "role"])]
    invite: Option<String>,
    /// An invitation's one-time code.
    #[arg(long, requires = "root", conflicts_with_all = ["dev_pki", "tenant", "unit", "role"])]
    code: Option<String>,
    /// Whom to believe: the SHA-256 of the root in the invitation, or a file with roots (PEM).
    #[arg(long, value_name = "SHA256|FILE", requires = "code")]
    root: Option<String>,
    /// The name in the gateway's certificate [default: the host of --gateway].
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// A development PKI (`feldakte pki create`) that signs the certificate at once.
    #[arg(long, value_name = "DIR")]
    dev_pki: Option<PathBuf>,
    /// The tenant, such as `dortmund`.
    #[arg(long, required_unless_present_any = ["invite", "code"])]
    tenant: Option<TenantId>,
    /// The unit, such as `rtw-1-83-1`; tablets of one unit share its cases.
    #[arg(long, required_unless_present_any = ["invite", "code"])]
    unit: Option<UnitId>,
    /// What the tablet is for, such as `ambulance_crew`.
    #[arg(long, required_unless_present_any = ["invite", "code"])]
    role: Option<Role>,
    /// What people call this tablet [default: the name of its directory].
    #[arg(long)]
    label: Option<String>,
}

/// Take up the certificate that was signed for this tablet.
#[derive(Args)]
pub struct Install {
    /// The signed certificate, PEM.
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// The roots that issue the gateway's certificate, PEM.
    #[arg(long, value_name = "FILE")]
    roots: PathBuf,
}

impl Init {
    /// Does it.
    pub(crate) async fn run(self, options: &Options) -> anyhow::Result<ExitCode> {
        let dir = &options.data;
        anyhow::ensure!(!Device::exists(dir), "{} is a tablet already; name another directory", dir.display());
        let name = || dir.file_name().map(|name| name.to_string_lossy().into_owned());
        let label = self.label.clone().or_else(name).unwrap_or_else(|| "tablet".to_owned());
        match self.invitation()? {
            Some(invitation) => self.enrol(options, label, invitation).await,
            None => self.have_signed(options, label).await,
        }
    }

    fn invitation(&self) -> anyhow::Result<Option<Invitation>> {
        let Self { invite, code, root, gateway, .. } = self;
        match (invite, code, root, gateway) {
            (Some(invite), ..) => Invitation::parse(invite).map(Some),
            (None, Some(code), Some(root), Some(gateway)) => {
                let trust = match root.parse() {
                    Ok(fingerprint) => Trust::Fingerprint(fingerprint),
                    Err(_) => Trust::Roots(String::from_utf8(files::read(Path::new(root))?)?),
                };
                Ok(Some(Invitation { gateway: gateway.clone(), code: code.clone(), trust }))
            }
            _ => Ok(None),
        }
    }

    async fn enrol(self, options: &Options, label: String, invitation: Invitation) -> anyhow::Result<ExitCode> {
        let dir = &options.data;
        let enrol = invitation.gateway.clone();
        let server_name = self.server_name.clone().unwrap_or(host_of(&enrol)?);
        let config = Config {
            format: FORMAT,
            device: String::new(),
            label,
            gateway: String::new(),
            server_name: server_name.clone(),
            enrol: Some(enrol),
        };
        let mut device = Device::at(dir, config);
        // A key without a tablet is what is left of an enrolment whose answer did not come.
        if !device.key().exists() {
            files::create_private_dir(dir)?;
        }
        let enrolled = enrolment::enrol(&device, invitation, &server_name).await?;
        device.config.device = enrolled.principal.device.to_string();
        device.config.gateway = enrolled.sessions;
        device.store().await?.close().await;
        device.save()?;
        report(options, &device, &enrolled.principal, true)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn have_signed(self, options: &Options, label: String) -> anyhow::Result<ExitCode> {
        let dir = &options.data;
        let Self { gateway: Some(gateway), tenant: Some(tenant), unit: Some(unit), role: Some(role), .. } = self else {
            anyhow::bail!("--gateway, --tenant, --unit and --role are needed without an invitation");
        };
        let server_name = self.server_name.unwrap_or(host_of(&gateway)?);
        let principal = Principal { tenant, unit, device: Environment::system().device_id(), role, user: None };
        let device = principal.device.to_string();
        let config = Config { format: FORMAT, device, label, gateway, server_name, enrol: None };
        // Before anything is written: a wrong --dev-pki leaves no half a tablet.
        let pki = self.dev_pki.as_deref().map(DevelopmentPki::open).transpose()?;
        files::create_private_dir(dir)?;
        let device = Device::at(dir, config);
        let csr = make_key(&device)?;
        if let Some(pki) = &pki {
            sign(&device, pki, &csr, &principal)?;
        }
        device.store().await?.close().await;
        device.save()?;
        report(options, &device, &principal, pki.is_some())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn host_of(gateway: &str) -> anyhow::Result<String> {
    let (host, port) = gateway.rsplit_once(':').unwrap_or_default();
    let usable = !host.is_empty() && port.parse::<u16>().is_ok();
    anyhow::ensure!(usable, "--gateway `{gateway}` is not HOST:PORT, such as localhost:4433");
    Ok(host.trim_matches(['[', ']']).to_owned())
}

fn make_key(device: &Device) -> anyhow::Result<String> {
    let key = DeviceKey::generate()?;
    files::write(&device.key(), key.to_pem().as_bytes(), Readers::Owner)?;
    let csr = key.csr_pem()?;
    files::write(&device.csr(), csr.as_bytes(), Readers::Default)?;
    Ok(csr)
}

fn sign(device: &Device, pki: &DevelopmentPki, csr: &str, principal: &Principal) -> anyhow::Result<()> {
    let issued = pki.sign(csr, principal, VALIDITY, SystemTime::now())?;
    let roots = files::read(&pki.root_path())?;
    files::write(&device.roots(), &roots, Readers::Default)?;
    files::write(&device.certificate(), issued.certificate_pem.as_bytes(), Readers::Default)
}

fn report(options: &Options, device: &Device, principal: &Principal, signed: bool) -> anyhow::Result<()> {
    let Principal { tenant, unit, device: id, role, user: _ } = principal;
    let dir = options.data.display();
    if options.json {
        return Ok(output::print_json(&json!({
            "device": id.to_string(), "tenant": tenant.as_str(), "unit": unit.as_str(), "role": role.name(),
            "gateway": device.config.gateway, "ready": signed, "csr": device.csr(),
        }))?);
    }
    let mut text =
        format!("tablet   {dir} ({})\ndevice   {id}\nunit     {unit} of {tenant}, {role}\n", device.config.label);
    text += &match signed {
        true => format!(
            "gateway  {}\nready    try `tablet --data {dir} new --keyword Brustschmerz`\n",
            device.config.gateway
        ),
        false => format!(
            "\nIt needs a certificate. Where the PKI is, run\n  \
             feldakte pki sign --csr {csr} --out {certificate}.signed \\\n    \
             --tenant {tenant} --unit {unit} --device {id} --role {role}\nand then here\n  \
             tablet --data {dir} install --certificate {certificate}.signed --roots pki/root.pem\n",
            csr = device.csr().display(),
            certificate = device.certificate().display(),
        ),
    };
    Ok(output::print(&text)?)
}

impl Install {
    /// Does it.
    pub(crate) async fn run(self, options: &Options) -> anyhow::Result<ExitCode> {
        let device = Device::load(&options.data)?;
        let (certificate, roots) = (files::read(&self.certificate)?, files::read(&self.roots)?);
        check_fits(&device, &self.certificate, &certificate, &roots)?;
        files::write(&device.roots(), &roots, Readers::Default)?;
        files::write(&device.certificate(), &certificate, Readers::Default)?;
        let Principal { tenant, unit, role, .. } = device.identity()?.principal;
        match options.json {
            true => output::print_json(&json!({"device": device.config.device, "ready": true}))?,
            false => output::print(&format!(
                "ready    {unit} of {tenant}, {role}; try `tablet --data {} status`",
                options.data.display()
            ))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A certificate for another device or another key would only be noticed when the gateway refuses it.
fn check_fits(device: &Device, path: &Path, certificate: &[u8], roots: &[u8]) -> anyhow::Result<()> {
    let key = zeroize::Zeroizing::new(files::read(&device.key())?);
    let identity = feldakte_client_sdk::Identity::from_pem(roots, certificate, &key)?;
    anyhow::ensure!(
        identity.principal.device == device.id()?,
        "{} is for another device: this one is {}",
        path.display(),
        device.config.device
    );
    feldakte_client_sdk::transport::DialConfig::new(&identity)
        .with_context(|| format!("{} does not fit this tablet's key", path.display()))?;
    Ok(())
}

/// Certificates live for weeks; in production they are renewed long before.
const VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);

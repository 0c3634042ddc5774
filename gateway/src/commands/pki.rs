//! `feldakte pki`: a development CA in a directory. For production the device CA stands elsewhere.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use clap::{Args, Subcommand};
use feldakte_certs::{authority::CrlTerms, deny::Denials, development::DevelopmentPki};
use feldakte_core::{
    access::{Principal, Role},
    ids::{DeviceId, TenantId, UnitId},
};

/// Development certificates.
#[derive(Subcommand)]
pub enum Pki {
    /// Make a root and a gateway certificate.
    Create {
        /// Where; made when it is not there.
        #[arg(long, default_value = "pki", value_name = "DIR")]
        dir: PathBuf,
        /// Names and addresses under which devices reach the gateway.
        #[arg(long = "name", default_values = ["localhost", "127.0.0.1"], value_name = "NAME")]
        names: Vec<String>,
    },
    /// Sign a device's certificate request (`tablet init` writes one).
    Sign(Sign),
    /// Write a revocation list of the serial numbers in a deny list.
    ///
    /// For others that believe the development root, and for `tls.crl`. Entries of other kinds than `serial` cannot
    /// stand in it and are counted.
    Crl(Crl),
}

/// Write a revocation list.
#[derive(Args)]
pub struct Crl {
    /// The development PKI.
    #[arg(long, default_value = "pki", value_name = "DIR")]
    dir: PathBuf,
    /// The deny list; without one nothing is revoked.
    #[arg(long, value_name = "FILE")]
    deny_list: Option<PathBuf>,
    /// Where the list goes, PEM; written beside it first, so that nobody reads half of it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Its number, greater than that of the list before [default: seconds since 1970].
    #[arg(long)]
    number: Option<u64>,
    /// Days until there must be a newer one.
    #[arg(long, default_value_t = 7)]
    days: u64,
}

/// Sign a device's certificate request.
#[derive(Args)]
pub struct Sign {
    /// The development PKI.
    #[arg(long, default_value = "pki", value_name = "DIR")]
    dir: PathBuf,
    /// The request, PEM.
    #[arg(long, value_name = "FILE")]
    csr: PathBuf,
    /// Where the certificate goes, PEM.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The tenant, such as `dortmund`.
    #[arg(long)]
    tenant: TenantId,
    /// The unit, such as `rtw-1-83-1`; devices of one unit share its cases.
    #[arg(long)]
    unit: UnitId,
    /// The device's id; `tablet init` prints it.
    #[arg(long)]
    device: DeviceId,
    /// What the device is for, such as `ambulance_crew`.
    #[arg(long)]
    role: Role,
    /// How long the certificate lives.
    #[arg(long, default_value_t = 30)]
    days: u64,
}

impl Pki {
    /// Does it.
    pub fn run(self) -> anyhow::Result<()> {
        let now = SystemTime::now();
        match self {
            Pki::Create { dir, names } => {
                let pki = DevelopmentPki::create(&dir, &names, now)?;
                println!("root         {}", pki.root_path().display());
                println!("gateway      {}", pki.gateway_path().display());
                println!("gateway key  {}", pki.gateway_key_path().display());
                Ok(())
            }
            Pki::Sign(sign) => {
                let pki = DevelopmentPki::open(&sign.dir)?;
                let csr = std::fs::read_to_string(&sign.csr)
                    .with_context(|| format!("cannot read {}", sign.csr.display()))?;
                let Sign { tenant, unit, device, role, .. } = sign;
                let principal = Principal { tenant, unit, device, role, user: None };
                let validity = Duration::from_secs(sign.days * 24 * 3600);
                let issued = pki.sign(&csr, &principal, validity, now)?;
                std::fs::write(&sign.out, issued.certificate_pem)
                    .with_context(|| format!("cannot write {}", sign.out.display()))?;
                println!("certificate  {}", sign.out.display());
                Ok(())
            }
            Pki::Crl(crl) => crl.run(now),
        }
    }
}

impl Crl {
    fn run(self, now: SystemTime) -> anyhow::Result<()> {
        let Self { dir, deny_list, out, number, days } = self;
        let denials = match &deny_list {
            None => Denials::default(),
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?
                .parse()
                .with_context(|| format!("{} is malformed", path.display()))?,
        };
        let serials = denials.serials();
        let since = now.duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
        let number = number.unwrap_or(since.as_secs());
        let terms = CrlTerms { number, validity: Duration::from_secs(days * 24 * 3600), now };
        let list = DevelopmentPki::open(&dir)?.issue_crl(&serials, terms)?;
        let beside = out.with_added_extension("new");
        std::fs::write(&beside, list.pem).with_context(|| format!("cannot write {}", beside.display()))?;
        std::fs::rename(&beside, &out).with_context(|| format!("cannot write {}", out.display()))?;
        println!("revocation list  {}  number {number}, {} revoked", out.display(), serials.len());
        let left_out = denials.len() - serials.len();
        if left_out > 0 {
            println!("left out         {left_out} entries that are no serial numbers");
        }
        Ok(())
    }
}

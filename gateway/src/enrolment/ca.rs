//! The authority that signs device certificates, read from files, and the terms on which it does.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use feldakte_certs::{
    authority::{Authority, AuthorityError},
    pem::{self, PemError},
};
use rustls_pki_types::CertificateDer;

use crate::config::CaSettings;

/// The authority and what belongs to it.
#[derive(Debug)]
pub struct Ca {
    authority: Authority,
    authorities: Vec<CertificateDer<'static>>,
    pins: Vec<CertificateDer<'static>>,
    pins_pem: String,
    terms: Terms,
}

/// On which terms certificates are issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long a certificate lives.
    pub lifetime: Duration,
    /// How long before its end devices begin to renew it.
    pub renew_from: Duration,
    /// How long after its end it can still be renewed.
    pub overlap: Duration,
}

/// The authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file cannot be read.
    #[error("cannot read {path}; see [ca] in the configuration")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others could read the key.
    #[error("other users have access to {path}, which can make any device: run `chmod 600 {path}`")]
    Exposed {
        /// The key.
        path: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("{path} cannot be used")]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: PemError,
    },
    /// Certificate and key are no authority.
    #[error("{path} cannot be used; `ca.certificate` must hold the certificate of `ca.key`")]
    Authority {
        /// The certificate.
        path: PathBuf,
        /// Why.
        #[source]
        source: AuthorityError,
    },
    /// Its certificates would be refused by this very gateway.
    #[error("devices certified by {certificate} would be refused: it is not in `tls.device_ca`")]
    NotTrusted {
        /// The certificate.
        certificate: PathBuf,
    },
}

impl Ca {
    /// Reads the authority; `device_ca` holds the authorities whose devices the gateway takes. `None` when there is no key
    /// and none was asked for: this gateway issues nothing.
    ///
    /// # Errors
    /// When files cannot be read or do not belong together.
    pub fn load(settings: &CaSettings, device_ca: &Path) -> Result<Option<Self>, CaError> {
        if !settings.is_demanded && !settings.key.exists() {
            return Ok(None);
        }
        let key = read(&settings.key)?;
        demand_private(&settings.key)?;
        let refused = |source| CaError::Authority { path: settings.certificate.clone(), source };
        let authority = Authority::find(&read(&settings.certificate)?, &key).map_err(refused)?;
        let authorities = certificates(device_ca)?;
        if !authorities.contains(authority.certificate()) {
            return Err(CaError::NotTrusted { certificate: settings.certificate.clone() });
        }
        let pins = certificates(&settings.gateway_roots)?;
        let pins_pem = read(&settings.gateway_roots)?.to_string();
        Ok(Some(Self { authority, authorities, pins, pins_pem, terms: settings.terms }))
    }

    /// The authority.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Those whose certificates are renewed here.
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    /// The roots that devices are told to believe gateways under.
    pub fn pins(&self) -> &[CertificateDer<'static>] {
        &self.pins
    }

    /// The same in PEM form.
    pub fn pins_pem(&self) -> &str {
        &self.pins_pem
    }

    /// On which terms it issues.
    pub fn terms(&self) -> Terms {
        self.terms
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CaError> {
    pem::certificates(read(path)?.as_bytes()).map_err(|source| CaError::Pem { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<String>, CaError> {
    let text = std::fs::read_to_string(path).map_err(|source| CaError::Read { path: path.to_owned(), source })?;
    Ok(text.into())
}

fn demand_private(path: &Path) -> Result<(), CaError> {
    let metadata = std::fs::metadata(path).map_err(|source| CaError::Read { path: path.to_owned(), source })?;
    match metadata.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => Err(CaError::Exposed { path: path.to_owned() }),
    }
}

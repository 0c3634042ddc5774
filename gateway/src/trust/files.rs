//! The files that say what the gateway proves itself with and whom it believes.

use std::{
    io,
    path::{Path, PathBuf},
};

use feldakte_certs::{
    crl::{CrlError, Revocations},
    deny::{Denials, DenyError},
    pem,
};
use rustls_pki_types::CertificateDer;

use crate::{
    config::Config,
    relay::SecretError,
    tls::{Credentials, TlsError},
};

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read.
    #[error("cannot read {path}; {hint}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A PEM file does not hold what it should.
    #[error("{path} cannot be used")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TlsError,
    },
    /// Certificate, key and roots do not make a TLS configuration.
    #[error("TLS could not be set up")]
    Tls(#[from] TlsError),
    /// Devices would refuse the certificate.
    #[error("the gateway's certificate in {path} is not valid at this time")]
    NotValid {
        /// Which file.
        path: PathBuf,
    },
    /// The deny list is malformed: an unreadable list must not open the door.
    #[error("the deny list {path} is malformed")]
    DenyList {
        /// Which file.
        path: PathBuf,
        /// Which line.
        #[source]
        source: DenyError,
    },
    /// The revocation lists cannot be used.
    #[error("the revocation lists {path} cannot be used")]
    Crl {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CrlError,
    },
    /// What is shared with TURN servers cannot be used.
    #[error("the secrets of TURN servers cannot be used")]
    Relay(#[from] SecretError),
    /// A revocation list should have been replaced before now.
    #[error("the revocation lists {path} are past their next update")]
    CrlStale {
        /// Which file.
        path: PathBuf,
    },
    /// Somebody has put back an old revocation list.
    #[error("the revocation lists {path} are older than those in force")]
    CrlOlder {
        /// Which file.
        path: PathBuf,
    },
}

/// Where they are.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) device_ca: PathBuf,
    pub(super) gateway_roots: PathBuf,
    pub(super) deny_list: Option<PathBuf>,
    pub(super) crl: Option<PathBuf>,
}

impl Files {
    pub(super) fn of(config: &Config) -> Self {
        let Config { certificate, key, device_ca, ca, deny_list, crl, .. } = config.clone();
        Self { certificate, key, device_ca, gateway_roots: ca.gateway_roots, deny_list, crl }
    }

    pub(super) fn credentials(&self) -> Result<(Credentials, Vec<CertificateDer<'static>>), TrustError> {
        let bad = |path: &Path| {
            let path = path.to_owned();
            move |source| TrustError::Pem { path, source: TlsError::Pem(source) }
        };
        let chain = pem::certificates(&read(&self.certificate)?).map_err(bad(&self.certificate))?;
        let key = pem::private_key(&read(&self.key)?).map_err(bad(&self.key))?;
        let device_ca = read(&self.device_ca)?;
        let device_roots = pem::roots(&device_ca).map_err(bad(&self.device_ca))?;
        let authorities = pem::certificates(&device_ca).map_err(bad(&self.device_ca))?;
        Ok((Credentials { chain, key, device_roots }, authorities))
    }

    /// Roots that devices believe the gateway under.
    pub(super) fn gateway_roots(&self) -> Result<Vec<CertificateDer<'static>>, TrustError> {
        let path = &self.gateway_roots;
        let bad = |source| TrustError::Pem { path: path.clone(), source: TlsError::Pem(source) };
        pem::certificates(&read(path)?).map_err(bad)
    }
}

pub(super) fn read_deny_list(path: &Path) -> Result<Denials, TrustError> {
    let hint = "an empty file denies nobody; see [tls] deny_list in the configuration";
    let text =
        std::fs::read_to_string(path).map_err(|source| TrustError::Read { path: path.to_owned(), hint, source })?;
    text.parse().map_err(|source| TrustError::DenyList { path: path.to_owned(), source })
}

pub(super) fn read_crl(path: &Path, authorities: &[CertificateDer<'_>]) -> Result<Revocations, TrustError> {
    let hint = "see [tls] crl in the configuration";
    let pem = std::fs::read(path).map_err(|source| TrustError::Read { path: path.to_owned(), hint, source })?;
    Revocations::from_pem(&pem, authorities).map_err(|source| TrustError::Crl { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, TrustError> {
    let hint = "`feldakte pki create` makes a development PKI; see [tls] in the configuration";
    std::fs::read(path).map_err(|source| TrustError::Read { path: path.to_owned(), hint, source })
}

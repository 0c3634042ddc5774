//! A whole PKI in one directory, for development, demonstrations and tests.
//!
//! `root.pem` and `root.key` are the authority, `gateway.pem` and `gateway.key` the gateway's. Keys can be read by
//! their owner alone and are never overwritten: every device hangs on the root.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use feldakte_core::access::Principal;
use rustls::RootCertStore;
use zeroize::Zeroizing;

use crate::authority::{Authority, AuthorityError, CrlTerms, Issued, IssuedCrl};

/// A development PKI that could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentError {
    /// There is one already; its devices would be lost.
    #[error("{path} exists already and is not overwritten: open it, or create the PKI in another directory")]
    Exists {
        /// The file in the way.
        path: PathBuf,
    },
    /// There is none.
    #[error("{path} is missing: create the development PKI first, or name the directory that holds it")]
    Missing {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// Others could read the keys.
    #[error("other users have access to {path}: run `chmod {mode:o} {path}`")]
    Exposed {
        /// The directory or key file.
        path: PathBuf,
        /// What its mode must be.
        mode: u32,
    },
    /// The file system refused.
    #[error("cannot {action} {path}: check the directory's owner and free space")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Certificate or key could not be made or used.
    #[error("the PKI in {path} refused")]
    Authority {
        /// The PKI's directory.
        path: PathBuf,
        /// Why.
        source: AuthorityError,
    },
}

/// A root and a gateway certificate in a directory.
#[derive(Debug)]
pub struct DevelopmentPki {
    dir: PathBuf,
    authority: Authority,
}

impl DevelopmentPki {
    /// Makes a root and a certificate for a gateway under these DNS names and IP addresses.
    ///
    /// A missing or empty directory becomes its owner's alone; one that holds other files must be so already.
    ///
    /// # Errors
    /// When any of the files exists, a name is of no use, or the file system refuses. Nothing is overwritten.
    pub fn create(dir: &Path, gateway_names: &[String], now: SystemTime) -> Result<Self, DevelopmentError> {
        let refused = |source| DevelopmentError::Authority { path: dir.to_owned(), source };
        let authority = Authority::generate(ROOT_NAME, VALIDITY, now).map_err(refused)?;
        let gateway = authority.issue_gateway(gateway_names, VALIDITY, now).map_err(refused)?;
        let root_key = authority.key_pem();
        let files = [
            (GATEWAY_KEY, gateway.key_pem.as_bytes(), KEY_MODE),
            (GATEWAY, gateway.certificate.certificate_pem.as_bytes(), CERTIFICATE_MODE),
            (ROOT_KEY, root_key.as_bytes(), KEY_MODE),
            (ROOT, authority.certificate_pem().as_bytes(), CERTIFICATE_MODE),
        ];
        if let Some((name, ..)) = files.iter().find(|(name, ..)| dir.join(name).exists()) {
            return Err(DevelopmentError::Exists { path: dir.join(name) });
        }
        make_private_dir(dir)?;
        for (name, content, mode) in files {
            write_new(dir.join(name), content, mode)?;
        }
        Ok(Self { dir: dir.to_owned(), authority })
    }

    /// Takes up the PKI in a directory.
    ///
    /// # Errors
    /// When there is none, others could read its key, or its files do not belong together.
    pub fn open(dir: &Path) -> Result<Self, DevelopmentError> {
        let (root, key) = (dir.join(ROOT), dir.join(ROOT_KEY));
        let certificate_pem = read(&root)?;
        let key_pem = read(&key)?;
        demand_private(&key, KEY_MODE)?;
        let authority = Authority::load(&certificate_pem, &key_pem);
        let authority = authority.map_err(|source| DevelopmentError::Authority { path: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned(), authority })
    }

    /// Issues a device certificate; see [`Authority::sign_device`].
    ///
    /// # Errors
    /// When the authority refuses the request or the lifetime.
    pub fn sign(
        &self,
        csr_pem: &str,
        principal: &Principal,
        validity: Duration,
        now: SystemTime,
    ) -> Result<Issued, DevelopmentError> {
        let issued = self.authority.sign_device(csr_pem, principal, validity, now);
        issued.map_err(|source| DevelopmentError::Authority { path: self.dir.clone(), source })
    }

    /// Issues a revocation list; see [`Authority::issue_crl`].
    ///
    /// # Errors
    /// When a serial number is none, or the lifetime is of no use.
    pub fn issue_crl(&self, serials: &[String], terms: CrlTerms) -> Result<IssuedCrl, DevelopmentError> {
        let issued = self.authority.issue_crl(serials, terms);
        issued.map_err(|source| DevelopmentError::Authority { path: self.dir.clone(), source })
    }

    /// The root alone, as rustls takes it.
    pub fn roots(&self) -> RootCertStore {
        self.authority.roots()
    }

    /// The file of the root certificate, for gateways and devices to trust.
    pub fn root_path(&self) -> PathBuf {
        self.dir.join(ROOT)
    }

    /// The file of the gateway's certificate.
    pub fn gateway_path(&self) -> PathBuf {
        self.dir.join(GATEWAY)
    }

    /// The file of the gateway's key.
    pub fn gateway_key_path(&self) -> PathBuf {
        self.dir.join(GATEWAY_KEY)
    }
}

fn make_private_dir(dir: &Path) -> Result<(), DevelopmentError> {
    let io = |source| DevelopmentError::Io { action: "create", path: dir.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(io)?;
    // Only where nothing of anybody's can be shut off by it.
    #[cfg(unix)]
    if dir.read_dir().map_err(io)?.next().is_none() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(DIR_MODE);
        std::fs::set_permissions(dir, mode).map_err(io)?;
    }
    demand_private(dir, DIR_MODE)
}

/// Other systems than Unix have no modes; there the directory's inherited access list decides.
#[cfg_attr(not(unix), allow(unused_variables))]
fn demand_private(path: &Path, mode: u32) -> Result<(), DevelopmentError> {
    #[cfg(unix)]
    {
        let io = |source| DevelopmentError::Io { action: "inspect", path: path.to_owned(), source };
        let found = std::os::unix::fs::PermissionsExt::mode(&path.metadata().map_err(io)?.permissions());
        if found & 0o077 != 0 {
            return Err(DevelopmentError::Exposed { path: path.to_owned(), mode });
        }
    }
    Ok(())
}

#[cfg_attr(not(unix), allow(unused_variables))]
fn write_new(path: PathBuf, content: &[u8], mode: u32) -> Result<(), DevelopmentError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let written = options.open(&path).and_then(|mut file: File| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => DevelopmentError::Exists { path },
        _ => DevelopmentError::Io { action: "write", path, source },
    })
}

fn read(path: &Path) -> Result<Zeroizing<String>, DevelopmentError> {
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => DevelopmentError::Missing { path: path.to_owned() },
        _ => DevelopmentError::Io { action: "read", path: path.to_owned(), source },
    })
}

const ROOT: &str = "root.pem";
const ROOT_KEY: &str = "root.key";
const GATEWAY: &str = "gateway.pem";
const GATEWAY_KEY: &str = "gateway.key";

const ROOT_NAME: &str = "Feldakte development root";

/// Nobody rotates a development gateway's certificate: it lives as long as its root.
const VALIDITY: Duration = Duration::from_secs(5 * 365 * 24 * 60 * 60);

const DIR_MODE: u32 = 0o700;
const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::{
        identity::principal_of,
        pem, policy,
        request::DeviceKey,
        testing::{DAY, crew, today},
        verifier::DeviceVerifier,
    };

    fn names() -> [String; 2] {
        ["localhost", "127.0.0.1"].map(str::to_owned)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_pki_is_private_and_opens_again() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("new/pki");
        let pki = DevelopmentPki::create(&dir, &names(), today()).unwrap();
        assert_eq!(mode(&dir), 0o700);
        assert_eq!([mode(&dir.join(ROOT_KEY)), mode(&pki.gateway_key_path())], [0o600; 2]);
        let opened = DevelopmentPki::open(&dir).unwrap();
        let csr = DeviceKey::generate().unwrap().csr_pem().unwrap();
        let issued = opened.sign(&csr, &crew(), DAY, today()).unwrap();
        assert_eq!(principal_of(&issued.der), Ok(crew()));
        assert_eq!(pem::roots(&fs::read(pki.root_path()).unwrap()).unwrap().roots, pki.roots().roots);
    }

    #[test]
    fn a_gateway_can_start_from_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let pki = DevelopmentPki::create(dir.path(), &names(), today()).unwrap();
        let chain = pem::certificates(&fs::read(pki.gateway_path()).unwrap()).unwrap();
        let key = pem::private_key(&fs::read(pki.gateway_key_path()).unwrap()).unwrap();
        let devices = DeviceVerifier::new(pki.roots(), Default::default()).unwrap();
        assert!(policy::server_config(chain, key, devices).is_ok());
    }

    #[test]
    fn no_file_is_overwritten() {
        for name in [ROOT, ROOT_KEY, GATEWAY, GATEWAY_KEY] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), "precious").unwrap();
            let error = DevelopmentPki::create(dir.path(), &names(), today()).unwrap_err();
            assert!(matches!(&error, DevelopmentError::Exists { path } if path.ends_with(name)), "{error}");
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), "precious");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is written");
        }
    }

    #[test]
    fn no_key_is_written_through_a_link_somebody_left() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let target = elsewhere.path().join("seen");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(&target, dir.path().join(ROOT_KEY)).unwrap();
        let error = DevelopmentPki::create(dir.path(), &names(), today()).unwrap_err();
        assert!(matches!(&error, DevelopmentError::Exists { path } if path.ends_with(ROOT_KEY)), "{error}");
        assert!(!target.exists());
    }

    #[test]
    fn exposed_keys_are_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let exposed = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(dir.path().join("notes"), "somebody's").unwrap();
        exposed(dir.path(), 0o750);
        let error = DevelopmentPki::create(dir.path(), &names(), today()).unwrap_err();
        assert!(error.to_string().contains("chmod 700"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no key was written");
        exposed(dir.path(), 0o700);
        DevelopmentPki::create(dir.path(), &names(), today()).unwrap();
        exposed(&dir.path().join(ROOT_KEY), 0o640);
        let error = DevelopmentPki::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = DevelopmentPki::open(dir.path()).unwrap_err();
        assert!(matches!(&error, DevelopmentError::Missing { path } if path.ends_with(ROOT)), "{error}");
        let error = DevelopmentPki::create(dir.path(), &[], today()).unwrap_err();
        assert!(matches!(error, DevelopmentError::Authority { source: AuthorityError::NoName, .. }), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

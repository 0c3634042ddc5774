//! `tablet init --code`: the tablet asks the gateway for its certificate, and keeps it fresh from then on.

use std::{io, path::PathBuf};

use anyhow::{Context, anyhow};
use feldakte_certs::{identity::Fingerprint, request::DeviceKey};
use feldakte_client_sdk::{
    enrol::{self, EnrolError, EnrolOptions, Enrolled, Trust},
    renewal::IdentityStore,
};
use zeroize::Zeroizing;

use crate::{
    device::Device,
    files::{self, Readers},
};

/// What an invitation says.
#[derive(Debug, Clone)]
pub(crate) struct Invitation {
    /// Where to enrol.
    pub(crate) gateway: String,
    /// The code.
    pub(crate) code: String,
    /// Whom to believe.
    pub(crate) trust: Trust,
}

impl Invitation {
    /// Out of what stands in the QR code: `feldakte://enrol?gateway=…&code=…&root=…`.
    pub(crate) fn parse(uri: &str) -> anyhow::Result<Self> {
        let query = uri.strip_prefix("feldakte://enrol?").context("an invitation begins with feldakte://enrol?")?;
        let value = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let found = pairs.find(|(key, _)| *key == name);
            found.map(|(_, value)| value.to_owned()).ok_or_else(|| anyhow!("the invitation says nothing of `{name}`"))
        };
        let root: Fingerprint = value("root")?.parse()?;
        Ok(Self { gateway: value("gateway")?, code: value("code")?, trust: Trust::Fingerprint(root) })
    }
}

/// Asks for the certificate. The key is on the disk before: with it a lost answer can be had again.
pub(crate) async fn enrol(device: &Device, invitation: Invitation, server_name: &str) -> anyhow::Result<Enrolled> {
    let key = match device.key().exists() {
        true => Zeroizing::new(String::from_utf8(files::read(&device.key())?).context("device.key is no text")?),
        false => {
            let key = DeviceKey::generate()?.to_pem();
            files::write(&device.key(), key.as_bytes(), Readers::Owner)?;
            key
        }
    };
    let Invitation { gateway, code, trust } = invitation;
    let server_name = server_name.to_owned();
    let answer = enrol::enrol(EnrolOptions { gateway, server_name, code, trust, key: Some(key) }).await;
    let enrolled = answer.map_err(|error| match error {
        EnrolError::Unreachable => anyhow!("{error}; the same command again goes on where this one ended"),
        error => anyhow::Error::new(error),
    })?;
    FileIdentity::of(device).keep(&enrolled).context("the certificate cannot be kept")?;
    Ok(enrolled)
}

/// The tablet's credentials in files of their own. The key stays the same, so that certificate and roots can be replaced
/// one after the other.
pub(crate) struct FileIdentity {
    roots: PathBuf,
    certificate: PathBuf,
    renew_at: PathBuf,
}

impl FileIdentity {
    pub(crate) fn of(device: &Device) -> Self {
        Self { roots: device.roots(), certificate: device.certificate(), renew_at: device.renew_at() }
    }
}

impl IdentityStore for FileIdentity {
    fn keep(&self, renewed: &Enrolled) -> io::Result<()> {
        let write = |path, content: &str| {
            files::write(path, content.as_bytes(), Readers::Default)
                .map_err(|error| io::Error::other(error.to_string()))
        };
        write(&self.roots, &renewed.roots)?;
        write(&self.certificate, &renewed.certificate)?;
        write(&self.renew_at, &renewed.renew_at_ms.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_says_where_with_what_and_whom_to_believe() {
        let root = "ab".repeat(32);
        let uri = format!("feldakte://enrol?gateway=gateway.example:4434&code=01234-56789&root={root}");
        let invitation = Invitation::parse(&uri).expect("an invitation");
        assert_eq!((&*invitation.gateway, &*invitation.code), ("gateway.example:4434", "01234-56789"));
        for bad in ["https://enrol?gateway=a&code=b", "feldakte://enrol?gateway=a&code=b", &uri[..uri.len() - 1]] {
            assert!(Invitation::parse(bad).is_err(), "{bad}");
        }
    }
}

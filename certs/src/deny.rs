//! Devices, certificates and users that are refused although their certificates and tokens have not ended yet: our own deny
//! list, and the revocation lists of the authorities where there are any.
//!
//! The verifier asks on every handshake, a gateway at every sign-in; it asks again for its live connections after each
//! replacement.

use std::{
    collections::HashSet,
    fmt,
    str::FromStr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use feldakte_core::ids::{DeviceId, UserId};
use rustls_pki_types::CertificateDer;

use crate::{
    crl::{Revocations, Standing},
    identity::{self, Fingerprint},
};

/// A line of a deny list that cannot be read: the whole list is refused, so that no entry is lost unseen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the deny list: {why}")]
pub struct DenyError {
    /// Which line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

/// What a deny list says: one entry per line, `device <uuid>`, `user <uuid>`, `sha256 <hex>` or `serial <hex>`; `#`
/// starts a comment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Denials {
    devices: HashSet<DeviceId>,
    users: HashSet<UserId>,
    fingerprints: HashSet<Fingerprint>,
    serials: HashSet<String>,
}

impl Denials {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.devices.len() + self.users.len() + self.fingerprints.len() + self.serials.len()
    }

    /// Whether nobody is denied.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The serial numbers, in order: what a revocation list can say of it. Devices and fingerprints it cannot name.
    pub fn serials(&self) -> Vec<String> {
        let mut serials: Vec<String> = self.serials.iter().cloned().collect();
        serials.sort_unstable();
        serials
    }

    fn add(&mut self, entry: &str) -> Result<(), &'static str> {
        let (kind, value) = entry.split_once(char::is_whitespace).ok_or("needs a kind and a value")?;
        let value = value.trim();
        match kind {
            "device" => {
                self.devices.insert(value.parse().map_err(|_| "the device must be a UUID")?);
            }
            "user" => {
                self.users.insert(value.parse().map_err(|_| "the user must be a UUID")?);
            }
            "sha256" => {
                self.fingerprints.insert(value.parse().map_err(|_| "the fingerprint must be 32 bytes in hexadecimal")?);
            }
            "serial" => {
                let serial = identity::parse_hex(value).map(|bytes| identity::serial_text(&bytes));
                let serial = serial.filter(|serial| !serial.is_empty());
                self.serials.insert(serial.ok_or("the serial number must be bytes in hexadecimal")?);
            }
            _ => return Err("the kind must be device, user, sha256 or serial"),
        }
        Ok(())
    }

    fn deny(&self, leaf: &CertificateDer<'_>) -> bool {
        if self.is_empty() {
            return false;
        }
        // What cannot be read might be any of those denied.
        let (Ok(serial), Ok(principal)) = (identity::serial_of(leaf), identity::principal_of(leaf)) else {
            return true;
        };
        self.serials.contains(&serial)
            || self.devices.contains(&principal.device)
            || self.fingerprints.contains(&Fingerprint::of(leaf))
    }
}

impl FromStr for Denials {
    type Err = DenyError;
    fn from_str(text: &str) -> Result<Self, DenyError> {
        let mut denials = Self::default();
        for (index, line) in text.lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if !entry.is_empty() {
                denials.add(entry).map_err(|why| DenyError { line: index + 1, why })?;
            }
        }
        Ok(denials)
    }
}

/// Deny list and revocation lists in force: a shared handle, each replaced as a whole. Clones see the same.
#[derive(Clone, Default)]
pub struct DenyList(Arc<RwLock<InForce>>);

#[derive(Default)]
struct InForce {
    denials: Denials,
    revocations: Option<Revocations>,
    /// Those that the gateway's registry has revoked.
    revoked: HashSet<DeviceId>,
}

impl DenyList {
    /// A list that starts with these entries.
    pub fn new(denials: Denials) -> Self {
        Self(Arc::new(RwLock::new(InForce { denials, ..InForce::default() })))
    }

    /// Puts another list in force, for the next question asked through any clone.
    pub fn replace(&self, denials: Denials) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).denials = denials;
    }

    /// Denies devices for good, whatever list is put in force later: whoever revokes them has written it down.
    pub fn revoke(&self, devices: impl IntoIterator<Item = DeviceId>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).revoked.extend(devices);
    }

    /// Puts other revocation lists in force, or none.
    pub fn replace_revocations(&self, revocations: Option<Revocations>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).revocations = revocations;
    }

    /// Whether the holder of this certificate is denied or its authority has taken it back. With any entry in force, a
    /// certificate without a readable identity is denied as well; with revocation lists, one of whom none speaks.
    pub fn is_denied(&self, leaf: &CertificateDer<'_>) -> bool {
        let in_force = self.read();
        let standing = in_force.revocations.as_ref().map(|lists| lists.standing(leaf));
        in_force.denials.deny(leaf)
            || in_force.has_revoked(leaf)
            || standing.is_some_and(|standing| standing != Standing::Good)
    }

    /// Whether an authority has taken this intermediate certificate back.
    pub fn is_revoked(&self, intermediate: &CertificateDer<'_>) -> bool {
        let in_force = self.read();
        in_force.revocations.as_ref().is_some_and(|lists| lists.standing(intermediate) == Standing::Revoked)
    }

    /// Whether this device is denied by its id: whatever certificate it shows is refused.
    pub fn is_device_denied(&self, device: DeviceId) -> bool {
        let in_force = self.read();
        in_force.denials.devices.contains(&device) || in_force.revoked.contains(&device)
    }

    fn read(&self) -> RwLockReadGuard<'_, InForce> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this user is denied, on whatever device.
    pub fn is_user_denied(&self, user: UserId) -> bool {
        self.read().denials.users.contains(&user)
    }
}

impl InForce {
    fn has_revoked(&self, leaf: &CertificateDer<'_>) -> bool {
        let revoked = |device| self.revoked.contains(&device);
        !self.revoked.is_empty() && identity::principal_of(leaf).map_or(true, |principal| revoked(principal.device))
    }
}

impl fmt::Debug for DenyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InForce { denials, revocations, revoked } = &*self.read();
        let listed = revocations.as_ref().map_or(0, Revocations::len);
        write!(f, "DenyList({} entries, {} devices and {listed} certificates revoked)", denials.len(), revoked.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        identity::serial_of,
        testing::{World, crew},
    };

    fn denies(list: &str, leaf: &CertificateDer<'_>) -> bool {
        DenyList::new(list.parse().unwrap()).is_denied(leaf)
    }

    #[test]
    fn each_kind_of_entry_denies_its_own() {
        let world = World::new();
        let (lost, kept) = (world.issue(&crew()).der, {
            let mut other = crew();
            other.device = DeviceId::from_slice(&[8; 16]).unwrap();
            world.issue(&other).der
        });
        let serial = serial_of(&lost).unwrap();
        for entry in [
            format!("device {}", crew().device),
            format!("sha256 {}", Fingerprint::of(&lost)),
            format!("serial {serial}"),
            format!("serial 00:{}", serial.to_uppercase()),
        ] {
            assert!(denies(&entry, &lost), "{entry}");
            assert!(!denies(&entry, &kept), "{entry}");
        }
        assert!(!denies("", &lost));
    }

    #[test]
    fn a_user_entry_denies_that_user_and_no_device() {
        let [denied, other] = [1, 2].map(|n| UserId::from_slice(&[n; 16]).unwrap());
        let list = DenyList::new(format!("user {denied}").parse().unwrap());
        assert!(list.is_user_denied(denied));
        assert!(!list.is_user_denied(other));
        assert!(!list.is_denied(&World::new().issue(&crew()).der));
    }

    #[test]
    fn a_device_entry_outlasts_renewal_and_a_certificate_entry_does_not() {
        let world = World::new();
        let (old, renewed) = (world.issue(&crew()).der, world.issue(&crew()).der);
        assert!(denies(&format!("device {}", crew().device), &renewed));
        assert!(!denies(&format!("sha256 {}", Fingerprint::of(&old)), &renewed));
    }

    #[test]
    fn a_certificate_that_cannot_be_read_is_denied() {
        let garbage = CertificateDer::from(&b"x"[..]);
        assert!(denies("serial 01", &garbage));
    }

    #[test]
    fn every_clone_sees_a_replacement() {
        let leaf = World::new().issue(&crew()).der;
        let (list, clone) = (DenyList::default(), DenyList::default().clone());
        let seen = list.clone();
        list.replace(format!("device {}", crew().device).parse().unwrap());
        assert!(seen.is_denied(&leaf));
        assert!(!clone.is_denied(&leaf), "another list");
        list.replace(Denials::default());
        assert!(!seen.is_denied(&leaf));
    }

    #[test]
    fn a_revoked_device_stays_denied_whatever_list_comes_in_force() {
        let world = World::new();
        let (leaf, mut other) = (world.issue(&crew()).der, crew());
        other.device = DeviceId::from_slice(&[8; 16]).unwrap();
        let list = DenyList::default();
        list.revoke([crew().device]);
        list.replace(Denials::default());
        assert!(list.is_denied(&leaf) && list.clone().is_denied(&leaf));
        assert!(!list.is_denied(&world.issue(&other).der));
    }

    #[test]
    fn comments_blank_lines_and_line_ends_do_not_matter() {
        let text =
            "# lost tablets\r\n\r\n  device\t00000000-0000-4000-8000-00000000000a   # rtw-1, 3 March\r\nserial 0a";
        assert_eq!(text.parse::<Denials>().unwrap().len(), 2);
        assert!("# nobody\n\n".parse::<Denials>().unwrap().is_empty());
    }

    #[test]
    fn a_bad_line_is_named() {
        for bad in [
            "device",
            "device rtw-1",
            "user nobody",
            "sha256 00",
            "serial",
            "serial 0",
            "serial 00",
            "serial xy",
            "name x",
            "x",
        ] {
            let error = format!("# first\nserial 01\n{bad}\nserial 02").parse::<Denials>().unwrap_err();
            assert_eq!(error.line, 3, "{bad}");
            assert!(error.to_string().starts_with("line 3 of the deny list: "), "{error}");
        }
    }
}

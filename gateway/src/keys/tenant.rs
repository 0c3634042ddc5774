//! Tenant keys that the gateway itself holds: one line each, `TENANT HEX`, the newest of a tenant first.
//!
//! They stand in a file that the gateway makes and rewrites, or in the environment, which somebody else has to change. A
//! wrapped key is `nonce | AES-256-GCM(case key) | tag`, with tenant and case as its additional data.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    digest,
};
use feldakte_core::{
    hex::{hex, unhex},
    ids::{CaseId, TenantId},
};
use zeroize::Zeroizing;

use super::{CaseKey, KeyEncryption, KeyError, KeyId, WrappedKey, no_randomness};
use crate::secret_file;

/// The keys of all tenants.
pub struct TenantKeys {
    place: Place,
    keys: Mutex<BTreeMap<TenantId, Vec<TenantKey>>>,
}

enum Place {
    File(PathBuf),
    Environment,
}

#[derive(Clone)]
struct TenantKey {
    id: KeyId,
    bytes: Zeroizing<Vec<u8>>,
}

/// Tenant keys that cannot be used. Never says what stands there.
#[derive(Debug, thiserror::Error)]
pub enum TenantKeysError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may read the file.
    #[error("{path} can be read by others than its owner: chmod 600 it")]
    Open {
        /// Which file.
        path: PathBuf,
    },
    /// A line is not `TENANT HEX`.
    #[error("{place}: key {number} is not a tenant and 64 hexadecimal digits")]
    Malformed {
        /// The file, or the environment.
        place: String,
        /// Counted from 1.
        number: usize,
    },
}

impl TenantKeys {
    /// Those of a file, which is made when the first key is.
    ///
    /// # Errors
    /// When it is there and cannot be used.
    pub fn in_file(path: &Path) -> Result<Self, TenantKeysError> {
        let read = |source| TenantKeysError::Read { path: path.to_owned(), source };
        let text = match std::fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Zeroizing::default(),
            Err(error) => return Err(read(error)),
        };
        if is_open_to_others(path) {
            return Err(TenantKeysError::Open { path: path.to_owned() });
        }
        let keys = parse(text.lines()).map_err(|number| malformed(path.display().to_string(), number))?;
        Ok(Self { place: Place::File(path.to_owned()), keys: Mutex::new(keys) })
    }

    /// Those of a text that somebody else keeps, such as an environment variable: keys with commas between them.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn from_environment(name: &str, text: &str) -> Result<Self, TenantKeysError> {
        let keys = parse(text.split(',')).map_err(|number| malformed(name.to_owned(), number))?;
        Ok(Self { place: Place::Environment, keys: Mutex::new(keys) })
    }

    /// The tenant's newest key; a new one when it has none.
    fn newest(&self, tenant: &TenantId) -> Result<TenantKey, KeyError> {
        let mut keys = self.lock();
        match keys.get(tenant).and_then(|keys| keys.first()) {
            Some(key) => Ok(key.clone()),
            None => self.add(&mut keys, tenant),
        }
    }

    /// Makes a key and writes it down before anything is wrapped under it.
    fn add(&self, keys: &mut BTreeMap<TenantId, Vec<TenantKey>>, tenant: &TenantId) -> Result<TenantKey, KeyError> {
        let Place::File(path) = &self.place else { return Err(KeyError::Elsewhere(MAKE_IT_THERE)) };
        let key = TenantKey::new(CaseKey::generate()?.as_bytes().to_vec());
        let mut next = keys.clone();
        next.entry(tenant.clone()).or_default().insert(0, key.clone());
        write(path, &next).map_err(|error| KeyError::Unavailable(error.into()))?;
        *keys = next;
        Ok(key)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TenantId, Vec<TenantKey>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KeyEncryption for TenantKeys {
    async fn wrap(&self, tenant: &TenantId, case: CaseId, key: &CaseKey) -> Result<WrappedKey, KeyError> {
        let by = self.newest(tenant)?;
        let mut sealed = key.as_bytes().to_vec();
        let nonce = by.cipher()?.seal_in_place_append_tag(context(tenant, case), &mut sealed);
        let nonce = nonce.map_err(|_| no_randomness())?;
        Ok(WrappedKey { by: by.id, bytes: [nonce.as_ref(), &sealed[..]].concat() })
    }

    async fn unwrap(&self, tenant: &TenantId, case: CaseId, wrapped: &WrappedKey) -> Result<CaseKey, KeyError> {
        let find = |keys: &Vec<TenantKey>| keys.iter().find(|key| key.id == wrapped.by).cloned();
        let by = self.lock().get(tenant).and_then(find).ok_or(KeyError::Gone)?;
        let (nonce, sealed) = wrapped.bytes.split_at_checked(NONCE_LEN).ok_or(KeyError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::Damaged)?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let key = by.cipher()?.open_in_place(nonce, context(tenant, case), &mut opened);
        CaseKey::from_slice(key.map_err(|_| KeyError::Damaged)?)
    }

    async fn renew(&self, tenant: &TenantId) -> Result<KeyId, KeyError> {
        let mut keys = self.lock();
        match (&self.place, keys.get(tenant).map(Vec::as_slice)) {
            // Somebody has put the new one in front of the old one.
            (Place::Environment, Some([newest, _, ..])) => Ok(newest.id.clone()),
            _ => self.add(&mut keys, tenant).map(|key| key.id),
        }
    }

    async fn retire_all_but(&self, tenant: &TenantId, keep: &KeyId) -> Result<(), KeyError> {
        let mut keys = self.lock();
        let mut next = keys.clone();
        next.entry(tenant.clone()).or_default().retain(|key| key.id == *keep);
        match &self.place {
            Place::File(path) => write(path, &next).map_err(|error| KeyError::Unavailable(error.into()))?,
            // Forgotten here; whoever keeps the environment takes it away there.
            Place::Environment => {}
        }
        *keys = next;
        Ok(())
    }
}

impl TenantKey {
    fn new(bytes: Vec<u8>) -> Self {
        let named = digest::digest(&digest::SHA256, &[ID_OF, &bytes].concat());
        Self { id: KeyId(hex(&named.as_ref()[..ID_LEN])), bytes: Zeroizing::new(bytes) }
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, KeyError> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.bytes).map_err(|_| KeyError::Damaged)
    }
}

/// Binds a wrapped key to its case: nobody can pass one off as another's.
fn context(tenant: &TenantId, case: CaseId) -> Aad<Vec<u8>> {
    Aad::from([WRAPPED, tenant.as_str().as_bytes(), &[0], &case.as_bytes()[..]].concat())
}

/// The keys of these lines, or the number of the first that is none.
fn parse<'t>(lines: impl Iterator<Item = &'t str>) -> Result<BTreeMap<TenantId, Vec<TenantKey>>, usize> {
    let mut keys: BTreeMap<TenantId, Vec<TenantKey>> = BTreeMap::new();
    let lines = lines.map(|line| line.split('#').next().unwrap_or_default().trim());
    for (line, number) in lines.filter(|line| !line.is_empty()).zip(1_usize..) {
        let (tenant, digits) = line.split_once([' ', ':']).ok_or(number)?;
        let bytes = unhex(digits.trim()).filter(|bytes| bytes.len() == CaseKey::LEN).ok_or(number)?;
        keys.entry(tenant.parse().map_err(|_| number)?).or_default().push(TenantKey::new(bytes));
    }
    Ok(keys)
}

fn write(path: &Path, keys: &BTreeMap<TenantId, Vec<TenantKey>>) -> io::Result<()> {
    let mut text = Zeroizing::new(String::from(HEAD));
    for (tenant, key) in keys.iter().flat_map(|(tenant, keys)| keys.iter().map(move |key| (tenant, key))) {
        let digits = Zeroizing::new(hex(&key.bytes));
        text.push_str(&Zeroizing::new(format!("{tenant} {}\n", *digits)));
    }
    secret_file::replace(path, &text)
}

fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

fn malformed(place: String, number: usize) -> TenantKeysError {
    TenantKeysError::Malformed { place, number }
}

const HEAD: &str =
    "# Keys of tenants, the newest first. Without them nothing of a tenant can be read: keep a copy elsewhere.\n";
const MAKE_IT_THERE: &str = "the tenant's keys are kept in the environment: put a new one in front of the old one there, start \
     the gateway again, then rotate";
/// What wrapped keys are bound to, besides tenant and case.
const WRAPPED: &[u8] = b"feldakte case key 1\0";
const ID_OF: &[u8] = b"feldakte tenant key id 1\0";
const ID_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use uuid::Uuid;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().expect("a slug")
    }

    fn case(number: u128) -> CaseId {
        CaseId(Uuid::from_u128(number))
    }

    fn in_directory() -> (TenantKeys, tempfile::TempDir) {
        let directory = tempfile::tempdir().expect("a directory");
        (TenantKeys::in_file(&directory.path().join("tenant.keys")).expect("no file yet"), directory)
    }

    #[tokio::test]
    async fn a_wrapped_key_opens_for_its_own_tenant_and_case_alone() {
        let (keys, directory) = in_directory();
        let key = CaseKey::generate().expect("randomness");
        let wrapped = keys.wrap(&tenant("dortmund"), case(1), &key).await.expect("wrapped");
        keys.wrap(&tenant("hagen"), case(1), &key).await.expect("wrapped");
        let again = TenantKeys::in_file(&directory.path().join("tenant.keys")).expect("a file");
        for keys in [&keys, &again] {
            let opened = keys.unwrap(&tenant("dortmund"), case(1), &wrapped).await.expect("its own");
            assert_eq!(opened.as_bytes(), key.as_bytes());
            let other = keys.unwrap(&tenant("dortmund"), case(2), &wrapped).await;
            assert!(matches!(other, Err(KeyError::Damaged)), "{other:?}");
            let other = keys.unwrap(&tenant("hagen"), case(1), &wrapped).await;
            assert!(matches!(other, Err(KeyError::Gone)), "{other:?}");
        }
        for at in 0..wrapped.bytes.len() {
            let mut damaged = wrapped.clone();
            damaged.bytes[at] ^= 1;
            assert!(keys.unwrap(&tenant("dortmund"), case(1), &damaged).await.is_err(), "byte {at}");
        }
    }

    #[tokio::test]
    async fn a_retired_key_opens_nothing_and_leaves_no_trace_in_the_file() {
        let (keys, directory) = in_directory();
        let (dortmund, key) = (tenant("dortmund"), CaseKey::generate().expect("randomness"));
        let before = keys.wrap(&dortmund, case(1), &key).await.expect("wrapped");
        let old = keys.lock()[&dortmund][0].bytes.clone();
        let newest = keys.renew(&dortmund).await.expect("a new one");
        keys.unwrap(&dortmund, case(1), &before).await.expect("both open");
        let after = keys.wrap(&dortmund, case(1), &key).await.expect("wrapped");
        assert_eq!(after.by, newest);
        keys.retire_all_but(&dortmund, &newest).await.expect("retired");
        assert!(matches!(keys.unwrap(&dortmund, case(1), &before).await, Err(KeyError::Gone)));
        keys.unwrap(&dortmund, case(1), &after).await.expect("the newest opens");
        for entry in std::fs::read_dir(directory.path()).expect("a directory") {
            let path = entry.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("text");
            assert!(!text.contains(&hex(&old)), "{}", path.display());
            assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn keys_from_the_environment_are_made_there() {
        let digit = |digit: &str| digit.repeat(2 * CaseKey::LEN);
        let name = "FELDAKTE_TENANT_KEYS";
        let keys = TenantKeys::from_environment(name, &format!("dortmund:{}", digit("a"))).expect("a key");
        let dortmund = tenant("dortmund");
        let wrapped = keys.wrap(&dortmund, case(1), &CaseKey::generate().expect("randomness")).await.expect("wrapped");
        assert!(matches!(keys.renew(&dortmund).await, Err(KeyError::Elsewhere(_))));
        let unknown = keys.wrap(&tenant("hagen"), case(1), &CaseKey::generate().expect("randomness")).await;
        assert!(matches!(unknown, Err(KeyError::Elsewhere(_))), "{unknown:?}");
        let both = format!("dortmund:{},dortmund:{}", digit("b"), digit("a"));
        let keys = TenantKeys::from_environment(name, &both).expect("two keys");
        keys.unwrap(&dortmund, case(1), &wrapped).await.expect("the old one opens");
        assert_ne!(keys.renew(&dortmund).await.expect("the one in front"), wrapped.by);
    }

    #[test]
    fn a_file_that_is_no_list_of_keys_stops_the_start_and_is_not_quoted() {
        let (_, directory) = in_directory();
        let path = directory.path().join("tenant.keys");
        let key = "0f".repeat(CaseKey::LEN);
        for line in ["geheim".to_owned(), format!("Dortmund {key}"), format!("dortmund {}", &key[2..])] {
            std::fs::write(&path, format!("# keys\nhagen {key}\n{line}\n")).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
            let error = TenantKeys::in_file(&path).err().expect("refused").to_string();
            assert!(error.contains("key 2") && !error.contains("geheim") && !error.contains(&key), "{error}");
        }
        std::fs::write(&path, format!("hagen {key}\n")).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
        assert!(matches!(TenantKeys::in_file(&path), Err(TenantKeysError::Open { .. })));
    }
}

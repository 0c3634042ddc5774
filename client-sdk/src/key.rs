//! The key of the encrypted local store, and where it comes from.
//!
//! The key never stands in the database, in a log or in an error. Losing it is losing the store: what the gateway
//! has not confirmed by then is gone.

use std::{
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// Where the store's key is kept. Apps implement this over their platform's key store (Android Keystore, iOS and
/// macOS Keychain, TPM); it is asked once per opening of the store and must give the same key each time.
pub trait KeyProvider: Send + Sync {
    /// The key; makes and keeps a new one when there is none yet.
    ///
    /// # Errors
    /// When the key cannot be had; the store is not opened then.
    fn database_key(&self) -> Result<DatabaseKey, KeyError>;

    /// Destroys the key, so that nobody ever has it again; the store that it opened was wiped. One that is gone already
    /// is no error. Platforms that cannot, keep it: the store was emptied before.
    ///
    /// # Errors
    /// When the key store fails.
    fn destroy(&self) -> Result<(), KeyError> {
        Ok(())
    }
}

/// A key of 256 bits, wiped from memory when it is dropped.
pub struct DatabaseKey(Zeroizing<Vec<u8>>);

impl DatabaseKey {
    /// Bytes of a key.
    pub const LEN: usize = 32;

    /// Takes the bytes over; they are wiped too when they are not a key.
    ///
    /// # Errors
    /// When they are not exactly 32.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(bytes);
        match bytes.len() {
            Self::LEN => Ok(Self(bytes)),
            found => Err(KeyError::WrongLength { found: found as u64 }),
        }
    }

    /// A new random key.
    ///
    /// # Errors
    /// When the operating system has no entropy.
    pub fn random() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new(vec![0; Self::LEN]);
        getrandom::fill(&mut bytes).map_err(|error| KeyError::Failed { reason: error.to_string() })?;
        Ok(Self(bytes))
    }

    /// The bytes. Whoever copies them has to wipe the copy.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for DatabaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseKey(…)")
    }
}

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The platform gives the key out only after the user has unlocked the device: ask again then.
    #[error("the key store is locked")]
    Locked,
    /// The platform has removed or invalidated the key: the store cannot be opened any more.
    #[error("the key is lost")]
    Lost,
    /// What was kept is not a key.
    #[error("the key has {found} bytes, it must have {}", DatabaseKey::LEN)]
    WrongLength {
        /// How many bytes there were.
        found: u64,
    },
    /// Anything else the key store says.
    #[error("the key store failed: {reason}")]
    Failed {
        /// What went wrong; never the key.
        reason: String,
    },
}

/// A key in a file beside the store, for development, tests and the command line: whoever has the directory has
/// the data. Production apps use the platform's key store.
#[derive(Debug, Clone)]
pub struct FileKey {
    /// The file, made with a random key and mode 0600 when it is missing.
    pub path: PathBuf,
}

impl KeyProvider for FileKey {
    fn database_key(&self) -> Result<DatabaseKey, KeyError> {
        match read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => return DatabaseKey::from_bytes(read?),
        }
        create(&self.path, &DatabaseKey::random()?)?;
        // What the file says is the key, also when another process was first.
        DatabaseKey::from_bytes(read(&self.path)?)
    }

    fn destroy(&self) -> Result<(), KeyError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => Ok(removed.and_then(|()| sync_directory_of(&self.path))?),
        }
    }
}

/// Reads one byte more than a key has, so that a longer file is noticed, into a buffer that is never moved.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::with_capacity(2 * DatabaseKey::LEN);
    fs::File::open(path)?.take(DatabaseKey::LEN as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts a complete, synced file into place unless one is there: a power cut leaves no half a key.
fn create(path: &Path, key: &DatabaseKey) -> io::Result<()> {
    // A name of its own for each attempt: two openings at once do not write into one draft.
    let attempt = getrandom::u64().map_err(io::Error::other)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{attempt:016x}.new"));
    let draft = PathBuf::from(draft);
    let linked = write_synced(&draft, key).and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_directory_of(path),
    }
}

fn write_synced(path: &Path, key: &DatabaseKey) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(key.as_bytes())?;
    file.sync_all()
}

/// Makes a new name in a directory survive a power cut.
pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Only Unix opens directories as files; elsewhere the file system does this by itself.
    if cfg!(unix) { fs::File::open(directory)?.sync_all() } else { Ok(()) }
}

impl From<io::Error> for KeyError {
    fn from(error: io::Error) -> Self {
        KeyError::Failed { reason: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_key_is_made_once_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let provider = FileKey { path: directory.path().join("key") };
        let first = provider.database_key().unwrap();
        let second = provider.database_key().unwrap();
        assert_eq!(first.as_bytes(), second.as_bytes());
        assert_ne!(first.as_bytes(), [0; 32]);
        let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["key"], "no draft stays behind");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_key_is_readable_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let provider = FileKey { path: directory.path().join("key") };
        provider.database_key().unwrap();
        assert_eq!(fs::metadata(&provider.path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_key_is_an_error_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let provider = FileKey { path: directory.path().join("key") };
        for len in [0, 31, 33, 100] {
            fs::write(&provider.path, vec![7; len]).unwrap();
            let found = len.min(33) as u64;
            assert_eq!(provider.database_key().err(), Some(KeyError::WrongLength { found }));
            assert_eq!(fs::metadata(&provider.path).unwrap().len(), len as u64);
        }
    }

    #[test]
    fn processes_that_race_agree_on_one_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        create(&path, &DatabaseKey::from_bytes(vec![1; 32]).unwrap()).unwrap();
        create(&path, &DatabaseKey::from_bytes(vec![2; 32]).unwrap()).unwrap();
        assert_eq!(FileKey { path }.database_key().unwrap().as_bytes(), [1; 32]);
    }

    #[test]
    fn debug_output_shows_no_key() {
        let key = DatabaseKey::from_bytes(vec![0xab; 32]).unwrap();
        let text = format!("{key:?} {:?}", DatabaseKey::from_bytes(vec![0xab; 5]));
        assert!(!text.contains("171") && !text.to_lowercase().contains("ab, ") && !text.contains("abab"), "{text}");
    }
}

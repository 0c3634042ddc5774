//! Keys that the gateway makes for itself: files for its own user alone.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Writes a file that must not exist yet. It is there after a power cut: what was made with a key that is lost can
/// neither be checked nor believed any more.
///
/// # Errors
/// When it exists or cannot be written.
pub(crate) fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    sync_name(path)
}

/// Replaces the file whole, or makes it; after a power cut it is the old one or the new one. What stood in the old one is
/// overwritten, as far as the disk lets anybody do that.
///
/// # Errors
/// When it cannot be written; the old one may still be there.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let next = path.with_added_extension("next");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let old = OpenOptions::new().write(true).open(path);
    std::fs::rename(&next, path)?;
    sync_name(path)?;
    match old {
        Ok(mut old) => {
            let len = usize::try_from(old.metadata()?.len()).unwrap_or_default();
            old.write_all(&vec![0; len])?;
            old.sync_all()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The name stands in the directory, which is synced by itself.
fn sync_name(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_its_owners_alone_and_never_written_over() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.key");
        create(&path, "first").expect("made");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(create(&path, "second").expect_err("refused").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "first");
    }

    #[test]
    fn a_replaced_secret_is_its_owners_alone_and_the_old_one_is_overwritten() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.key");
        replace(&path, "first").expect("made");
        let old = File::open(&path).expect("open");
        replace(&path, "second").expect("replaced");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "second");
        assert_eq!(io::read_to_string(old).expect("read"), "\0".repeat(5));
        assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 1, "nothing else is left");
    }
}

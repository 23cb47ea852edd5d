//! The certificate store: a directory of mode 0700 whose files have mode 0600 and are never half
//! written.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The store cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("certificate store: cannot {action} {}: {source}", path.display())]
pub struct StoreError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl StoreError {
    /// There is no thread to open the store in.
    pub(crate) fn thread(source: io::Error) -> Self {
        Self { action: "open", path: PathBuf::new(), source }
    }

    /// Of a value that instances share.
    pub(crate) fn shared(action: &'static str, name: &str, why: &str) -> Self {
        Self { action, path: name.into(), source: io::Error::other(why.to_owned()) }
    }
}

/// The file that proves that files can be written.
const PROBE: &str = ".probe";

/// A directory of certificates and keys.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
}

impl Store {
    /// Opens the directory, making it where it is missing, and proves that it can be written to.
    pub(crate) fn open(directory: &Path) -> Result<Self, StoreError> {
        let store = Self::at(directory);
        let made = match fs::metadata(directory) {
            Ok(_) => Ok(()),
            Err(_) => DirBuilder::new().recursive(true).mode(0o700).create(directory),
        };
        made.map_err(|source| store.error("create", directory, source))?;
        store.prove()?;
        Ok(store)
    }

    /// A directory that whoever owns it has opened already.
    pub(crate) fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Proves that a file of usual size can be written.
    pub(crate) fn prove(&self) -> Result<(), StoreError> {
        self.write(PROBE, &[b' '; 4 << 10])?;
        self.remove(PROBE)
    }

    /// Where a file of the store lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A file's text; `None` if there is no such file.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, StoreError> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.error("read", &path, source)),
        }
    }

    /// Writes a whole file or none: to a temporary name, synced, renamed, the directory synced.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let (path, temporary) = (self.path(name), self.path(&format!("{name}.tmp")));
        let write = || {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|source| self.error("write", &path, source))
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(self.error("remove", &path, source))
            }
            _ => Ok(()),
        }
    }

    /// Renames a file that cannot be used, so that it is neither read again nor lost.
    pub(crate) fn set_aside(&self, name: &str) -> Result<PathBuf, StoreError> {
        let (path, aside) = (self.path(name), self.path(&format!("{name}.aside")));
        fs::rename(&path, &aside).map_err(|source| self.error("set aside", &path, source))?;
        Ok(aside)
    }

    /// A key cannot be made.
    pub(crate) fn no_randomness(&self, name: &str) -> StoreError {
        self.error("make", &self.path(name), io::Error::other("there are no random bits"))
    }

    #[expect(clippy::unused_self, reason = "reads as what it is at its callers")]
    fn error(&self, action: &'static str, path: &Path, source: io::Error) -> StoreError {
        StoreError { action, path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_directory_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/certs");
        let store = Store::open(&directory).unwrap();
        store.write("x.key", b"secret").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&store.path("x.key"))), (0o700, 0o600));
        assert_eq!(store.read("x.key").unwrap().as_deref(), Some("secret"));
        assert_eq!(store.read("y.key").unwrap(), None);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing temporary is left");
    }

    #[test]
    fn a_store_that_cannot_be_written_says_so_at_once() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = Store::open(&file.join("certs")).unwrap_err().to_string();
        assert!(error.contains("cannot create") && error.contains("file/certs"), "{error}");
    }
}

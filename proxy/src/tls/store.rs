//! The certificate store: a directory of mode 0700 whose files have mode 0600 and are never half
//! written.
//!
//! What others have put there is not trusted to be a file of ours: only plain files of a usual size
//! are read, and one that others may read is closed to them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lock::Lock;

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

/// How the names of files end that are not whole yet, and how old one is that a crash has left.
const TEMPORARY: &str = ".tmp";
const ABANDONED: Duration = Duration::from_secs(60);

/// The largest file that is read, in bytes; the largest honest one is a list of thousands of hosts.
const LARGEST: u64 = 32 << 20;

/// The modes of a file or a directory that let others read it, and write to it.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;

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
            Ok(there) => {
                if there.permissions().mode() & OTHERS_WRITE != 0 {
                    let place = directory.display();
                    tracing::warn!("others may replace certificates and keys: chmod 700 {place}");
                }
                Ok(())
            }
            Err(_) => DirBuilder::new().recursive(true).mode(0o700).create(directory),
        };
        made.map_err(|source| store.error("create", directory, source))?;
        store.sweep();
        store.prove()?;
        Ok(store)
    }

    /// Removes what processes have left that ended while they wrote.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let is_temporary = entry.file_name().as_encoded_bytes().ends_with(TEMPORARY.as_bytes());
            let age = entry.metadata().and_then(|there| there.modified()).map(|at| at.elapsed());
            if is_temporary && age.is_ok_and(|age| age.is_ok_and(|age| age > ABANDONED)) {
                _ = fs::remove_file(entry.path());
            }
        }
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
        match read(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.error("read", &path, source)),
        }
    }

    /// Writes a whole file or none: to a temporary name, synced, renamed, the directory synced.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        // One of its own for each writer: another process may be at the same file.
        let temporary = self.path(&format!("{name}.{:08x}{TEMPORARY}", fastrand::u32(..)));
        let path = self.path(name);
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|source| {
            _ = fs::remove_file(&temporary);
            self.error("write", &path, source)
        })
    }

    /// Holds other processes off what belongs to a name; `None` if one of them is at it. Where
    /// nothing can be locked, as where nothing can be written, nobody is held off.
    pub(crate) fn lock(&self, name: &str) -> Option<Option<Lock>> {
        match Lock::take(&self.path(&format!("{}.lock", name.replace('*', "_wildcard")))) {
            Ok(None) => None,
            Ok(taken) => Some(taken),
            Err(_) => Some(None),
        }
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

/// The text of a plain file of usual size.
fn read(path: &Path) -> io::Result<String> {
    // What waits for a writer is not even opened.
    let there = fs::metadata(path)?;
    if !there.is_file() || there.len() > LARGEST {
        return Err(io::Error::other("it is not a file of ours"));
    }
    let mut text = String::new();
    File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
    // A certificate without a key is no secret.
    if there.permissions().mode() & OTHERS != 0 && !text.starts_with("-----BEGIN CERTIFICATE") {
        let closed = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
        tracing::warn!(is_closed = closed.is_ok(), "others could read {}", path.display());
    }
    Ok(text)
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
    fn files_of_others_are_neither_waited_for_nor_written_through() {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::open(&parent.path().join("certs")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(store.path("pipe")).status().unwrap();
        assert!(made.success());
        fs::create_dir(store.path("folder")).unwrap();
        File::create(store.path("huge")).unwrap().set_len(1 << 40).unwrap();
        std::os::unix::fs::symlink("/dev/zero", store.path("endless")).unwrap();
        fs::write(store.path("binary"), [0xff, 0xfe]).unwrap();
        for name in ["pipe", "folder", "huge", "endless", "binary"] {
            let error = store.read(name).unwrap_err().to_string();
            assert!(error.contains("cannot read") && error.contains(name), "{error}");
            assert!(store.set_aside(name).unwrap().to_str().unwrap().ends_with(".aside"));
        }
        // What a name leads to is not overwritten: the name leads to the new file.
        let other = parent.path().join("other");
        fs::write(&other, "theirs").unwrap();
        std::os::unix::fs::symlink(&other, store.path("linked")).unwrap();
        assert_eq!(store.read("linked").unwrap().unwrap(), "theirs");
        store.write("linked", b"ours").unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "theirs");
        assert_eq!(store.read("linked").unwrap().unwrap(), "ours");
    }

    #[test]
    fn what_others_could_read_is_closed_and_what_a_crash_left_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::open(parent.path()).unwrap();
        store.write("a.pem", b"key").unwrap();
        let open = fs::Permissions::from_mode(0o644);
        fs::set_permissions(store.path("a.pem"), open).unwrap();
        assert_eq!(store.read("a.pem").unwrap().unwrap(), "key");
        let mode = fs::metadata(store.path("a.pem")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let (old, new) = (store.path("a.pem.0.tmp"), store.path("a.pem.1.tmp"));
        let minutes_ago = std::time::SystemTime::now() - 2 * ABANDONED;
        File::create(&old).unwrap().set_modified(minutes_ago).unwrap();
        fs::write(&new, "").unwrap();
        Store::open(parent.path()).unwrap();
        assert!(!old.exists() && new.exists(), "somebody may be writing it");
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

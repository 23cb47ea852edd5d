//! Certificates of the operator's own: read from files, and read again when the files change.
//!
//! What does not hold, or is no longer for a host that it was for, does not take the place of what
//! does: the old certificate stays in use, and the reason is said once in the log and for as long
//! as it lasts in `gatehouse certs list`.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use super::leaf::{Leaf, Unfit, text};
use crate::config::{CertificateFiles, Config, Issuer};

/// The certificates of all `[[tls.certificate]]` tables.
#[derive(Debug, Default)]
pub(crate) struct Files(RefCell<Vec<Own>>);

#[derive(Debug)]
struct Own {
    files: CertificateFiles,
    leaf: Option<Leaf>,
    /// Why what is in the files now is not in use.
    error: Option<String>,
}

impl Files {
    /// Reads all files again. Says whether anything else is served now.
    pub(crate) fn read(&self, config: &Config, now: SystemTime) -> bool {
        let mut all = self.0.borrow_mut();
        let mut before = std::mem::take(&mut *all);
        let known = before.len();
        for files in &config.tls.certificates {
            let index = before.iter().position(|own| own.files == *files);
            all.push(match index {
                Some(index) => before.swap_remove(index),
                None => Own { files: files.clone(), leaf: None, error: None },
            });
        }
        let mut changed = known != all.len() || !before.is_empty();
        for own in &mut *all {
            changed |= own.read(config, now);
        }
        changed
    }

    /// Those for a host: at most one for each kind of key, ECDSA first. One that names the host
    /// goes before a wildcard, and among equals the first of the configuration.
    pub(crate) fn leaves(&self, host: &str) -> Vec<Leaf> {
        let all = self.0.borrow();
        let leaves = all.iter().filter_map(|own| own.leaf.as_ref());
        let mut fitting: Vec<&Leaf> = leaves.filter(|leaf| leaf.covers(host)).collect();
        fitting.sort_by_key(|leaf| (leaf.is_rsa(), !leaf.names().iter().any(|name| name == host)));
        fitting.dedup_by_key(|leaf| leaf.is_rsa());
        fitting.into_iter().cloned().collect()
    }

    /// Why a host is not served with what the files hold now.
    pub(crate) fn error(&self, host: &str) -> Option<String> {
        let all = self.0.borrow();
        let concerns = |own: &&Own| own.leaf.as_ref().is_none_or(|leaf| leaf.covers(host));
        let mut errors = all.iter().filter(concerns).filter_map(|own| own.error.clone());
        errors.next()
    }

    /// The files to watch.
    pub(crate) fn paths(config: &Config) -> Vec<PathBuf> {
        let files = config.tls.certificates.iter();
        files.flat_map(|files| [files.cert.clone(), files.key.clone()]).collect()
    }
}

impl Own {
    /// Reads the files, and takes over what holds. Says whether that is something else.
    fn read(&mut self, config: &Config, now: SystemTime) -> bool {
        let cert = self.files.cert.display();
        match self.fit(config, now) {
            Ok(leaf) => {
                let known = self.leaf.as_ref().is_some_and(|old| old.key.cert == leaf.key.cert);
                if !known || self.error.is_some() {
                    tracing::info!("certificate read from {cert}");
                }
                (self.leaf, self.error) = (Some(leaf), None);
                !known
            }
            Err(unfit) => {
                let error = format!("{cert}: {unfit}");
                if self.error.as_ref() != Some(&error) {
                    let kept = self.leaf.is_some();
                    tracing::error!(old_one_stays_in_use = kept, "certificate refused: {error}");
                }
                self.error = Some(error);
                false
            }
        }
    }

    fn fit(&self, config: &Config, now: SystemTime) -> Result<Leaf, Unfit> {
        let leaf = read(&self.files, now)?;
        let Some(old) = &self.leaf else { return Ok(leaf) };
        let sites = config.sites.iter().filter(|site| site.issuer == Issuer::Files);
        let mut hosts = sites.flat_map(|site| &site.hosts);
        match hosts.find(|host| old.covers(host) && !leaf.covers(host)) {
            Some(host) => Err(Unfit::Names(host.clone())),
            None => Ok(leaf),
        }
    }
}

/// Reads a certificate and its key.
pub(crate) fn read(files: &CertificateFiles, now: SystemTime) -> Result<Leaf, Unfit> {
    for path in [&files.cert, &files.key] {
        // What waits for a writer would hold everything up.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other(format!("{} is not a file", path.display())).into());
        }
    }
    Leaf::pair(&text(&files.cert)?, &text(&files.key)?, now)
}

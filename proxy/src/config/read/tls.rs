//! `[tls]` and `[[tls.certificate]]`.

use std::path::PathBuf;

use crate::config::fault::Findings;
use crate::config::model::{CertificateFiles, Store, Tls, TlsVersion};
use crate::config::section::Section;
use crate::config::source::Place;
use crate::config::values::At;
use crate::tls::files;
use crate::tls::leaf::{Leaf, Unfit};
use crate::worker::wall_clock;

/// The certificates of the operator's own, as their files are now.
#[derive(Default)]
pub(super) struct Own(Vec<Found>);

struct Found {
    files: CertificateFiles,
    place: Place,
    /// `None` if it cannot be used, which has been noted.
    leaf: Option<Leaf>,
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>, store: &Store) -> (Tls, Own) {
    let (directory, shared) = place(&mut section, store);
    let min_version = section.parsed("min_version", "version", |text| match text {
        "1.2" => Ok(TlsVersion::V1_2),
        "1.3" => Ok(TlsVersion::V1_3),
        _ => Err("write \"1.2\" or \"1.3\"".to_owned()),
    });
    let certificates = section.sections("certificate", "[[tls.certificate]]");
    let own = Own(certificates.into_iter().filter_map(certificate).collect());
    section.finish();
    let tls = Tls {
        store: directory.unwrap_or_else(|| PathBuf::from("/var/lib/gatehouse/certs")),
        shared,
        min_version: min_version.map_or(TlsVersion::V1_2, |at| at.value),
        certificates: own.0.iter().map(|found| found.files.clone()).collect(),
    };
    (tls, own)
}

/// The directory that is named, and whether certificates are shared instead of kept there.
fn place(section: &mut Section<'_>, store: &Store) -> (Option<PathBuf>, bool) {
    let kept = section.parsed("store", "directory", |text| match text {
        "redis" => Ok(None),
        "" => Err("name a directory, or \"redis\"".to_owned()),
        path => Ok(Some(PathBuf::from(path))),
    });
    let own = section.parsed("directory", "directory", |text| match text {
        "" => Err("name a directory".to_owned()),
        path => Ok(PathBuf::from(path)),
    });
    if let Some(At { value: None, place }) = &kept {
        check_shared(section, place, store);
        return (own.map(|at| at.value), true);
    }
    if let Some(At { place, .. }) = own {
        let message = "`directory` in [tls] without store = \"redis\"";
        section.error(&place, message, "name the directory in `store`, and remove this");
    }
    (kept.and_then(|at| at.value), false)
}

/// Notes what is missing for sharing certificates over the store.
fn check_shared(section: &Section<'_>, place: &Place, store: &Store) {
    match &store.redis {
        None => {
            let message = "certificates are to be shared over a store that is not named";
            section.error(place, message, "add redis = \"redis://…\" to [store], or a directory");
        }
        Some(redis) if store.encryption_key.is_none() && !redis.is_local() => {
            let message = "private keys would leave this machine unencrypted";
            let remedy = "set GATEHOUSE_STORE_KEY to 32 random characters or more, the same on \
                          every instance";
            section.error(place, message, remedy);
        }
        Some(_) => {}
    }
}

/// A certificate and its key; `None` if no file is named, which is a fault already noted.
fn certificate(mut section: Section<'_>) -> Option<Found> {
    section.require("cert", "cert = \"/etc/ssl/app.pem\"");
    let cert = section.text("cert");
    let key = section.text("key").map(|at| PathBuf::from(at.value));
    let found = cert.map(|At { value, place }| {
        let cert = PathBuf::from(value);
        let files = CertificateFiles { key: key.unwrap_or_else(|| cert.clone()), cert };
        let leaf = match files::read(&files, wall_clock()) {
            Ok(leaf) => Some(leaf),
            Err(unfit) => {
                let message = format!("the certificate `{value}` cannot be used: {unfit}");
                match unfit {
                    // Time may heal it, and the rest can be served meanwhile.
                    Unfit::Expired | Unfit::NotYet => {
                        section.findings.warning(&place, message, "renew it");
                    }
                    Unfit::Read(_)
                    | Unfit::Pem(_)
                    | Unfit::Encrypted
                    | Unfit::Key(_)
                    | Unfit::Chain(_)
                    | Unfit::Names(_) => {
                        let remedy = "name the files of a chain and its key in PEM";
                        section.error(&place, message, remedy);
                    }
                }
                None
            }
        };
        Found { files, place, leaf }
    });
    section.finish();
    found
}

impl Own {
    /// Notes the hosts that no certificate is for, and the certificates that are for no host.
    pub(super) fn check(&self, hosts: &[At<String>], findings: &Findings) {
        let covers = |found: &Found, host: &At<String>| {
            found.leaf.as_ref().is_some_and(|leaf| leaf.covers(&host.value))
        };
        // One that cannot be read may be for any of them.
        let all_read = self.0.iter().all(|found| found.leaf.is_some());
        for host in hosts.iter().filter(|_| all_read) {
            if !self.0.iter().any(|found| covers(found, host)) {
                let message = format!("no [[tls.certificate]] is for `{}`", host.value);
                findings.error(&host.place, message, "add one that names it, or another `issuer`");
            }
        }
        for found in self.0.iter().filter(|found| found.leaf.is_some()) {
            if !hosts.iter().any(|host| covers(found, host)) {
                let message = "no site with issuer = \"files\" has a host of this certificate";
                findings.warning(&found.place, message, "add `issuer`, or remove the certificate");
            }
        }
    }
}

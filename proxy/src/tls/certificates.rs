//! Which certificate a handshake gets: one lookup in an immutable snapshot that is swapped
//! atomically.
//!
//! A name that no site has gets none, and the handshake ends with an alert: never another site's
//! certificate. A client that names no host (it connected to an address) gets the first site that
//! serves an address, else the first site.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::internal::{Authority, InternalError};
use crate::config::Site;

/// The certificates of all sites.
#[derive(Debug, Default)]
pub(crate) struct Certificates(ArcSwap<Snapshot>);

#[derive(Debug, Default)]
struct Snapshot {
    by_name: HashMap<Box<str>, Arc<CertifiedKey>>,
    nameless: Option<Arc<CertifiedKey>>,
    /// When the first of them has to be replaced.
    renew_at: Option<SystemTime>,
    lives: Vec<(String, SystemTime)>,
}

impl Certificates {
    /// Issues a leaf for every site and swaps all of them in.
    pub(crate) fn issue(
        &self,
        authority: &Authority,
        sites: &[Site],
        now: SystemTime,
    ) -> Result<(), InternalError> {
        let mut next = Snapshot::default();
        let mut nameless_is_address = false;
        for site in sites {
            let leaf = authority.issue(&site.hosts, now)?;
            let has_address = site.hosts.iter().any(|host| host.parse::<IpAddr>().is_ok());
            if next.nameless.is_none() || (has_address && !nameless_is_address) {
                next.nameless = Some(Arc::clone(&leaf.key));
                nameless_is_address = has_address;
            }
            for host in &site.hosts {
                next.by_name.insert(host.as_str().into(), Arc::clone(&leaf.key));
            }
            next.lives.push((site.hosts.join(", "), leaf.not_after));
            next.renew_at = next.renew_at.into_iter().chain([leaf.renew_at]).min();
        }
        self.0.store(Arc::new(next));
        Ok(())
    }

    /// Whether a certificate has to be replaced.
    pub(crate) fn is_due(&self, now: SystemTime) -> bool {
        self.0.load().renew_at.is_some_and(|at| at <= now)
    }

    /// The hosts of each certificate and when it ends.
    pub(crate) fn lives(&self) -> Vec<(String, SystemTime)> {
        self.0.load().lives.clone()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let snapshot = self.0.load();
        match hello.server_name() {
            Some(name) if name.bytes().any(|b| b.is_ascii_uppercase()) => {
                snapshot.by_name.get(name.to_ascii_lowercase().as_str()).cloned()
            }
            Some(name) => snapshot.by_name.get(name).cloned(),
            None => snapshot.nameless.clone(),
        }
    }
}

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

use super::leaf::Leaf;

/// The certificates of all sites.
#[derive(Debug, Default)]
pub(crate) struct Certificates(ArcSwap<Snapshot>);

/// What some hosts are served with.
pub(crate) struct Served {
    pub(crate) hosts: Vec<String>,
    pub(crate) leaf: Leaf,
    /// Whether the development CA signed it.
    pub(crate) internal: bool,
}

#[derive(Debug, Default)]
struct Snapshot {
    by_name: HashMap<Box<str>, Arc<CertifiedKey>>,
    nameless: Option<Arc<CertifiedKey>>,
    /// When the first of the development CA's has to be replaced.
    renew_at: Option<SystemTime>,
    lives: Vec<(Vec<String>, SystemTime)>,
}

impl Certificates {
    /// Swaps all of them in.
    pub(crate) fn replace(&self, all: Vec<Served>) {
        let mut next = Snapshot::default();
        let mut nameless_is_address = false;
        for Served { hosts, leaf, internal } in all {
            if hosts.is_empty() {
                continue;
            }
            let has_address = hosts.iter().any(|host| host.parse::<IpAddr>().is_ok());
            if next.nameless.is_none() || (has_address && !nameless_is_address) {
                next.nameless = Some(Arc::clone(&leaf.key));
                nameless_is_address = has_address;
            }
            for host in &hosts {
                next.by_name.insert(host.as_str().into(), Arc::clone(&leaf.key));
            }
            if internal {
                let life = leaf.not_after.duration_since(leaf.not_before).unwrap_or_default();
                let renew_at = leaf.not_before + life * 2 / 3;
                next.renew_at = next.renew_at.into_iter().chain([renew_at]).min();
            }
            next.lives.push((hosts, leaf.not_after));
        }
        self.0.store(Arc::new(next));
    }

    /// Whether a certificate of the development CA has to be replaced.
    pub(crate) fn is_due(&self, now: SystemTime) -> bool {
        self.0.load().renew_at.is_some_and(|at| at <= now)
    }

    /// The hosts of each certificate and when it ends.
    pub(crate) fn lives(&self) -> Vec<(Vec<String>, SystemTime)> {
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

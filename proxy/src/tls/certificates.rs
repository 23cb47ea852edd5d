//! Which certificate a handshake gets: one lookup in an immutable snapshot that is swapped
//! atomically.
//!
//! A name can have one certificate for each kind of key, of which the client gets the first that
//! it can verify. A name that no site has gets none, and the handshake ends with an alert: never
//! another site's certificate. A client that names no host (it connected to an address) gets the
//! first site that serves an address, else the first site.

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

/// What some hosts are served with. Of several for one host, the first is preferred.
pub(crate) struct Served {
    hosts: Vec<String>,
    leaf: Leaf,
    /// Whether the development CA signed it.
    internal: bool,
}

impl Served {
    pub(crate) fn new(hosts: Vec<String>, leaf: Leaf, internal: bool) -> Self {
        Self { hosts, leaf, internal }
    }
}

#[derive(Debug, Default)]
struct Snapshot {
    by_name: HashMap<Box<str>, Choice>,
    /// By what follows the `*.` of a wildcard, which stands for one label.
    by_parent: HashMap<Box<str>, Choice>,
    nameless: Option<Choice>,
    /// When the first of the development CA's has to be replaced.
    renew_at: Option<SystemTime>,
}

/// The certificates of a name, the preferred one first.
#[derive(Debug, Clone)]
struct Choice {
    first: Arc<CertifiedKey>,
    others: Vec<Arc<CertifiedKey>>,
    /// When the first of them ends.
    not_after: SystemTime,
}

impl Certificates {
    /// Swaps all of them in.
    pub(crate) fn replace(&self, all: &[Served]) {
        let mut next = Snapshot::default();
        for Served { hosts, leaf, internal } in all {
            for host in hosts {
                next.add(host, leaf);
            }
            if *internal {
                next.renew_at = next.renew_at.into_iter().chain([leaf.two_thirds()]).min();
            }
        }
        let mut hosts = all.iter().flat_map(|served| &served.hosts);
        let address = hosts.clone().find(|host| host.parse::<IpAddr>().is_ok());
        let nameless = address.or_else(|| hosts.next());
        next.nameless = nameless.and_then(|host| next.of(host)).cloned();
        self.0.store(Arc::new(next));
    }

    /// Whether a certificate of the development CA has to be replaced.
    pub(crate) fn is_due(&self, now: SystemTime) -> bool {
        self.0.load().renew_at.is_some_and(|at| at <= now)
    }

    /// When the certificate of a host ends.
    pub(crate) fn not_after(&self, host: &str) -> Option<SystemTime> {
        self.0.load().of(host).map(|choice| choice.not_after)
    }
}

impl Snapshot {
    fn add(&mut self, host: &str, leaf: &Leaf) {
        let key = Arc::clone(&leaf.key);
        let (map, name) = match host.strip_prefix("*.") {
            Some(parent) => (&mut self.by_parent, parent),
            None => (&mut self.by_name, host),
        };
        match map.get_mut(name) {
            Some(choice) => {
                choice.others.push(key);
                choice.not_after = choice.not_after.min(leaf.not_after);
            }
            None => {
                let choice = Choice { first: key, others: Vec::new(), not_after: leaf.not_after };
                map.insert(name.into(), choice);
            }
        }
    }

    /// Those of a host as the configuration has it, or as a client names it.
    fn of(&self, host: &str) -> Option<&Choice> {
        let by_parent = || self.by_parent.get(host.split_once('.')?.1);
        self.by_name.get(host).or_else(by_parent)
    }
}

impl Choice {
    /// The first that the client can verify; else it is told so by its own failure.
    fn choose(&self, hello: &ClientHello<'_>) -> Arc<CertifiedKey> {
        let fits =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let other = match self.others.is_empty() || fits(&&self.first) {
            true => None,
            false => self.others.iter().find(fits),
        };
        Arc::clone(other.unwrap_or(&self.first))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let snapshot = self.0.load();
        let choice = match hello.server_name() {
            Some(name) if name.bytes().any(|b| b.is_ascii_uppercase()) => {
                snapshot.of(&name.to_ascii_lowercase())
            }
            Some(name) => snapshot.of(name),
            None => snapshot.nameless.as_ref(),
        };
        choice.map(|choice| choice.choose(&hello))
    }
}

//! Hosts that a site serves though no site lists them, because somebody approves them.

use std::time::Duration;

use rustls_pki_types::CertificateDer;

use super::{Config, Server};

/// The `on_demand` of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnDemand {
    /// Who is asked whether a host is to be served.
    pub ask: AskUrl,
    /// Who may sign the certificate of an `https://` one; empty for the system's CAs.
    pub ca: Vec<CertificateDer<'static>>,
    /// Hosts that are served at a time (default 1,000).
    pub hosts: usize,
    /// First certificates that are ordered in every interval of length `window` (default 60).
    pub limit: usize,
    /// The length of that interval (default 1 h).
    pub window: Duration,
}

/// A URL to which `domain=HOST` is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskUrl {
    /// The scheme, the host and the port.
    pub server: Server,
    /// The path and the query.
    pub target: String,
}

impl AskUrl {
    /// The target of the question about a host.
    pub(crate) fn target_for(&self, host: &str) -> String {
        let mark = if self.target.contains('?') { '&' } else { '?' };
        format!("{}{mark}domain={host}", self.target)
    }
}

impl Config {
    /// Who approves hosts that no site lists, if there is anybody.
    pub(crate) fn on_demand(&self) -> Option<&OnDemand> {
        self.sites.iter().find_map(|site| site.on_demand.as_ref())
    }

    /// Whether a site lists a host, or a wildcard for it.
    pub(crate) fn lists(&self, host: &str) -> bool {
        let parent = host.split_once('.').map(|(_, parent)| parent);
        let is = |listed: &String| match listed.strip_prefix("*.") {
            Some(listed) => Some(listed) == parent,
            None => listed == host,
        };
        self.sites.iter().any(|site| site.hosts.iter().any(is))
    }
}

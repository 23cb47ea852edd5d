//! The certificates as the operator sees them, in `/api/certificates`, `gatehouse certs list` and
//! the metrics.

use jiff::Timestamp;
use serde::Serialize;

use super::Issuance;
use super::life::Life;
use crate::config::{Config, Issuer, Site};

/// The certificate of a site.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    pub(crate) name: String,
    hosts: Vec<String>,
    issuer: &'static str,
    /// Whether a certificate of that issuer is being served.
    issued: bool,
    #[serde(flatten)]
    life: Life,
}

impl Overview {
    /// When it ends, in seconds since 1970; `None` if there is none.
    pub(crate) fn not_after(&self) -> Option<u64> {
        u64::try_from(self.life.not_after?.as_second()).ok()
    }
}

impl Issuance {
    /// Every site's certificate.
    pub(crate) fn overview(&self, config: &Config) -> Vec<Overview> {
        config.sites.iter().map(|site| self.overview_of(site)).collect()
    }

    /// Whether the last attempt to renew the certificate of a site has failed.
    pub(crate) fn is_failing(&self, site: &str) -> bool {
        let names = self.names.borrow();
        names.get(site).is_some_and(|state| state.life.failures > 0)
            || self.files.error(site).is_some()
    }

    /// Failed attempts since the start, by name.
    pub(crate) fn failures(&self) -> Vec<(String, u64)> {
        self.failures.borrow().iter().map(|(name, count)| (name.clone(), *count)).collect()
    }

    fn overview_of(&self, site: &Site) -> Overview {
        let served = self.certificates.not_after(site.name());
        let served = served.and_then(|end| Timestamp::try_from(end).ok());
        let names = self.names.borrow();
        let state = names.get(site.name());
        let (issued, life) = match (site.issuer, state) {
            (Issuer::Acme, Some(state)) if state.leaf.is_some() => (true, state.life.clone()),
            (Issuer::Acme, state) => {
                let life = state.map(|state| state.life.clone()).unwrap_or_default();
                (false, Life { not_after: served, ..life })
            }
            (Issuer::Internal, _) => (true, Life { not_after: served, ..Life::default() }),
            (Issuer::Files, _) => {
                let error = self.files.error(site.name());
                let failures = u32::from(error.is_some());
                let life = Life { not_after: served, error, failures, ..Life::default() };
                (served.is_some(), life)
            }
        };
        let (name, hosts) = (site.name().to_owned(), site.hosts.clone());
        Overview { name, hosts, issuer: site.issuer.name(), issued, life }
    }
}

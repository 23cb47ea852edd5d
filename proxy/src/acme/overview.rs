//! The certificates as the operator sees them, in `/api/certificates`, `gatehouse certs list` and
//! the metrics.

use jiff::Timestamp;
use serde::Serialize;

use super::life::Life;
use super::slot::Slot;
use super::{Issuance, State};
use crate::config::{Config, Issuer, KeyType, Site};

/// A certificate of a site.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    pub(crate) name: String,
    hosts: Vec<String>,
    issuer: &'static str,
    /// The kind of its key; of the operator's own whatever they have.
    key: Option<&'static str>,
    /// Whether a certificate of that issuer is being served.
    issued: bool,
    #[serde(flatten)]
    life: Life,
}

impl Overview {
    fn new(site: &Site, issued: bool, life: Life) -> Self {
        let (name, hosts) = (site.name().to_owned(), site.hosts.clone());
        Self { name, hosts, issuer: site.issuer.name(), key: None, issued, life }
    }

    /// When it ends, in seconds since 1970; `None` if there is none.
    pub(crate) fn not_after(&self) -> Option<u64> {
        u64::try_from(self.life.not_after?.as_second()).ok()
    }
}

impl Issuance {
    /// The certificates of every site.
    pub(crate) fn overview(&self, config: &Config) -> Vec<Overview> {
        let of_site = |site: &Site| -> Vec<Overview> {
            match site.issuer {
                Issuer::Acme => {
                    let key_types = config.acme.key_types.iter();
                    key_types.map(|key_type| self.of_acme(site, *key_type)).collect()
                }
                Issuer::Internal | Issuer::Files => vec![self.of_another(site)],
            }
        };
        config.sites.iter().flat_map(of_site).collect()
    }

    /// Whether the last attempt to renew a certificate of a site has failed.
    pub(crate) fn is_failing(&self, site: &str) -> bool {
        let slots = self.slots.borrow();
        let mut states = slots.iter().filter(|(slot, _)| slot.name == site);
        states.any(|(_, state)| state.life.failures > 0 || state.stuck().is_some())
            || self.files.error(site).is_some()
    }

    /// Failed attempts since the start, by name.
    pub(crate) fn failures(&self) -> Vec<(String, u64)> {
        self.failures.borrow().iter().map(|(name, count)| (name.clone(), *count)).collect()
    }

    fn of_acme(&self, site: &Site, key_type: KeyType) -> Overview {
        let slots = self.slots.borrow();
        let state = slots.get(&Slot::new(site.name(), key_type));
        let issued = state.is_some_and(|state| state.leaf.is_some());
        let mut life = state.map(State::seen).unwrap_or_default();
        if !issued {
            life.not_after = self.served_until(site);
        }
        Overview { key: Some(key_type.name()), ..Overview::new(site, issued, life) }
    }

    fn of_another(&self, site: &Site) -> Overview {
        let not_after = self.served_until(site);
        match site.issuer {
            Issuer::Files => {
                let error = self.files.error(site.name());
                let failures = u32::from(error.is_some());
                let life = Life { not_after, error, failures, ..Life::default() };
                Overview::new(site, not_after.is_some(), life)
            }
            Issuer::Internal | Issuer::Acme => {
                Overview::new(site, true, Life { not_after, ..Life::default() })
            }
        }
    }

    /// When what a site is served with ends.
    fn served_until(&self, site: &Site) -> Option<Timestamp> {
        Timestamp::try_from(self.credentials.certificates.not_after(site.name())?).ok()
    }
}

impl State {
    /// Why nothing can be begun.
    fn stuck(&self) -> Option<&String> {
        self.wait.as_ref()?.1.as_ref()
    }

    /// Its life, and what stands in the way here.
    fn seen(&self) -> Life {
        let mut life = self.life.clone();
        if let Some(why) = self.stuck() {
            life.error = Some(why.clone());
            life.failures = life.failures.max(1);
        }
        life
    }
}

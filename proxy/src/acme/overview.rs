//! The certificates as the operator sees them, in `/api/certificates`, `gatehouse certs list` and
//! the metrics.

use jiff::Timestamp;
use serde::Serialize;

use super::life::Life;
use super::slot::Wanted;
use super::{Issuance, State};
use crate::config::{Config, Issuer, Site};

/// A certificate of a site.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    pub(crate) name: String,
    hosts: Vec<String>,
    issuer: &'static str,
    /// The kind of its key; of the operator's own whatever they have.
    key: Option<&'static str>,
    /// Whether no site lists its host.
    on_demand: bool,
    /// Whether a certificate of that issuer is being served.
    issued: bool,
    #[serde(flatten)]
    life: Life,
}

impl Overview {
    fn new(hosts: &[String], issuer: Issuer, issued: bool, life: Life) -> Self {
        let name = hosts.first().cloned().unwrap_or_default();
        let (hosts, issuer) = (hosts.to_vec(), issuer.name());
        Self { name, hosts, issuer, key: None, on_demand: false, issued, life }
    }

    /// When it ends, in seconds since 1970; `None` if there is none.
    pub(crate) fn not_after(&self) -> Option<u64> {
        u64::try_from(self.life.not_after?.as_second()).ok()
    }
}

impl Issuance {
    /// The certificates of every site, and then of every host on demand.
    pub(crate) fn overview(&self, config: &Config) -> Vec<Overview> {
        let of_acme = |hosts: &[String], on_demand| -> Vec<Overview> {
            let wanted = Wanted::of(hosts, on_demand, &config.acme.key_types);
            wanted.iter().map(|of| self.of_acme(of)).collect()
        };
        let of_sites = config.sites.iter().flat_map(|site| match site.issuer {
            Issuer::Acme => of_acme(&site.hosts, false),
            Issuer::Internal | Issuer::Files => vec![self.of_another(site)],
        });
        let hosts = self.approvals.hosts(config).into_iter();
        of_sites.chain(hosts.flat_map(|host| of_acme(&[host], true))).collect()
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

    fn of_acme(&self, Wanted { slot, hosts, on_demand }: &Wanted) -> Overview {
        let slots = self.slots.borrow();
        let state = slots.get(slot);
        let issued = state.is_some_and(|state| state.leaf.is_some());
        let mut life = state.map(State::seen).unwrap_or_default();
        // Hosts on demand that never get theirs are no concern of who watches when it ends.
        if !issued && !on_demand {
            life.not_after = self.served_until(&slot.name);
        }
        let (key, on_demand) = (Some(slot.key_type.name()), *on_demand);
        Overview { key, on_demand, ..Overview::new(hosts, Issuer::Acme, issued, life) }
    }

    fn of_another(&self, site: &Site) -> Overview {
        let not_after = self.served_until(site.name());
        let mut life = Life { not_after, ..Life::default() };
        if site.issuer == Issuer::Files {
            life.error = self.files.error(site.name());
            life.failures = u32::from(life.error.is_some());
        }
        let issued = site.issuer != Issuer::Files || not_after.is_some();
        Overview::new(&site.hosts, site.issuer, issued, life)
    }

    /// When what a host is served with ends.
    fn served_until(&self, host: &str) -> Option<Timestamp> {
        Timestamp::try_from(self.credentials.certificates.not_after(host)?).ok()
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

//! Where the site of a host stands in the configuration: by its name, else by a wildcard, which
//! stands for one label, else by whether it is approved on demand.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use crate::acme::on_demand::door::{Door, is_public};
use crate::config::Config;

/// The places of all hosts.
pub(crate) struct Places {
    by_host: HashMap<Box<str>, usize>,
    /// By what follows the `*.` of a wildcard.
    by_parent: HashMap<Box<str>, usize>,
    /// The site that has hosts on demand.
    on_demand: Option<usize>,
    door: Option<Arc<Door>>,
}

impl Places {
    pub(super) fn new(config: &Config, door: Option<&Arc<Door>>) -> Self {
        let (mut by_host, mut by_parent) = (HashMap::new(), HashMap::new());
        for (place, site) in config.sites.iter().enumerate() {
            for host in &site.hosts {
                match host.strip_prefix("*.") {
                    Some(parent) => by_parent.insert(parent.into(), place),
                    None => by_host.insert(host.as_str().into(), place),
                };
            }
        }
        let on_demand = config.sites.iter().position(|site| site.on_demand.is_some());
        Self { by_host, by_parent, on_demand, door: door.cloned() }
    }

    pub(crate) fn of(&self, host: &str) -> Option<usize> {
        let by_parent = || self.by_parent.get(host.split_once('.')?.1);
        let listed = self.by_host.get(host).or_else(by_parent).copied();
        let approved = |_: &usize| match &self.door {
            Some(door) => door.admits(host),
            None => is_public(host),
        };
        listed.or_else(|| self.on_demand.filter(approved))
    }

    /// A client wants a host that has no place.
    pub(crate) fn knock(&self, host: &str, client: IpAddr) {
        if let (Some(_), Some(door)) = (self.on_demand, &self.door) {
            door.knock(host, client, Instant::now());
        }
    }
}

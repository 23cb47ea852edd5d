//! Where the site of a host stands in the configuration: by its name, else by a wildcard, which
//! stands for one label.

use std::collections::HashMap;

use crate::config::Config;

/// The places of all hosts.
pub(crate) struct Places {
    by_host: HashMap<Box<str>, usize>,
    /// By what follows the `*.` of a wildcard.
    by_parent: HashMap<Box<str>, usize>,
}

impl Places {
    pub(super) fn new(config: &Config) -> Self {
        let (mut by_host, mut by_parent) = (HashMap::new(), HashMap::new());
        for (place, site) in config.sites.iter().enumerate() {
            for host in &site.hosts {
                match host.strip_prefix("*.") {
                    Some(parent) => by_parent.insert(parent.into(), place),
                    None => by_host.insert(host.as_str().into(), place),
                };
            }
        }
        Self { by_host, by_parent }
    }

    pub(crate) fn of(&self, host: &str) -> Option<usize> {
        let by_parent = || self.by_parent.get(host.split_once('.')?.1);
        self.by_host.get(host).or_else(by_parent).copied()
    }
}

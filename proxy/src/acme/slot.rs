//! The place of one certificate: whose it is and with which kind of key. Each has a life and
//! attempts of its own, and files in the store.

use std::time::SystemTime;

use super::Issuance;
use crate::config::{Config, Issuer, KeyType};
use crate::tls::leaf::{Leaf, Unfit};

/// A name, which is the first host of a site, and a kind of key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) key_type: KeyType,
}

/// What a slot is to hold.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) slot: Slot,
    pub(super) hosts: Vec<String>,
    /// Whether it is for a host that no site lists.
    pub(super) on_demand: bool,
}

impl Wanted {
    /// Those for some hosts, one for each kind of key.
    pub(super) fn of(hosts: &[String], on_demand: bool, key_types: &[KeyType]) -> Vec<Self> {
        let name = hosts.first().map_or("", String::as_str);
        let slots = key_types.iter().map(|key_type| Slot::new(name, *key_type));
        slots.map(|slot| Self { slot, hosts: hosts.to_vec(), on_demand }).collect()
    }
}

impl Issuance {
    /// Every certificate that is to be obtained from a CA: those of sites first, then those of
    /// hosts on demand, of which who has failed the least is first.
    pub(super) fn wanted(&self, config: &Config) -> Vec<Wanted> {
        let key_types = &config.acme.key_types;
        let sites = config.sites.iter().filter(|site| site.issuer == Issuer::Acme);
        let of_sites = sites.flat_map(|site| Wanted::of(&site.hosts, false, key_types));
        let hosts = self.approvals.hosts(config).into_iter();
        let mut on_demand: Vec<Wanted> =
            hosts.flat_map(|host| Wanted::of(&[host], true, key_types)).collect();
        let slots = self.slots.borrow();
        on_demand.sort_by_key(|of| slots.get(&of.slot).map_or(0, |state| state.life.failures));
        of_sites.chain(on_demand).collect()
    }
}

impl Slot {
    pub(super) fn new(name: &str, key_type: KeyType) -> Self {
        Self { name: name.to_owned(), key_type }
    }

    /// What the store holds for it, if it is for its name and can be used.
    pub(super) fn read(&self, pem: &str, now: SystemTime) -> Result<Leaf, Unfit> {
        let leaf = Leaf::read(pem, now)?;
        match leaf.covers(&self.name) {
            true => Ok(leaf),
            false => Err(Unfit::Names(self.name.clone())),
        }
    }

    /// The key and the chain.
    pub(super) fn certificate_file(&self) -> String {
        self.file("certificate.pem")
    }

    /// What is known of it.
    pub(super) fn life_file(&self) -> String {
        self.file("certificate.json")
    }

    /// The pending order.
    pub(super) fn order_file(&self) -> String {
        self.file("order.json")
    }

    /// All of them.
    pub(super) fn files(&self) -> [String; 3] {
        [self.certificate_file(), self.life_file(), self.order_file()]
    }

    /// No host has a `+`.
    fn file(&self, what: &str) -> String {
        let stem = stem(&self.name);
        match self.key_type == KeyType::EcdsaP256 {
            true => format!("{stem}.{what}"),
            false => format!("{stem}+{}.{what}", self.key_type.name()),
        }
    }
}

/// What CAs are shown of a name while an order of it is pending.
pub(super) fn challenges_file(name: &str) -> String {
    format!("{}.challenges.json", stem(name))
}

/// When a host on demand was approved last.
pub(super) fn approval_file(host: &str) -> String {
    format!("{host}{APPROVAL}")
}

/// The host of such a file.
pub(super) fn approved_host(file: &str) -> Option<&str> {
    file.strip_suffix(APPROVAL)
}

const APPROVAL: &str = ".on-demand.json";

/// A `*` means more than itself to shells.
fn stem(name: &str) -> String {
    name.replace('*', "_wildcard")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_files_of_its_own() {
        let file = |name, key_type| Slot::new(name, key_type).certificate_file();
        assert_eq!(file("a.example", KeyType::EcdsaP256), "a.example.certificate.pem");
        assert_eq!(file("a.example", KeyType::Rsa2048), "a.example+rsa-2048.certificate.pem");
        assert_eq!(file("*.a.example", KeyType::EcdsaP256), "_wildcard.a.example.certificate.pem");
    }
}

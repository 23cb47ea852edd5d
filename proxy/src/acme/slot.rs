//! The place of one certificate: whose it is and with which kind of key. Each has a life and
//! attempts of its own, and files in the store.

use crate::config::{Config, Issuer, KeyType};

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
}

impl Wanted {
    /// Every certificate that is to be obtained from a CA.
    pub(super) fn all(config: &Config) -> Vec<Self> {
        let sites = config.sites.iter().filter(|site| site.issuer == Issuer::Acme);
        let slots = sites.flat_map(|site| {
            let slot = |key_type: &KeyType| Slot::new(site.name(), *key_type);
            let key_types = config.acme.key_types.iter();
            key_types.map(move |key_type| Self { slot: slot(key_type), hosts: site.hosts.clone() })
        });
        slots.collect()
    }
}

impl Slot {
    pub(super) fn new(name: &str, key_type: KeyType) -> Self {
        Self { name: name.to_owned(), key_type }
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

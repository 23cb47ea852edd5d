//! `[client]`, and the access lists of sites.

use crate::client::networks::{Network, Networks};
use crate::config::model::{Access, Clients};
use crate::config::section::Section;

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Clients {
    let trusted_proxies = networks(&mut section, "trusted_proxies").unwrap_or_default();
    let ipv6_prefix = section.integer("ipv6_prefix", 16..=128).map_or(64, |at| at.value);
    let access = access(&mut section).unwrap_or_default();
    section.finish();
    Clients { trusted_proxies, ipv6_prefix: u8::try_from(ipv6_prefix).unwrap_or(64), access }
}

/// `allow` and `deny`; `None` if neither is there.
pub(super) fn access(section: &mut Section<'_>) -> Option<Access> {
    let (allow, deny) = (networks(section, "allow"), networks(section, "deny"));
    if allow.is_none() && deny.is_none() {
        return None;
    }
    Some(Access { allow: allow.unwrap_or_default(), deny: deny.unwrap_or_default() })
}

/// A list of addresses and networks.
pub(super) fn networks(section: &mut Section<'_>, key: &'static str) -> Option<Networks> {
    let list = section.list(key, "network", Network::parse)?;
    Some(Networks::new(list.into_values()))
}

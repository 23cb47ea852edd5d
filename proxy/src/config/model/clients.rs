//! Who may speak for others, and who may not speak at all.

use crate::client::networks::Networks;

/// What is expected before the first byte of a client's connection, from trusted proxies only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Nothing (the default).
    Off,
    /// A PROXY protocol header, version 1 or 2, or nothing.
    Optional,
    /// A PROXY protocol header; connections without one, or of anybody else, are closed.
    Required,
}

/// The `[client]` section.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Peers that are believed what they say of their clients.
    pub trusted_proxies: Networks,
    /// Bits of an IPv6 address that make a client, 16 to 128 (default 64).
    pub ipv6_prefix: u8,
    /// Who may use the sites that do not say so themselves.
    pub access: Access,
}

/// Who may use a site.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// If not empty: nobody else may.
    pub allow: Networks,
    /// Nobody of these may, even if allowed.
    pub deny: Networks,
}

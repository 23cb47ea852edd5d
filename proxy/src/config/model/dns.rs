//! How DNS records are written that prove names to a CA.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// The `dns_` keys of `[acme]`.
#[derive(Debug, Clone)]
pub struct Dns {
    /// Who writes.
    pub writer: DnsWriter,
    /// The name servers that must have a record before the CA is told to look; empty for those of
    /// the zone.
    pub servers: Vec<SocketAddr>,
    /// How long a command may run, and how long servers may take to have a record (default 2
    /// minutes).
    pub timeout: Duration,
}

/// Who writes DNS records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsWriter {
    /// A program and its first arguments; `present` or `cleanup`, the name and the value follow.
    Hook(Vec<String>),
    /// A name server, by dynamic updates (RFC 2136).
    Update(DnsUpdate),
}

/// A name server that takes dynamic updates.
#[derive(Clone, PartialEq, Eq)]
pub struct DnsUpdate {
    /// Its address.
    pub server: SocketAddr,
    /// The zone (default: the one that the server says).
    pub zone: Option<String>,
    /// The name of the key.
    pub key_name: String,
    /// The hash that the key is used with.
    pub hash: TsigHash,
    /// The key.
    pub secret: Vec<u8>,
}

/// A hash of TSIG (RFC 8945, 6) that is not broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TsigHash {
    /// HMAC-SHA256 (the default).
    Sha256,
    /// HMAC-SHA384.
    Sha384,
    /// HMAC-SHA512.
    Sha512,
}

impl fmt::Debug for DnsUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, zone, key_name, hash, secret: _ } = self;
        let mut all = f.debug_struct("DnsUpdate");
        all.field("server", server).field("zone", zone);
        all.field("key_name", key_name).field("hash", hash).finish_non_exhaustive()
    }
}

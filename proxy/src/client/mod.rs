//! Who the client is: the peer, or whom a trusted proxy speaks for.
//!
//! What anybody else says of itself is not looked at at all; [`crate::upstream::forward`] drops it.
//! A client with IPv6 counts as one per /64, since that is what a provider hands to one household;
//! an IPv4 address mapped into IPv6 is the IPv4 address.

mod chain;
pub mod networks;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use http::{HeaderMap, HeaderValue};

use crate::config::Clients;

/// The socket's other end, as the kernel tells it, or as a trusted proxy does before the first byte
/// of the connection (see [`crate::connection`]).
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddr(pub(crate) SocketAddr);

/// Whoever sends the requests of a connection: one client, or a trusted proxy for many.
#[derive(Debug)]
pub(crate) struct Sender {
    /// The peer as a client.
    pub(crate) peer: Rc<Client>,
    /// Whether it may speak for others.
    trusted: bool,
}

impl Sender {
    pub(crate) fn new(peer: PeerAddr, clients: &Clients) -> Self {
        let peer = Rc::new(Client::new(peer.0.ip(), clients.ipv6_prefix));
        Self { trusted: clients.trusted_proxies.contains(peer.ip), peer }
    }

    /// The client of a request with these fields.
    pub(crate) fn client(&self, fields: &HeaderMap, clients: &Clients) -> Rc<Client> {
        if self.trusted {
            let ip = chain::client(self.peer.ip, fields, &clients.trusted_proxies);
            if ip != self.peer.ip {
                return Rc::new(Client::new(ip, clients.ipv6_prefix));
            }
        }
        Rc::clone(&self.peer)
    }

    /// Whether it is a trusted proxy.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Whether the client's side of a request is https although this connection is not: a trusted
    /// proxy ended the TLS.
    pub(crate) fn is_secure(&self, fields: &HeaderMap) -> bool {
        let https = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"https");
        self.trusted && fields.get("x-forwarded-proto").is_some_and(https)
    }
}

/// The decided identity of whoever sent a request.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// The address, IPv4-mapped ones folded.
    pub(crate) ip: IpAddr,
    /// What limits are counted by: the address, or the network it lies in.
    pub(crate) bucket: IpAddr,
    /// The address as the `X-Forwarded-For` that goes upstream.
    pub(crate) forwarded_for: HeaderValue,
}

impl Client {
    fn new(ip: IpAddr, ipv6_prefix: u8) -> Self {
        let (ip, bucket) = identity(ip, ipv6_prefix);
        Self { ip, bucket, forwarded_for: value(ip.to_string()) }
    }

    /// The `Forwarded` element (RFC 7239) for a request of this client to `host`. `None` if the
    /// host cannot stand in a quoted string.
    pub(crate) fn forwarded(&self, host: &[u8], secure: bool) -> Option<HeaderValue> {
        let host = std::str::from_utf8(host).ok()?;
        if host.contains(['"', '\\']) {
            return None;
        }
        let proto = if secure { "https" } else { "http" };
        let node = match self.ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("\"[{ip}]\""),
        };
        Some(value(format!("for={node};host=\"{host}\";proto={proto}")))
    }
}

/// Whom an address stands for: itself, IPv4-mapped ones folded, and what limits are counted by.
pub(crate) fn identity(ip: IpAddr, ipv6_prefix: u8) -> (IpAddr, IpAddr) {
    let ip = ip.to_canonical();
    let bucket = match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(ipv6_prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
        }
    };
    (ip, bucket)
}

/// What limits are counted by, for people: `192.0.2.1` or `2001:db8::/64`.
pub(crate) fn shown(bucket: IpAddr, ipv6_prefix: u8) -> String {
    match bucket.is_ipv6() && ipv6_prefix < 128 {
        true => format!("{bucket}/{ipv6_prefix}"),
        false => bucket.to_string(),
    }
}

/// Addresses and checked hosts are always valid field values.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_folded_and_cut() {
        for (peer, prefix, ip, bucket) in [
            ("192.0.2.7", 64, "192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", 64, "192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:3:4:5:6", 48, "2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
            ("2001:db8::6", 128, "2001:db8::6", "2001:db8::6"),
        ] {
            let client = Client::new(peer.parse().unwrap(), prefix);
            assert_eq!((client.ip, client.bucket), (ip.parse().unwrap(), bucket.parse().unwrap()));
            assert_eq!(client.forwarded_for, ip);
        }
    }

    #[test]
    fn forwarded_quotes_what_must_be_quoted() {
        let client = Client::new("2001:db8::1".parse().unwrap(), 64);
        let value = client.forwarded(b"localhost:8443", true).unwrap();
        assert_eq!(value, "for=\"[2001:db8::1]\";host=\"localhost:8443\";proto=https");
        assert!(client.forwarded(b"a\"b", true).is_none());
    }
}

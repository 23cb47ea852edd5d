//! Who the client is: for now, the peer.
//!
//! What a client says of itself is not looked at here at all; [`crate::upstream::forward`] drops
//! it. A client with IPv6 counts as one per /64, since that is what a provider hands to one
//! household; an IPv4 address mapped into IPv6 is the IPv4 address.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderValue;

/// The socket's other end, as the kernel tells it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddr(pub(crate) SocketAddr);

/// The decided identity of whoever sends the requests of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// The address, IPv4-mapped ones folded.
    pub(crate) ip: IpAddr,
    /// What limits are counted by: the address, or the /64 it lies in.
    pub(crate) bucket: IpAddr,
    /// The address as the `X-Forwarded-For` that goes upstream.
    pub(crate) forwarded_for: HeaderValue,
}

impl Client {
    pub(crate) fn new(peer: PeerAddr) -> Self {
        let ip = peer.0.ip().to_canonical();
        let bucket = match ip {
            IpAddr::V4(_) => ip,
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
        };
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

/// Addresses and checked hosts are always valid field values.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_folded_and_cut() {
        for (peer, ip, bucket) in [
            ("192.0.2.7:1", "192.0.2.7", "192.0.2.7"),
            ("[::ffff:192.0.2.7]:1", "192.0.2.7", "192.0.2.7"),
            ("[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            let client = Client::new(PeerAddr(peer.parse().unwrap()));
            assert_eq!((client.ip, client.bucket), (ip.parse().unwrap(), bucket.parse().unwrap()));
            assert_eq!(client.forwarded_for, ip);
        }
    }

    #[test]
    fn forwarded_quotes_what_must_be_quoted() {
        let client = Client::new(PeerAddr("[2001:db8::1]:1".parse().unwrap()));
        let value = client.forwarded(b"localhost:8443", true).unwrap();
        assert_eq!(value, "for=\"[2001:db8::1]\";host=\"localhost:8443\";proto=https");
        assert!(client.forwarded(b"a\"b", true).is_none());
    }
}

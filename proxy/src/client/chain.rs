//! The chain of hops that proxies in front of us have written down: `X-Forwarded-For`, or
//! `Forwarded` (RFC 7239).
//!
//! Each proxy appends whom it heard from, so the chain is read from the right, and only as far as
//! the hops are trusted: what stands to the left of the first that is not, anybody may have
//! written.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::networks::Networks;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client on whose behalf a trusted `peer` sends a request with these fields.
///
/// Where both fields are present and tell of different clients, one of them was written by somebody
/// whom the proxy did not stop: then the peer itself is the client.
pub(super) fn client(peer: IpAddr, fields: &HeaderMap, trusted: &Networks) -> IpAddr {
    let x_forwarded_for = values(fields, &X_FORWARDED_FOR).map(|values| {
        let hops = values.flat_map(|value| value.rsplit(',')).filter(says_something);
        walk(peer, hops.map(node), trusted)
    });
    let forwarded = values(fields, &header::FORWARDED).map(|values| {
        let hops = values.flat_map(|value| pieces(value, b',')).filter(says_something);
        walk(peer, hops.map(element), trusted)
    });
    match (x_forwarded_for, forwarded) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(client), _) | (None, Some(client)) => client,
        (None, None) => peer,
    }
}

/// Goes from the peer to the left: to the first hop that is not trusted, or to the last before one
/// that cannot be read.
fn walk(peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>, trusted: &Networks) -> IpAddr {
    let mut client = peer;
    for hop in hops {
        let Some(address) = hop else { break };
        client = address.to_canonical();
        if !trusted.contains(client) {
            break;
        }
    }
    client
}

/// The values of a field that is there, the last first. One that is no text cannot be read.
fn values<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<impl Iterator<Item = &'a str>> {
    let mut values: Vec<_> = fields.get_all(name).iter().collect();
    values.reverse();
    let read = |value: &'a HeaderValue| value.to_str().unwrap_or("?");
    (!values.is_empty()).then(|| values.into_iter().map(read))
}

/// Lists may have empty elements, which are skipped (RFC 9110, 5.6.1.2).
fn says_something(element: &&str) -> bool {
    !element.trim_matches([' ', '\t']).is_empty()
}

/// Cuts a value at a separator, but for those in quoted strings (RFC 7239, 4); the last piece
/// first.
fn pieces(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut pieces = Vec::new();
    let (mut from, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => {
                pieces.extend(text.get(from..at));
                from = at + 1;
            }
            _ => {}
        }
    }
    pieces.extend(text.get(from..));
    pieces.into_iter().rev()
}

/// `192.0.2.7`, `192.0.2.7:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`, and with a port
/// that is hidden: `192.0.2.7:_x`.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let cut = text.rsplit_once(':').filter(|(_, port)| is_port(port));
    let address = cut.map_or(text, |(address, _)| address);
    match address.strip_prefix('[') {
        Some(address) => address.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => address.parse().ok().map(IpAddr::V4),
    }
}

/// A number, or what stands for one that is not told (RFC 7239, 6).
fn is_port(text: &str) -> bool {
    let hidden = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match text.strip_prefix('_') {
        Some(hides) => !hides.is_empty() && hides.bytes().all(hidden),
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The node of `for=` in an element of `Forwarded`.
fn element(text: &str) -> Option<IpAddr> {
    let mut nodes = pieces(text, b';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim_matches([' ', '\t']).eq_ignore_ascii_case("for").then_some(value)
    });
    let (value, None) = (nodes.next()?, nodes.next()) else { return None };
    let value = value.trim_matches([' ', '\t']);
    match value.strip_prefix('"') {
        Some(quoted) => node(quoted.strip_suffix('"')?),
        // A colon or a bracket must be quoted (RFC 7239, 4); some forget.
        None => node(value),
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;

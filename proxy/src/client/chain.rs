//! The chain of hops that proxies in front of us have written down: `X-Forwarded-For`, or
//! `Forwarded` (RFC 7239).
//!
//! Each proxy appends whom it heard from, so the chain is read from the right, and only as far as
//! the hops are trusted: what stands to the left of the first that is not, anybody may have
//! written.

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::networks::Networks;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client on whose behalf a trusted `peer` sends a request with these fields.
///
/// Where both fields are present and tell of different clients, one of them was written by somebody
/// whom the proxy did not stop: then the peer itself is the client.
pub(super) fn client(peer: IpAddr, fields: &HeaderMap, trusted: &Networks) -> IpAddr {
    let x_forwarded_for = values(fields, &X_FORWARDED_FOR)
        .map(|values| walk(peer, values.flat_map(|value| value.rsplit(',')).map(node), trusted));
    let forwarded = values(fields, &header::FORWARDED).map(|values| {
        walk(peer, values.flat_map(|value| pieces(value, b',')).map(element), trusted)
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

/// `192.0.2.7`, `192.0.2.7:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6)
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
mod tests {
    use proptest::prelude::*;

    use super::super::networks::Network;
    use super::*;

    const PEER: &str = "10.0.0.1";

    fn trusted() -> Networks {
        Networks::new(
            ["10.0.0.0/8", "2001:db8:a::/48"].map(|n| Network::parse(n).unwrap()).to_vec(),
        )
    }

    fn told(fields: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        client(PEER.parse().unwrap(), &map, &trusted()).to_string()
    }

    #[test]
    fn the_chain_is_read_from_the_right() {
        let xff = "x-forwarded-for";
        for (values, expected) in [
            (&[][..], PEER),
            (&["203.0.113.9"], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            (&["1.1.1.1", "203.0.113.9", "10.0.0.2,10.0.0.3"], "203.0.113.9"),
            (&["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
            (&["203.0.113.9, nonsense"], PEER),
            (&["203.0.113.9, nonsense, 10.0.0.2"], "10.0.0.2"),
            (&["203.0.113.9, unknown"], PEER),
            (&["203.0.113.9,"], PEER),
            (&[""], PEER),
            (&["203.0.113.9:4711"], "203.0.113.9"),
            (&["2001:db8::7"], "2001:db8::7"),
            (&["[2001:db8::7]:4711"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["2001:db8::7, 2001:db8:a::1"], "2001:db8::7"),
            (&["::ffff:203.0.113.9"], "203.0.113.9"),
            (&["203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9"),
        ] {
            let fields: Vec<_> = values.iter().map(|value| (xff, *value)).collect();
            assert_eq!(told(&fields), expected, "{values:?}");
        }
    }

    #[test]
    fn forwarded_is_read_as_well() {
        for (value, expected) in [
            ("for=203.0.113.9", "203.0.113.9"),
            ("For=\"203.0.113.9:80\";proto=https;by=10.0.0.1", "203.0.113.9"),
            ("for=1.1.1.1, for=203.0.113.9;host=\"a,b\", for=10.0.0.2", "203.0.113.9"),
            ("for=\"[2001:db8::7]:4711\"", "2001:db8::7"),
            ("for=_hidden", PEER),
            ("for=unknown, for=10.0.0.2", "10.0.0.2"),
            ("proto=https", PEER),
            ("for=203.0.113.9;for=203.0.113.8", PEER),
            ("for=\"203.0.113.9", PEER),
            ("by=\"x\\\",for=1.1.1.1,\";for=203.0.113.9", "203.0.113.9"),
            ("host=\"a;for=1.1.1.1;b\"", PEER),
            ("host=\"a;for=1.1.1.1\";for=203.0.113.9", "203.0.113.9"),
        ] {
            assert_eq!(told(&[("forwarded", value)]), expected, "{value}");
        }
    }

    #[test]
    fn two_fields_that_disagree_are_believed_neither() {
        let both = |xff, forwarded| told(&[("x-forwarded-for", xff), ("forwarded", forwarded)]);
        assert_eq!(both("203.0.113.9", "for=203.0.113.9"), "203.0.113.9");
        assert_eq!(both("203.0.113.9", "for=203.0.113.8"), PEER);
    }

    proptest! {
        /// Whatever a client writes to the left of what the trusted proxy appended: it is who the
        /// proxy says.
        #[test]
        fn nothing_to_the_left_matters(forged in "[ -~]{0,40}") {
            let value = format!("{forged}, 203.0.113.9");
            prop_assert_eq!(told(&[("x-forwarded-for", &value)]), "203.0.113.9");
            // A quote that is left open swallows what follows it: then nobody is believed.
            let quoted = forged.replace(['"', '\\'], "");
            let value = format!("for=1.1.1.1, host=\"{quoted}\"");
            prop_assert_eq!(told(&[("forwarded", &value)]), PEER);
            let value = format!("{forged}, for=203.0.113.9");
            let client = told(&[("forwarded", &value)]);
            prop_assert!(client == "203.0.113.9" || client == PEER, "{}", client);
        }
    }
}

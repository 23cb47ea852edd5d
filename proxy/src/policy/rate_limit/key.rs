//! What makes two requests share a count: the parts of a key, and the hash that they come to.
//!
//! Nothing of what a client sends is kept: a key is a keyed 128-bit hash, so that nobody can choose
//! keys that collide, and a long value takes no more memory than a short one.
//!
//! A request that lacks what a part asks for (the header, the cookie, a token that can be
//! verified), has it empty, or has it twice, counts by its client in that part: leaving it out is
//! no way around the limit, and those who have none do not share one count.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hasher as _;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::Facts;
use super::token::Verifier;
use crate::client;
use crate::config::KeyPart;

/// A keyed 128-bit hash of a rule and of what a request is counted by.
#[derive(Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The half that chooses the partition of the table.
    pub(super) high: u64,
    /// The half that chooses the place in it.
    pub(super) low: u64,
}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.low);
    }
}

impl std::str::FromStr for Key {
    type Err = std::num::ParseIntError;

    /// Reads what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (high, low) = text.split_at_checked(16).unwrap_or((text, ""));
        Ok(Self { high: u64::from_str_radix(high, 16)?, low: u64::from_str_radix(low, 16)? })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.high, self.low)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a request has for a part of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Client(IpAddr),
    Everybody,
    /// Anybody may read it.
    Open(&'a str),
    /// It may be what somebody proves to be somebody by.
    Secret(Cow<'a, [u8]>),
    /// What the part asks for is not there, or empty.
    Missing,
}

/// The value of a part of a key.
pub(super) fn value<'a>(part: &KeyPart, facts: &Facts<'a>, tokens: &Verifier) -> Value<'a> {
    let found = match part {
        KeyPart::Ip => return Value::Client(facts.client),
        KeyPart::Global => return Value::Everybody,
        KeyPart::Host => return Value::Open(facts.host),
        KeyPart::Path => return Value::Open(facts.path),
        KeyPart::Method => return Value::Open(facts.method.as_str()),
        KeyPart::Header(name) => only(facts.fields, name).map(Cow::Borrowed),
        KeyPart::Cookie(name) => cookie(facts.fields, name.as_bytes()).map(Cow::Borrowed),
        KeyPart::Jwt(claim) => bearer(facts.fields).and_then(|token| tokens.claim(token, claim)),
    };
    found.filter(|value| !value.is_empty()).map_or(Value::Missing, Value::Secret)
}

/// Begins the hash of a rule's keys: a rule whose bound is changed starts afresh.
pub(super) fn seed(secret: &[u8; 16], rule: &str, bound: [u64; 2]) -> SipHasher13 {
    let mut hasher = SipHasher13::new_with_key(secret);
    bytes(&mut hasher, rule.as_bytes());
    bound.into_iter().for_each(|part| hasher.write_u64(part));
    hasher
}

/// The key of a request; `seed` is its rule's.
pub(super) fn key(
    mut seed: SipHasher13,
    parts: &[KeyPart],
    facts: &Facts<'_>,
    tokens: &Verifier,
) -> Key {
    for part in parts {
        match value(part, facts, tokens) {
            Value::Client(client) => address(&mut seed, client),
            Value::Everybody => {}
            Value::Open(text) => bytes(&mut seed, text.as_bytes()),
            Value::Secret(value) => bytes(&mut seed, &value),
            Value::Missing => {
                seed.write_usize(usize::MAX); // no value is as long
                address(&mut seed, facts.client);
            }
        }
    }
    let hash = seed.finish128();
    Key { high: hash.h1, low: hash.h2 }
}

/// A key for people: what may be read of its parts, and of the rest as much of a hash as tells one
/// from another.
pub(super) fn label(
    secret: &[u8; 16],
    parts: &[KeyPart],
    facts: &Facts<'_>,
    tokens: &Verifier,
    ipv6_prefix: u8,
) -> String {
    let client = || client::shown(facts.client, ipv6_prefix);
    let part = |part| match value(part, facts, tokens) {
        Value::Client(_) => client(),
        Value::Everybody => "everybody".to_owned(),
        Value::Open(text) => text.to_owned(),
        Value::Secret(value) => {
            let mut hasher = SipHasher13::new_with_key(secret);
            hasher.write(&value);
            format!("#{:08x}", hasher.finish() >> 32)
        }
        Value::Missing => format!("{} (without)", client()),
    };
    let mut label = parts.iter().map(part).collect::<Vec<_>>().join(" ");
    label.truncate(label.floor_char_boundary(LONGEST_LABEL));
    label
}

/// Bytes of a label.
pub(super) const LONGEST_LABEL: usize = 128;

fn bytes(hasher: &mut SipHasher13, bytes: &[u8]) {
    hasher.write_usize(bytes.len());
    hasher.write(bytes);
}

/// With its length: an address and what follows it are never another, longer address.
fn address(hasher: &mut SipHasher13, address: IpAddr) {
    match address {
        IpAddr::V4(ip) => bytes(hasher, &ip.octets()),
        IpAddr::V6(ip) => bytes(hasher, &ip.octets()),
    }
}

/// The value of a field that is there once.
fn only<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = fields.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        _ => None,
    }
}

/// The value of a cookie that is there once (RFC 6265, 4.2). HTTP/2 may cut the field in crumbs.
fn cookie<'a>(fields: &'a HeaderMap, name: &[u8]) -> Option<&'a [u8]> {
    let fields = fields.get_all(header::COOKIE).iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let (found, value) = pair.split_at_checked(name.len())?;
        (found == name).then(|| value.strip_prefix(b"=")).flatten()
    });
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

/// The bearer token of a request (RFC 6750, 2.1).
fn bearer(fields: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = only(fields, &header::AUTHORIZATION)?.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn an_address_and_what_follows_it_are_no_longer_address() {
        let of = |client: &str, path: &str| {
            let client = client.parse().unwrap();
            let (fields, tokens) = (HeaderMap::new(), Verifier::new(&[]));
            let facts = Facts {
                ip: client,
                client,
                method: &Method::GET,
                host: "localhost",
                path,
                fields: &fields,
                site: 0,
                route: None,
            };
            let seed = seed(&[7; 16], "a", [1, 1]);
            key(seed, &[KeyPart::Ip, KeyPart::Path], &facts, &tokens)
        };
        // The octets of one address, a length and a path are those of the other, and the same.
        let short = of("192.0.2.1", "abcd\u{2}\0\0\0\0\0\0\0xy");
        let long = of("c000:201:e00::6162:6364", "xy");
        assert_ne!(short, long);
    }
}

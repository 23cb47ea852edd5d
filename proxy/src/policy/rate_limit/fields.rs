//! What a client reads about its quota: `RateLimit` and `RateLimit-Policy` as in
//! draft-ietf-httpapi-ratelimit-headers-11, and the bodies of a 429 (RFC 9457).
//!
//! The draft is still moving (a successor may rename `r` and `t`): nothing outside this file knows
//! its syntax. No field ever carries an address or a key.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;

use crate::{error_page, rejection};

/// `"name";q=100;w=60`. A window that is not whole seconds has no `w`, which the draft leaves
/// optional.
pub(super) fn policy(name: &str, limit: u64, window: Duration) -> HeaderValue {
    let mut text = format!("\"{name}\";q={limit}");
    if window.subsec_nanos() == 0 {
        _ = write!(text, ";w={}", window.as_secs());
    }
    value(text)
}

/// `"name";r=99;t=60`: what is left, and the seconds until more comes back.
pub(super) fn rate_limit(name: &str, remaining: u64, seconds: u64) -> HeaderValue {
    let mut text = String::with_capacity(name.len() + 32);
    text.push('"');
    text.push_str(name);
    text.push_str("\";r=");
    text.push_str(itoa::Buffer::new().format(remaining));
    text.push_str(";t=");
    text.push_str(itoa::Buffer::new().format(seconds));
    let mut value = value(text);
    value.set_sensitive(true); // new each time: it must not push others out of HPACK's table
    value
}

/// The items of a list field.
pub(super) fn join<'a>(items: impl Iterator<Item = &'a HeaderValue>) -> HeaderValue {
    let mut text = Vec::new();
    for item in items {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(item.as_bytes());
    }
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Rule names are printable ASCII without quotes, checked when the configuration is read.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The two bodies of a rule's 429, made once: a flood of them must cost nothing.
#[derive(Debug)]
pub(crate) struct Page {
    /// `application/problem+json`.
    pub(crate) json: Bytes,
    /// `text/html`.
    pub(crate) html: Bytes,
}

impl Page {
    pub(super) fn new(name: &str) -> Self {
        let json = format!(
            "{{\"type\":\"https://iana.org/assignments/http-problem-types#quota-exceeded\",\
             \"title\":\"Too Many Requests\",\"status\":429,\"detail\":\"{}\",\
             \"violated-policies\":[\"{name}\"]}}\n",
            rejection::RATE_LIMITED,
        );
        let html = error_page::built_in(429, "Too Many Requests", rejection::RATE_LIMITED);
        Self { json: json.into(), html: html.into() }
    }
}

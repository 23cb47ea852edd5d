//! What a client reads about its quota: `RateLimit` and `RateLimit-Policy` as in
//! draft-ietf-httpapi-ratelimit-headers-11, or what an operator would rather have, and the bodies
//! of a 429 (RFC 9457).
//!
//! The draft is still moving: nothing outside this file knows its syntax. No field ever carries an
//! address or a key.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::rule::Rule;
use crate::config::{Bound, FieldSyntax};
use crate::policy::headers::permanent;
use crate::{error_page, rejection};

/// The fields of a response that tell of the quota.
pub(crate) type Fields = SmallVec<[(HeaderName, HeaderValue); 3]>;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_RATE_LIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What a rule always says of itself.
#[derive(Debug)]
pub(super) struct Policy {
    /// `"name";q=100;w=60`, which is the same in every draft.
    item: HeaderValue,
    limit: u64,
    /// Whether quota comes back with time, and not when a request ends.
    is_window: bool,
}

impl Policy {
    /// A window that is not whole seconds has no `w`, which the draft leaves optional.
    pub(super) fn new(name: &str, bound: &Bound) -> Self {
        match bound {
            Bound::Window { limit, window, .. } => {
                let mut item = format!("\"{name}\";q={limit}");
                if window.subsec_nanos() == 0 {
                    _ = write!(item, ";w={}", window.as_secs());
                }
                Self { item: permanent::value(&value(item)), limit: *limit, is_window: true }
            }
            Bound::InFlight(most) => {
                let item = format!("\"{name}\";q={most};qu=\"concurrent-requests\"");
                Self { item: permanent::value(&value(item)), limit: *most, is_window: false }
            }
        }
    }
}

/// What is said of the rule that is closest to rejecting.
pub(super) struct Told<'a> {
    pub(super) rule: &'a Arc<Rule>,
    /// What is left after the request.
    pub(super) remaining: u64,
    /// Until more comes back.
    pub(super) seconds: u64,
}

/// The fields in a syntax; `all` are the rules that hold the request.
pub(super) fn fields<'a>(
    syntax: FieldSyntax,
    told: &Told<'_>,
    all: impl Iterator<Item = &'a Arc<Rule>>,
) -> Fields {
    let mut fields = Fields::new();
    match syntax {
        FieldSyntax::Draft11 => fields.push((RATE_LIMIT, told.item(";r=", ";t="))),
        FieldSyntax::Next => fields.push((RATE_LIMIT, told.item(";a=", ";w="))),
        FieldSyntax::Legacy => {
            fields.push((X_RATE_LIMIT_LIMIT, told.rule.policy.limit.into()));
            fields.push((X_RATE_LIMIT_REMAINING, told.remaining.into()));
            fields.push((X_RATE_LIMIT_RESET, told.seconds.into()));
            return fields;
        }
        FieldSyntax::Off => return fields,
    }
    fields.push((RATE_LIMIT_POLICY, join(all.map(|rule| &rule.policy.item))));
    fields
}

impl Told<'_> {
    /// `"name";r=99;t=60`.
    fn item(&self, remaining: &str, seconds: &str) -> HeaderValue {
        let name = &*self.rule.name;
        let mut text = String::with_capacity(name.len() + 48);
        text.push('"');
        text.push_str(name);
        text.push('"');
        text.push_str(remaining);
        text.push_str(itoa::Buffer::new().format(self.remaining));
        if self.rule.policy.is_window {
            text.push_str(seconds);
            text.push_str(itoa::Buffer::new().format(self.seconds));
        }
        let mut value = value(text);
        value.set_sensitive(true); // new each time: it must not push others out of HPACK's table
        value
    }
}

/// The items of a list field.
fn join<'a>(mut items: impl Iterator<Item = &'a HeaderValue>) -> HeaderValue {
    let Some(first) = items.next() else { return HeaderValue::from_static("") };
    let Some(second) = items.next() else { return first.clone() };
    let mut text = first.as_bytes().to_vec();
    for item in std::iter::once(second).chain(items) {
        text.extend_from_slice(b", ");
        text.extend_from_slice(item.as_bytes());
    }
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Rule names are printable ASCII without quotes, checked when the configuration is read.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The bodies of a rule's 429, of which only the id of the request is different each time: a flood
/// of them must cost next to nothing.
#[derive(Debug)]
pub(crate) struct Page {
    json: [String; 2],
    html: [String; 2],
}

impl Page {
    pub(super) fn new(name: &str) -> Self {
        let json = format!(
            "{{\"type\":\"https://iana.org/assignments/http-problem-types#quota-exceeded\",\
             \"title\":\"Too Many Requests\",\"status\":429,\"detail\":\"{}\",\
             \"violated-policies\":[\"{name}\"],\"instance\":\"urn:uuid:",
            rejection::RATE_LIMITED,
        );
        let html = error_page::built_in(429, "Too Many Requests", rejection::RATE_LIMITED);
        let (head, tail) = html.split_once("</main>").unwrap_or((&html, ""));
        Self {
            json: [json, "\"}\n".to_owned()],
            html: [format!("{head}<p>Request "), format!("</p></main>{tail}")],
        }
    }

    /// `application/problem+json`, with the request's id as the occurrence (RFC 9457, 3.1.5).
    pub(crate) fn json(&self, request_id: &str) -> Bytes {
        around(&self.json, request_id)
    }

    /// `text/html`.
    pub(crate) fn html(&self, request_id: &str) -> Bytes {
        around(&self.html, request_id)
    }
}

fn around([head, tail]: &[String; 2], middle: &str) -> Bytes {
    [head, middle, tail].concat().into()
}

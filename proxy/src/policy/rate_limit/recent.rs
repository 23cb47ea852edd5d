//! The last rejections, for whoever asks with the id that a 429 carries.
//!
//! A flood of rejections must cost next to nothing: each is written over the oldest, in its place,
//! without an allocation, and the ids say which of several rings it is in.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use http::{HeaderValue, Method};
use serde::Serialize;

use super::Refusal;

/// Rejections by their ids.
#[derive(Debug)]
pub(crate) struct Recent([Mutex<Ring>; RINGS]);

const RINGS: usize = 16;

/// Rejections that a ring holds.
const PLACES: usize = 128;

/// Bytes of a host or a path that are kept.
const LONGEST: usize = 256;

#[derive(Debug, Default)]
struct Ring {
    places: Vec<Place>,
    next: usize,
}

#[derive(Debug)]
struct Place {
    id: HeaderValue,
    time: SystemTime,
    client: IpAddr,
    method: Method,
    host: String,
    path: String,
    refusal: Refusal,
}

/// A request that was rejected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rejected<'a> {
    pub(crate) id: &'a HeaderValue,
    pub(crate) time: SystemTime,
    pub(crate) client: IpAddr,
    pub(crate) method: &'a Method,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
}

/// Why a request was rejected, for people.
#[derive(Debug, Serialize)]
pub(crate) struct Story {
    request_id: String,
    time: String,
    client: IpAddr,
    method: String,
    host: String,
    path: String,
    rule: String,
    /// What the rule had run out of.
    cause: &'static str,
    /// The hash of the key, by which it can be reset.
    key: String,
    retry_after_seconds: u64,
}

impl Default for Recent {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Recent {
    /// Keeps a rejection, in the place of the oldest.
    pub(crate) fn keep(&self, rejected: Rejected<'_>, refusal: Refusal) {
        let Some(ring) = self.ring(rejected.id.as_bytes()) else { return };
        let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
        let next = ring.next;
        ring.next = (next + 1) % PLACES;
        let cut = |text: &'_ str| text.floor_char_boundary(LONGEST);
        let host = rejected.host.get(..cut(rejected.host)).unwrap_or_default();
        let path = rejected.path.get(..cut(rejected.path)).unwrap_or_default();
        let Some(place) = ring.places.get_mut(next) else {
            ring.places.push(Place {
                id: rejected.id.clone(),
                time: rejected.time,
                client: rejected.client,
                method: rejected.method.clone(),
                host: host.to_owned(),
                path: path.to_owned(),
                refusal,
            });
            return;
        };
        place.id.clone_from(rejected.id);
        (place.time, place.client, place.refusal) = (rejected.time, rejected.client, refusal);
        place.method.clone_from(rejected.method);
        place.host.clear();
        place.host.push_str(host);
        place.path.clear();
        place.path.push_str(path);
    }

    /// What happened to the request with this id, if it was rejected not long ago.
    pub(crate) fn find(&self, id: &str) -> Option<Story> {
        let ring = self.ring(id.as_bytes())?.lock().unwrap_or_else(PoisonError::into_inner);
        let place = ring.places.iter().find(|place| place.id.as_bytes() == id.as_bytes())?;
        let time = jiff::Timestamp::try_from(place.time).unwrap_or_default();
        Some(Story {
            request_id: id.to_owned(),
            time: time.to_string(),
            client: place.client,
            method: place.method.to_string(),
            host: place.host.clone(),
            path: place.path.clone(),
            rule: place.refusal.rule.name.to_string(),
            cause: place.refusal.cause.name(),
            key: place.refusal.key.to_string(),
            retry_after_seconds: place.refusal.retry_after,
        })
    }

    /// The ring of an id, by its last digit, which is random.
    fn ring(&self, id: &[u8]) -> Option<&Mutex<Ring>> {
        let digit = char::from(*id.last()?).to_digit(16)?;
        self.0.get(usize::try_from(digit).ok()? % RINGS)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::rate_limit::slot::Cause;
    use crate::policy::rate_limit::tests::{limiter, rules};

    #[test]
    fn every_ring_has_its_digit() {
        let recent = Recent::default();
        let ring = |digit: u8| std::ptr::from_ref(recent.ring(&[b'-', digit]).unwrap());
        let rings: std::collections::HashSet<_> = b"0123456789abcdef".map(ring).into();
        assert_eq!(rings.len(), RINGS);
        assert_eq!(ring(b'F'), ring(b'f'));
    }

    #[test]
    fn the_last_rejections_are_found_by_their_ids() {
        let limiter = limiter();
        let rules = rules(&limiter, "[[rate_limit]]\nname = \"a\"\nlimit = 1\nwindow = \"1s\"");
        let rule = rules.get(0).unwrap();
        let key = "00000000000000010000000000000002".parse().unwrap();
        let id = |n: usize| HeaderValue::from_str(&format!("{n:08}")).unwrap();
        let long = format!("/{}", "é".repeat(200));
        for n in 0..PLACES * 10 + 1 {
            let rejected = Rejected {
                id: &id(n),
                time: SystemTime::UNIX_EPOCH,
                client: IpAddr::from([192, 0, 2, 1]),
                method: &Method::GET,
                host: "localhost",
                path: &long,
            };
            let (rule, cause) = (Arc::clone(rule), Cause::Limit);
            limiter.recent.keep(rejected, Refusal { rule, key, cause, retry_after: 7 });
        }
        assert!(limiter.recent.find("00000000").is_none(), "it is long ago");
        let story = limiter.recent.find(&format!("{:08}", PLACES * 10)).unwrap();
        assert_eq!((&*story.rule, story.cause, story.retry_after_seconds), ("a", "limit", 7));
        assert_eq!((&*story.key, story.path.len()), ("00000000000000010000000000000002", 255));
        assert!(limiter.recent.find("").is_none() && limiter.recent.find("x").is_none());
    }
}

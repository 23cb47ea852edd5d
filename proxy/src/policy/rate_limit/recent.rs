//! The last rejections, for whoever asks with the id that a 429 carries.
//!
//! A flood of rejections must cost next to nothing, and what it costs is the memory that it passes
//! through: so each is one piece, written over the oldest of its worker, of which there are not so
//! many that they would drive everything else out of the processor's caches.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::slot::Cause;
use super::{Key, Refusal};

/// The rejections of all workers.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Vec<Arc<Ring>>>);

/// The last rejections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Ring(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    places: Vec<Place>,
    next: usize,
}

/// Rejections of a worker that are kept.
const PLACES: usize = 256;

/// Bytes of the texts of a rejection. A path that is longer is cut.
const TEXT: usize = 320;

/// A rejection.
#[derive(Debug)]
struct Place {
    time: SystemTime,
    client: IpAddr,
    key: Key,
    cause: Cause,
    retry_after: u64,
    /// Id, method, rule, host and path, and where each ends.
    text: [u8; TEXT],
    ends: [u16; 5],
}

/// A request that was rejected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rejected<'a> {
    pub(crate) id: &'a str,
    pub(crate) time: SystemTime,
    pub(crate) client: IpAddr,
    pub(crate) method: &'a str,
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

impl Recent {
    /// A ring for one more worker.
    pub(crate) fn ring(&self) -> Arc<Ring> {
        let ring = Arc::<Ring>::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&ring));
        ring
    }

    /// What happened to the request with this id, if it was rejected not long ago.
    pub(crate) fn find(&self, id: &str) -> Option<Story> {
        let rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rings.iter().find_map(|ring| ring.find(id))
    }
}

impl Ring {
    /// Keeps a rejection, in the place of the oldest.
    pub(crate) fn keep(&self, rejected: Rejected<'_>, refusal: &Refusal) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Places { places, next } = &mut *ring;
        if places.len() < PLACES {
            places.reserve_exact(PLACES - places.len());
            places.push(Place::empty());
        }
        let Some(place) = places.get_mut(*next) else { return };
        *next = (*next + 1) % PLACES;
        (place.time, place.client) = (rejected.time, rejected.client);
        (place.key, place.cause) = (refusal.key, refusal.cause);
        place.retry_after = refusal.retry_after;
        let Rejected { id, method, host, path, .. } = rejected;
        place.write([id, method, &refusal.rule.name, host, path]);
    }

    fn find(&self, id: &str) -> Option<Story> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.places.iter().find_map(|place| {
            let [its, method, rule, host, path] = place.texts();
            (its == id && !id.is_empty()).then(|| Story {
                request_id: id.to_owned(),
                time: jiff::Timestamp::try_from(place.time).unwrap_or_default().to_string(),
                client: place.client,
                method: method.to_owned(),
                host: host.to_owned(),
                path: path.to_owned(),
                rule: rule.to_owned(),
                cause: place.cause.name(),
                key: place.key.to_string(),
                retry_after_seconds: place.retry_after,
            })
        })
    }
}

impl Place {
    fn empty() -> Self {
        Self {
            time: UNIX_EPOCH,
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            key: Key::default(),
            cause: Cause::Limit,
            retry_after: 0,
            text: [0; TEXT],
            ends: [0; 5],
        }
    }

    fn write(&mut self, texts: [&str; 5]) {
        let (mut room, mut end) = (&mut self.text[..], 0);
        for (text, its_end) in texts.into_iter().zip(&mut self.ends) {
            let cut = text.floor_char_boundary(room.len());
            let (part, rest) = room.split_at_mut(cut);
            part.copy_from_slice(text.as_bytes().split_at(cut).0);
            (room, end) = (rest, end + cut);
            *its_end = u16::try_from(end).unwrap_or(u16::MAX);
        }
    }

    fn texts(&self) -> [&str; 5] {
        let mut start = 0;
        self.ends.map(|end| {
            let text = self.text.get(usize::from(start)..usize::from(end)).unwrap_or_default();
            start = end;
            std::str::from_utf8(text).unwrap_or_default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::rate_limit::slot::Cause;
    use crate::policy::rate_limit::tests::{limiter, rules};

    #[test]
    fn the_last_rejections_are_found_by_their_ids() {
        let limiter = limiter();
        let rules = rules(&limiter, "[[rate_limit]]\nname = \"a\"\nlimit = 1\nwindow = \"1s\"");
        let rule = rules.get(0).unwrap();
        let key = "00000000000000010000000000000002".parse().unwrap();
        let (ring, other) = (limiter.recent.ring(), limiter.recent.ring());
        let long = format!("/{}", "é".repeat(200));
        let keep = |ring: &Ring, id: usize, path: &str| {
            let rejected = Rejected {
                id: &format!("{id:08}"),
                time: SystemTime::UNIX_EPOCH,
                client: IpAddr::from([192, 0, 2, 1]),
                method: "GET",
                host: "localhost",
                path,
            };
            let (rule, cause) = (Arc::clone(rule), Cause::Limit);
            ring.keep(rejected, &Refusal { rule, key, cause, retry_after: 7 });
        };
        keep(&other, 0, "/of-the-other");
        assert_eq!(limiter.recent.find("00000000").unwrap().path, "/of-the-other");
        for id in 1..PLACES + 2 {
            keep(&ring, id, if id % 2 == 0 { "/" } else { &long });
        }
        let find = |id: usize| limiter.recent.find(&format!("{id:08}"));
        assert!(find(0).is_some() && find(1).is_none(), "that is long ago, of its worker");
        let story = find(PLACES + 1).unwrap();
        assert_eq!((&*story.rule, story.cause, story.retry_after_seconds), ("a", "limit", 7));
        assert_eq!(&*story.key, "00000000000000010000000000000002");
        assert_eq!((&*story.method, &*story.host), ("GET", "localhost"));
        assert!(long.starts_with(&story.path) && (200..TEXT).contains(&story.path.len()));
        assert_eq!(find(2).unwrap().path, "/", "nothing is left of what was there before");
        assert_eq!(find(PLACES).unwrap().path, "/");
        assert!(limiter.recent.find("").is_none() && limiter.recent.find("x").is_none());
    }
}

//! The shared store: a Redis or Valkey in which several instances count together. What they share
//! of certificates is [`crate::vault`]'s.
//!
//! Every worker has a [`Link`] of its own, so requests cross no thread for it. What the links of an
//! instance know together is its [`Standing`]: whether the store answers, and how many instances
//! there are.
//!
//! # Why
//!
//! The store is optional by nature: it may be late, down, read-only, full or failing over, and a
//! request must not feel it. So a link is either up, and a request waits for it at most
//! `store.timeout`; or it is down, and no request waits at all, until probes say otherwise.

mod connect;
mod link;

#[cfg(test)]
#[path = "../../tests/it/harness/redis.rs"]
#[expect(dead_code, reason = "the integration tests need more of it")]
pub(crate) mod server;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::config::Store;

pub(crate) use self::connect::Connection;
pub use self::link::{Link, Silence};
pub(crate) use self::link::{Script, is_unknown_script};

/// The link of a thread to the store of a configuration, if it has one.
#[must_use]
pub fn link(store: &Store, standing: Option<&Arc<Standing>>) -> Option<Rc<Link>> {
    let redis = store.redis.clone()?;
    standing.map(|standing| Link::new(redis, store.timeout, Arc::clone(standing)))
}

/// What the links of this instance know together.
#[derive(Debug)]
pub struct Standing {
    /// By what other instances know this one.
    id: u64,
    links: AtomicUsize,
    up: AtomicUsize,
    /// Whether the log has it that the store does not answer.
    told: AtomicBool,
    /// Instances that were alive when the store last answered.
    instances: AtomicUsize,
    answers: AtomicU64,
    silences: AtomicU64,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            id: RandomState::new().build_hasher().finish(),
            links: AtomicUsize::new(0),
            up: AtomicUsize::new(0),
            told: AtomicBool::new(false),
            instances: AtomicUsize::new(1),
            answers: AtomicU64::new(0),
            silences: AtomicU64::new(0),
        }
    }
}

impl Standing {
    /// Whether there are links, and all of them are up.
    pub(crate) fn is_up(&self) -> bool {
        let links = self.links.load(Ordering::Relaxed);
        links > 0 && self.up.load(Ordering::Relaxed) >= links
    }

    /// Instances that were alive when the store last answered, at least 1: this one.
    pub(crate) fn instances(&self) -> u64 {
        self.instances.load(Ordering::Relaxed).max(1) as u64
    }

    /// Questions that were answered.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Questions that were refused, or not answered in time, or not asked because the store is
    /// down.
    pub(crate) fn silences(&self) -> u64 {
        self.silences.load(Ordering::Relaxed)
    }

    /// A link is up. The last one says so, if the log has it that there was a failure.
    fn link_is_up(&self) {
        self.up.fetch_add(1, Ordering::Relaxed);
        if self.is_up() && self.told.swap(false, Ordering::Relaxed) {
            tracing::info!(instances = self.instances(), "the store answers: counts are shared");
        }
    }

    /// A link that was up is down.
    fn link_is_down(&self) {
        self.up.fetch_sub(1, Ordering::Relaxed);
    }

    /// Says why there is no link, once until there are all.
    fn tell(&self, why: &dyn std::fmt::Display) {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!("the store does not answer, rules do as their `on_failure` says: {why}");
        }
    }
}

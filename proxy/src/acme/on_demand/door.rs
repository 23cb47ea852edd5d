//! What workers know of hosts that are served on demand: which are approved; and how they tell of
//! one that somebody wants and no site has.
//!
//! No handshake waits for that. Names are kept for the control thread, a bounded number in all and
//! of each client, so that one who makes names up takes no place from others.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

/// Names that wait to be asked for.
const WAITING: usize = 256;

/// Those of them that one client may have named.
const OF_ONE_CLIENT: usize = 8;

/// Names of which it is known for a while that they are not to be asked for.
const REMEMBERED: usize = 4_096;

/// Where unknown hosts knock.
#[derive(Debug, Default)]
pub(crate) struct Door {
    approved: ArcSwap<HashSet<Box<str>>>,
    queue: Mutex<Queue>,
    turned_away: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(Box<str>, IpAddr)>,
    /// Until when a name is not asked for.
    settled: HashMap<Box<str>, Instant>,
}

impl Door {
    /// Whether a host is approved.
    pub(crate) fn admits(&self, host: &str) -> bool {
        self.approved.load().contains(host)
    }

    /// A client wants a host that no site has.
    pub(crate) fn knock(&self, host: &str, client: IpAddr, now: Instant) {
        if !is_public(host) {
            return;
        }
        let client = bucket(client);
        let mut queue = self.queue();
        if queue.settled.get(host).is_some_and(|until| now < *until)
            || queue.waiting.iter().any(|(waiting, _)| **waiting == *host)
        {
            return;
        }
        let of_client = queue.waiting.iter().filter(|(_, by)| *by == client).count();
        if queue.waiting.len() >= WAITING || of_client >= OF_ONE_CLIENT {
            self.turn_away();
            return;
        }
        queue.waiting.push_back((host.into(), client));
    }

    /// The next name to ask for, which is not named again before the answer has to be there.
    pub(super) fn next(&self, now: Instant, patience: Duration) -> Option<Box<str>> {
        let mut queue = self.queue();
        let (host, _) = queue.waiting.pop_front()?;
        queue.settle(&host, now + patience, now);
        Some(host)
    }

    /// A name is not to be asked for before a moment.
    pub(super) fn settle(&self, host: &str, until: Instant, now: Instant) {
        self.queue().settle(host, until, now);
    }

    /// These hosts are approved, and no others.
    pub(super) fn admit(&self, hosts: HashSet<Box<str>>) {
        self.approved.store(hosts.into());
    }

    /// Names for which there was no room.
    pub(super) fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// A name is approved, and there is no room for it.
    pub(super) fn turn_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn settle(&mut self, host: &str, until: Instant, now: Instant) {
        if self.settled.len() >= REMEMBERED {
            self.settled.retain(|_, until| now < *until);
        }
        if self.settled.len() >= REMEMBERED
            && let Some(any) = self.settled.keys().next().cloned()
        {
            self.settled.remove(&any);
        }
        self.settled.insert(host.into(), until);
    }
}

/// Whoever has an IPv6 address usually has all of its /64.
fn bucket(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

/// Whether a public CA could issue a certificate for a name: two labels or more of a host name
/// (RFC 1123, 2.1) in lower case, under a domain that the public DNS can have (RFC 6761).
pub(crate) fn is_public(host: &str) -> bool {
    const NEVER: [&str; 8] =
        ["localhost", "local", "internal", "test", "example", "invalid", "onion", "alt"];
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let Some((rest, last)) = host.rsplit_once('.') else { return false };
    host.len() <= 253
        && rest.split('.').chain([last]).all(label)
        && last.len() >= 2
        && last.bytes().any(|byte| byte.is_ascii_lowercase())
        && !NEVER.contains(&last)
        && !host.ends_with(".home.arpa")
}

#[cfg(test)]
#[path = "door_tests.rs"]
mod tests;

//! The local store: every live window of every rule, sharded, bounded, swept.
//!
//! Keys are fixed-size keyed hashes, so what a client sends neither grows the table nor steers
//! where it lands. The table is cut into partitions, each a small dashmap with its own count:
//! sweeping takes one partition at a time, and making room looks at the partition of the new key
//! only.
//!
//! # Locks
//!
//! A window lives behind its own lock, outside the map's. A request first collects the windows of
//! all its rules (the map's guards are gone by then), then locks them in the order of their keys,
//! decides, and counts. All rules are thus decided together, and no two requests can wait for each
//! other. A window that the sweep removes between the two steps is marked, and the request looks it
//! up anew.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::window::{Quota, Window};

/// A keyed 128-bit hash of a rule and what it is keyed by.
pub(crate) type Key = u128;

/// A window and the quota that it is held to.
#[derive(Debug)]
pub(crate) struct Slot {
    quota: Quota,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) window: Window,
    /// Set once the table has let go of the window: what is counted here from now on is lost.
    pub(crate) removed: bool,
}

impl Slot {
    /// Takes the window's lock. No code panics while it holds one; a poisoned lock would still be
    /// usable.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys are hashes already: their low half is the table's hash.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KeyHasher(u64);

impl std::hash::Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low half is as random as the whole")]
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

type Partition = DashMap<Key, Arc<Slot>, std::hash::BuildHasherDefault<KeyHasher>>;

/// The windows of all rules.
#[derive(Debug)]
pub(crate) struct Table {
    partitions: Box<[(Partition, AtomicUsize)]>,
    /// Keys that one partition may hold.
    partition_capacity: usize,
}

impl Table {
    const PARTITIONS: usize = 64;
    /// Candidates that are compared when room must be made.
    const CANDIDATES: usize = 16;

    /// A table that holds up to `capacity` keys, rounded up to a multiple of 64.
    pub(crate) fn new(capacity: usize) -> Self {
        let partition = || {
            let map = DashMap::with_hasher_and_shard_amount(Default::default(), 2);
            (map, AtomicUsize::new(0))
        };
        Self {
            partitions: std::iter::repeat_with(partition).take(Self::PARTITIONS).collect(),
            partition_capacity: capacity.div_ceil(Self::PARTITIONS).max(1),
        }
    }

    /// The window of `key`, made if there is none. `None` when the table is full of keys that are
    /// being limited.
    pub(crate) fn slot(&self, key: Key, quota: Quota, now: u64) -> Option<Arc<Slot>> {
        let (map, len) = self.partition(key)?;
        if let Some(slot) = map.get(&key) {
            return Some(Arc::clone(&slot));
        }
        if len.load(Ordering::Relaxed) >= self.partition_capacity && !make_room(map, len, now) {
            return None;
        }
        match map.entry(key) {
            Entry::Occupied(entry) => Some(Arc::clone(entry.get())),
            Entry::Vacant(entry) => {
                let slot = Arc::new(Slot { quota, state: Mutex::default() });
                len.fetch_add(1, Ordering::Relaxed);
                entry.insert(Arc::clone(&slot));
                Some(slot)
            }
        }
    }

    /// Removes the expired keys of one partition; call it with 0, 1, 2, … to go round the table.
    pub(crate) fn sweep(&self, turn: usize, now: u64) {
        let Some((map, len)) = self.partitions.get(turn % Self::PARTITIONS) else { return };
        map.retain(|_, slot| {
            let mut state = slot.lock();
            let expired = state.window.is_expired(slot.quota, now);
            if expired {
                state.removed = true;
                len.fetch_sub(1, Ordering::Relaxed);
            }
            !expired
        });
    }

    /// How many partitions a whole round of [`Self::sweep`] takes.
    pub(crate) const fn turns() -> usize {
        Self::PARTITIONS
    }

    /// Live keys.
    pub(crate) fn len(&self) -> usize {
        self.partitions.iter().map(|(_, len)| len.load(Ordering::Relaxed)).sum()
    }

    /// The high half chooses the partition, as the low half chooses the place in it.
    #[expect(clippy::cast_possible_truncation, reason = "taken modulo the partitions")]
    fn partition(&self, key: Key) -> Option<&(Partition, AtomicUsize)> {
        self.partitions.get((key >> 64) as usize % Self::PARTITIONS)
    }
}

/// Gives up one key of a full partition: an expired one, else the one that has used the least of
/// its limit. Keys hash to random places, so the first few are a fair sample. A key that is being
/// limited is never given up.
fn make_room(map: &Partition, len: &AtomicUsize, now: u64) -> bool {
    let victim = map
        .iter()
        .take(Table::CANDIDATES)
        .filter_map(|entry| {
            let slot = entry.value();
            let mut state = slot.lock();
            let remaining = state.window.remaining(slot.quota, now);
            let used = slot.quota.limit - remaining;
            (remaining > 0).then(|| (used.saturating_mul(1_000) / slot.quota.limit, *entry.key()))
        })
        .min();
    let Some((_, key)) = victim else { return false };
    let removed = map.remove(&key);
    if let Some((_, slot)) = &removed {
        slot.lock().removed = true;
        len.fetch_sub(1, Ordering::Relaxed);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn quota(limit: u64) -> Quota {
        Quota::new(limit, Duration::from_nanos(1_000))
    }

    /// A key of partition 0, as its high half is zero.
    fn spend(table: &Table, key: Key, quota: Quota, now: u64, times: u64) -> bool {
        let Some(slot) = table.slot(key, quota, now) else { return false };
        let mut state = slot.lock();
        for _ in 0..times {
            state.window.admit(quota, now);
        }
        true
    }

    #[test]
    fn a_full_partition_gives_up_the_key_that_used_least() {
        let table = Table::new(4 * Table::PARTITIONS);
        for key in 1..=4 {
            assert!(spend(&table, key, quota(10), 0, u64::try_from(key).unwrap()));
        }
        assert!(spend(&table, 5, quota(10), 1, 1));
        assert_eq!(table.len(), 4);
        let one = table.slot(2, quota(10), 1).unwrap();
        assert_eq!(one.lock().window.used(quota(10)), 2, "key 2 survived, key 1 had to go");
    }

    #[test]
    fn limited_keys_are_never_given_up() {
        let table = Table::new(2 * Table::PARTITIONS);
        assert!(spend(&table, 1, quota(1), 0, 1));
        assert!(spend(&table, 2, quota(1), 0, 1));
        assert!(!spend(&table, 3, quota(1), 999, 1), "both keys are being limited");
        assert!(spend(&table, 3, quota(1), 1_000, 1), "both have expired");
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn the_sweep_removes_what_has_expired_and_marks_it() {
        let table = Table::new(1_000);
        let held = table.slot(7, quota(5), 0).unwrap();
        spend(&table, 7, quota(5), 0, 1);
        spend(&table, 8, quota(5), 900, 1);
        (0..Table::turns()).for_each(|turn| table.sweep(turn, 1_000));
        assert_eq!(table.len(), 1);
        assert!(held.lock().removed);
    }

    #[test]
    fn a_flood_of_one_shot_keys_stays_within_the_bound() {
        let table = Table::new(640);
        for key in 0..20_000_u128 {
            assert!(spend(&table, key << 58 | key, quota(5), 0, 1));
        }
        assert!(table.len() <= 640, "{} keys", table.len());
    }
}

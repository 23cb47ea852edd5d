//! The local store: every live key of every rule, sharded, bounded, swept.
//!
//! Keys are fixed-size keyed hashes, so what a client sends neither grows the table nor steers
//! where it lands. The table is cut into partitions, each a small dashmap: sweeping takes one
//! partition at a time, and none is held for long.
//!
//! # Locks
//!
//! A slot has no lock of its own: its shard's is. A request locks the shards of all its keys, in
//! their order, so that no two requests can wait for each other ([`Locked`]); it decides, counts,
//! and lets go. All rules are thus decided together, and nobody can take a slot away in between.
//! This is why the map's guards, which know of one key each, are not used: two keys of a request
//! may lie in one shard.
//!
//! # Memory
//!
//! Every byte that a key takes is counted, and there is a budget. When it is reached, keys are
//! given up in the order of least harm: of a random sample the one that has expired, else the one
//! that has used the smallest share of its limit, else the oldest. One that is being limited is
//! never given up: if the sample has no other, the new key is not counted, whichever rule it is of.
//! The metric `rate_limit_untracked_total` counts such requests, and the alert
//! `RateLimitsUncounted` tells of them.

mod locked;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::{DashMap, SharedValue};
use hashbrown::raw::RawTable;
use smallvec::SmallVec;

use super::key::Key;
use super::lease::Lease;
use super::slot::Slot;

pub(super) use self::locked::Locked;

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

    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }
}

type Partition = DashMap<Key, Box<Slot>, std::hash::BuildHasherDefault<KeyHasher>>;
type Shard = RawTable<(Key, SharedValue<Box<Slot>>)>;

/// The live keys of all rules.
#[derive(Debug)]
pub(super) struct Table {
    partitions: Box<[Partition]>,
    /// Bytes that keys may take.
    budget: AtomicUsize,
    /// Bytes that they take.
    bytes: AtomicUsize,
    keys: AtomicUsize,
    /// Keys given up to make room.
    evicted: AtomicU64,
}

impl Table {
    const PARTITIONS: usize = 2_048;
    /// Shards of a partition, the fewest that a dashmap can have.
    const SHARDS: usize = 2;
    /// Keys that are compared when room must be made.
    const CANDIDATES: usize = 16;
    /// Keys that are looked at to find them.
    const SAMPLE: usize = 64;
    /// Keys that one request gives up at most.
    const VICTIMS: usize = 64;

    /// Bytes of a key besides what its slot has on the heap: the slot, and its entry in a map that
    /// is half empty.
    pub(super) const KEY: usize =
        size_of::<Slot>() + 2 * (size_of::<(Key, Box<Slot>)>() + size_of::<u8>());

    /// A table for `budget` bytes of keys.
    pub(super) fn new(budget: usize) -> Self {
        let partition = || DashMap::with_hasher_and_shard_amount(Default::default(), Self::SHARDS);
        Self {
            partitions: std::iter::repeat_with(partition).take(Self::PARTITIONS).collect(),
            budget: AtomicUsize::new(budget),
            bytes: AtomicUsize::new(0),
            keys: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// Changes the budget; what is over it goes when the next key comes.
    pub(super) fn set_budget(&self, bytes: usize) {
        self.budget.store(bytes, Ordering::Relaxed);
    }

    /// Locks the shards of these keys.
    pub(super) fn lock(&self, keys: impl Iterator<Item = Key>) -> Locked<'_> {
        let mut places: SmallVec<[usize; 4]> = keys.map(|key| self.place(key)).collect();
        places.sort_unstable();
        places.dedup();
        let mut shards = SmallVec::new();
        for place in &places {
            let map = self.partitions.get(place / Self::SHARDS);
            let shard = map.and_then(|map| map.shards().get(place % Self::SHARDS));
            shards.extend(shard.map(|shard| (*place, shard.write())));
        }
        Locked { table: self, shards, grown: 0, lease: Lease::default() }
    }

    /// Where a key's shard is: the high half of the key chooses the partition, the low half the
    /// shard in it.
    fn place(&self, key: Key) -> usize {
        let partition = Self::partition(key);
        let shard = self.partitions.get(partition).map_or(0, |map| map.determine_map(&key));
        partition * Self::SHARDS + shard
    }

    #[expect(clippy::cast_possible_truncation, reason = "taken modulo the partitions")]
    const fn partition(key: Key) -> usize {
        key.high as usize % Self::PARTITIONS
    }

    /// Gives up keys until there is room for `bytes` more. False if there is none. Call it without
    /// locks.
    ///
    /// After the budget has become smaller, it takes many calls to get back to it; until then it is
    /// enough that the table does not grow.
    pub(super) fn make_room(&self, bytes: usize, now: u64) -> bool {
        let mut freed = 0;
        for _ in 0..Self::VICTIMS {
            if self.has_room(bytes) {
                return true;
            }
            let Some(one) = self.give_up_one(now) else { break };
            freed += one;
        }
        self.has_room(bytes) || freed >= bytes
    }

    fn has_room(&self, bytes: usize) -> bool {
        let budget = self.budget.load(Ordering::Relaxed);
        self.bytes.load(Ordering::Relaxed).saturating_add(bytes) <= budget
    }

    /// Gives up the key of a random sample that is missed least, and says how many bytes that was.
    /// `None` if all are being limited.
    fn give_up_one(&self, now: u64) -> Option<usize> {
        let (mut seen, mut candidates) = (0, 0);
        let mut least: Option<((u64, u64), Key)> = None;
        let start = fastrand::usize(..Self::PARTITIONS);
        let around = self.partitions.iter().cycle().skip(start).take(Self::PARTITIONS);
        for map in around.filter(|map| !map.is_empty()) {
            // Not always from the front, where only keys would be left that cannot be given up.
            for mut entry in map.iter_mut().skip(fastrand::usize(..=map.len() / 2)) {
                if let Some(harm) = entry.value_mut().harm(now) {
                    candidates += 1;
                    least = least.into_iter().chain([(harm, *entry.key())]).min();
                }
                seen += 1;
                if seen == Self::SAMPLE || candidates == Self::CANDIDATES {
                    break;
                }
            }
            if seen == Self::SAMPLE || candidates == Self::CANDIDATES {
                break;
            }
        }
        let (_, key) = least?;
        let freed = self.remove_if(key, |slot| slot.harm(now).is_some());
        if freed > 0 {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        Some(freed)
    }

    /// Forgets what a key of `rule` has used, whatever it is; what is under way stays. False if
    /// there is no such key.
    pub(super) fn forget(&self, key: Key, rule: &str) -> bool {
        let mut found = false;
        self.remove_if(key, |slot| {
            found = *slot.rule.name == *rule;
            found && {
                let before = slot.bytes();
                slot.forget();
                self.bytes.fetch_sub(before - slot.bytes(), Ordering::Relaxed);
                slot.is_idle()
            }
        });
        found
    }

    /// Removes a key that may go, and says how many bytes that was.
    fn remove_if(&self, key: Key, may_go: impl FnOnce(&mut Slot) -> bool) -> usize {
        let map = self.partitions.get(Self::partition(key));
        let removed = map.and_then(|map| map.remove_if_mut(&key, |_, slot| may_go(slot)));
        removed.map_or(0, |(_, slot)| self.let_go(&slot))
    }

    /// No longer accounts for a slot that leaves its map. Returns its bytes.
    fn let_go(&self, slot: &Slot) -> usize {
        let bytes = Self::KEY + slot.bytes();
        self.keys.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        bytes
    }

    /// Removes the expired keys of one partition, and those that are `over` for another reason;
    /// call it with 0, 1, 2, … to go round the table.
    pub(super) fn sweep(&self, turn: usize, now: u64, mut over: impl FnMut(&Slot) -> bool) {
        let Some(map) = self.partitions.get(turn % Self::PARTITIONS) else { return };
        map.retain(|_, slot| {
            let goes = slot.is_expired(now) || over(slot);
            if goes {
                self.let_go(slot);
            }
            !goes
        });
    }

    /// How many partitions a whole round of [`Self::sweep`] takes.
    pub(super) const fn turns() -> usize {
        Self::PARTITIONS
    }

    /// Shows every slot of one partition.
    pub(super) fn each(&self, turn: usize, mut show: impl FnMut(Key, &mut Slot)) {
        let Some(map) = self.partitions.get(turn) else { return };
        map.iter_mut().for_each(|mut entry| show(*entry.key(), entry.value_mut()));
    }

    /// Bytes that keys may take.
    pub(super) fn budget(&self) -> usize {
        self.budget.load(Ordering::Relaxed)
    }

    /// Live keys.
    pub(super) fn len(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Keys given up to make room.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

//! The local store: every live key of every rule, sharded, bounded, swept.
//!
//! Keys are fixed-size keyed hashes, so what a client sends neither grows the table nor steers
//! where it lands. The table is cut into partitions, each a small dashmap: sweeping takes one
//! partition at a time, and none is held for long.
//!
//! # Locks
//!
//! The state of a key lives behind its own lock, outside the map's. A request first collects the
//! slots of all its rules (the map's guards are gone by then), then locks them in the order of
//! their keys, decides, and counts. All rules are thus decided together, and no two requests can
//! wait for each other. A slot that the sweep removes between the two steps is marked, and the
//! request looks it up anew.
//!
//! # Memory
//!
//! Every byte that a key takes is counted, and there is a budget. When it is reached, keys are
//! given up in the order of least harm: of a random sample the one that has expired, else the one
//! that has used the smallest share of its limit, else the oldest. One that is being limited is
//! never given up: if the sample has no other, the new key is not counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::key::Key;
use super::rule::Rule;
use super::slot::{Slot, State};

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

type Partition = DashMap<Key, Arc<Slot>, std::hash::BuildHasherDefault<KeyHasher>>;

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
    /// Keys that are compared when room must be made.
    const CANDIDATES: usize = 16;
    /// Keys that are looked at to find them.
    const SAMPLE: usize = 64;
    /// Keys that one request gives up at most.
    const VICTIMS: usize = 64;

    /// Bytes of a key besides what its state has on the heap: its slot with the counts of the
    /// `Arc`, and its entry in a map that is half empty.
    pub(super) const KEY: usize = size_of::<Slot>()
        + 2 * size_of::<usize>()
        + 2 * (size_of::<(Key, Arc<Slot>)>() + size_of::<u8>());

    /// A table for `budget` bytes of keys.
    pub(super) fn new(budget: usize) -> Self {
        let partition = || DashMap::with_hasher_and_shard_amount(Default::default(), 2);
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

    /// The slot of `key`, made if there is none. `None` when there is no room for it.
    pub(super) fn slot(&self, key: Key, rule: &Arc<Rule>, now: u64) -> Option<Arc<Slot>> {
        let map = self.partition(key)?;
        if let Some(slot) = map.get(&key) {
            return Some(Arc::clone(&slot));
        }
        if !self.make_room(Self::KEY, now) {
            return None;
        }
        match map.entry(key) {
            Entry::Occupied(entry) => Some(Arc::clone(entry.get())),
            Entry::Vacant(entry) => {
                let slot = Slot::new(rule);
                self.keys.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(Self::KEY, Ordering::Relaxed);
                entry.insert(Arc::clone(&slot));
                Some(slot)
            }
        }
    }

    /// Accounts for states that have grown, and makes room for them. Call it without their locks.
    pub(super) fn grown(&self, bytes: usize, now: u64) {
        if bytes > 0 {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.make_room(0, now);
        }
    }

    /// Gives up keys until there is room for `bytes` more. False if there is none.
    fn make_room(&self, bytes: usize, now: u64) -> bool {
        let budget = self.budget.load(Ordering::Relaxed);
        let is_full = || self.bytes.load(Ordering::Relaxed).saturating_add(bytes) > budget;
        (0..Self::VICTIMS).all(|_| !is_full() || self.give_up_one(now)) && !is_full()
    }

    /// Gives up the key of a random sample that is missed least. False if all are being limited.
    fn give_up_one(&self, now: u64) -> bool {
        let (mut seen, mut candidates) = (0, 0);
        let mut least: Option<((u64, u64), Key)> = None;
        let start = fastrand::usize(..Self::PARTITIONS);
        let around = self.partitions.iter().cycle().skip(start).take(Self::PARTITIONS);
        for map in around.filter(|map| !map.is_empty()) {
            // Not always from the front, where only keys would be left that cannot be given up.
            for entry in map.iter().skip(fastrand::usize(..=map.len() / 2)) {
                let slot = entry.value();
                let harm = slot.lock().harm(&slot.rule, now);
                if let Some(harm) = harm {
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
        let Some((_, key)) = least else { return false };
        if self.remove_if(key, |slot, state| state.harm(&slot.rule, now).is_some()) {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// Forgets a key of `rule`, whatever it has used. False if it is not there.
    pub(super) fn remove(&self, key: Key, rule: &str) -> bool {
        self.remove_if(key, |slot, _| *slot.rule.name == *rule)
    }

    fn remove_if(&self, key: Key, may_go: impl Fn(&Slot, &mut State) -> bool) -> bool {
        let removed = self.partition(key).and_then(|map| {
            map.remove_if(&key, |_, slot| {
                let mut state = slot.lock();
                let goes = may_go(slot, &mut state);
                if goes {
                    self.let_go(&mut state);
                }
                goes
            })
        });
        removed.is_some()
    }

    /// Marks a slot that leaves its map, and no longer accounts for it.
    fn let_go(&self, state: &mut State) {
        state.removed = true;
        self.keys.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(Self::KEY + state.bytes(), Ordering::Relaxed);
    }

    /// Removes the expired keys of one partition; call it with 0, 1, 2, … to go round the table.
    pub(super) fn sweep(&self, turn: usize, now: u64) {
        let Some(map) = self.partitions.get(turn % Self::PARTITIONS) else { return };
        map.retain(|_, slot| {
            let mut state = slot.lock();
            let expired = state.is_expired(&slot.rule, now);
            if expired {
                self.let_go(&mut state);
            }
            !expired
        });
    }

    /// How many partitions a whole round of [`Self::sweep`] takes.
    pub(super) const fn turns() -> usize {
        Self::PARTITIONS
    }

    /// Shows every slot of one partition.
    pub(super) fn each(&self, turn: usize, mut show: impl FnMut(Key, &Slot)) {
        let Some(map) = self.partitions.get(turn) else { return };
        map.iter().for_each(|entry| show(*entry.key(), entry.value()));
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

    /// The high half chooses the partition, as the low half chooses the place in it.
    #[expect(clippy::cast_possible_truncation, reason = "taken modulo the partitions")]
    fn partition(&self, key: Key) -> Option<&Partition> {
        self.partitions.get(key.high as usize % Self::PARTITIONS)
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

//! What a request does to the table while it holds the shards of its keys.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dashmap::{RwLockWriteGuard, SharedValue};
use smallvec::SmallVec;

use super::{Shard, Table};
use crate::policy::rate_limit::key::Key;
use crate::policy::rate_limit::lease::Lease;
use crate::policy::rate_limit::rule::Rule;
use crate::policy::rate_limit::slot::Slot;

/// Shards of the table that are locked, and the slots in them. Dropped, it lets go of all.
pub(in crate::policy::rate_limit) struct Locked<'a> {
    pub(super) table: &'a Table,
    /// By their places.
    pub(super) shards: SmallVec<[(usize, RwLockWriteGuard<'a, Shard>); 4]>,
    /// Bytes by which slots have grown.
    pub(super) grown: usize,
    /// What the request holds. It stands behind the locks, so that it is dropped after them, also
    /// by a panic: to give back what it holds it locks the same shards.
    pub(in crate::policy::rate_limit) lease: Lease,
}

impl Locked<'_> {
    /// The slot of `key`, if there is one, and its shard was asked for.
    pub(in crate::policy::rate_limit) fn slot(&mut self, key: Key) -> Option<&mut Slot> {
        let slot = self.shard(key)?.get_mut(key.low, |(found, _)| *found == key);
        slot.map(|(_, slot)| &mut **slot.get_mut())
    }

    /// Makes the slot of `key` if there is none. False if that takes more room than there is, and
    /// none `is_made` for it.
    pub(in crate::policy::rate_limit) fn make(
        &mut self,
        key: Key,
        rule: &Arc<Rule>,
        is_made: bool,
    ) -> bool {
        if self.slot(key).is_some() {
            return true;
        }
        if !is_made && !self.table.has_room(Table::KEY) {
            return false;
        }
        let table = self.table;
        if let Some(shard) = self.shard(key) {
            table.keys.fetch_add(1, Ordering::Relaxed);
            table.bytes.fetch_add(Table::KEY, Ordering::Relaxed);
            let slot = SharedValue::new(Box::new(Slot::new(rule)));
            shard.insert(key.low, (key, slot), |(key, _)| key.low);
        }
        true
    }

    /// Does something with the slot of `key` by which it may grow.
    pub(in crate::policy::rate_limit) fn change<T>(
        &mut self,
        key: Key,
        with: impl FnOnce(&mut Slot) -> T,
    ) -> Option<T> {
        let slot = self.slot(key)?;
        let before = slot.bytes();
        let outcome = with(slot);
        let grown = slot.bytes().saturating_sub(before);
        self.grown += grown;
        Some(outcome)
    }

    /// Accounts for slots that have grown, lets go of all, and makes room for them.
    pub(in crate::policy::rate_limit) fn end(self, now: u64) -> Lease {
        let Self { table, shards, grown, lease } = self;
        if grown > 0 {
            // Before anybody else can remove a slot, and its bytes from the account.
            table.bytes.fetch_add(grown, Ordering::Relaxed);
        }
        drop(shards);
        if grown > 0 {
            table.make_room(0, now);
        }
        lease
    }

    fn shard(&mut self, key: Key) -> Option<&mut Shard> {
        let place = self.table.place(key);
        self.shards.iter_mut().find(|(held, _)| *held == place).map(|(_, shard)| &mut **shard)
    }
}

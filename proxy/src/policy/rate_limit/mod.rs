//! Rate limits: which rules a request falls under, and whether all of them admit it.
//!
//! All rules that count a request are decided together, while all their keys are locked: a
//! request that any of them rejects consumes quota in none. Shadow rules are evaluated beside the
//! others and never reject.
//!
//! In the order in which a request meets them: [`rule`] (with [`matching`]: whether it is counted,
//! and [`key`]: by what, with [`token`]), [`table`] (the live keys), [`slot`] (one of them, with
//! [`window`]: the arithmetic), [`decision`] (what all say together), [`fields`] (what the client
//! is told), [`lease`] (what it holds until its end). [`tally`] counts for the operator; [`live`]
//! says which keys a reload leaves.
//!
//! # Why
//!
//! Sliding windows, not token buckets or fixed windows: `limit` per `window` then means what an
//! operator reads into it, in every interval, and a `Retry-After` can be exact.
//!
//! Rules that count answers (`count`) have to decide before there is one. They set the cost of each
//! request that waits for its answer aside, and charge or give it back when the answer is there: in
//! every interval at most `limit` answers count, however many requests are sent at once, and
//! `ahead` more where the operator would rather let requests pass that will not count. A request
//! that is given up before its answer counts nothing.

mod decision;
mod fields;
mod footprint;
mod key;
mod lease;
mod live;
mod matching;
mod overview;
mod recent;
mod rule;
mod shared;
mod slot;
mod table;
mod tally;
mod token;
mod window;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use smallvec::SmallVec;

use self::decision::Reading;
use self::lease::Held;
use self::live::Live;
use self::rule::Asked;
use self::slot::Slot;
use self::table::{Locked, Table};
use self::tally::Tallies;

pub use self::decision::Decision;
pub(crate) use self::decision::Refusal;
pub(crate) use self::fields::Fields;
pub use self::footprint::Footprint;
pub(crate) use self::key::Key;
pub(crate) use self::lease::Lease;
pub use self::matching::Mismatch;
pub(crate) use self::recent::{Recent, Rejected, Ring};
pub use self::rule::{Facts, Rule, Rules};
pub use self::shared::{Answer, Denied, Question, Verdict};
pub(crate) use self::table::KeyHasher;
pub(crate) use self::window::nanoseconds;
use crate::config::{Config, Mode};

/// The counts of all clients.
#[derive(Debug)]
pub struct Limiter {
    table: Arc<Table>,
    tallies: Tallies,
    /// Secret of this process, so that nobody can choose keys that collide.
    secret: [u8; 16],
    /// Requests that passed uncounted because the table was full of keys being limited.
    untracked: AtomicU64,
    /// Keys given up and requests uncounted when that was last told.
    told: AtomicU64,
    /// The rules whose keys stay.
    live: Mutex<Live>,
    /// The last rejections, for those who ask why.
    pub(crate) recent: Recent,
}

/// What a request asks of the rules that count it, in the order of the file.
type AskedOf = SmallVec<[Asked; 4]>;

/// What they say.
type Readings = SmallVec<[Reading; 4]>;

impl Limiter {
    /// A secret of this process, from the operating system's randomness.
    pub(crate) fn secret() -> [u8; 16] {
        let mut secret = [0; 16];
        for half in secret.chunks_mut(8) {
            half.copy_from_slice(&RandomState::new().build_hasher().finish().to_ne_bytes());
        }
        secret
    }

    /// A limiter whose keys take up to `memory` bytes.
    #[must_use]
    pub fn new(memory: u64, secret: [u8; 16]) -> Self {
        let table = Arc::new(Table::new(usize::try_from(memory).unwrap_or(usize::MAX)));
        let (tallies, recent) = (Tallies::default(), Recent::default());
        let (untracked, told) = (AtomicU64::new(0), AtomicU64::new(0));
        let live = Mutex::default();
        Self { table, tallies, secret, untracked, told, live, recent }
    }

    /// Goes on by another configuration: keys may take as much memory as it says, and those of
    /// rules that it does not have are swept away.
    pub(crate) fn adopt(&self, config: &Config) {
        let memory = usize::try_from(config.rate_limits.memory).unwrap_or(usize::MAX);
        self.table.set_budget(memory);
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Live::new(config);
    }

    /// Decides one request at `now` (nanoseconds of a clock that never goes back) and counts it if
    /// it passes.
    #[must_use]
    pub fn decide(&self, rules: &Rules, facts: &Facts<'_>, now: u64) -> Decision {
        let mut asked = rules.asked(facts).collect();
        self.decide_asked(rules, &mut asked, facts, 1, now)
    }

    /// Locks the keys that a request asks for, and makes those that are new. Those that there is no
    /// room for are no longer asked for.
    fn hold(&self, rules: &Rules, asked: &mut AskedOf, now: u64) -> Locked<'_> {
        let mut is_made = false;
        loop {
            let mut locked = self.table.lock(asked.iter().map(|asked| asked.key));
            let mut make = |asked: &Asked| {
                rules.get(asked.rule).is_none_or(|rule| locked.make(asked.key, rule, is_made))
            };
            let Some(over) = asked.iter().position(|asked| !make(asked)) else { return locked };
            drop(locked);
            is_made = self.table.make_room(Table::KEY, now);
            if !is_made {
                asked.remove(over);
                self.untracked.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Decides here, by the share that one of `instances` has.
    fn decide_asked(
        &self,
        rules: &Rules,
        asked: &mut AskedOf,
        facts: &Facts<'_>,
        instances: u64,
        now: u64,
    ) -> Decision {
        let mut locked = self.hold(rules, asked, now);
        let mut readings = Readings::new();
        for asked in asked {
            let Some(rule) = rules.get(asked.rule) else { continue };
            let Some(slot) = locked.slot(asked.key) else { continue };
            let word = slot.word(rule, asked.cost, instances, now);
            readings.push(Reading { rule: asked.rule, key: asked.key, cost: asked.cost, word });
        }
        self.carry_out(rules, locked, readings, facts, now)
    }

    /// Does what all rules together say, once every word is there.
    fn carry_out(
        &self,
        rules: &Rules,
        mut locked: Locked<'_>,
        mut readings: Readings,
        facts: &Facts<'_>,
        now: u64,
    ) -> Decision {
        let rejected = Decision::rejects(rules, readings.iter());
        for reading in &mut readings {
            let Some(rule) = rules.get(reading.rule) else { continue };
            let holds = locked.change(reading.key, |slot| {
                let holds = settle(rule, slot, reading, rejected, now);
                label(rules, rule, slot, reading, facts);
                holds
            });
            if holds == Some(true) {
                locked.lease.0.push(Held::new(&self.table, rule, reading, None));
            }
        }
        let lease = locked.end(now);
        Decision { readings, rejected, lease }
    }

    /// Removes expired keys; `turn` goes 0, 1, 2, …, and [`Self::turns`] of them go once round the
    /// table.
    pub fn sweep(&self, turn: usize, now: u64) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        self.table.sweep(turn, now, |slot| live.outlived_by(slot));
        live.turn_ends();
    }

    /// Warns of keys that were given up since it was last called.
    pub(crate) fn warn_of_shortage(&self) {
        let (evicted, untracked) = (self.evicted(), self.untracked());
        let before = self.told.swap(evicted.saturating_add(untracked), Ordering::Relaxed);
        if evicted.saturating_add(untracked) > before {
            tracing::warn!(
                evicted,
                untracked,
                "`memory` of [rate_limits] is used up: keys that used the least of their limits \
                 are given up"
            );
        }
    }

    /// How many turns of [`Self::sweep`] make a round.
    #[must_use]
    pub const fn turns() -> usize {
        Table::turns()
    }

    /// Live keys.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.table.len()
    }

    /// Bytes that they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Keys given up because the memory was used up.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.table.evicted()
    }

    /// Requests that passed uncounted because the table was full of keys being limited.
    #[must_use]
    pub fn untracked(&self) -> u64 {
        self.untracked.load(Ordering::Relaxed)
    }

    /// Requests that a shadow rule would have rejected.
    #[must_use]
    pub fn shadowed(&self) -> u64 {
        self.tallies.sum(None, |tally| &tally.shadowed)
    }
}

/// Does what has been decided with one key. True if it has to learn of the request's end.
fn settle(rule: &Rule, slot: &mut Slot, reading: &mut Reading, rejected: bool, now: u64) -> bool {
    if !reading.word.admits() {
        reading.word.wait = reading.word.wait.max(slot.reject(rule, now));
        match rule.mode {
            Mode::Enforce => rule.tally.rejected.add(1),
            Mode::Shadow => rule.tally.shadowed.add(1),
        }
        return false;
    }
    if rejected {
        return false;
    }
    rule.tally.admitted.add(1);
    slot.enter(rule, reading.cost, now)
}

/// Keeps whose key it is once the operator may want to know: half of its limit is used.
fn label(rules: &Rules, rule: &Rule, slot: &mut Slot, reading: &Reading, facts: &Facts<'_>) {
    if reading.word.remaining <= rule.bound.limit() / 2 && slot.label().is_none() {
        slot.set_label(rules.label(rule, facts));
    }
}

#[cfg(test)]
#[path = "rate_limit_tests.rs"]
mod tests;

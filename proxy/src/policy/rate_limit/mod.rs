//! Rate limits: which rules a request falls under, and whether all of them admit it.
//!
//! All matching rules are decided together, under the locks of all their windows: a request that
//! any of them rejects consumes quota in none. Shadow rules are evaluated beside the others and
//! never reject.
//!
//! # Why
//!
//! Sliding windows, not token buckets or fixed windows: `limit` per `window` then means what an
//! operator reads into it, in every interval, and a `Retry-After` can be exact. The counts live in
//! this process; sharing them between instances will use the same keys and the same arithmetic.

mod fields;
mod rule;
mod table;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;
use smallvec::SmallVec;

use self::table::{Key, Slot, Table};

pub(crate) use self::rule::{Facts, Rule, Rules};
use crate::config::Mode;

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Decision {
    /// No rule stands against it.
    Admit(Option<Quoted>),
    /// An enforcing rule is out of quota.
    Reject(Quoted, Arc<Rule>),
}

/// What the client is told about its quota: the rule that is closest to rejecting, and every policy
/// that applied.
#[derive(Debug, Clone)]
pub(crate) struct Quoted {
    pub(crate) rate_limit: HeaderValue,
    pub(crate) policy: HeaderValue,
    /// Whole seconds until the next request would pass; for an admitted one, until quota comes
    /// back.
    pub(crate) retry_after: u64,
}

/// The counts of all clients.
#[derive(Debug)]
pub(crate) struct Limiter {
    table: Table,
    /// Secret of this process, so that nobody can choose keys that collide.
    secret: [u8; 16],
    /// Requests that passed uncounted because the table was full of keys being limited.
    untracked: AtomicU64,
    /// Requests that a shadow rule would have rejected.
    shadowed: AtomicU64,
}

struct Held {
    key: Key,
    rule: usize,
    slot: Arc<Slot>,
}

impl Limiter {
    /// Keys that are remembered at a time. A key costs about 250 bytes and 8 more for each request
    /// in its window.
    pub(crate) const CAPACITY: usize = 1_000_000;

    pub(crate) fn new(capacity: usize, secret: [u8; 16]) -> Self {
        let (untracked, shadowed) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { table: Table::new(capacity), secret, untracked, shadowed }
    }

    /// Decides one request at `now` (nanoseconds of a monotonic clock) and counts it if it passes.
    pub(crate) fn decide(&self, rules: &Rules, facts: &Facts<'_>, now: u64) -> Decision {
        let mut held: SmallVec<[Held; 4]> = SmallVec::new();
        for (index, rule) in rules.0.iter().enumerate() {
            if !rule.holds(facts) {
                continue;
            }
            let key = rule.hash(&self.secret, facts);
            match self.table.slot(key, rule.quota, now) {
                Some(slot) => held.push(Held { key, rule: index, slot }),
                None => _ = self.untracked.fetch_add(1, Ordering::Relaxed),
            }
        }
        if held.is_empty() {
            return Decision::Admit(None);
        }
        if held.len() > 1 {
            held.sort_unstable_by_key(|held| held.key);
        }
        loop {
            if let Some(decision) = self.decide_held(rules, &held, now) {
                return decision;
            }
            held.retain(|held| self.renew(rules, held, now));
        }
    }

    /// Looks a window up anew if the sweep has removed it. False when the table has no room for it
    /// any more.
    fn renew(&self, rules: &Rules, held: &mut Held, now: u64) -> bool {
        if !held.slot.lock().removed {
            return true;
        }
        let slot =
            rules.0.get(held.rule).and_then(|rule| self.table.slot(held.key, rule.quota, now));
        let Some(slot) = slot else {
            self.untracked.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        held.slot = slot;
        true
    }

    /// Decides under the locks of all windows, taken in the order of their keys. `None` when the
    /// sweep has removed one of them in the meantime.
    fn decide_held(&self, rules: &Rules, held: &[Held], now: u64) -> Option<Decision> {
        let mut nearest: Option<Nearest<'_>> = None;
        let mut locked: SmallVec<[_; 4]> = SmallVec::new();
        for held in held {
            let rule = rules.0.get(held.rule)?;
            let mut state = held.slot.lock();
            if state.removed {
                return None;
            }
            let remaining = state.window.remaining(rule.quota, now);
            let until_next = state.window.until_next(rule.quota, now);
            let rejects = remaining == 0 && rule.mode == Mode::Enforce;
            if rule.mode == Mode::Enforce {
                let one = Nearest { rule, remaining, until_next, rejects };
                nearest = Some(nearest.map_or(one, |other| other.nearer(one)));
            }
            locked.push((rule, state, remaining));
        }
        let rejects = nearest.is_some_and(|nearest| nearest.rejects);
        for (rule, state, remaining) in &mut locked {
            if *remaining == 0 && rule.mode == Mode::Shadow {
                self.shadowed.fetch_add(1, Ordering::Relaxed);
            } else if !rejects {
                state.window.admit(rule.quota, now);
            }
        }
        drop(locked);
        let Some(nearest) = nearest else { return Some(Decision::Admit(None)) };
        let quoted = nearest.quoted(rules, held);
        Some(if rejects {
            Decision::Reject(quoted, Arc::clone(nearest.rule))
        } else {
            Decision::Admit(Some(quoted))
        })
    }

    /// Removes expired keys; `turn` goes 0, 1, 2, …, and [`Self::turns`] of them go once round the
    /// table.
    pub(crate) fn sweep(&self, turn: usize, now: u64) {
        self.table.sweep(turn, now);
    }

    /// How many turns of [`Self::sweep`] make a round.
    pub(crate) const fn turns() -> usize {
        Table::turns()
    }

    /// Live keys.
    pub(crate) fn keys(&self) -> usize {
        self.table.len()
    }

    /// Requests that passed uncounted because the table was full of keys being limited.
    pub(crate) fn untracked(&self) -> u64 {
        self.untracked.load(Ordering::Relaxed)
    }

    /// Requests that a shadow rule would have rejected.
    pub(crate) fn shadowed(&self) -> u64 {
        self.shadowed.load(Ordering::Relaxed)
    }
}

/// The rule that the client is told about.
#[derive(Clone, Copy)]
struct Nearest<'a> {
    rule: &'a Arc<Rule>,
    /// Before this request.
    remaining: u64,
    /// Nanoseconds.
    until_next: u64,
    rejects: bool,
}

impl Nearest<'_> {
    /// Of two rejecting rules the one that takes longer, else the one with the smaller share of its
    /// limit left.
    fn nearer(self, other: Self) -> Self {
        let takes_other = if self.rejects || other.rejects {
            (other.rejects, other.until_next) > (self.rejects, self.until_next)
        } else {
            let share =
                |one: &Self, of: &Self| u128::from(one.remaining) * u128::from(of.rule.quota.limit);
            share(&other, &self) < share(&self, &other)
        };
        if takes_other { other } else { self }
    }

    fn quoted(&self, rules: &Rules, held: &[Held]) -> Quoted {
        let remaining = self.remaining.saturating_sub(u64::from(!self.rejects));
        let retry_after = self.until_next.div_ceil(1_000_000_000).max(1);
        // In the order of the file, not of the keys.
        let mut named: SmallVec<[usize; 4]> = held.iter().map(|held| held.rule).collect();
        named.sort_unstable();
        let mut policies = named
            .iter()
            .filter_map(|rule| rules.0.get(*rule))
            .filter(|rule| rule.mode == Mode::Enforce)
            .map(|rule| &rule.policy);
        let policy = match (policies.next(), policies.next()) {
            (Some(first), None) => first.clone(),
            (first, second) => fields::join(first.into_iter().chain(second).chain(policies)),
        };
        let rate_limit = fields::rate_limit(&self.rule.name, remaining, retry_after);
        Quoted { rate_limit, policy, retry_after }
    }
}

#[cfg(test)]
#[path = "rate_limit_tests.rs"]
mod tests;

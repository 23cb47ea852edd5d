//! What the operator sees of the limits, and takes back.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde::Serialize;

use super::Limiter;
use super::key::Key;

/// What is known of all rules.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    memory: Memory,
    /// By their names.
    pub(crate) rules: BTreeMap<String, OfRule>,
}

/// How much of the memory is used.
#[derive(Debug, Serialize)]
struct Memory {
    budget_bytes: usize,
    used_bytes: usize,
    keys: usize,
    /// Keys given up to make room.
    evicted: u64,
    /// Requests that passed uncounted.
    untracked: u64,
}

/// What is known of a rule.
#[derive(Debug, Default, Serialize)]
pub(crate) struct OfRule {
    keys: usize,
    admitted: u64,
    rejected: u64,
    shadowed: u64,
    /// The keys that have used most, the first of all first.
    busiest: Vec<Busy>,
}

/// A key that has used much of its limit.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Busy {
    used: u64,
    /// Its hash, by which it can be reset.
    id: String,
    /// What may be read of it, once half of the limit is used.
    key: Option<Box<str>>,
}

/// Keys that are named for each rule.
const BUSIEST: usize = 10;

/// Partitions of the table between two rests: the control thread has more to do.
const STRETCH: usize = 64;

impl Limiter {
    /// Looks at every live key at `now`, with rests.
    pub(crate) async fn overview(&self, names: impl Iterator<Item = &str>, now: u64) -> Overview {
        let mut rules: BTreeMap<String, OfRule> = names
            .map(|name| {
                let of = OfRule {
                    admitted: self.tallies.sum(Some(name), |tally| &tally.admitted),
                    rejected: self.tallies.sum(Some(name), |tally| &tally.rejected),
                    shadowed: self.tallies.sum(Some(name), |tally| &tally.shadowed),
                    ..OfRule::default()
                };
                (name.to_owned(), of)
            })
            .collect();
        let mut busiest: BTreeMap<String, BinaryHeap<Reverse<Busy>>> = BTreeMap::new();
        for turn in 0..Self::turns() {
            self.table.each(turn, |key, slot| {
                // Of a configuration that is no more, else.
                let Some(rule) = rules.get_mut(&*slot.rule.name) else { return };
                rule.keys += 1;
                let used = slot.used(now);
                let heap = busiest.entry(slot.rule.name.to_string()).or_default();
                if used > 0
                    && (heap.len() < BUSIEST || heap.peek().is_some_and(|b| b.0.used < used))
                {
                    let label = slot.label().map(Box::from);
                    heap.push(Reverse(Busy { used, id: key.to_string(), key: label }));
                    if heap.len() > BUSIEST {
                        heap.pop();
                    }
                }
            });
            if turn % STRETCH == STRETCH - 1 {
                tokio::task::yield_now().await;
            }
        }
        for (name, heap) in busiest {
            if let Some(rule) = rules.get_mut(&name) {
                rule.busiest = heap.into_sorted_vec().into_iter().map(|busy| busy.0).collect();
            }
        }
        let memory = Memory {
            budget_bytes: self.table.budget(),
            used_bytes: self.bytes(),
            keys: self.keys(),
            evicted: self.evicted(),
            untracked: self.untracked(),
        };
        Overview { memory, rules }
    }

    /// Forgets what `key` has used of a rule: by its hash, or by what may be read of it. Without a
    /// key, all of the rule. Returns how many keys it was.
    pub(crate) async fn reset(&self, rule: &str, key: Option<&str>) -> usize {
        let id = |text: &str| (text.len() == 32).then(|| text.parse::<Key>().ok()).flatten();
        if let Some(id) = key.and_then(id) {
            return usize::from(self.table.forget(id, rule));
        }
        let mut removed = 0;
        for turn in 0..Self::turns() {
            let mut found = Vec::new();
            self.table.each(turn, |id, slot| {
                let is = |key: &str| slot.label() == Some(key);
                if *slot.rule.name == *rule && key.is_none_or(is) {
                    found.push(id);
                }
            });
            removed += found.into_iter().filter(|id| self.table.forget(*id, rule)).count();
            if turn % STRETCH == STRETCH - 1 {
                tokio::task::yield_now().await;
            }
        }
        removed
    }
}

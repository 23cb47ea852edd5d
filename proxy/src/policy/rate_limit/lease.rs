//! What an admitted request holds until its end: places among the requests in flight, and quota
//! that its answer may take.

use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;
use smallvec::SmallVec;

use super::decision::Reading;
use super::key::Key;
use super::rule::{Bound, Rule};
use super::shared;
use super::table::Table;
use crate::store::Link;

/// Given back when it is dropped, which is when the request's record is.
#[derive(Debug, Default)]
pub(crate) struct Lease(pub(super) SmallVec<[Held; 1]>);

/// What is held of one key, which the table keeps for as long.
#[derive(Debug)]
pub(super) struct Held {
    table: Arc<Table>,
    rule: Arc<Rule>,
    key: Key,
    cost: u64,
    /// Where the shared store counts it.
    pub(super) shared: Option<Key>,
}

impl Held {
    pub(super) fn new(
        table: &Arc<Table>,
        rule: &Arc<Rule>,
        reading: &Reading,
        shared: Option<Key>,
    ) -> Self {
        let (table, rule) = (Arc::clone(table), Arc::clone(rule));
        Self { table, rule, key: reading.key, cost: reading.cost, shared }
    }

    /// Gives it back; `charge` if the answer counts.
    fn leave(&self, charge: bool, now: u64) {
        let mut locked = self.table.lock([self.key].into_iter());
        locked.change(self.key, |slot| slot.leave(self.cost, charge, now));
        locked.end(now);
    }
}

impl Lease {
    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives back what is held of keys that have no quota for the request after all.
    pub(super) fn give_back(&mut self, readings: &[Reading], now: u64) {
        self.0.retain(|held| {
            let has_quota = |reading: &Reading| reading.key == held.key && reading.word.admits();
            let keeps = readings.iter().any(has_quota);
            if !keeps {
                held.leave(false, now);
            }
            keeps
        });
    }

    /// The answer is known: rules that count answers are done with the request. `now` is that
    /// moment, from which on what it took is missing.
    pub(crate) fn answered(&mut self, status: StatusCode, link: Option<&Rc<Link>>, now: u64) {
        self.0.retain(|held| {
            let Bound::Window { count: Some(count), .. } = &held.rule.bound else { return true };
            let charge = count.covers(status.as_u16());
            held.leave(charge, now);
            if let (true, Some(link), Some(key)) = (charge, link, held.shared) {
                shared::charge(link, &held.rule, key, held.cost);
            }
            false
        });
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        for held in &self.0 {
            held.leave(false, 0);
        }
    }
}

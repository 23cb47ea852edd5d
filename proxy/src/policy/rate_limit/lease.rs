//! What an admitted request holds until its end: places among the requests in flight, and quota
//! that its answer may take.

use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;
use smallvec::SmallVec;

use super::Limiter;
use super::key::Key;
use super::rule::Bound;
use super::shared;
use super::slot::Slot;
use crate::store::Link;

/// Given back when it is dropped, which is when the request's record is.
#[derive(Debug, Default)]
pub(crate) struct Lease(pub(super) SmallVec<[Held; 1]>);

/// What is held of one key.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) slot: Arc<Slot>,
    pub(super) cost: u64,
    /// Where the shared store counts it.
    pub(super) shared: Option<Key>,
}

impl Held {
    pub(super) fn new(slot: &Arc<Slot>, cost: u64) -> Self {
        Self { slot: Arc::clone(slot), cost, shared: None }
    }
}

impl Lease {
    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The answer is known: rules that count answers are done with the request. `now` is that
    /// moment, from which on what it took is missing.
    pub(crate) fn answered(
        &mut self,
        status: StatusCode,
        limiter: &Limiter,
        link: Option<&Rc<Link>>,
        now: u64,
    ) {
        self.0.retain(|held| {
            let rule = &held.slot.rule;
            let Bound::Window { count: Some(count), .. } = &rule.bound else { return true };
            let charge = count.covers(status.as_u16());
            let mut state = held.slot.lock();
            let before = state.bytes();
            state.leave(rule, held.cost, charge, now);
            let grown = if state.removed { 0 } else { state.bytes().saturating_sub(before) };
            drop(state);
            limiter.table.grown(grown, now);
            if let (true, Some(link), Some(key)) = (charge, link, held.shared) {
                shared::charge(link, rule, key, held.cost);
            }
            false
        });
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        for Held { slot, cost, shared: _ } in &self.0 {
            slot.lock().leave(&slot.rule, *cost, false, 0);
        }
    }
}

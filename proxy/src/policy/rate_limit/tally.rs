//! What became of the requests that a rule counted. Each worker has tallies of its own, so that
//! counting shares no cache line between cores; whoever reads adds them up.

use std::sync::{Arc, Mutex, PoisonError};

use crate::telemetry::Counter;

/// The counts of one rule in one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Tally {
    /// Requests that it counted and that passed.
    pub(crate) admitted: Counter,
    /// Requests that it rejected.
    pub(crate) rejected: Counter,
    /// Requests that it would have rejected, had it not been in shadow mode.
    pub(crate) shadowed: Counter,
}

/// The tallies of all workers.
#[derive(Debug, Default)]
pub(super) struct Tallies(Mutex<Vec<(Arc<str>, Arc<Tally>)>>);

impl Tallies {
    /// A new tally of a rule.
    pub(super) fn open(&self, rule: &str) -> Arc<Tally> {
        let tally = Arc::<Tally>::default();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((rule.into(), Arc::clone(&tally)));
        tally
    }

    /// The sum of a count over all workers, of one rule or of all.
    pub(super) fn sum(&self, rule: Option<&str>, count: fn(&Tally) -> &Counter) -> u64 {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = all.iter().filter(|(name, _)| rule.is_none_or(|rule| **name == *rule));
        of.map(|(_, tally)| count(tally).get()).sum()
    }
}

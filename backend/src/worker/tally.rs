//! What became of the jobs, counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a job left this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The execution passed.
    Passed,
    /// The execution failed.
    Failed,
    /// It was cancelled, or another worker has it.
    Lost,
    /// It was given back, or its lease was left to end, for another attempt.
    Left,
}

/// Counts of jobs, for the metrics.
#[derive(Debug, Default)]
pub struct Tally {
    in_hand: AtomicU64,
    passed: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
    left: AtomicU64,
}

impl Tally {
    /// Jobs that are being performed.
    pub(crate) fn in_hand(&self) -> u64 {
        self.in_hand.load(Ordering::Relaxed)
    }

    /// How many ended how, since the start.
    pub(crate) fn ended(&self) -> [(&'static str, u64); 4] {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("passed", of(&self.passed)),
            ("failed", of(&self.failed)),
            ("lost", of(&self.lost)),
            ("left", of(&self.left)),
        ]
    }

    /// One more is in hand, until what this returns is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InHand {
        self.in_hand.fetch_add(1, Ordering::Relaxed);
        InHand(Arc::clone(self))
    }
}

/// A job in hand.
pub(super) struct InHand(Arc<Tally>);

impl InHand {
    pub(super) fn end(self, ended: Ended) {
        let count = match ended {
            Ended::Passed => &self.0.passed,
            Ended::Failed => &self.0.failed,
            Ended::Lost => &self.0.lost,
            Ended::Left => &self.0.left,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.in_hand.fetch_sub(1, Ordering::Relaxed);
    }
}

//! The sliding window of one key: exact, and small.
//!
//! A window remembers when requests were admitted, oldest first, as *stamps*. Up to a limit of
//! 1,000 a stamp is one request and the window is exact. Above, a stamp stands for up to 1 % of the
//! limit (its *grain*) and carries the time of the first of them, so that a key never costs more
//! than about 1,000 stamps. Expiring a stamp may then forget up to `grain - 1` younger requests
//! early:
//!
//! - in every interval of the window's length at most `limit + grain - 1` requests pass, that is
//!   `limit` up to 1,000 and less than `limit * 1.01` above;
//! - what is counted is never more than what really passed in the last window, so a client that
//!   keeps to the limit is never rejected.
//!
//! Time is an argument, in nanoseconds of a monotonic clock. Workers take it before they take the
//! lock, so it may arrive out of order by that much; a stamp is never older than the one before it.

use std::collections::VecDeque;
use std::time::Duration;

/// What a window has to hold, resolved from a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Requests that may pass in `window` nanoseconds, at least 1.
    pub(crate) limit: u64,
    /// The window's length in nanoseconds, at least 1.
    pub(crate) window: u64,
    /// Requests that one stamp stands for.
    grain: u64,
}

impl Quota {
    /// Above this limit a stamp stands for 1 % of it.
    const EXACT: u64 = 1_000;

    pub(crate) fn new(limit: u64, window: Duration) -> Self {
        let grain = if limit <= Self::EXACT { 1 } else { limit / 100 };
        let window = nanoseconds(window).max(1);
        Self { limit: limit.max(1), window, grain }
    }

    /// Requests that one stamp stands for.
    pub(crate) fn grain(self) -> u64 {
        self.grain
    }

    /// What one of several instances may admit when they cannot count together, at least one
    /// request of this cost. Stamps stand for as much as before: the window may have been filled
    /// when they could.
    pub(crate) fn share(self, instances: u64, cost: u64) -> Self {
        match instances {
            0 | 1 => self,
            _ => Self { limit: (self.limit / instances).max(cost), ..self },
        }
    }

    /// The stamps of a full window.
    pub(crate) fn stamps(self) -> usize {
        self.stamps_of(self.limit)
    }

    /// The stamps of so much.
    pub(crate) fn stamps_of(self, cost: u64) -> usize {
        usize::try_from(cost.div_ceil(self.grain)).unwrap_or(usize::MAX)
    }
}

/// As many as fit: 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The state of one key under one rule.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The time of the first request of each grain, oldest first.
    stamps: VecDeque<u64>,
    /// Requests in the youngest grain.
    youngest: u64,
}

impl Window {
    /// Forgets what has left the window, and says what is left to spend.
    pub(crate) fn remaining(&mut self, quota: Quota, now: u64) -> u64 {
        while let Some(&oldest) = self.stamps.front() {
            if now.saturating_sub(oldest) < quota.window {
                break;
            }
            self.stamps.pop_front();
        }
        quota.limit.saturating_sub(self.used(quota))
    }

    /// Counts `cost` more. Call it after [`Self::remaining`] returned at least that.
    pub(crate) fn admit(&mut self, quota: Quota, cost: u64, now: u64) {
        let mut cost = cost;
        if let Some(&last) = self.stamps.back() {
            let fits = cost.min(quota.grain.saturating_sub(self.youngest));
            self.youngest += fits;
            cost -= fits;
            if cost == 0 {
                return;
            }
            self.push(quota, last.max(now), cost);
        } else {
            self.push(quota, now, cost);
        }
    }

    /// Begins as many grains as `cost` fills.
    fn push(&mut self, quota: Quota, stamp: u64, cost: u64) {
        let grains = quota.stamps_of(cost);
        let len = self.stamps.len();
        if self.stamps.capacity() - len < grains {
            // Twice as many as before, but no more than a full window has.
            let double = len.max(2).min(quota.stamps().saturating_sub(len));
            self.stamps.reserve_exact(double.max(grains));
        }
        self.stamps.extend(std::iter::repeat_n(stamp, grains));
        self.youngest = cost - (grains as u64 - 1) * quota.grain;
    }

    /// Nanoseconds from `now` until quota comes back. An empty window has all its quota, for the
    /// whole window's length.
    pub(crate) fn until_next(&self, quota: Quota, now: u64) -> u64 {
        self.stamps
            .front()
            .map_or(quota.window, |&oldest| oldest.saturating_add(quota.window).saturating_sub(now))
    }

    /// Nanoseconds from `now` until `cost` would pass, if nothing else does; 0 if it would now.
    pub(crate) fn until(&self, quota: Quota, cost: u64, now: u64) -> u64 {
        let lacking = (self.used(quota) + cost).saturating_sub(quota.limit);
        let Some(leaving) = lacking.div_ceil(quota.grain).checked_sub(1) else { return 0 };
        let last = self.stamps.len().saturating_sub(1);
        let index = usize::try_from(leaving).unwrap_or(last).min(last);
        let stamp = self.stamps.get(index).copied().unwrap_or(now);
        stamp.saturating_add(quota.window).saturating_sub(now)
    }

    /// When it was last counted in.
    pub(crate) fn last(&self) -> u64 {
        self.stamps.back().copied().unwrap_or(0)
    }

    /// Bytes that it has on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.stamps.capacity() * size_of::<u64>()
    }

    /// Whether everything has left the window, so that forgetting the key changes no decision.
    pub(crate) fn is_expired(&self, quota: Quota, now: u64) -> bool {
        self.stamps.back().is_none_or(|&last| now.saturating_sub(last) >= quota.window)
    }

    /// Requests that are still in the window; `remaining` first drops what has left it.
    pub(crate) fn used(&self, quota: Quota) -> u64 {
        match self.stamps.len() {
            0 => 0,
            n => (n as u64 - 1) * quota.grain + self.youngest,
        }
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;

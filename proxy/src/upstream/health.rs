//! Whether a server of an upstream is used: what its checks say (active), and what requests have
//! met (passive). Shared by all workers; reading it is two loads.
//!
//! A server that fails is passed over for a second, and for twice as long each time it fails again
//! before it has answered, up to half a minute. Being passed over is an advice: where there is no
//! other server, it is tried all the same. What checks say is not. A server that returns, from
//! either, may begin with a part of its share (`slow_start`).
//!
//! This is the circuit breaker, one per server: open while it is passed over, half open until the
//! next answer, closed by that. What else keeps a failing upstream from pulling others down are the
//! bounds on requests in flight and on retries.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// What a request met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection: whatever is wrong, the next request would meet the same.
    Unreachable,
    /// No answer, half of one, or one that is none. That may be the request's fault.
    Broken,
}

/// The state of one server.
#[derive(Debug)]
pub(crate) struct Health {
    checked: AtomicBool,
    /// Failures since the last answer.
    failures: AtomicU32,
    /// Times in a row that it was passed over.
    ejections: AtomicU32,
    /// Milliseconds since the start of the process until which it is passed over.
    until: AtomicU64,
    /// When it returned, in milliseconds; 0 if it was never gone.
    returned: AtomicU64,
    /// Requests in flight to it, as the workers last said.
    in_flight: AtomicUsize,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            checked: AtomicBool::new(true),
            failures: AtomicU32::default(),
            ejections: AtomicU32::default(),
            until: AtomicU64::default(),
            returned: AtomicU64::default(),
            in_flight: AtomicUsize::default(),
        }
    }
}

impl Health {
    /// Broken answers in a row that are too many.
    const TOLERATED: u32 = 3;
    const FULL_SHARE: usize = 1_000;
    const FIRST_EJECTION_MS: u64 = 1_000;
    const LONGEST_EJECTION_MS: u64 = 30_000;

    /// A request was answered.
    pub(crate) fn answered(&self) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.ejections.store(0, Ordering::Relaxed);
            self.until.store(0, Ordering::Relaxed);
        }
    }

    /// A request was not answered.
    pub(crate) fn failed(&self, failure: Failure, now_ms: u64) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let ejects = failure == Failure::Unreachable || failures >= Self::TOLERATED;
        // Requests that fail together are one failure.
        if ejects && !self.is_passed_over(now_ms) {
            let before = self.ejections.fetch_add(1, Ordering::Relaxed).min(16);
            let length = (Self::FIRST_EJECTION_MS << before).min(Self::LONGEST_EJECTION_MS);
            self.until.store(now_ms + length, Ordering::Relaxed);
            self.returned.store(now_ms + length, Ordering::Relaxed);
        }
    }

    /// A check says how it is; true if that is news.
    pub(crate) fn checked(&self, healthy: bool, now_ms: u64) -> bool {
        let news = self.checked.swap(healthy, Ordering::Relaxed) != healthy;
        if news && healthy {
            self.returned.store(now_ms, Ordering::Relaxed);
        }
        news
    }

    /// The part of its full share of requests that it gets, in thousandths: from a twentieth to
    /// all, as `slow_start` goes by after its return.
    pub(crate) fn share(&self, now_ms: u64, slow_start: Duration) -> usize {
        let returned = self.returned.load(Ordering::Relaxed);
        if slow_start.is_zero() || returned == 0 {
            return Self::FULL_SHARE;
        }
        let gone = u128::from(now_ms.saturating_sub(returned)) * Self::FULL_SHARE as u128;
        let share = gone.checked_div(slow_start.as_millis()).unwrap_or(u128::MAX);
        usize::try_from(share).unwrap_or(usize::MAX).clamp(Self::FULL_SHARE / 20, Self::FULL_SHARE)
    }

    /// So many more requests are in flight to it, or, wrapped, fewer.
    pub(crate) fn in_flight(&self, more: usize) {
        self.in_flight.fetch_add(more, Ordering::Relaxed);
    }

    /// Requests in flight to it, a moment ago.
    pub(crate) fn requests(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// What checks say.
    pub(crate) fn is_up(&self) -> bool {
        self.checked.load(Ordering::Relaxed)
    }

    /// What requests have met.
    pub(crate) fn is_passed_over(&self, now_ms: u64) -> bool {
        now_ms < self.until.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_refuses_is_passed_over_for_longer_and_longer() {
        let health = Health::default();
        let mut now = 0;
        for length in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            health.failed(Failure::Unreachable, now);
            health.failed(Failure::Unreachable, now + 1);
            assert!(health.is_passed_over(now + length - 1), "{length}");
            assert!(!health.is_passed_over(now + length), "{length}");
            now += length;
        }
        health.answered();
        health.failed(Failure::Unreachable, now);
        assert!(!health.is_passed_over(now + 1_000), "an answer makes up for all of it");
    }

    #[test]
    fn single_broken_answers_are_tolerated() {
        let health = Health::default();
        for now in 0..10 {
            health.failed(Failure::Broken, now);
            health.failed(Failure::Broken, now);
            assert!(!health.is_passed_over(now));
            health.answered();
        }
        (0..3).for_each(|now| health.failed(Failure::Broken, now));
        assert!(health.is_passed_over(3));
    }

    #[test]
    fn news_is_told_once() {
        let health = Health::default();
        assert!(health.is_up() && !health.checked(true, 1));
        assert!(health.checked(false, 2) && !health.checked(false, 3) && !health.is_up());
        assert!(health.checked(true, 4));
    }

    #[test]
    fn a_server_that_returns_begins_with_a_part_of_its_share() {
        let (health, slow) = (Health::default(), Duration::from_secs(10));
        assert_eq!(health.share(5, slow), 1_000, "it was never gone");
        health.checked(false, 1_000);
        health.checked(true, 20_000);
        let share = |now_ms| health.share(now_ms, slow);
        assert_eq!(
            [20_000, 25_000, 29_000, 30_000, 90_000].map(share),
            [50, 500, 900, 1_000, 1_000]
        );
        assert_eq!(health.share(20_000, Duration::ZERO), 1_000);
        health.failed(Failure::Unreachable, 90_000);
        assert_eq!([91_000, 96_000, 101_000].map(share), [50, 500, 1_000], "after a failure, too");
    }
}

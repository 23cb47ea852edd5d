//! Whether a server of an upstream is used: what its checks say (active), and what requests have
//! met (passive). Shared by all workers; reading it is two loads.
//!
//! A server that fails is passed over for a second, and for twice as long each time it fails again
//! before it has answered, up to half a minute. Being passed over is an advice: where there is no
//! other server, it is tried all the same. What checks say is not.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

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
}

impl Default for Health {
    fn default() -> Self {
        Self {
            checked: AtomicBool::new(true),
            failures: AtomicU32::default(),
            ejections: AtomicU32::default(),
            until: AtomicU64::default(),
        }
    }
}

impl Health {
    /// Broken answers in a row that are too many.
    const TOLERATED: u32 = 3;
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
        }
    }

    /// A check says how it is; true if that is news.
    pub(crate) fn checked(&self, healthy: bool) -> bool {
        self.checked.swap(healthy, Ordering::Relaxed) != healthy
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
        assert!(health.is_up() && !health.checked(true));
        assert!(health.checked(false) && !health.checked(false) && !health.is_up());
        assert!(health.checked(true));
    }
}

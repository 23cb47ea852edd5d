//! How fast a client takes what it asked for.
//!
//! Only the time in which we wait for the client counts, and it is measured in the ticks of the
//! worker's deadlines, late by one at the most: no clock is read. What went out before the first
//! wait earns nothing, for buffers have taken it, and not the client.

use std::time::Duration;

use crate::config::Limits;

/// What a client has taken, and how long it has kept us waiting for that.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    bytes: u64,
    /// Milliseconds.
    waited: u64,
    /// When the wait began that is not over.
    since: Option<u64>,
    /// The buffers have been full once.
    filled: bool,
}

impl Pace {
    /// The client has taken so many bytes.
    pub(super) fn took(&mut self, bytes: u64, now: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.resume(now);
    }

    /// It is no longer the client that we wait for.
    fn resume(&mut self, now: u64) {
        if let Some(since) = self.since.take() {
            self.waited = self.waited.saturating_add(now.saturating_sub(since));
        }
    }

    /// A wait begins. How long it may be: `response_write_timeout`, and no longer than
    /// `response_min_rate` leaves.
    pub(super) fn wait(&mut self, now: u64, limits: &Limits) -> Duration {
        self.since.get_or_insert(now);
        if !std::mem::replace(&mut self.filled, true) {
            self.bytes = 0;
        }
        let earned = self.bytes.saturating_mul(1_000).checked_div(limits.response_min_rate);
        let left = earned.map(|earned| {
            let grace = limits.header_timeout.saturating_add(Duration::from_millis(earned));
            grace.saturating_sub(Duration::from_millis(self.waited))
        });
        left.map_or(limits.response_write_timeout, |left| left.min(limits.response_write_timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(min_rate: &str) -> Limits {
        let text = format!(
            "[[site]]\nhosts = [\"localhost\"]\nissuer = \"internal\"\n\
             upstream = \"http://127.0.0.1:1\"\n[limits]\nheader_timeout = \"10s\"\n\
             response_write_timeout = \"60s\"\nresponse_min_rate = {min_rate}\n"
        );
        let file = std::path::Path::new("gatehouse.toml");
        crate::config::load_text(file, &text, &|_| None).unwrap().limits
    }

    #[test]
    fn bytes_buy_time_and_only_waiting_spends_it() {
        let (limits, mut pace) = (limits("100"), Pace::default());
        let seconds = Duration::from_secs;
        pace.took(1_000_000, 0);
        assert_eq!(pace.wait(0, &limits), seconds(10), "the grace, and nothing for full buffers");
        pace.took(200, 4_000);
        assert_eq!(pace.wait(50_000, &limits), seconds(8), "10 + 2 - 4");
        pace.took(0, 55_000);
        assert_eq!(pace.wait(60_000, &limits), seconds(3));
        pace.resume(70_000);
        assert_eq!(pace.wait(70_000, &limits), seconds(0), "it has overdrawn");
        pace.took(1_000_000, 70_000);
        assert_eq!(pace.wait(70_000, &limits), seconds(60), "never longer than a write may take");
    }

    #[test]
    fn without_a_rate_only_the_single_wait_counts() {
        let (limits, mut pace) = (limits("0"), Pace::default());
        for now in [0, 50_000, 100_000] {
            assert_eq!(pace.wait(now, &limits), Duration::from_secs(60));
            pace.took(1, now + 50_000);
        }
    }
}

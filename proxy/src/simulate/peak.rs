//! The highest rate of a key: how much of it came, at most, in any interval of a window's length,
//! whatever the limit is.
//!
//! A window is cut into [`PARTS`] parts; what comes in one part is one number, so that a key costs
//! at most that many, and an interval is off by one part in a thousand.

use std::collections::VecDeque;

/// How finely a window is cut.
const PARTS: u64 = 1_000;

/// What one key did.
#[derive(Debug, Default)]
pub(super) struct Peak {
    /// Which part of time, and how much came in it; oldest first.
    parts: VecDeque<(u64, u64)>,
    /// The sum of them.
    within: u64,
    /// The highest that it was.
    pub(super) most: u64,
}

impl Peak {
    /// Counts `cost` at `now` and says how much came in the window before it.
    pub(super) fn add(&mut self, window: u64, now: u64, cost: u64) -> u64 {
        let length = (window / PARTS).max(1);
        let part = now / length;
        while let Some(&(oldest, count)) = self.parts.front()
            && part.saturating_sub(oldest) >= window / length
        {
            self.within -= count;
            self.parts.pop_front();
        }
        let before = self.within;
        match self.parts.back_mut() {
            Some((last, count)) if *last == part => *count += cost,
            _ => self.parts.push_back((part, cost)),
        }
        self.within += cost;
        self.most = self.most.max(self.within);
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_what_came_in_one_window() {
        let mut peak = Peak::default();
        for now in [0, 10, 20, 900, 990] {
            peak.add(1_000, now, 1);
        }
        assert_eq!(peak.most, 5);
        assert_eq!(peak.add(1_000, 1_005, 1), 4, "the first has left");
        assert_eq!(peak.add(1_000, 5_000, 2), 0);
        assert_eq!(peak.most, 5);
    }

    #[test]
    fn a_key_costs_no_more_than_a_window_has_parts() {
        let mut peak = Peak::default();
        (0..1_000_000).for_each(|now| _ = peak.add(1_000_000, now, 1));
        assert_eq!(peak.most, 1_000_000);
        assert!(peak.parts.len() <= 1_000, "{}", peak.parts.len());
    }
}

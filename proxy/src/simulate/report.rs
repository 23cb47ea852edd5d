//! What a simulation comes to, rule by rule.

use jiff::Timestamp;
use serde::Serialize;

/// Everything that is said of a simulation.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) lines: u64,
    /// Lines in no known format.
    pub(crate) unreadable: u64,
    /// The first of them, cut short.
    pub(crate) examples: Vec<String>,
    /// Requests for hosts of no site.
    pub(crate) no_site: u64,
    /// Requests that Gatehouse answers before any rule is asked.
    pub(crate) undecided: u64,
    /// Lines that came so late after younger ones that they were taken for as young.
    pub(crate) out_of_order: u64,
    /// Files that could not be read to their end, and why.
    pub(crate) damaged: Vec<String>,
    /// Requests that rules decided.
    pub(crate) requests: u64,
    /// Those that an enforcing rule would have rejected.
    pub(crate) rejected: u64,
    /// When the first came, and the last.
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
    /// Keys that were given up because `memory` was used up.
    pub(crate) evicted: u64,
    pub(crate) timeline: Vec<Column>,
    pub(crate) rules: Vec<RuleReport>,
}

impl Report {
    /// Why not all of it may be believed, for people.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let damaged =
            self.damaged.iter().map(|file| format!("cannot read the rest of {file}")).collect();
        let mut warnings: Vec<String> = damaged;
        if self.out_of_order > 0 {
            warnings.push(format!(
                "{} lines are older than what was read long before them, and were decided as if \
                 they came after it: the logs overlap in time (merge them first), or the clock was \
                 set back",
                self.out_of_order
            ));
        }
        warnings
    }

    /// Whether there was nothing in the logs that could be read.
    pub(crate) fn is_of_nothing(&self) -> bool {
        self.lines == self.unreadable && (self.lines > 0 || !self.damaged.is_empty())
    }
}

/// What came in one stretch of time.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Column {
    /// Seconds since 1970.
    pub(crate) start: u64,
    pub(crate) requests: u64,
    pub(crate) rejected: u64,
}

/// What one rule did.
#[derive(Debug, Serialize)]
pub(crate) struct RuleReport {
    pub(crate) name: String,
    pub(crate) limit: u64,
    /// In seconds; `None` of requests in flight.
    pub(crate) window: Option<f64>,
    pub(crate) mode: &'static str,
    /// What a log does not tell, and what was done instead.
    pub(crate) note: Option<String>,
    /// Requests that it counted.
    pub(crate) requests: u64,
    /// Those that it would have rejected.
    pub(crate) rejected: u64,
    pub(crate) keys: usize,
    /// Keys of which it would have rejected any.
    pub(crate) keys_rejected: usize,
    /// Keys whose rates were not followed, because there were too many.
    pub(crate) keys_beyond: u64,
    pub(crate) busiest: Vec<Busy>,
    /// Of the keys' highest rates per window.
    pub(crate) rates: Rates,
    pub(crate) limits: Option<Limits>,
    /// How many keys had a highest rate of up to each bound.
    pub(crate) histogram: Vec<(u64, u64)>,
}

impl RuleReport {
    /// `100 per 60 s`.
    pub(crate) fn allows(&self) -> String {
        match self.window {
            Some(seconds) => format!("{} per {seconds} s", self.limit),
            None => format!("{} in flight", self.limit),
        }
    }
}

/// A key, for people.
#[derive(Debug, Serialize)]
pub(crate) struct Busy {
    pub(crate) key: String,
    pub(crate) requests: u64,
    pub(crate) rejected: u64,
    /// The most in one window.
    pub(crate) peak: u64,
}

/// How high the rates are: half of the keys stay at or below `p50`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Rates {
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) most: u64,
}

/// Which limit would have rejected how much, at most: a request that is rejected uses up nothing,
/// so fewer would have been.
#[derive(Debug, Serialize)]
pub(crate) struct Limits {
    pub(crate) one_in_100: u64,
    pub(crate) one_in_1000: u64,
    pub(crate) nobody: u64,
}

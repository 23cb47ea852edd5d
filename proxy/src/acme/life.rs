//! What is known of a name's certificate besides the certificate: kept beside it in the store, to
//! be read by people and by the next start.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::schedule::{self, Window};
use crate::tls::leaf::Leaf;

/// How long the CA's suggestion holds if it does not say.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(6 * 3_600);

/// How long a certificate is kept at least, whatever the CA suggests: a window that is always past
/// is no reason to order without end.
const SHORTEST_LIFE: Duration = Duration::from_secs(3_600);

/// The life of a name's certificate, and of the attempts at the next one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Life {
    /// The CA that issued it, or was asked last.
    pub(crate) directory: String,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) not_after: Option<Timestamp>,
    pub(crate) obtained_at: Option<Timestamp>,
    pub(crate) renew_at: Option<Timestamp>,
    /// The window that the CA suggests (RFC 9773).
    pub(crate) window: Option<(Timestamp, Timestamp)>,
    /// When to ask the CA for it again.
    pub(crate) ask_at: Option<Timestamp>,
    /// Failed attempts in a row.
    pub(crate) failures: u32,
    /// Turns of CAs and challenges that have passed since the last success.
    pub(crate) turns: u32,
    pub(crate) retry_at: Option<Timestamp>,
    /// What went wrong last, in the CA's own words where it said any.
    pub(crate) error: Option<String>,
}

/// What is to be done about a name now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Wait,
    /// Ask the CA when to renew.
    Ask,
    /// Order a certificate.
    Order,
}

impl Life {
    /// What is to be done. `serves` says whether there is a certificate for all hosts, by the CA
    /// that is configured.
    pub(crate) fn step(&self, serves: bool, now: SystemTime) -> Step {
        let now = timestamp(now);
        let past = |at: Option<Timestamp>| at.is_none_or(|at| now.is_some_and(|now| at <= now));
        if self.failures > 0 && !past(self.retry_at) {
            return Step::Wait;
        }
        match serves {
            true if past(self.renew_at) => Step::Order,
            true if past(self.ask_at) => Step::Ask,
            true => Step::Wait,
            false => Step::Order,
        }
    }

    /// There is a new certificate.
    pub(crate) fn renewed(leaf: &Leaf, directory: &str, now: SystemTime, chance: f64) -> Self {
        let renew_at = schedule::renew_at(leaf.not_before, leaf.not_after, None, chance);
        Self {
            directory: directory.to_owned(),
            not_before: timestamp(leaf.not_before),
            not_after: timestamp(leaf.not_after),
            obtained_at: timestamp(now),
            renew_at: timestamp(renew_at),
            ..Self::default()
        }
    }

    /// The CA suggests a window, or has no opinion. It is asked again after `again`.
    pub(crate) fn suggested(
        &mut self,
        leaf: &Leaf,
        window: Option<Window>,
        again: Option<Duration>,
        now: SystemTime,
        chance: f64,
    ) {
        let again = again.unwrap_or(ASK_AGAIN).clamp(Duration::from_secs(60), ASK_AGAIN * 4);
        self.ask_at = timestamp(now + again);
        let Some(window) = window else { return };
        let suggested = timestamp(window.start).zip(timestamp(window.end));
        // The same window again moves nothing: the moment was drawn once.
        if self.window != suggested {
            self.window = suggested;
            let at = schedule::renew_at(leaf.not_before, leaf.not_after, Some(window), chance);
            let earliest = self.obtained_at.and_then(|at| at.checked_add(SHORTEST_LIFE).ok());
            self.renew_at = timestamp(at).max(earliest);
        }
    }

    /// An attempt failed.
    pub(crate) fn failed(
        &mut self,
        error: String,
        asked: Option<Duration>,
        now: SystemTime,
        chance: f64,
    ) {
        self.failures = self.failures.saturating_add(1);
        self.turns = self.turns.saturating_add(1);
        self.retry_at = timestamp(schedule::retry_at(now, self.failures, asked, chance));
        self.error = Some(error);
    }

    /// There is somebody else to ask: the wait is that after a first failure.
    pub(super) fn retry_soon(&mut self, now: SystemTime, chance: f64) {
        self.retry_at = timestamp(schedule::retry_at(now, 1, None, chance));
    }
}

fn timestamp(time: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Option<Timestamp> {
        Timestamp::from_second(1_800_000_000 + hours * 3_600).ok()
    }

    #[test]
    fn what_is_due_is_done_and_a_failure_waits() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let life = Life { renew_at: at(5), ask_at: at(5), ..Life::default() };
        let failed = |retry_at| Life { failures: 1, retry_at, ..life.clone() };
        for (life, serves, step) in [
            (Life::default(), false, Step::Order),
            (life.clone(), true, Step::Wait),
            (life.clone(), false, Step::Order),
            (Life { ask_at: None, ..life.clone() }, true, Step::Ask),
            (Life { ask_at: at(-1), ..life.clone() }, true, Step::Ask),
            (Life { renew_at: at(-1), ..life.clone() }, true, Step::Order),
            (Life { renew_at: None, ..life.clone() }, true, Step::Order),
            (failed(at(1)), false, Step::Wait),
            (Life { renew_at: at(-1), ..failed(at(1)) }, true, Step::Wait),
            (failed(at(-1)), false, Step::Order),
            (failed(None), false, Step::Order),
        ] {
            assert_eq!(life.step(serves, now), step, "{life:?}");
        }
    }

    #[test]
    fn a_failure_is_remembered_until_a_certificate_is_there() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut life = Life::default();
        life.failed("no".to_owned(), None, now, 0.0);
        life.failed("still no".to_owned(), Some(Duration::from_secs(7_200)), now, 0.0);
        assert_eq!(
            (life.failures, life.retry_at, life.error.as_deref()),
            (2, at(2), Some("still no"))
        );
        let text = serde_json::to_string(&life).unwrap();
        assert_eq!(serde_json::from_str::<Life>(&text).unwrap(), life, "the store keeps it");
    }
}

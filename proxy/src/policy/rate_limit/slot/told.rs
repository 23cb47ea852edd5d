//! A key whose window the shared store counts: what is known of it here, and what the store says.

use super::{A_SECOND, Cause, Slot, Word};
use crate::policy::rate_limit::rule::{Bound, Rule};

/// What the shared store says of a key.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy::rate_limit) struct Said {
    pub(in crate::policy::rate_limit) left: u64,
    pub(in crate::policy::rate_limit) is_enough: bool,
    /// Nanoseconds, as in [`Word`].
    pub(in crate::policy::rate_limit) wait: u64,
}

impl Slot {
    /// What is known of a request that the shared store counts, without asking it: of what is in
    /// flight everything, of windows only that they have no quota.
    pub(in crate::policy::rate_limit) fn known(
        &mut self,
        rule: &Rule,
        cost: u64,
        now: u64,
    ) -> Option<Word> {
        if let Bound::InFlight(_) = rule.bound {
            return Some(self.word(rule, cost, 1, now));
        }
        let barred = self.more.as_ref().and_then(|more| more.barred);
        let barred = barred.filter(|(rejected, until)| *rejected <= cost && *until > now);
        let barred = barred.map(|(_, until)| until - now);
        match (self.banned_for(now), barred) {
            (None, None) => None,
            (Some(banned), barred) => {
                Some(Word::rejects(Cause::Ban, 0, banned.max(barred.unwrap_or(0))))
            }
            (None, Some(barred)) => Some(Word::rejects(Cause::Limit, 0, barred)),
        }
    }

    /// What has to be left in the shared store for a request to pass.
    pub(in crate::policy::rate_limit) fn need(&self, rule: &Rule, cost: u64) -> u64 {
        let Bound::Window { count: Some(count), .. } = &rule.bound else { return cost };
        let ahead = count.ahead.saturating_mul(cost);
        self.open.saturating_add(cost).saturating_sub(ahead).max(cost)
    }

    /// What the shared store said: how much was left, whether that is enough, and how long until it
    /// is. Forgets what has left the window.
    pub(in crate::policy::rate_limit) fn told(
        &mut self,
        rule: &Rule,
        cost: u64,
        said: Said,
        now: u64,
    ) -> Word {
        if let Bound::Window { quota, .. } = &rule.bound {
            self.window.remaining(*quota, now);
        }
        // What is under way has this request in it already.
        let remaining = match rule.is_leased() {
            true => said.left.saturating_sub(self.open.saturating_sub(cost)),
            false => said.left,
        };
        let cause = match (said.is_enough, said.left < cost) {
            (true, _) => None,
            (false, true) => Some(Cause::Limit),
            (false, false) => Some(Cause::Unanswered),
        };
        // How long answers take nobody knows.
        let wait = if cause == Some(Cause::Unanswered) { A_SECOND } else { said.wait };
        Word { cause, remaining, wait }
    }

    /// The shared store rejects what costs as much or more, until then.
    pub(in crate::policy::rate_limit) fn bar(&mut self, cost: u64, until: u64) {
        self.more.get_or_insert_default().barred = Some((cost, until));
    }
}

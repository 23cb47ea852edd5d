//! What all rules together say of a request, whichever store has counted it.

use std::sync::Arc;

use super::Readings;
use super::fields::{self, Fields};
use super::key::Key;
use super::lease::Lease;
use super::rule::{Rule, Rules};
use super::slot::{Cause, Word};
use crate::config::Mode;

/// What became of a request.
#[derive(Debug)]
pub struct Decision {
    /// What each rule said that counts it, in the order of the file.
    pub(super) readings: Readings,
    /// Whether an enforcing rule has no quota for it.
    pub(super) rejected: bool,
    /// What the request holds until its end.
    pub(crate) lease: Lease,
}

/// What one rule says of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// The rule's place in [`Rules`].
    pub(super) rule: usize,
    pub(super) key: Key,
    pub(super) cost: u64,
    pub(super) word: Word,
}

/// Why a request was rejected.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// Of the rules that reject it, the one that does so for longest.
    pub(crate) rule: Arc<Rule>,
    pub(crate) key: Key,
    pub(crate) cause: Cause,
    /// Whole seconds until it would pass, at least 1.
    pub(crate) retry_after: u64,
}

impl Decision {
    /// Whether the request may pass.
    #[must_use]
    pub fn admits(&self) -> bool {
        !self.rejected
    }

    /// Whether a rule, by its place, has no quota for the request, whatever its mode.
    pub(crate) fn rejected_by(&self, rule: usize) -> bool {
        self.readings.iter().any(|reading| reading.rule == rule && !reading.word.admits())
    }

    /// Whether any of these readings rejects.
    pub(super) fn rejects<'a>(
        rules: &Rules,
        mut readings: impl Iterator<Item = &'a Reading>,
    ) -> bool {
        let enforces = |rule: &Arc<Rule>| rule.mode == Mode::Enforce;
        readings
            .any(|reading| !reading.word.admits() && rules.get(reading.rule).is_some_and(enforces))
    }

    /// Why the request was rejected, if it was.
    pub(crate) fn refusal(&self, rules: &Rules) -> Option<Refusal> {
        let nearest = self.rejected.then(|| self.nearest(rules)).flatten()?;
        let rule = Arc::clone(rules.get(nearest.rule)?);
        let cause = nearest.word.cause?;
        Some(Refusal { rule, key: nearest.key, cause, retry_after: nearest.seconds() })
    }

    /// Shadow rules that would have rejected it.
    pub(crate) fn shadowed<'a>(&self, rules: &'a Rules) -> impl Iterator<Item = &'a Arc<Rule>> {
        let over = self.readings.iter().filter(|reading| !reading.word.admits());
        let rules = over.filter_map(|reading| rules.get(reading.rule));
        rules.filter(|rule| rule.mode == Mode::Shadow)
    }

    /// What the client is told of its quota: every enforcing rule, and what is left by the one that
    /// is closest to rejecting. Shadow rules are not told of.
    pub(crate) fn fields(&self, rules: &Rules) -> Fields {
        let Some(nearest) = self.nearest(rules) else { return Fields::new() };
        let Some(rule) = rules.get(nearest.rule) else { return Fields::new() };
        let spent = if self.rejected { 0 } else { nearest.cost };
        let remaining = nearest.word.remaining.saturating_sub(spent);
        let told = fields::Told { rule, remaining, seconds: nearest.seconds() };
        fields::fields(rules.syntax, &told, self.enforcing(rules).map(|(_, rule)| rule))
    }

    fn enforcing<'a>(
        &'a self,
        rules: &'a Rules,
    ) -> impl Iterator<Item = (&'a Reading, &'a Arc<Rule>)> {
        let rules =
            self.readings.iter().filter_map(|reading| Some((reading, rules.get(reading.rule)?)));
        rules.filter(|(_, rule)| rule.mode == Mode::Enforce)
    }

    /// Of rules that reject the one that does so for longest, else the one with the smallest share
    /// of its limit left.
    fn nearest<'a>(&'a self, rules: &'a Rules) -> Option<&'a Reading> {
        let share = |reading: &Reading, of: &Rule| {
            u128::from(reading.word.remaining.saturating_sub(reading.cost))
                * u128::from(of.bound.limit())
        };
        let nearest = self.enforcing(rules).reduce(|one, other| {
            let (first, second) = (one.0.word, other.0.word);
            let takes_other = if self.rejected {
                (second.cause.is_some(), second.wait) > (first.cause.is_some(), first.wait)
            } else {
                share(other.0, one.1) < share(one.0, other.1)
            };
            if takes_other { other } else { one }
        });
        nearest.map(|(reading, _)| reading)
    }
}

impl Reading {
    /// Whole seconds that the client should wait, at least 1.
    fn seconds(&self) -> u64 {
        self.word.wait.div_ceil(1_000_000_000).max(1)
    }
}

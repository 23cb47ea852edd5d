//! Decisions by the store that instances share.
//!
//! What is known here comes first: a key that is banned, that has too much in flight, or that the
//! store has rejected and could not admit yet is rejected at once, so a flood costs the store
//! nothing ([`Limiter::consult`]). Everything else is one [`Question`]: one script decides all
//! rules together, by the store's clock. The answer is carried out here ([`Limiter::conclude`]);
//! without one, each rule does as its `on_failure` says.
//!
//! What the store admits is counted in the local window as well. So when it fails, a client that
//! has used up its quota here does not get it again.
//!
//! # Bounds
//!
//! While the store answers, all instances together hold a rule as one would. While it does not, an
//! instance admits what this one had admitted, or the limit divided by the instances that were
//! last known alive (at least 1), whichever is more; so in the windows in which the store goes and
//! comes back, up to twice the limit may pass. Bans and requests in flight are per instance.
//!
//! # Why
//!
//! All keys have one hash tag. A script may touch keys of one slot only, and the rules of a request
//! have keys that have nothing else in common (a client, a path, everybody). In a cluster, counts
//! therefore lie on one of its masters: a cluster makes them available, not faster. Rules that were
//! decided apart would consume quota for requests that another of them rejects.

mod script;

use smallvec::SmallVec;

use self::script::Sum;
use super::decision::{Decision, Reading};
use super::lease::{Held, Lease};
use super::rule::{Asked, Bound, Facts, Rule, Rules};
use super::slot::{Said, State, Word};
use super::{Counted, Limiter, is_notable, settle};
use crate::config::{Mode, OnFailure};
use crate::store::{Link, Silence};

pub(crate) use self::script::charge;

/// A rule cannot be decided without the store, and may not be.
#[derive(Debug)]
pub(crate) struct Denied;

/// What is to be done about a request.
#[expect(clippy::large_enum_variant, reason = "without a store all are the large variant")]
pub(crate) enum Verdict {
    Decided(Result<Decision, Denied>),
    Ask(Box<Question>),
}

/// A request that the store has to decide. Given up, it gives back what it holds.
pub(crate) struct Question {
    counted: SmallVec<[Counted; 4]>,
    /// What is known of each without the store.
    known: SmallVec<[Option<Word>; 4]>,
    /// What the store is asked, in the order of those that are not known.
    sums: SmallVec<[Sum; 4]>,
    lease: Lease,
}

/// What the store says of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    passes: bool,
    /// Per sum: what was left, and the nanoseconds until it would pass or more comes back.
    words: SmallVec<[(u64, u64); 4]>,
}

impl Question {
    /// Asks. Waits as long as the store's timeout at most.
    pub(crate) async fn ask(&self, link: &Link) -> Result<Answer, Silence> {
        script::decide(link, &self.sums).await
    }
}

impl Limiter {
    /// Decides one request at `now` if that takes no store, or says what the store has to be asked.
    pub(crate) fn consult(
        &self,
        rules: &Rules,
        facts: &Facts<'_>,
        link: &Link,
        now: u64,
    ) -> Verdict {
        let mut counted = self.counted(rules, facts, now);
        if !link.is_up() && counted.iter().any(|one| is_shared(rules, one)) {
            link.not_asked();
            return Verdict::Decided(self.decide_alone(rules, counted, facts, link, now));
        }
        loop {
            if let Some(verdict) = self.prepare(rules, &mut counted, facts, link, now) {
                return verdict;
            }
            counted.retain(|counted| self.renew(rules, counted, now));
        }
    }

    /// What is known here, under the locks of all slots. `None` when the sweep has removed one.
    fn prepare(
        &self,
        rules: &Rules,
        counted: &mut SmallVec<[Counted; 4]>,
        facts: &Facts<'_>,
        link: &Link,
        now: u64,
    ) -> Option<Verdict> {
        let mut locked: SmallVec<[_; 4]> = SmallVec::new();
        let mut known: SmallVec<[Option<Word>; 4]> = SmallVec::new();
        for Counted { asked: Asked { rule, key, cost }, slot } in counted.iter() {
            let mut state = slot.lock();
            if state.removed {
                return None;
            }
            let rule_of = rules.get(*rule)?;
            let word = state.known(rule_of, *cost, now);
            known.push(word);
            let word = word.unwrap_or(FREE);
            locked.push((state, Reading { rule: *rule, key: *key, cost: *cost, word }));
        }
        let rejected = Decision::rejects(rules, locked.iter().map(|(_, reading)| reading));
        let mut lease = Lease::default();
        let mut sums = SmallVec::new();
        for (((state, reading), one), word) in locked.iter_mut().zip(counted.iter()).zip(&known) {
            let rule = rules.get(reading.rule)?;
            if rejected || word.is_some() {
                if settle(rule, state, reading, rejected, now) {
                    lease.0.push(Held::new(&one.slot, reading.cost));
                }
                continue;
            }
            let key = rules.shared_key(rule, facts, &link.secret());
            let need = state.need(rule, reading.cost);
            let is_leased = rule.is_leased();
            if is_leased {
                state.enter(rule, reading.cost, now);
                let held = Held::new(&one.slot, reading.cost);
                lease.0.push(Held { shared: Some(key), ..held });
            }
            let take = if is_leased { 0 } else { reading.cost };
            sums.extend(Sum::new(rule, key, need, take));
        }
        if rejected || sums.is_empty() {
            let mut readings: SmallVec<[Reading; 4]> =
                locked.into_iter().map(|(_, reading)| reading).collect();
            readings.sort_unstable_by_key(|reading| reading.rule);
            return Some(Verdict::Decided(Ok(Decision { readings, rejected, lease })));
        }
        drop(locked);
        let counted = std::mem::take(counted);
        Some(Verdict::Ask(Box::new(Question { counted, known, sums, lease })))
    }

    /// Carries out what the store said at `now`, or decides without it.
    pub(crate) fn conclude(
        &self,
        rules: &Rules,
        facts: &Facts<'_>,
        question: Box<Question>,
        answer: Result<Answer, Silence>,
        link: &Link,
        now: u64,
    ) -> Result<Decision, Denied> {
        let Question { counted, known, sums, lease } = *question;
        let Ok(Answer { passes, words }) = answer else {
            drop(lease);
            return self.decide_alone(rules, counted, facts, link, now);
        };
        let rejected = !passes;
        let mut told = sums.iter().zip(words).peekable();
        let (mut readings, mut grown) = (SmallVec::<[Reading; 4]>::new(), 0);
        for (one, known) in counted.iter().zip(known) {
            let Asked { rule: index, key, cost } = one.asked;
            let Some(rule) = rules.get(index) else { continue };
            let mut state = one.slot.lock();
            let before = state.bytes();
            let reading = |word| Reading { rule: index, key, cost, word };
            readings.push(match (known, told.next_if(|_| known.is_none())) {
                (None, Some((sum, (left, wait)))) => {
                    let said = Said { left, is_enough: left >= sum.need, wait };
                    let word = state.told(rule, cost, said, now);
                    let mut reading = reading(word);
                    follow(rule, &mut state, &mut reading, rejected, now);
                    reading
                }
                (word, _) => reading(word.unwrap_or(FREE)),
            });
            if state.label.is_none() && readings.last().is_some_and(|r| is_notable(rule, &r.word)) {
                state.label = Some(rules.label(rule, facts).into());
            }
            if !state.removed {
                grown += state.bytes().saturating_sub(before);
            }
        }
        self.table.grown(grown, now);
        readings.sort_unstable_by_key(|reading| reading.rule);
        let lease = if rejected { Lease::default() } else { lease };
        Ok(Decision { readings, rejected, lease })
    }

    /// Decides without the store, as each rule's `on_failure` says.
    fn decide_alone(
        &self,
        rules: &Rules,
        mut counted: SmallVec<[Counted; 4]>,
        facts: &Facts<'_>,
        link: &Link,
        now: u64,
    ) -> Result<Decision, Denied> {
        let on_failure = |one: &Counted| match is_shared(rules, one) {
            true => rules.get(one.asked.rule).map_or(OnFailure::Local, |rule| rule.on_failure),
            false => OnFailure::Local,
        };
        let denies = |one: &Counted| {
            on_failure(one) == OnFailure::Deny
                && rules.get(one.asked.rule).is_some_and(|rule| rule.mode == Mode::Enforce)
        };
        if counted.iter().any(denies) {
            return Err(Denied);
        }
        counted.retain(|one| on_failure(one) == OnFailure::Local);
        let instances = link.standing().instances();
        Ok(self.decide_counted(rules, counted, facts, instances, now))
    }
}

/// What is said of a rule for as long as nothing is known of it.
const FREE: Word = Word { cause: None, remaining: u64::MAX, wait: 0 };

/// Whether the store counts for a rule.
fn is_shared(rules: &Rules, one: &Counted) -> bool {
    let rule = rules.get(one.asked.rule);
    rule.is_some_and(|rule| matches!(rule.bound, Bound::Window { .. }))
}

/// Does here what the store has decided of one key.
fn follow(rule: &Rule, state: &mut State, reading: &mut Reading, rejected: bool, now: u64) {
    if rule.is_leased() && reading.word.admits() {
        // What it holds it has been given before the question.
        if !rejected {
            rule.tally.admitted.add(1);
        }
        return;
    }
    settle(rule, state, reading, rejected, now);
    if !reading.word.admits() && rule.mode == Mode::Enforce {
        state.bar(reading.cost, now.saturating_add(reading.word.wait));
    }
}

#[cfg(test)]
mod oracle_tests;

//! Decisions by the store that instances share.
//!
//! What is known here comes first: a key that is banned, that has too much in flight, or that the
//! store has rejected and could not admit yet is rejected at once, so a flood costs the store
//! nothing ([`Limiter::consult`]). Everything else is one [`Question`]: one script decides all
//! rules together, by the store's clock. The answer is carried out here ([`Limiter::conclude`]);
//! without one, each rule does as its `on_failure` says.
//!
//! Until it has answered, what is in flight or waits for its answer is only set aside; nothing is
//! tallied, and what turns out to have no quota is given back.
//!
//! What the store admits is counted in the local window as well. So when it fails, a client that
//! has used up its quota here does not get it again.
//!
//! # Bounds
//!
//! While the store answers, all instances together hold a rule as one would. While it does not, an
//! instance admits what this one had admitted, or the limit divided by the instances that were
//! last known alive (at least 1), whichever is more; so in the windows in which the store goes and
//! comes back, up to twice the limit may pass. Bans and requests in flight are per instance, and so
//! is what waits for its answer (`count`): a limit on answers may be exceeded by as many as wait on
//! other instances.
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
use super::slot::{Cause, Said, Slot, Word};
use super::{AskedOf, Limiter, Readings, label, settle};
use crate::config::{Mode, OnFailure};
use crate::store::{Link, Silence};

pub(crate) use self::script::charge;

/// A rule cannot be decided without the store, and may not be.
#[derive(Debug)]
pub struct Denied;

/// What is to be done about a request.
#[expect(clippy::large_enum_variant, reason = "without a store all are the large variant")]
pub enum Verdict {
    /// The store need not be asked.
    Decided(Result<Decision, Denied>),
    /// It has to be.
    Ask(Box<Question>),
}

/// A request that the store has to decide. Given up, it gives back what it holds.
pub struct Question {
    asked: AskedOf,
    /// What is known of each without the store.
    known: SmallVec<[Option<Word>; 4]>,
    /// What the store is asked, in the order of those that are not known.
    sums: SmallVec<[Sum; 4]>,
    lease: Lease,
}

/// What the store says of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    passes: bool,
    /// Per sum: what was left, and the nanoseconds until it would pass or more comes back.
    words: SmallVec<[(u64, u64); 4]>,
}

impl Question {
    /// Asks. Waits as long as the store's timeout at most.
    ///
    /// # Errors
    ///
    /// The store did not answer in time, or refused.
    pub async fn ask(&self, link: &Link) -> Result<Answer, Silence> {
        script::decide(link, &self.sums).await
    }
}

impl Limiter {
    /// Decides one request at `now` if that takes no store, or says what the store has to be asked.
    #[must_use]
    pub fn consult(&self, rules: &Rules, facts: &Facts<'_>, link: &Link, now: u64) -> Verdict {
        let mut asked: AskedOf = rules.asked(facts).collect();
        if !link.is_up() && asked.iter().any(|one| is_shared(rules, one)) {
            link.not_asked();
            return Verdict::Decided(self.decide_alone(rules, asked, facts, link, now));
        }
        let mut locked = self.hold(rules, &mut asked, now);
        let mut known: SmallVec<[Option<Word>; 4]> = SmallVec::new();
        let mut readings = Readings::new();
        for Asked { rule, key, cost } in &asked {
            let slot = rules.get(*rule).zip(locked.slot(*key));
            let word = slot.and_then(|(rule, slot)| slot.known(rule, *cost, now));
            known.push(word);
            let word = word.unwrap_or(FREE);
            readings.push(Reading { rule: *rule, key: *key, cost: *cost, word });
        }
        if Decision::rejects(rules, readings.iter()) || known.iter().all(Option::is_some) {
            let decision = self.carry_out(rules, locked, readings, facts, now);
            return Verdict::Decided(Ok(decision));
        }
        // Only what must not be given to another is taken before the store has answered.
        let mut sums = SmallVec::new();
        for (reading, known) in readings.iter().zip(&known) {
            let Some(rule) = rules.get(reading.rule) else { continue };
            let Some(slot) = locked.slot(reading.key) else { continue };
            let shared = known.is_none().then(|| rules.shared_key(rule, facts, &link.secret()));
            let take = if rule.is_leased() { 0 } else { reading.cost };
            let need = slot.need(rule, reading.cost);
            sums.extend(shared.and_then(|key| Sum::new(rule, key, need, take)));
            if rule.is_leased() && reading.word.admits() {
                slot.enter(rule, reading.cost, now);
                locked.lease.0.push(Held::new(&self.table, rule, reading, shared));
            }
        }
        let lease = locked.end(now);
        Verdict::Ask(Box::new(Question { asked, known, sums, lease }))
    }

    /// Carries out what the store said at `now`, or decides without it.
    ///
    /// # Errors
    ///
    /// The store said nothing, and a rule that enforces may not be decided without it.
    pub fn conclude(
        &self,
        rules: &Rules,
        facts: &Facts<'_>,
        question: Box<Question>,
        answer: Result<Answer, Silence>,
        link: &Link,
        now: u64,
    ) -> Result<Decision, Denied> {
        let Question { asked, known, sums, lease } = *question;
        let Ok(Answer { passes, words }) = answer else {
            drop(lease);
            return self.decide_alone(rules, asked, facts, link, now);
        };
        let rejected = !passes;
        let mut told = sums.iter().zip(words).peekable();
        let mut readings = Readings::new();
        // One that has expired in the meantime begins anew.
        let mut locked = self.hold(rules, &mut asked.clone(), now);
        locked.lease = lease;
        for (Asked { rule: index, key, cost }, known) in asked.into_iter().zip(known) {
            let answer = told.next_if(|_| known.is_none());
            let Some(rule) = rules.get(index) else { continue };
            let need = answer.as_ref().map_or(cost, |(sum, _)| sum.need);
            readings.extend(locked.change(key, |slot| {
                let word = match (known, answer) {
                    (None, Some((_, (left, wait)))) => {
                        slot.told(rule, cost, Said { left, is_enough: left >= need, wait }, now)
                    }
                    (word, _) => word.unwrap_or(FREE),
                };
                let mut reading = Reading { rule: index, key, cost, word };
                follow(rule, slot, &mut reading, rejected, need, now);
                label(rules, rule, slot, &reading, facts);
                reading
            }));
        }
        let mut lease = locked.end(now);
        lease.give_back(if rejected { &[] } else { &readings }, now);
        Ok(Decision { readings, rejected, lease })
    }

    /// Decides without the store, as each rule's `on_failure` says.
    fn decide_alone(
        &self,
        rules: &Rules,
        mut asked: AskedOf,
        facts: &Facts<'_>,
        link: &Link,
        now: u64,
    ) -> Result<Decision, Denied> {
        let on_failure = |one: &Asked| match is_shared(rules, one) {
            true => rules.get(one.rule).map_or(OnFailure::Local, |rule| rule.on_failure),
            false => OnFailure::Local,
        };
        let denies = |one: &Asked| {
            on_failure(one) == OnFailure::Deny
                && rules.get(one.rule).is_some_and(|rule| rule.mode == Mode::Enforce)
        };
        if asked.iter().any(denies) {
            return Err(Denied);
        }
        asked.retain(|one| on_failure(one) == OnFailure::Local);
        let instances = link.standing().instances();
        Ok(self.decide_asked(rules, &mut asked, facts, instances, now))
    }
}

/// What is said of a rule for as long as nothing is known of it.
const FREE: Word = Word { cause: None, remaining: u64::MAX, wait: 0 };

/// Whether the store counts for a rule.
fn is_shared(rules: &Rules, one: &Asked) -> bool {
    let rule = rules.get(one.rule);
    rule.is_some_and(|rule| matches!(rule.bound, Bound::Window { .. }))
}

/// Does here what has been decided of one key, of which `need` had to be left.
fn follow(
    rule: &Rule,
    slot: &mut Slot,
    reading: &mut Reading,
    rejected: bool,
    need: u64,
    now: u64,
) {
    if rule.is_leased() && reading.word.admits() {
        // What it holds it has been given before the question.
        if !rejected {
            rule.tally.admitted.add(1);
        }
        return;
    }
    settle(rule, slot, reading, rejected, now);
    // An answer that is waited for may let the next request pass at any time.
    let lasts = reading.word.cause == Some(Cause::Limit) && need == reading.cost;
    if lasts && rule.mode == Mode::Enforce {
        slot.bar(reading.cost, now.saturating_add(reading.word.wait));
    }
}

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod question_tests;

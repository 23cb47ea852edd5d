//! Which CA is asked.
//!
//! The first of the configuration is preferred. When it fails repeatedly, by itself or for a name,
//! the next has its turn; and whoever has issued, the next certificate begins with the first again.

use std::time::{Duration, SystemTime};

use super::Issuance;
use super::failure::{Cause, Failure};
use super::life::{Life, Step};
use super::schedule::{self, REPEATED};
use crate::config::{Acme, Ca};

/// The longest wait that a CA may ask for if there is another one to turn to.
const PATIENCE: Duration = Duration::from_secs(3_600);

impl Issuance {
    /// The CA that a name is tried at now, after so many turns; `None` while it has to wait.
    pub(super) fn ca_for<'a>(&self, acme: &'a Acme, turns: u32, now: SystemTime) -> Option<&'a Ca> {
        let (kinds, count) = (acme.challenges.len(), acme.cas.len());
        let (first, _) = schedule::turn(turns, kinds, count);
        let (before, from) = acme.cas.split_at_checked(first)?;
        let troubles = self.troubles.borrow();
        for ca in from.iter().chain(before) {
            let life = troubles.get(&ca.directory);
            match life.filter(|life| life.step(false, now) == Step::Wait) {
                None => return Some(ca),
                Some(life) if life.failures >= REPEATED => {}
                // It may be chance.
                Some(_) => return None,
            }
        }
        None
    }

    /// Notes a failed turn at a CA. Is the next turn at one that was not asked yet, it is soon.
    pub(super) fn failed(
        &self,
        acme: &Acme,
        ca: &Ca,
        name: &str,
        life: &mut Life,
        Failure { words, cause, asked }: Failure,
        now: SystemTime,
    ) {
        let chance = fastrand::f64();
        *self.failures.borrow_mut().entry(name.to_owned()).or_default() += 1;
        if cause == Cause::Authority {
            let mut troubles = self.troubles.borrow_mut();
            let trouble = troubles.entry(ca.directory.clone()).or_default();
            trouble.failed(words.clone(), asked, now, chance);
        }
        let (kinds, count) = (acme.challenges.len(), acme.cas.len());
        let next = schedule::next_ca(life.turns, kinds);
        life.failed(words, asked, now, chance);
        if asked.is_some_and(|asked| asked > PATIENCE) {
            life.turns = next;
        }
        let other = self.ca_for(acme, life.turns, now);
        let other = other.is_some_and(|other| other.directory != ca.directory);
        if other && !schedule::all_were_asked(life.turns, kinds, count) {
            life.retry_soon(now, chance);
        }
    }

    /// A CA has done what it was asked.
    pub(super) fn succeeded(&self, ca: &Ca) {
        self.troubles.borrow_mut().remove(&ca.directory);
    }
}

//! Which keys a reload leaves: those of rules that there still are, by name and bound.
//!
//! Others would stay for the whole of their window, and one that is being limited cannot be given
//! up: rules that are no more could fill the memory of those that are.

use std::collections::HashMap;

use super::rule::Bound;
use super::slot::Slot;
use super::table::Table;
use crate::config::{self, Config};

/// The rules of the last reload, for as long as others may have keys.
#[derive(Debug, Default)]
pub(super) struct Live {
    rules: HashMap<String, [u64; 2]>,
    /// Turns of the sweep that look for the keys of others.
    turns: usize,
}

impl Live {
    /// Of a configuration that takes the place of another. Requests that began by the other may
    /// make keys during the first round.
    pub(super) fn new(config: &Config) -> Self {
        let rule = |rule: &config::Rule| (rule.name.clone(), Bound::new(&rule.bound).numbers());
        Self { rules: config.rules.iter().map(rule).collect(), turns: Self::ROUNDS }
    }

    const ROUNDS: usize = 2 * Table::turns();

    /// Whether a key's rule is no more, and nothing is under way.
    pub(super) fn outlived_by(&mut self, slot: &Slot) -> bool {
        if self.turns == 0 {
            return false;
        }
        let numbers = self.rules.get(&*slot.rule.name);
        if numbers.is_some_and(|numbers| *numbers == slot.rule.bound.numbers()) {
            return false;
        }
        if !slot.is_idle() {
            self.turns = Self::ROUNDS; // until its end
        }
        slot.is_idle()
    }

    /// One turn of the sweep is done.
    pub(super) fn turn_ends(&mut self) {
        self.turns = self.turns.saturating_sub(1);
        if self.turns == 0 {
            self.rules = HashMap::new();
        }
    }
}

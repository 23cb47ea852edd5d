//! What the keys of a rule take of the memory, before there are any.

use super::key::LONGEST_LABEL;
use super::slot;
use super::table::Table;
use super::window::Quota;
use crate::config::{Bound, KeyPart, Rule};

/// Bytes of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Footprint {
    /// Of one that has been counted once.
    pub least: usize,
    /// Of one that has used all of its limit.
    pub most: usize,
    /// How many keys the rule has, if that is known: one if it counts everybody together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
}

impl Footprint {
    /// Of the keys of a rule.
    #[must_use]
    pub fn of(rule: &Rule) -> Self {
        let stamp = size_of::<u64>();
        let keys = rule.key.iter().all(|part| *part == KeyPart::Global).then_some(1);
        match &rule.bound {
            Bound::InFlight(_) => {
                let least = Table::KEY;
                Self { least, most: least + slot::MORE + LONGEST_LABEL, keys }
            }
            Bound::Window { limit, window, cost, count, .. } => {
                let quota = Quota::new(*limit, *window);
                let ahead = count.as_ref().map_or(0, |count| count.ahead);
                let ahead = ahead.saturating_mul(*cost.range().end());
                let stamps = quota.stamps_of(limit.saturating_add(ahead));
                Self {
                    least: Table::KEY + stamps.min(2) * stamp,
                    most: Table::KEY + stamps * stamp + slot::MORE + LONGEST_LABEL,
                    keys,
                }
            }
        }
    }
}

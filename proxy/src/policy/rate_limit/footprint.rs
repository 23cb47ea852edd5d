//! What the keys of a rule take of the memory, before there are any.

use super::key::LONGEST_LABEL;
use super::slot;
use super::table::Table;
use super::window::Quota;
use crate::config::{Bound, Rule};

/// Bytes of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Footprint {
    /// Of one that has been counted once.
    pub least: usize,
    /// Of one that has used all of its limit.
    pub most: usize,
}

impl Footprint {
    /// Of the keys of a rule.
    #[must_use]
    pub fn of(rule: &Rule) -> Self {
        let stamp = size_of::<u64>();
        match &rule.bound {
            Bound::InFlight(_) => {
                Self { least: Table::KEY, most: Table::KEY + slot::MORE + LONGEST_LABEL }
            }
            Bound::Window { limit, window, cost, count, .. } => {
                let quota = Quota::new(*limit, *window);
                let ahead = count.as_ref().map_or(0, |count| count.ahead);
                let ahead = ahead.saturating_mul(*cost.range().end());
                let stamps = quota.stamps_of(limit.saturating_add(ahead));
                Self {
                    least: Table::KEY + stamps.min(2) * stamp,
                    most: Table::KEY + stamps * stamp + slot::MORE + LONGEST_LABEL,
                }
            }
        }
    }
}

//! Rules that can never reject because another one always does so first.

use crate::config::model::{Bound, KeyPart, Match, Mode, Rule, Scope};
use crate::config::section::Section;
use crate::config::values::At;

/// Notes every rule that another one leaves nothing to reject. Of two that say the same it is the
/// later one.
pub(super) fn note(rules: &[At<Rule>], root: &Section<'_>) {
    for (index, idle) in rules.iter().enumerate() {
        let stricter = rules.iter().enumerate().find(|(other, stricter)| {
            let (stricter, idle) = (&stricter.value, &idle.value);
            let both = || leaves_nothing(idle, stricter);
            *other != index && leaves_nothing(stricter, idle) && (*other < index || !both())
        });
        if let Some((_, stricter)) = stricter {
            let (name, other) = (&idle.value.name, &stricter.value.name);
            let message = format!("the rule `{name}` can never reject");
            let remedy = format!("`{other}` rejects first: lower the limit, or remove the rule");
            root.findings.clash(&idle.place, message, remedy, "that rule stands", &stricter.place);
        }
    }
}

/// Whether what `rule` lets pass can never be too much for `other`.
fn leaves_nothing(rule: &Rule, other: &Rule) -> bool {
    let (Some(passes), Some(allowed)) = (most(rule, other), allowed(other)) else { return false };
    rule.mode == Mode::Enforce
        && counts_all_of(rule, other)
        && is_coarser(&rule.key, &other.key)
        && passes <= allowed
}

/// Requests of a key that `other` lets pass in its window; `None` if it counts none.
fn allowed(other: &Rule) -> Option<u128> {
    match &other.bound {
        Bound::Window { limit, cost, .. } => Some(u128::from(limit / cost.range().end())),
        Bound::InFlight(_) => None,
    }
}

/// The most requests that `rule` lets pass in a window of `other`; `None` if there is no bound.
fn most(rule: &Rule, other: &Rule) -> Option<u128> {
    let (Bound::Window { limit, window, cost, count: None, .. }, Bound::Window { window: of, .. }) =
        (&rule.bound, &other.bound)
    else {
        return None;
    };
    // Up to 1 % more passes where sub-windows are used.
    let limit = u128::from(limit + if *limit > 1_000 { limit / 100 } else { 0 });
    Some(limit / u128::from(*cost.range().start()) * of.as_nanos().div_ceil(window.as_nanos()))
}

/// Whether every request that `other` counts is counted by `rule`.
fn counts_all_of(rule: &Rule, other: &Rule) -> bool {
    let within = match (rule.scope, other.scope) {
        (Scope::All, _) => true,
        (Scope::Site(site), Scope::Site(of) | Scope::Route(of, _)) => site == of,
        (rule, other) => rule == other,
    };
    within && (rule.matches == Match::default() || rule.matches == other.matches)
}

/// Whether requests that share a count under `other` share one under `key`, too.
fn is_coarser(key: &[KeyPart], other: &[KeyPart]) -> bool {
    key.iter().all(|part| *part == KeyPart::Global || other.contains(part))
}

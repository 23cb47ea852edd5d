//! What the store is asked, and what it says: `decide.lua` by the server's clock.

use std::rc::Rc;
use std::sync::LazyLock;

use redis::{Cmd, Value};
use smallvec::SmallVec;

use super::Answer;
use crate::config::Mode;
use crate::policy::rate_limit::key::Key;
use crate::policy::rate_limit::rule::{Bound, Rule};
use crate::store::{Link, Script, Silence};

/// Time is the store's: no two instances have the same.
static DECIDE: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("clock.lua"), BODY]));

const BODY: &str = include_str!("decide.lua");

/// What one rule asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    key: Key,
    limit: u64,
    /// Microseconds.
    window: u64,
    grain: u64,
    /// What must be left.
    pub(super) need: u64,
    /// What a request that passes takes.
    take: u64,
    /// The rule is in shadow mode.
    watches: bool,
}

impl Sum {
    /// `None` for a rule that the store does not count.
    pub(super) fn new(rule: &Rule, key: Key, need: u64, take: u64) -> Option<Self> {
        let Bound::Window { quota, .. } = &rule.bound else { return None };
        Some(Self {
            key,
            limit: quota.limit,
            window: (quota.window / 1_000).max(1),
            grain: quota.grain(),
            need,
            take,
            watches: rule.mode == Mode::Shadow,
        })
    }
}

/// Has one request decided.
pub(super) async fn decide(link: &Link, sums: &[Sum]) -> Result<Answer, Silence> {
    let complete = |command: &mut Cmd| arguments(command, sums);
    let value = link.ask(&DECIDE, sums.len(), complete).await?;
    answer(&value).ok_or(Silence)
}

/// The same at a time of the test's choice, in microseconds.
#[cfg(test)]
pub(super) async fn decide_at(link: &Link, sums: &[Sum], now: u64) -> Result<Answer, Silence> {
    const CLOCK: &str = "local now = tonumber(ARGV[#ARGV])";
    static AT: LazyLock<Script> = LazyLock::new(|| Script::new(&[CLOCK, BODY]));
    let complete = |command: &mut Cmd| {
        arguments(command, sums);
        command.arg(now);
    };
    answer(&link.ask(&AT, sums.len(), complete).await?).ok_or(Silence)
}

/// Charges an answer that counts, in the background: its request has been decided.
pub(crate) fn charge(link: &Rc<Link>, rule: &Rule, key: Key, cost: u64) {
    let Some(sum) = Sum::new(rule, key, 0, cost) else { return };
    let link = Rc::clone(link);
    // What the store misses, the local window has.
    tokio::task::spawn_local(async move { _ = decide(&link, &[sum]).await });
}

fn arguments(command: &mut Cmd, sums: &[Sum]) {
    for sum in sums {
        command.arg(format_args!("{{gatehouse}}:{}", sum.key).to_string());
    }
    for Sum { key: _, limit, window, grain, need, take, watches } in sums {
        command.arg(limit).arg(window).arg(grain).arg(need).arg(take).arg(u8::from(*watches));
    }
}

fn answer(value: &Value) -> Option<Answer> {
    let Value::Array(values) = value else { return None };
    let mut numbers = values.iter().map(|value| {
        let Value::Int(number) = value else { return None };
        u64::try_from(*number).ok()
    });
    let passes = numbers.next()?? == 1;
    let mut words = SmallVec::new();
    while let Some(left) = numbers.next() {
        words.push((left?, numbers.next()??.saturating_mul(1_000)));
    }
    Some(Answer { passes, words })
}

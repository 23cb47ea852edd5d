//! One key of one rule: what it has used, what it has under way, and whether it is banned.

mod told;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::rule::{Ban, Bound, Rule};
use super::window::Window;

pub(super) use self::told::Said;

/// How long a client should wait that only has to wait for its own requests to end: nobody knows.
const A_SECOND: u64 = 1_000_000_000;

/// The state of a key, and the rule that it is held to.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) rule: Arc<Rule>,
    state: Mutex<State>,
}

/// What a rule says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    /// Why there is no quota for it, if there is none.
    pub(super) cause: Option<Cause>,
    /// What is left, before the request.
    pub(super) remaining: u64,
    /// Nanoseconds until it would pass, or, if it does, until more quota comes back.
    pub(super) wait: u64,
}

/// Why a rule has no quota for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The window is full.
    Limit,
    /// The key went on after rejections.
    Ban,
    /// What waits for its answer may yet take all that is left.
    Unanswered,
    /// As many requests as may be are in flight.
    InFlight,
}

impl Cause {
    /// A stable label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Ban => "ban",
            Self::Unanswered => "unanswered",
            Self::InFlight => "in_flight",
        }
    }
}

impl Word {
    fn rejects(cause: Cause, remaining: u64, wait: u64) -> Self {
        Self { cause: Some(cause), remaining, wait }
    }

    /// Whether there is quota for the request.
    pub(super) fn admits(&self) -> bool {
        self.cause.is_none()
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    window: Window,
    /// What is under way: cost that waits for its answers, or requests in flight.
    open: u64,
    rejections: Option<Box<Rejections>>,
    /// What the shared store has rejected, and until when it will: a cost and a time.
    barred: Option<(u64, u64)>,
    /// The key for people, once it is worth knowing.
    pub(super) label: Option<Box<str>>,
    /// Set once the table has let go of the slot: what is counted here from now on is lost.
    pub(super) removed: bool,
}

/// Bytes that a key takes more once it has been rejected by a rule that bans.
pub(super) const BAN: usize = size_of::<Rejections>();

/// What a key that goes on after a rejection has come to. Times are those of decisions.
#[derive(Debug, Default)]
struct Rejections {
    /// Since the last ban, with less than a window between them.
    count: u64,
    last: u64,
    banned_until: u64,
    /// Of the last ban, which is remembered for as long as it was.
    length: u64,
}

impl Slot {
    pub(super) fn new(rule: &Arc<Rule>) -> Arc<Self> {
        Arc::new(Self { rule: Arc::clone(rule), state: Mutex::default() })
    }

    /// Takes the state's lock. No code panics while it holds one; a poisoned lock would still be
    /// usable.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What the rule says of a request that costs `cost`, by the share of the limit that one of
    /// `instances` has. Forgets what has left the window.
    pub(super) fn word(&mut self, rule: &Rule, cost: u64, instances: u64, now: u64) -> Word {
        let (quota, ahead) = match &rule.bound {
            Bound::Window { quota, count, .. } => {
                let ahead = count.as_ref().map_or(0, |count| count.ahead.saturating_mul(cost));
                (quota.share(instances, cost), ahead)
            }
            Bound::InFlight(most) => {
                let remaining = most.saturating_sub(self.open);
                return match remaining {
                    0 => Word::rejects(Cause::InFlight, 0, A_SECOND),
                    _ => Word { cause: None, remaining, wait: 0 },
                };
            }
        };
        let left = self.window.remaining(quota, now);
        let remaining = left.saturating_sub(self.open);
        if let Some(banned) = self.banned_for(now) {
            let wait = banned.max(self.window.until(quota, cost, now));
            return Word::rejects(Cause::Ban, 0, wait);
        }
        if left < cost {
            let wait = self.window.until(quota, cost, now);
            return Word::rejects(Cause::Limit, remaining, wait);
        }
        if left.saturating_add(ahead) < self.open.saturating_add(cost) {
            return Word::rejects(Cause::Unanswered, remaining, A_SECOND);
        }
        Word { cause: None, remaining, wait: self.window.until_next(quota, now) }
    }

    /// Counts an admitted request. True if its end matters, too.
    pub(super) fn enter(&mut self, rule: &Rule, cost: u64, now: u64) -> bool {
        match &rule.bound {
            Bound::Window { quota, count: None, .. } => {
                self.window.admit(*quota, cost, now);
                false
            }
            Bound::Window { count: Some(_), .. } | Bound::InFlight(_) => {
                self.open = self.open.saturating_add(cost);
                true
            }
        }
    }

    /// A request that was counted in by [`Self::enter`] has ended; `charge` if its answer counts.
    pub(super) fn leave(&mut self, rule: &Rule, cost: u64, charge: bool, now: u64) {
        self.open = self.open.saturating_sub(cost);
        if let Bound::Window { quota, .. } = &rule.bound
            && charge
        {
            self.window.remaining(*quota, now); // forget what has left it
            self.window.admit(*quota, cost, now);
        }
    }

    /// Notes a rejection. Returns the nanoseconds that the key is now banned for, or 0.
    pub(super) fn reject(&mut self, rule: &Rule, now: u64) -> u64 {
        let Bound::Window { quota, ban: Some(ban), .. } = &rule.bound else { return 0 };
        let rejections = self.rejections.get_or_insert_default();
        rejections.note(*ban, quota.window, now)
    }

    fn banned_for(&self, now: u64) -> Option<u64> {
        let until = self.rejections.as_ref()?.banned_until;
        until.checked_sub(now).filter(|left| *left > 0)
    }

    /// Whether forgetting the key changes no decision.
    pub(super) fn is_expired(&self, rule: &Rule, now: u64) -> bool {
        let forgotten = |window| {
            self.rejections.as_ref().is_none_or(|rejections| rejections.is_over(window, now))
        };
        let over = match &rule.bound {
            Bound::Window { quota, .. } => {
                self.window.is_expired(*quota, now) && forgotten(quota.window)
            }
            Bound::InFlight(_) => true,
        };
        over && self.open == 0
    }

    /// What would be lost with the key: the share of the limit that it has used, in thousandths,
    /// and when it was last counted. `None` if it is being limited: then it has to stay.
    pub(super) fn harm(&mut self, rule: &Rule, now: u64) -> Option<(u64, u64)> {
        let Bound::Window { quota, cost, .. } = &rule.bound else {
            return (self.open == 0).then_some((0, 0));
        };
        if self.is_expired(rule, now) {
            return Some((0, 0));
        }
        let remaining = self.window.remaining(*quota, now);
        if remaining < *cost.range().start() || self.open > 0 || self.rejections.is_some() {
            return None;
        }
        let used = quota.limit - remaining;
        Some((used.saturating_mul(1_000) / quota.limit, self.window.last()))
    }

    /// What has been used of the limit, or is in flight.
    pub(super) fn used(&mut self, rule: &Rule, now: u64) -> u64 {
        match &rule.bound {
            Bound::Window { quota, .. } => quota.limit - self.window.remaining(*quota, now),
            Bound::InFlight(_) => self.open,
        }
    }

    /// Bytes on the heap, besides the slot itself.
    pub(super) fn bytes(&self) -> usize {
        let label = self.label.as_ref().map_or(0, |label| label.len());
        let rejections = self.rejections.as_ref().map_or(0, |_| BAN);
        self.window.bytes() + label + rejections
    }
}

impl Rejections {
    /// Counts one more, and bans after enough of them. Returns the nanoseconds of a new ban.
    fn note(&mut self, ban: Ban, window: u64, now: u64) -> u64 {
        if now < self.banned_until {
            return 0; // it does not grow longer
        }
        if now.saturating_sub(self.last) >= window {
            self.count = 0;
        }
        (self.count, self.last) = (self.count + 1, now);
        if self.count < ban.after {
            return 0;
        }
        self.length = match self.is_remembered(now) {
            true => self.length.saturating_mul(2).min(ban.up_to),
            false => ban.length,
        };
        (self.count, self.banned_until) = (0, now.saturating_add(self.length));
        self.length
    }

    fn is_remembered(&self, now: u64) -> bool {
        now < self.banned_until.saturating_add(self.length)
    }

    fn is_over(&self, window: u64, now: u64) -> bool {
        !self.is_remembered(now) && now.saturating_sub(self.last) >= window
    }
}

//! One key of one rule: what it has used, what it has under way, and whether it is banned.

mod told;

use std::sync::Arc;

use super::rule::{Ban, Bound, Rule};
use super::window::Window;

pub(super) use self::told::Said;

/// How long a client should wait that only has to wait for its own requests to end: nobody knows.
const A_SECOND: u64 = 1_000_000_000;

/// A key's state, and the rule that it is held to. Whoever looks at it holds its shard.
///
/// As long as a cache line, of which a decision is to touch few: what most keys never come to lies
/// elsewhere.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    pub(super) rule: Arc<Rule>,
    window: Window,
    /// What is under way: cost that waits for its answers, or requests in flight.
    open: u64,
    more: Option<Box<More>>,
}

const _: () = assert!(size_of::<Slot>() == 64);

/// What a key has that has used much of its limit.
#[derive(Debug, Default)]
struct More {
    rejections: Option<Rejections>,
    /// What the shared store has rejected, and until when it will: a cost and a time.
    barred: Option<(u64, u64)>,
    /// The key for people.
    label: Option<Box<str>>,
}

/// Bytes that a key takes more once it is labelled, or rejected by a rule that bans.
pub(super) const MORE: usize = size_of::<More>();

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
    pub(super) fn new(rule: &Arc<Rule>) -> Self {
        Self { rule: Arc::clone(rule), window: Window::default(), open: 0, more: None }
    }

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
    pub(super) fn leave(&mut self, cost: u64, charge: bool, now: u64) {
        self.open = self.open.saturating_sub(cost);
        if let Bound::Window { quota, .. } = &self.rule.bound
            && charge
        {
            self.window.remaining(*quota, now); // forget what has left it
            self.window.admit(*quota, cost, now);
        }
    }

    /// Notes a rejection. Returns the nanoseconds that the key is now banned for, or 0.
    pub(super) fn reject(&mut self, rule: &Rule, now: u64) -> u64 {
        let Bound::Window { quota, ban: Some(ban), .. } = &rule.bound else { return 0 };
        let rejections = self.more.get_or_insert_default().rejections.get_or_insert_default();
        rejections.note(*ban, quota.window, now)
    }

    fn banned_for(&self, now: u64) -> Option<u64> {
        let until = self.rejections()?.banned_until;
        until.checked_sub(now).filter(|left| *left > 0)
    }

    fn rejections(&self) -> Option<&Rejections> {
        self.more.as_ref()?.rejections.as_ref()
    }

    /// The key for people, once it has been worth knowing.
    pub(super) fn label(&self) -> Option<&str> {
        self.more.as_ref()?.label.as_deref()
    }

    /// Keeps the key for people.
    pub(super) fn set_label(&mut self, label: String) {
        self.more.get_or_insert_default().label = Some(label.into());
    }

    /// Whether forgetting the key changes no decision.
    pub(super) fn is_expired(&self, now: u64) -> bool {
        let forgotten =
            |window| self.rejections().is_none_or(|rejections| rejections.is_over(window, now));
        let over = match &self.rule.bound {
            Bound::Window { quota, .. } => {
                self.window.is_expired(*quota, now) && forgotten(quota.window)
            }
            Bound::InFlight(_) => true,
        };
        over && self.is_idle()
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.open == 0
    }

    /// Forgets everything but what is under way.
    pub(super) fn forget(&mut self) {
        (self.window, self.more) = (Window::default(), None);
    }

    /// What would be lost with the key: the share of the limit that it has used, in thousandths,
    /// and when it was last counted. `None` if it is being limited: then it has to stay.
    pub(super) fn harm(&mut self, now: u64) -> Option<(u64, u64)> {
        let Bound::Window { quota, cost, .. } = &self.rule.bound else {
            return self.is_idle().then_some((0, 0));
        };
        if self.is_expired(now) {
            return Some((0, 0));
        }
        let remaining = self.window.remaining(*quota, now);
        if remaining < *cost.range().start() || !self.is_idle() || self.rejections().is_some() {
            return None;
        }
        let used = quota.limit - remaining;
        Some((used.saturating_mul(1_000) / quota.limit, self.window.last()))
    }

    /// What has been used of the limit, or is in flight.
    pub(super) fn used(&mut self, now: u64) -> u64 {
        match &self.rule.bound {
            Bound::Window { quota, .. } => quota.limit - self.window.remaining(*quota, now),
            Bound::InFlight(_) => self.open,
        }
    }

    /// Bytes on the heap, besides the slot itself.
    pub(super) fn bytes(&self) -> usize {
        let label = self.label().map_or(0, str::len);
        self.window.bytes() + self.more.as_ref().map_or(0, |_| MORE) + label
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

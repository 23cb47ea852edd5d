//! The limiter's clock: nanoseconds since the process began. It never goes back, setting the wall
//! clock does not move it, and it goes on while the machine is suspended, as a client's clock does.
//!
//! The clock that the operating system gives to programs stands still in a suspended machine.
//! Whoever was told to wait a minute before it slept would have to wait that minute awake; so what
//! was slept is added.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::time::Instant;

/// The clock of a process.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// How long the machine had been suspended before it began.
    slept_before: u64,
    /// And since then.
    slept: AtomicU64,
}

/// A difference that is not taken for sleep: both clocks cannot be read at once.
const NOISE: u64 = 100_000_000;

impl Clock {
    /// A clock that begins now.
    pub(crate) fn new() -> Self {
        let slept_before = slept().unwrap_or(0);
        Self { started: Instant::now(), slept_before, slept: AtomicU64::new(0) }
    }

    /// When it began.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// What it shows at a moment.
    #[expect(clippy::cast_possible_truncation, reason = "584 years of nanoseconds")]
    pub(crate) fn at(&self, moment: Instant) -> u64 {
        let awake = moment.saturating_duration_since(self.started).as_nanos() as u64;
        awake.saturating_add(self.slept.load(Ordering::Relaxed))
    }

    /// Notices that the machine was suspended. Called a few times a second.
    pub(crate) fn tick(&self) {
        if let Some(slept) = slept() {
            self.note(slept.saturating_sub(self.slept_before));
        }
    }

    fn note(&self, slept: u64) {
        if slept > self.slept.load(Ordering::Relaxed).saturating_add(NOISE) {
            self.slept.fetch_max(slept, Ordering::Relaxed);
        }
    }
}

/// Nanoseconds that the machine has been suspended. `None` if this thread was held up between the
/// readings.
fn slept() -> Option<u64> {
    let before = nanoseconds(clock_gettime(ClockId::Monotonic))?;
    let with_sleep = nanoseconds(clock_gettime(ClockId::Boottime))?;
    let after = nanoseconds(clock_gettime(ClockId::Monotonic))?;
    (after.saturating_sub(before) < NOISE / 2).then(|| with_sleep.saturating_sub(before))
}

fn nanoseconds(time: Timespec) -> Option<u64> {
    let seconds = u64::try_from(time.tv_sec).ok()?.checked_mul(1_000_000_000)?;
    seconds.checked_add(u64::try_from(time.tv_nsec).ok()?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_slept_is_added_once_and_never_taken_back() {
        let clock = Clock::new();
        let moment = clock.started() + Duration::from_secs(3);
        assert_eq!(clock.at(moment), 3_000_000_000);
        clock.note(NOISE);
        assert_eq!(clock.at(moment), 3_000_000_000, "that is no sleep");
        clock.note(600_000_000_000);
        clock.note(600_000_000_000);
        clock.note(5_000_000_000);
        assert_eq!(clock.at(moment), 603_000_000_000);
        clock.tick();
        assert_eq!(clock.at(moment), 603_000_000_000);
        assert_eq!(clock.at(clock.started() - Duration::from_secs(1)), 600_000_000_000);
    }
}

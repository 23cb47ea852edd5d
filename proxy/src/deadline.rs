//! Time bounds without a timer each: a worker keeps the deadlines of its connections in one table
//! and looks at all of them four times a second.
//!
//! Arming a deadline is a store into a cell, which a request does several times; a timer wheel
//! would take a lock and move an entry each time. Nor does it read the clock: the moment of the
//! last look stands for now, and the tick that it may be behind is added. A deadline therefore
//! fires up to two [`TICK`]s late, and not early.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

/// How often a worker looks at its deadlines.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// The deadlines of one worker.
#[derive(Debug)]
pub(crate) struct Deadlines {
    started: Instant,
    /// Milliseconds since the worker started, at the last tick.
    now: Cell<u64>,
    entries: RefCell<Slab<Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Milliseconds since the worker started; `None` while disarmed.
    at: Option<u64>,
    fired: bool,
    waker: Option<Waker>,
}

impl Deadlines {
    pub(crate) fn new(now: Instant) -> Rc<Self> {
        Rc::new(Self { started: now, now: Cell::new(0), entries: RefCell::default() })
    }

    /// Milliseconds since the process started, at the last tick.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now.get()
    }

    /// A new deadline, disarmed.
    pub(crate) fn deadline(self: &Rc<Self>) -> Deadline {
        let index = self.entries.borrow_mut().insert(Entry::default());
        Deadline { owner: Rc::clone(self), index, armed: Cell::new(false) }
    }

    /// Fires what is due and wakes its task.
    #[expect(clippy::cast_possible_truncation, reason = "584 million years of milliseconds")]
    pub(crate) fn tick(&self, now: Instant) {
        let now = now.saturating_duration_since(self.started).as_millis() as u64;
        self.now.set(now);
        let mut due: Vec<Waker> = Vec::new();
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            if entry.at.is_some_and(|at| at <= now) {
                entry.at = None;
                entry.fired = true;
                due.extend(entry.waker.take());
            }
        }
        due.into_iter().for_each(Waker::wake);
    }

    /// Wakes every task that waits for a deadline: something else has changed that it must look at.
    pub(crate) fn wake_all(&self) {
        let wakers: Vec<Waker> =
            self.entries.borrow().iter().filter_map(|(_, entry)| entry.waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// One time bound; dropping it removes it.
#[derive(Debug)]
pub(crate) struct Deadline {
    owner: Rc<Deadlines>,
    index: usize,
    armed: Cell<bool>,
}

impl Deadline {
    /// Fires `after` from now; at once if that is no time at all.
    #[expect(clippy::cast_possible_truncation, reason = "timeouts are far below 584 million years")]
    pub(crate) fn arm(&self, after: Duration) {
        let at = self.owner.now.get().saturating_add((after + TICK).as_millis() as u64);
        self.entry(|entry| (entry.at, entry.fired) = (Some(at), after.is_zero()));
        self.armed.set(true);
    }

    /// Does not fire until armed again.
    pub(crate) fn disarm(&self) {
        if self.armed.replace(false) {
            self.entry(|entry| (entry.at, entry.fired) = (None, false));
        }
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.armed.get()
    }

    /// Ready once the deadline has fired. While it has not, the task is woken when it does.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut fired = false;
        self.entry(|entry| {
            fired = entry.fired;
            match &entry.waker {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                _ => entry.waker = Some(cx.waker().clone()),
            }
        });
        if fired { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Drives `future` until it is done or the deadline fires (`None`).
    pub(crate) async fn guard<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(cx).map(|()| None),
        })
        .await
    }

    fn entry(&self, with: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.owner.entries.borrow_mut().get_mut(self.index) {
            with(entry);
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.owner.entries.borrow_mut().try_remove(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(deadline: &Deadline) -> bool {
        deadline.poll(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_deadline_fires_late_never_early_and_only_while_armed() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let deadlines = Deadlines::new(start);
        let (a, b) = (deadlines.deadline(), deadlines.deadline());
        // Up to a tick after the last look, which is what `arm` goes by.
        a.arm(second);
        b.arm(second);
        deadlines.tick(start + TICK + second - Duration::from_millis(1));
        assert!(!fired(&a));
        b.disarm();
        deadlines.tick(start + TICK + second);
        assert!(fired(&a) && !fired(&b));
        a.arm(second);
        assert!(!fired(&a));
        deadlines.tick(start + TICK + second + second);
        assert!(!fired(&a));
        deadlines.tick(start + TICK + second + second + TICK);
        assert!(fired(&a));
        b.arm(Duration::ZERO);
        assert!(fired(&b), "it need not last until the next look");
    }

    #[test]
    fn dropping_a_deadline_frees_its_place() {
        let deadlines = Deadlines::new(Instant::now());
        for _ in 0..100 {
            drop(deadlines.deadline());
        }
        assert!(deadlines.entries.borrow().capacity() < 10);
    }
}

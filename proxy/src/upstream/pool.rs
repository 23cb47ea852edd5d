//! The idle links of one worker to one server, youngest first.

use std::cell::{Cell, RefCell};

use super::link::Link;
use crate::deadline::TICK;

/// Idle links to one server.
#[derive(Default)]
pub(crate) struct Pool {
    #[expect(clippy::vec_box, reason = "a link moves in and out with every request, and is large")]
    idle: RefCell<Vec<Box<Link>>>,
    /// Links in use.
    pub(crate) in_flight: Cell<usize>,
    /// Ticks since the pool was made.
    ticks: Cell<u64>,
}

impl Pool {
    /// Idle links that are kept.
    const KEPT: usize = 256;
    /// How long a link may rest, in ticks: 60 s. Servers commonly close theirs after 5 to 75 s; a
    /// closed one is noticed before use.
    const REST_TICKS: u64 = 60_000 / TICK.as_millis() as u64;

    /// The youngest link that the server has not closed; and whether it has rested for so long that
    /// the server may be closing it now.
    pub(crate) fn take(&self) -> Option<(Box<Link>, bool)> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut link) = idle.pop() {
            if link.is_usable() {
                let rested = self.ticks.get() > link.idle_ticks + 1;
                return Some((link, rested));
            }
        }
        None
    }

    /// Keeps a link whose response is complete.
    pub(crate) fn put(&self, mut link: Box<Link>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < Self::KEPT {
            link.idle_ticks = self.ticks.get();
            idle.push(link);
        }
    }

    /// Closes links that have rested too long, the oldest of which are at the front. Called every
    /// [`TICK`]; that is the pool's clock.
    pub(crate) fn tick(&self) {
        let now = self.ticks.get() + 1;
        self.ticks.set(now);
        let mut idle = self.idle.borrow_mut();
        let stale = idle.partition_point(|link| now - link.idle_ticks > Self::REST_TICKS);
        idle.drain(..stale);
    }
}

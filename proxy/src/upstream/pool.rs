//! The links of one worker to one server: idle ones, youngest first, and those that many requests
//! share.

use std::cell::{Cell, RefCell};

use tokio::sync::Semaphore;

use super::link::{Link, Multiplexed};
use crate::deadline::TICK;

/// Idle links to one server.
pub(crate) struct Pool {
    #[expect(clippy::vec_box, reason = "a link moves in and out with every request, and is large")]
    idle: RefCell<Vec<Box<Link>>>,
    /// HTTP/2 connections.
    shared: RefCell<Vec<Multiplexed>>,
    /// One of those is made at a time: who waits for it may find room on it.
    pub(super) opening: Semaphore,
    /// Links in use.
    pub(crate) in_flight: Cell<usize>,
    /// Ticks since the pool was made.
    ticks: Cell<u64>,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            idle: RefCell::default(),
            shared: RefCell::default(),
            opening: Semaphore::new(1),
            in_flight: Cell::new(0),
            ticks: Cell::new(0),
        }
    }
}

impl Pool {
    /// Idle links that are kept.
    const KEPT: usize = 256;
    /// How long a link may rest, in ticks: 60 s. Servers commonly close theirs after 5 to 75 s; a
    /// closed one is noticed before use.
    const REST_TICKS: u64 = 60_000 / TICK.as_millis() as u64;
    /// After how many ticks a link gives its buffers back: 1 s.
    const IDLE_TICKS: u64 = 1_000 / TICK.as_millis() as u64;

    /// The youngest link that the server has not closed.
    pub(crate) fn take(&self) -> Option<Box<Link>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut link) = idle.pop() {
            if link.is_usable() {
                return Some(link);
            }
        }
        self.room().map(Box::new)
    }

    /// A place on a connection that is shared.
    pub(super) fn room(&self) -> Option<Link> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(Multiplexed::is_open);
        shared.iter().find_map(|connection| connection.link(self.ticks.get()))
    }

    /// Keeps a connection that is to be shared; the link is its first.
    pub(super) fn share(&self, connection: Multiplexed) -> Option<Link> {
        let link = connection.link(self.ticks.get());
        self.shared.borrow_mut().push(connection);
        link
    }

    /// Keeps a link whose response is complete.
    pub(crate) fn put(&self, mut link: Box<Link>) {
        if let Some(connection) = link.multiplexed() {
            return connection.used(self.ticks.get());
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() < Self::KEPT {
            link.idle_ticks = self.ticks.get();
            idle.push(link);
        }
    }

    /// Closes all idle links.
    pub(crate) fn clear(&self) {
        self.idle.take();
        self.shared.borrow_mut().retain(|connection| connection.idle_ticks().is_none());
    }

    /// Closes links that have rested too long, the oldest of which are at the front. Called every
    /// [`TICK`]; that is the pool's clock.
    pub(crate) fn tick(&self) {
        let now = self.ticks.get() + 1;
        self.ticks.set(now);
        let mut idle = self.idle.borrow_mut();
        let stale = idle.partition_point(|link| now - link.idle_ticks > Self::REST_TICKS);
        idle.drain(..stale);
        let resting = idle.iter_mut().filter(|link| now - link.idle_ticks == Self::IDLE_TICKS);
        resting.for_each(|link| link.rest());
        self.shared.borrow_mut().retain(|connection| {
            connection.is_open()
                && connection.idle_ticks().is_none_or(|idle| now - idle <= Self::REST_TICKS)
        });
    }
}

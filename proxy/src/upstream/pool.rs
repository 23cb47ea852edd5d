//! The idle links of one worker to one server, youngest first.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::link::Link;

/// Idle links to one server.
#[derive(Default)]
pub(crate) struct Pool {
    idle: RefCell<Vec<Box<Link>>>,
    /// Links in use.
    pub(crate) in_flight: Cell<usize>,
}

impl Pool {
    /// Idle links that are kept.
    const KEPT: usize = 256;
    /// How long a link may rest. Servers commonly close theirs after 5 to 75 s; a closed one is
    /// noticed before use.
    const REST: Duration = Duration::from_secs(60);

    /// The youngest link that the server has not closed.
    pub(crate) async fn take(&self) -> Option<Box<Link>> {
        poll_fn(|cx| {
            loop {
                let Some(mut link) = self.idle.borrow_mut().pop() else { return Poll::Ready(None) };
                if link.is_usable(cx) {
                    return Poll::Ready(Some(link));
                }
            }
        })
        .await
    }

    /// Keeps a link whose response is complete.
    pub(crate) fn put(&self, mut link: Box<Link>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < Self::KEPT {
            link.idle_since = Instant::now();
            idle.push(link);
        }
    }

    /// Closes links that have rested too long; the oldest are at the front.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        let stale = idle
            .partition_point(|link| now.saturating_duration_since(link.idle_since) > Self::REST);
        idle.drain(..stale);
    }
}

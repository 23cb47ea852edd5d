//! The tasks of connections and of HTTP/2 streams: one that panics ends alone.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::telemetry::Counter;
use crate::worker::Worker;

pin_project! {
    /// A task that may panic without harm to any other, which is counted.
    pub(crate) struct Contained<F> {
        #[pin]
        future: F,
        worker: Rc<Worker>,
    }
}

impl<F> Contained<F> {
    pub(crate) fn new(worker: &Rc<Worker>, future: F) -> Self {
        Self { future, worker: Rc::clone(worker) }
    }
}

impl<F: Future<Output = ()>> Future for Contained<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        contain(&this.worker.counters.panics, || this.future.poll(cx))
    }
}

/// A future that has panicked is over: it is not polled again. The panic hook has said where.
fn contain(panics: &Counter, poll: impl FnOnce() -> Poll<()>) -> Poll<()> {
    catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|_| {
        panics.add(1);
        Poll::Ready(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_its_own_task_and_is_counted() {
        let panics = Counter::default();
        assert_eq!(contain(&panics, || Poll::Pending), Poll::Pending);
        assert_eq!(panics.get(), 0);
        assert_eq!(contain(&panics, || panic!("on purpose")), Poll::Ready(()));
        assert_eq!(panics.get(), 1);
    }
}

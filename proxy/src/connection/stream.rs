//! The tasks of connections and of HTTP/2 streams: one that panics ends alone, and a stream whose
//! client takes nothing ends.
//!
//! A client that leaves a stream's flow-control window closed (RFC 9113, 6.9) does not keep the
//! connection from writing, so the stream has a deadline of its own. It is armed while the response
//! body waits for the client rather than for the upstream, and a piece of the body that could be
//! handed over begins it anew, for as long as the client's [`super::pace`] leaves.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::pace::Pace;
use super::watch::WaitsFor;
use crate::deadline::Deadline;
use crate::pipeline::Origin;
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

pin_project! {
    struct Stream<F> {
        #[pin]
        future: F,
        origin: Rc<Origin>,
        // There once the stream has waited for its client.
        stalled: Option<Deadline>,
        pace: Pace,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let (worker, watch) = (&this.origin.worker, &this.origin.watch);
        watch.waits_for.set(None);
        watch.handed_over.set(0);
        if contain(&worker.counters.panics, || this.future.poll(cx)).is_ready() {
            return Poll::Ready(());
        }
        let now = worker.deadlines.now_ms();
        match watch.waits_for.take() {
            Some(WaitsFor::Client) => {
                this.pace.took(watch.handed_over.get(), now);
                let stalled = this.stalled.get_or_insert_with(|| worker.deadlines.deadline());
                stalled.arm(this.pace.wait(now, &worker.limits()));
            }
            Some(WaitsFor::Upstream) => {
                this.pace.took(watch.handed_over.get(), now);
                this.stalled.iter().for_each(Deadline::disarm);
            }
            None => {} // woken, and nothing could be handed over
        }
        let expired = this.stalled.as_ref().is_some_and(|stalled| stalled.poll(cx).is_ready());
        if !expired {
            return Poll::Pending;
        }
        worker.counters.streams_timed_out.add(1);
        Poll::Ready(()) // which drops the response, and resets the stream
    }
}

/// Runs the streams of an HTTP/2 connection on the worker's own thread.
#[derive(Clone)]
pub(super) struct Spawner(pub(super) Rc<Origin>);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, future: F) {
        let origin = Rc::clone(&self.0);
        tokio::task::spawn_local(Stream { future, origin, stalled: None, pace: Pace::default() });
    }
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

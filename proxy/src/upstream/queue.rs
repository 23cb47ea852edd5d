//! Room for the requests in flight of an upstream, and those that wait for it, first come, first
//! served. One per upstream and worker.
//!
//! A slot that becomes free goes straight to whoever has waited longest: while anybody waits, none
//! is open to a newcomer.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The slots of an upstream.
pub(super) struct Queue {
    /// Slots that nobody has.
    free: Cell<usize>,
    waiting: RefCell<VecDeque<Rc<Place>>>,
    /// How many may wait.
    longest: usize,
}

/// A request in flight; dropping it makes room for the next.
pub(crate) struct Slot(Rc<Queue>);

impl Queue {
    pub(super) fn new(slots: usize, longest: usize) -> Rc<Self> {
        Rc::new(Self { free: Cell::new(slots), waiting: RefCell::default(), longest })
    }

    /// A slot, if one is free.
    pub(super) fn enter(self: &Rc<Self>) -> Option<Slot> {
        self.free.set(self.free.get().checked_sub(1)?);
        Some(Slot(Rc::clone(self)))
    }

    /// Waits for a slot. `None` at once if too many wait already.
    pub(super) async fn wait(self: Rc<Self>) -> Option<Slot> {
        if let Some(slot) = self.enter() {
            return Some(slot);
        }
        if self.waiting.borrow().len() >= self.longest {
            return None;
        }
        let waiting = Waiting { queue: Rc::clone(&self), place: Rc::default() };
        self.waiting.borrow_mut().push_back(Rc::clone(&waiting.place));
        Some(poll_fn(|cx| waiting.place.poll(cx)).await)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Self(queue) = self;
        let next = queue.waiting.borrow_mut().pop_front();
        match next {
            Some(place) => place.call(Self(Rc::clone(queue))),
            None => queue.free.set(queue.free.get() + 1),
        }
    }
}

/// Where a request waits, and its slot once it has been called.
#[derive(Default)]
struct Place {
    slot: Cell<Option<Slot>>,
    waker: RefCell<Option<Waker>>,
}

impl Place {
    fn call(&self, slot: Slot) {
        self.slot.set(Some(slot));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Slot> {
        match self.slot.take() {
            Some(slot) => Poll::Ready(slot),
            None => {
                self.waker.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// Leaves the queue if the wait is given up.
struct Waiting {
    queue: Rc<Queue>,
    place: Rc<Place>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.queue.waiting.borrow_mut().retain(|place| !Rc::ptr_eq(place, &self.place));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use super::*;

    type Wait = Pin<Box<dyn Future<Output = Option<Slot>>>>;

    fn wait(queue: &Rc<Queue>) -> Wait {
        let mut wait: Wait = Box::pin(Rc::clone(queue).wait());
        assert!(poll(&mut wait).is_pending());
        wait
    }

    fn poll(wait: &mut Wait) -> Poll<Option<Slot>> {
        wait.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_has_waited_longest_is_next_and_nobody_overtakes() {
        let queue = Queue::new(1, 10);
        let slot = queue.enter().unwrap();
        let (mut first, mut second) = (wait(&queue), wait(&queue));
        drop(slot);
        assert!(queue.enter().is_none(), "the slot is the first's, though it has not looked yet");
        assert!(poll(&mut second).is_pending());
        let Poll::Ready(Some(slot)) = poll(&mut first) else { panic!("it was called") };
        assert!(poll(&mut second).is_pending());
        drop(slot);
        assert!(matches!(poll(&mut second), Poll::Ready(Some(_))));
        assert!(queue.enter().is_some());
    }

    #[test]
    fn the_queue_is_bounded_and_may_be_left() {
        let queue = Queue::new(1, 2);
        let slot = queue.enter().unwrap();
        let (called, gone) = (wait(&queue), wait(&queue));
        let mut refused: Wait = Box::pin(Rc::clone(&queue).wait());
        assert!(matches!(poll(&mut refused), Poll::Ready(None)), "two wait already");
        drop(gone);
        let mut next = wait(&queue);
        drop(slot);
        drop(called); // which was called, and has not looked: the slot goes on
        assert!(matches!(poll(&mut next), Poll::Ready(Some(_))));
        assert!(queue.waiting.borrow().is_empty());
        assert!(queue.enter().is_some());
    }
}

//! What watches a connection: what it is doing, and its two deadlines.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::time::Duration;

use http::Response;

use super::gather::Flush;
use super::head::RawHead;
use super::http1;
use super::interim::Interim;
use super::pace::Pace;
use crate::config::Limits;
use crate::deadline::Deadline;
use crate::tunnel::Tunnel;
use crate::worker::Worker;

/// What a connection is doing, and until when it may.
pub(crate) struct Watch {
    pub(super) deadline: Deadline,
    pub(super) stalled: Deadline,
    in_flight: Cell<u32>,
    /// No request is in flight, and not a byte of the next has come.
    pub(super) resting: Cell<bool>,
    pub(super) multiplexed: Cell<bool>,
    /// When what has been written leaves.
    pub(super) flush: Cell<Flush>,
    /// Of the requests since the connection last rested.
    pub(super) pace: Cell<Pace>,
    /// HTTP/1.1 only.
    pub(crate) head: RawHead,
    /// HTTP/1.1 only: the last body was given up before its end.
    pub(super) body_given_up: Rc<Cell<bool>>,
    /// HTTP/2 only: streams that were given time when they had their response.
    pub(super) lingered: Cell<u32>,
    interim: OnceCell<Rc<Interim>>,
    /// What an HTTP/1.1 connection becomes when its response has been sent.
    pub(super) tunnel: Cell<Option<Box<Tunnel>>>,
}

impl Watch {
    pub(crate) fn new(worker: &Worker) -> Self {
        Self {
            deadline: worker.deadlines.deadline(),
            stalled: worker.deadlines.deadline(),
            in_flight: Cell::new(0),
            resting: Cell::new(false),
            multiplexed: Cell::new(false),
            flush: Cell::default(),
            pace: Cell::default(),
            head: RawHead::new(),
            body_given_up: Rc::default(),
            lingered: Cell::new(0),
            interim: OnceCell::new(),
            tunnel: Cell::default(),
        }
    }

    /// The rest is over: a request's head begins.
    pub(super) fn awake(&self, header_timeout: Duration) {
        self.resting.set(false);
        self.deadline.arm(header_timeout);
    }

    /// A request's head has been read.
    pub(crate) fn begin(&self) {
        if self.in_flight.get() == 0 {
            self.pace.take();
        }
        self.in_flight.set(self.in_flight.get() + 1);
        self.resting.set(false);
        self.body_given_up.set(false);
        self.deadline.disarm();
    }

    /// Whether it is HTTP/1.1 and waits for the head of a request, if only for the rest of it.
    pub(super) fn awaits_head(&self) -> bool {
        !self.multiplexed.get() && !self.resting.get() && self.in_flight.get() == 0
    }

    /// Whether there are more requests in flight than streams may be open, and as many again that
    /// the client has reset and that have not been given up yet.
    pub(crate) fn is_crowded(&self, limits: &Limits) -> bool {
        self.multiplexed.get() && self.in_flight.get() > limits.http2_streams.saturating_mul(2)
    }

    /// Whether it is HTTP/2.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.multiplexed.get()
    }

    /// Where the interim responses to the next request go.
    pub(crate) fn interim(&self) -> Rc<Interim> {
        Rc::clone(self.interim.get_or_init(Rc::default))
    }

    /// Whether interim responses wait to be sent.
    pub(super) fn has_interim(&self) -> bool {
        self.interim.get().is_some_and(|interim| interim.is_pending())
    }

    /// Interim responses to the request that was polled last.
    pub(super) fn take_interim(&self) -> Vec<Response<()>> {
        self.interim.get().map_or_else(Vec::new, |interim| interim.take())
    }

    /// A response has been handed over or given up.
    pub(crate) fn end(&self, idle_timeout: Duration) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        self.head.resume();
        if self.in_flight.get() == 0 {
            self.resting.set(true);
            let rest =
                if self.multiplexed.get() { idle_timeout } else { http1::REST.min(idle_timeout) };
            self.deadline.arm(rest);
        }
    }
}

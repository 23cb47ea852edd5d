//! Upstreams: from an admitted request to the response of the application.
//!
//! A request first takes a slot, of which an upstream has so many, or waits for one (see
//! [`queue`]). Then it takes the youngest idle link of its worker, or connects; the link goes back
//! to the pool when the response's body has been read to its end, and is closed when anything else
//! happens (see [`exchange`]).

mod answer;
mod attempt;
mod balance;
mod connect;
mod exchange;
pub(crate) mod forward;
pub(crate) mod health;
pub(crate) mod keep;
mod link;
mod pool;
mod queue;
mod standing;
mod sticky;
mod stream;
mod switch;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Request;

use self::balance::Budget;
use self::exchange::Exchange;
use self::health::Health;
use self::link::Link;
use self::pool::Pool;
use self::queue::Queue;
use crate::body::{Fault, Progress, RequestBody};
use crate::config;
use crate::connection::Interim;
use crate::deadline::Deadlines;
use crate::policy::Admitted;
use crate::rejection::Rejection;
use crate::tunnel;

pub(crate) use self::answer::{Cut, UpstreamBody};
pub(crate) use self::forward::Told;
pub(crate) use self::keep::Kept;
pub(crate) use self::link::{Broken, Replayed};
pub(crate) use self::queue::Slot;
pub(crate) use self::standing::Standing;
pub(crate) use self::stream::{Stream, client_config};
pub(crate) use self::switch::Switched;

/// A named upstream, as one worker sees it.
pub(crate) struct Upstream {
    configured: config::Upstream,
    servers: Vec<Rc<Server>>,
    /// Where the next request's search for a server begins.
    next: Cell<usize>,
    budget: Budget,
    /// This worker's share of the bounds on requests in flight and on those that wait.
    queue: Rc<Queue>,
    deadlines: Rc<Deadlines>,
    standing: Standing,
}

/// One server of an upstream.
pub(crate) struct Server {
    configured: config::Server,
    /// Its place in the list.
    place: usize,
    pool: Pool,
    health: Arc<Health>,
    /// Requests in flight that the other threads know of.
    published: Cell<usize>,
}

impl Server {
    /// Tells the other threads how many requests are in flight.
    fn publish(&self, in_flight: usize) {
        let before = self.published.replace(in_flight);
        if before != in_flight {
            self.health.in_flight(in_flight.wrapping_sub(before));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.publish(0);
    }
}

/// A request as it goes upstream. Only an admitted one becomes one.
pub(crate) struct Outgoing {
    request: Request<RequestBody>,
    upload: Option<Rc<Progress>>,
    interim: Option<Rc<Interim>>,
    /// In the place of the upstream's own.
    answer_timeout: Option<Duration>,
}

impl Outgoing {
    pub(crate) fn new(
        admitted: Admitted,
        told: &Told<'_>,
        body: RequestBody,
        answer_timeout: Option<Duration>,
        interim: Option<Rc<Interim>>,
    ) -> Self {
        let mut head = admitted.into_head();
        forward::request(&mut head, told);
        if told.switches {
            tunnel::ask(&mut head);
        }
        let upload = body.progress();
        Self { request: Request::from_parts(head, body), upload, interim, answer_timeout }
    }
}

/// A request at a server, counted; and its link once the response is being read, to be given back
/// or closed.
pub(crate) struct Lease {
    server: Rc<Server>,
    link: Option<Box<Link>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let in_flight = &self.server.pool.in_flight;
        in_flight.set(in_flight.get() - 1);
    }
}

impl Lease {
    fn new(server: &Rc<Server>) -> Self {
        let in_flight = &server.pool.in_flight;
        in_flight.set(in_flight.get() + 1);
        Self { server: Rc::clone(server), link: None }
    }

    fn give_back(&mut self) {
        if let Some(link) = self.link.take() {
            self.server.pool.put(link);
        }
    }
}

impl Upstream {
    pub(crate) fn new(
        upstream: &config::Upstream,
        standing: Standing,
        workers: usize,
        deadlines: &Rc<Deadlines>,
    ) -> Self {
        let servers = upstream.servers.iter().zip(&standing.health).zip(0..);
        let servers = servers.map(|((server, health), place)| {
            let (configured, health) = (server.clone(), Arc::clone(health));
            let (pool, published) = (Pool::default(), Cell::new(0));
            Rc::new(Server { configured, place, pool, health, published })
        });
        Self {
            servers: servers.collect(),
            next: Cell::new(0),
            budget: Budget::new(),
            queue: Queue::new(
                upstream.max_in_flight.div_ceil(workers.max(1)),
                upstream.max_queued.div_ceil(workers.max(1)),
            ),
            deadlines: Rc::clone(deadlines),
            standing,
            configured: upstream.clone(),
        }
    }

    /// Whether it is what `configured` asks for.
    pub(crate) fn is(&self, configured: &config::Upstream) -> bool {
        self.configured == *configured
    }

    /// Closes links that have rested too long, or whose group is no longer active.
    pub(crate) fn tick(&self) {
        for server in &self.servers {
            server.publish(server.pool.in_flight.get());
            server.pool.tick();
        }
        if self.configured.groups.is_some() {
            let active = self.active();
            let rest = self.servers.iter();
            let rest = rest.filter(|server| !active.iter().any(|used| Rc::ptr_eq(used, server)));
            rest.for_each(|server| server.pool.clear());
        }
    }

    /// The servers that new requests go to.
    fn active(&self) -> &[Rc<Server>] {
        let Some(groups) = &self.configured.groups else { return &self.servers };
        let group = groups.groups.get(self.standing.active.get());
        group.and_then(|group| self.servers.get(group.servers.clone())).unwrap_or_default()
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLarge => Self::BodyTooLarge,
            Fault::TooSlow => Self::BodyTimeout,
            Fault::Aborted => Self::BodyAborted,
        }
    }
}

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
mod link;
mod pool;
mod queue;
mod stream;
mod switch;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use rustls::ClientConfig;

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
pub(crate) use self::link::Replayed;
pub(crate) use self::queue::Slot;
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
    /// For `https://` servers.
    tls: Option<Arc<ClientConfig>>,
}

/// One server of an upstream.
pub(crate) struct Server {
    configured: config::Server,
    /// Its place in the list.
    place: u32,
    pool: Pool,
    health: Arc<Health>,
}

/// A request as it goes upstream. Only an admitted one becomes one.
pub(crate) struct Outgoing {
    request: Request<RequestBody>,
    upload: Option<Rc<Progress>>,
    /// In the place of the upstream's own.
    answer_timeout: Option<Duration>,
}

impl Outgoing {
    pub(crate) fn new(
        admitted: Admitted,
        told: &Told<'_>,
        body: RequestBody,
        answer_timeout: Option<Duration>,
        interim: Option<Arc<Interim>>,
    ) -> Self {
        let mut head = admitted.into_head();
        forward::request(&mut head, told);
        if told.switches {
            tunnel::ask(&mut head);
        }
        let upload = body.progress();
        let mut request = Request::from_parts(head, body);
        if let Some(interim) = interim {
            interim.of(&mut request);
        }
        Self { request, upload, answer_timeout }
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
        health: &[Arc<Health>],
        tls: Option<Arc<ClientConfig>>,
        workers: usize,
        deadlines: &Rc<Deadlines>,
    ) -> Self {
        let servers = upstream.servers.iter().zip(health).zip(0..);
        let servers = servers.map(|((server, health), place)| {
            let (configured, health) = (server.clone(), Arc::clone(health));
            Rc::new(Server { configured, place, pool: Pool::default(), health })
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
            tls,
            configured: upstream.clone(),
        }
    }

    /// Whether it is what `configured` asks for.
    pub(crate) fn is(&self, configured: &config::Upstream) -> bool {
        self.configured == *configured
    }

    /// Closes links that have rested too long.
    pub(crate) fn tick(&self) {
        self.servers.iter().for_each(|server| server.pool.tick());
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

//! Upstreams: from an admitted request to the response of the application.
//!
//! Each worker has its own links. A request takes the youngest idle one or connects; the link goes
//! back to the pool when the response's body has been read to its end, and is closed when anything
//! else happens.

mod answer;
mod attempt;
mod balance;
mod connect;
pub(crate) mod forward;
pub(crate) mod health;
mod link;
mod pool;
mod stream;
mod switch;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::{Request, Response};
use hyper::body::Incoming;
use rustls::ClientConfig;

use self::attempt::Attempt;
use self::balance::Budget;
use self::health::Health;
use self::link::{Link, Sent};
use self::pool::Pool;
use crate::body::{Fault, Progress, RequestBody};
use crate::config;
use crate::deadline::{Deadline, Deadlines};
use crate::policy::Admitted;
use crate::rejection::Rejection;
use crate::tunnel;

pub(crate) use self::answer::{Cut, UpstreamBody};
pub(crate) use self::forward::Told;
pub(crate) use self::stream::{Stream, client_config};
pub(crate) use self::switch::Switched;

/// A named upstream, as one worker sees it.
pub(crate) struct Upstream {
    configured: config::Upstream,
    servers: Vec<Rc<Server>>,
    /// Where the next request's search for a server begins.
    next: Cell<usize>,
    budget: Budget,
    /// This worker's share of the bound on requests in flight.
    max_in_flight: usize,
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
}

impl Outgoing {
    pub(crate) fn new(admitted: Admitted, told: &Told<'_>, body: RequestBody) -> Self {
        let mut head = admitted.into_head();
        forward::request(&mut head, told);
        if told.switches {
            tunnel::ask(&mut head);
        }
        let upload = body.progress();
        Self { request: Request::from_parts(head, body), upload }
    }
}

/// A request in flight, counted; and its link once the response is being read, to be given back or
/// closed.
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
            max_in_flight: upstream.max_in_flight.div_ceil(workers.max(1)),
            deadlines: Rc::clone(deadlines),
            tls,
            configured: upstream.clone(),
        }
    }

    /// Whether it is what `configured` asks for.
    pub(crate) fn is(&self, configured: &config::Upstream) -> bool {
        self.configured == *configured
    }

    /// Sends a request; the future is the response, its body still to be read.
    ///
    /// Over an idle link, which is the rule, the request has been handed over when this returns:
    /// the future does not carry it.
    pub(crate) fn send(
        self: Rc<Self>,
        outgoing: Outgoing,
    ) -> impl Future<Output = Result<Response<UpstreamBody>, Rejection>> {
        let Outgoing { request, upload } = outgoing;
        let deadline = self.deadlines.deadline();
        let mut attempt = self.attempt();
        let begun = match self.choose(&attempt) {
            Err(rejection) => Begun::Refused(rejection),
            Ok(server) => match server.pool.take() {
                None => Begun::Unsent(request),
                Some((mut link, rested)) => {
                    let copy = self.copy(&request, rested);
                    let sent = link.send(request);
                    Begun::Sent(Lease::new(server), link, sent, copy)
                }
            },
        };
        async move {
            let request = match begun {
                Begun::Refused(rejection) => return Err(rejection),
                Begun::Unsent(request) => request,
                Begun::Sent(lease, mut link, sent, copy) => {
                    match self.answer(&deadline, upload.as_deref(), &mut link, sent).await {
                        Ok(response) => {
                            return self.respond(response, lease, link, deadline, upload);
                        }
                        // The server closed the idle link as we took it: that is no failure.
                        Err((_, Some(unsent))) => *unsent,
                        Err((rejection, None)) => {
                            let server = &lease.server;
                            match self.again(&mut attempt, server, &rejection, None, copy) {
                                Some(request) => request,
                                None => return Err(rejection),
                            }
                        }
                    }
                }
            };
            Box::pin(self.send_on_new(attempt, request, deadline, upload)).await
        }
    }

    /// Sends a request on a link that is made for it.
    async fn send_on_new(
        &self,
        mut attempt: Attempt,
        mut request: Request<RequestBody>,
        deadline: Deadline,
        upload: Option<Rc<Progress>>,
    ) -> Result<Response<UpstreamBody>, Rejection> {
        loop {
            let (lease, mut link) = self.connect_any(&mut attempt, &deadline).await?;
            let copy = self.copy(&request, true);
            let sent = link.send(request);
            match self.answer(&deadline, upload.as_deref(), &mut link, sent).await {
                Ok(response) => return self.respond(response, lease, link, deadline, upload),
                Err((rejection, unsent)) => {
                    let server = &lease.server;
                    match self.again(&mut attempt, server, &rejection, unsent, copy) {
                        Some(next) => request = next,
                        None => return Err(rejection),
                    }
                }
            }
        }
    }

    /// Waits for the response. The upstream's time runs from the request's last byte; until then it
    /// is the client's.
    async fn answer(
        &self,
        deadline: &Deadline,
        upload: Option<&Progress>,
        link: &mut Link,
        sent: impl Future<Output = Sent>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut sent = std::pin::pin!(sent);
        let mut running = false;
        let answer = std::future::poll_fn(|cx| {
            _ = link.poll_connection(cx);
            if let Poll::Ready(output) = sent.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if !running && upload.is_none_or(|upload| upload.complete.get()) {
                running = true;
                deadline.arm(self.configured.answer_timeout);
            }
            deadline.poll(cx).map(|()| None)
        })
        .await;
        match (answer, upload.and_then(|upload| upload.fault.get())) {
            (None, _) => Err((Rejection::UpstreamTimeout, None)),
            (Some(Ok(response)), _) => Ok(response),
            (Some(Err(_)), Some(fault)) => Err((fault.into(), None)),
            (Some(Err(mut error)), None) => {
                let unsent = error.take_message().map(Box::new);
                Err((Rejection::UpstreamInvalid(error.into_error()), unsent))
            }
        }
    }

    fn respond(
        &self,
        response: Response<Incoming>,
        mut lease: Lease,
        link: Box<Link>,
        deadline: Deadline,
        upload: Option<Rc<Progress>>,
    ) -> Result<Response<UpstreamBody>, Rejection> {
        let (mut head, incoming) = response.into_parts();
        if !forward::response(&mut head) {
            return Err(Rejection::UpstreamRefused);
        }
        deadline.disarm();
        lease.server.health.answered();
        lease.link = Some(link);
        let answer_timeout = self.configured.answer_timeout;
        let body = UpstreamBody::new(incoming, lease, deadline, answer_timeout, upload);
        Ok(Response::from_parts(head, body))
    }

    /// Closes links that have rested too long.
    pub(crate) fn tick(&self) {
        self.servers.iter().for_each(|server| server.pool.tick());
    }
}

/// A request before the wait for its response.
enum Begun<F> {
    /// Handed over to an idle link; with what would be sent again.
    Sent(Lease, Box<Link>, F, Option<Box<Request<RequestBody>>>),
    /// There was no idle link.
    Unsent(Request<RequestBody>),
    Refused(Rejection),
}

/// Why there is no response; and the request, if none of it was sent.
type Failure = (Rejection, Option<Box<Request<RequestBody>>>);

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLarge => Self::BodyTooLarge,
            Fault::TooSlow => Self::BodyTimeout,
            Fault::Aborted => Self::BodyAborted,
        }
    }
}

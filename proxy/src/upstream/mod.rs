//! Upstreams: from an admitted request to the response of the application.
//!
//! Each worker has its own links. A request takes the youngest idle one or connects; the link goes
//! back to the pool when the response's body has been read to its end, and is closed when anything
//! else happens.

mod answer;
pub(crate) mod forward;
mod link;
mod pool;
mod switch;

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpStream;

use self::link::{Link, Sent};
use self::pool::Pool;
use crate::body::{Fault, Progress, RequestBody};
use crate::config;
use crate::deadline::{Deadline, Deadlines};
use crate::policy::Admitted;
use crate::rejection::Rejection;
use crate::socket::Socket;
use crate::tunnel;

pub(crate) use self::answer::{Cut, UpstreamBody};
pub(crate) use self::forward::Told;
pub(crate) use self::switch::Switched;

/// A named upstream, as one worker sees it.
pub(crate) struct Upstream {
    configured: config::Upstream,
    servers: Vec<(config::Server, Rc<Pool>)>,
    /// Where the next request's search for a server begins.
    next: Cell<usize>,
    /// This worker's share of the bound on requests in flight.
    max_in_flight: usize,
    deadlines: Rc<Deadlines>,
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
    pool: Rc<Pool>,
    link: Option<Box<Link>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.in_flight.set(self.pool.in_flight.get() - 1);
    }
}

impl Lease {
    fn new(pool: &Rc<Pool>) -> Self {
        pool.in_flight.set(pool.in_flight.get() + 1);
        Self { pool: Rc::clone(pool), link: None }
    }

    fn give_back(&mut self) {
        if let Some(link) = self.link.take() {
            self.pool.put(link);
        }
    }
}

impl Upstream {
    pub(crate) fn new(
        upstream: &config::Upstream,
        workers: usize,
        deadlines: &Rc<Deadlines>,
    ) -> Self {
        Self {
            configured: upstream.clone(),
            servers: upstream
                .servers
                .iter()
                .map(|server| (server.clone(), Rc::default()))
                .collect(),
            next: Cell::new(0),
            max_in_flight: upstream.max_in_flight.div_ceil(workers.max(1)),
            deadlines: Rc::clone(deadlines),
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
        let turn = self.turn();
        let begun = match self.idle(turn) {
            Some((lease, mut link)) => {
                let sent = link.send(request);
                Ok((lease, link, sent))
            }
            None => Err(request),
        };
        async move {
            let request = match begun {
                Err(request) => request,
                Ok((lease, mut link, sent)) => {
                    match self.answer(&deadline, upload.as_deref(), &mut link, sent).await {
                        Ok(response) => {
                            return self.respond(response, lease, link, deadline, upload);
                        }
                        // The server closed the idle link as we took it.
                        Err((_, Some(unsent))) => *unsent,
                        Err((rejection, None)) => return Err(rejection),
                    }
                }
            };
            Box::pin(self.send_on_new(turn, request, deadline, upload)).await
        }
    }

    /// Sends a request on a link that is made for it.
    async fn send_on_new(
        &self,
        turn: usize,
        request: Request<RequestBody>,
        deadline: Deadline,
        upload: Option<Rc<Progress>>,
    ) -> Result<Response<UpstreamBody>, Rejection> {
        let (lease, mut link) = self.connect_any(turn, &deadline).await?;
        let sent = link.send(request);
        match self.answer(&deadline, upload.as_deref(), &mut link, sent).await {
            Ok(response) => self.respond(response, lease, link, deadline, upload),
            Err((rejection, _)) => Err(rejection),
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
        lease.link = Some(link);
        let answer_timeout = self.configured.answer_timeout;
        let body = UpstreamBody::new(incoming, lease, deadline, answer_timeout, upload);
        Ok(Response::from_parts(head, body))
    }

    /// An idle link, looked for at the servers in turn. None when as many requests are in flight as
    /// may be.
    fn idle(&self, turn: usize) -> Option<(Lease, Box<Link>)> {
        if self.is_saturated() {
            return None;
        }
        let link = self.in_turn(turn).find_map(|(_, pool)| pool.take().map(|link| (pool, link)));
        link.map(|(pool, link)| (Lease::new(pool), link))
    }

    /// A new link to the first server, in turn, that accepts one.
    async fn connect_any(
        &self,
        turn: usize,
        deadline: &Deadline,
    ) -> Result<(Lease, Box<Link>), Rejection> {
        let mut failure = Rejection::UpstreamSaturated;
        if self.is_saturated() {
            return Err(failure);
        }
        for (server, pool) in self.in_turn(turn) {
            let lease = Lease::new(pool);
            match self.connect(server, deadline).await {
                Ok(link) => return Ok((lease, Box::new(link))),
                Err(rejection) => failure = rejection,
            }
        }
        Err(failure)
    }

    fn is_saturated(&self) -> bool {
        let in_flight: usize = self.servers.iter().map(|(_, pool)| pool.in_flight.get()).sum();
        in_flight >= self.max_in_flight
    }

    /// Where this request's search for a server begins; the next one's, one further.
    fn turn(&self) -> usize {
        let turn = self.next.get();
        self.next.set((turn + 1) % self.servers.len().max(1));
        turn
    }

    /// Every server once.
    fn in_turn(&self, turn: usize) -> impl Iterator<Item = &(config::Server, Rc<Pool>)> {
        self.servers.iter().cycle().skip(turn).take(self.servers.len())
    }

    async fn connect(
        &self,
        server: &config::Server,
        deadline: &Deadline,
    ) -> Result<Link, Rejection> {
        deadline.arm(self.configured.connect_timeout);
        let address = (server.host.as_str(), server.port);
        let connected = deadline.guard(TcpStream::connect(address)).await;
        deadline.disarm();
        let stream = connected
            .ok_or(Rejection::UpstreamConnectTimeout)?
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(Rejection::UpstreamUnreachable)?;
        Link::open(Socket(stream)).await.map_err(Rejection::UpstreamInvalid)
    }

    /// Closes links that have rested too long.
    pub(crate) fn tick(&self) {
        self.servers.iter().for_each(|(_, pool)| pool.tick());
    }
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

//! Upstreams: from an admitted request to the response of the application.
//!
//! Each worker has its own links. A request takes the youngest idle one or connects; the link goes
//! back to the pool when the response's body has been read to its end, and is closed when anything
//! else happens.

mod answer;
pub(crate) mod forward;
mod link;
mod pool;

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpStream;

use self::link::Link;
use self::pool::Pool;
use crate::body::{Fault, Progress, RequestBody};
use crate::config;
use crate::deadline::{Deadline, Deadlines};
use crate::policy::Admitted;
use crate::rejection::Rejection;
use crate::socket::Socket;

pub(crate) use self::answer::{Cut, UpstreamBody};
pub(crate) use self::forward::Told;

/// A named upstream, as one worker sees it.
pub(crate) struct Upstream {
    servers: Vec<(config::Server, Rc<Pool>)>,
    /// Where the next request's search for a server begins.
    next: Cell<usize>,
    connect_timeout: Duration,
    answer_timeout: Duration,
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
        let upload = body.progress();
        Self { request: Request::from_parts(head, body), upload }
    }
}

/// A link in use: counted, and given back or closed.
struct Lease {
    pool: Rc<Pool>,
    link: Option<Box<Link>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.in_flight.set(self.pool.in_flight.get() - 1);
    }
}

impl Lease {
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
            servers: upstream
                .servers
                .iter()
                .map(|server| (server.clone(), Rc::default()))
                .collect(),
            next: Cell::new(0),
            connect_timeout: upstream.connect_timeout,
            answer_timeout: upstream.answer_timeout,
            max_in_flight: upstream.max_in_flight.div_ceil(workers.max(1)),
            deadlines: Rc::clone(deadlines),
        }
    }

    /// Sends a request and returns the response, its body still to be read.
    pub(crate) async fn send(
        &self,
        outgoing: Outgoing,
    ) -> Result<Response<UpstreamBody>, Rejection> {
        let Outgoing { mut request, upload } = outgoing;
        let deadline = self.deadlines.deadline();
        loop {
            let (mut lease, reused) = self.lease(&deadline).await?;
            let Some(link) = &mut lease.link else { return Err(Rejection::UpstreamSaturated) };
            let sending = link.send(request);
            let Some(sent) = self.answer(&deadline, upload.as_deref(), sending).await else {
                return Err(Rejection::UpstreamTimeout);
            };
            let mut error = match sent {
                Ok(response) => return Ok(self.respond(response, lease, deadline, upload)),
                Err(error) => error,
            };
            match (error.take_message(), upload.as_ref().and_then(|upload| upload.fault.get())) {
                (_, Some(fault)) => return Err(fault.into()),
                // Nothing was sent: the server closed an idle link as we took it.
                (Some(unsent), None) if reused => request = unsent,
                _ => return Err(Rejection::UpstreamInvalid(error.into_error())),
            }
        }
    }

    /// Waits for the response. The upstream's time runs from the request's last byte; until then it
    /// is the client's.
    async fn answer<F: Future>(
        &self,
        deadline: &Deadline,
        upload: Option<&Progress>,
        sending: F,
    ) -> Option<F::Output> {
        let mut sending = std::pin::pin!(sending);
        let mut running = false;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = sending.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if !running && upload.is_none_or(|upload| upload.complete.get()) {
                running = true;
                deadline.arm(self.answer_timeout);
            }
            deadline.poll(cx).map(|()| None)
        })
        .await
    }

    fn respond(
        &self,
        response: Response<Incoming>,
        lease: Lease,
        deadline: Deadline,
        upload: Option<Rc<Progress>>,
    ) -> Response<UpstreamBody> {
        let (mut head, incoming) = response.into_parts();
        forward::response(&mut head.headers);
        deadline.disarm();
        let answer_timeout = self.answer_timeout;
        let body = UpstreamBody::new(incoming, lease, deadline, answer_timeout, upload);
        Response::from_parts(head, body)
    }

    /// An idle link, or a new one to the first server that accepts; and whether it is an idle one.
    async fn lease(&self, deadline: &Deadline) -> Result<(Lease, bool), Rejection> {
        let in_flight: usize = self.servers.iter().map(|(_, pool)| pool.in_flight.get()).sum();
        if in_flight >= self.max_in_flight {
            return Err(Rejection::UpstreamSaturated);
        }
        let first = self.next.get();
        self.next.set(first.wrapping_add(1));
        let mut failure = Rejection::UpstreamSaturated;
        for turn in 0..self.servers.len() {
            let index = first.wrapping_add(turn) % self.servers.len();
            let Some((server, pool)) = self.servers.get(index) else { break };
            pool.in_flight.set(pool.in_flight.get() + 1);
            let mut lease = Lease { pool: Rc::clone(pool), link: pool.take().await };
            if lease.link.is_some() {
                return Ok((lease, true));
            }
            match Box::pin(self.connect(server, deadline)).await {
                Ok(link) => {
                    lease.link = Some(Box::new(link));
                    return Ok((lease, false));
                }
                Err(rejection) => failure = rejection,
            }
        }
        Err(failure)
    }

    async fn connect(
        &self,
        server: &config::Server,
        deadline: &Deadline,
    ) -> Result<Link, Rejection> {
        deadline.arm(self.connect_timeout);
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

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLarge => Self::BodyTooLarge,
            Fault::TooSlow => Self::BodyTimeout,
            Fault::Aborted => Self::BodyAborted,
        }
    }
}

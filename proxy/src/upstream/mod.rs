//! Upstreams: from an admitted request to the response of the application.
//!
//! Each worker has its own links. A request takes the youngest idle one or connects; the link goes
//! back to the pool when the response's body has been read to its end, and is closed when anything
//! else happens.

pub(crate) mod forward;
mod link;
mod pool;

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::net::TcpStream;
use tokio::time::Instant;

use self::link::Link;
use self::pool::Pool;
use crate::body::{Bounds, Fault, Progress, RequestBody};
use crate::config;
use crate::deadline::{Deadline, Deadlines};
use crate::policy::Admitted;
use crate::rejection::Rejection;

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

    /// Sends an admitted request and returns the response, its body still to be read.
    pub(crate) async fn send(
        &self,
        admitted: Admitted,
        told: Told<'_>,
        incoming: Incoming,
        bounds: Bounds,
        bytes_in: Rc<Cell<u64>>,
    ) -> Result<Response<UpstreamBody>, Rejection> {
        let mut head = admitted.into_head();
        forward::request(&mut head, &told);
        let progress = Rc::new(Progress::default());
        let deadline = || self.deadlines.deadline();
        let body = RequestBody::new(incoming, bounds, bytes_in, &progress, deadline);
        let bodiless = matches!(body, RequestBody::Empty);
        let deadline = self.deadlines.deadline();
        let mut request = Request::from_parts(head, body);
        loop {
            let (mut lease, reused) = self.lease(&deadline).await?;
            let Some(link) = &mut lease.link else { return Err(Rejection::UpstreamSaturated) };
            if bodiless {
                deadline.arm(Instant::now(), self.answer_timeout);
            }
            let Some(sent) = self.answer(&deadline, &progress, link.send(request)).await else {
                return Err(Rejection::UpstreamTimeout);
            };
            match sent {
                Ok(response) => return Ok(self.respond(response, lease, deadline, progress)),
                Err(mut error) => match (error.take_message(), progress.fault.get()) {
                    (_, Some(fault)) => return Err(fault.into()),
                    // Nothing was sent: the server closed an idle link as we took it.
                    (Some(unsent), None) if reused => request = unsent,
                    _ => return Err(Rejection::UpstreamInvalid(error.into_error())),
                },
            }
        }
    }

    /// Waits for the response. The upstream's time runs from the request's last byte; until then it
    /// is the client's.
    async fn answer<F: Future>(
        &self,
        deadline: &Deadline,
        progress: &Progress,
        sending: F,
    ) -> Option<F::Output> {
        let mut sending = std::pin::pin!(sending);
        let mut running = false;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = sending.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if !running && progress.complete.get() {
                running = true;
                deadline.arm(Instant::now(), self.answer_timeout);
            }
            deadline.poll(cx).map(|()| None)
        })
        .await
    }

    fn respond(
        &self,
        response: Response<Incoming>,
        mut lease: Lease,
        deadline: Deadline,
        progress: Rc<Progress>,
    ) -> Response<UpstreamBody> {
        let (mut head, incoming) = response.into_parts();
        forward::response(&mut head.headers);
        deadline.disarm();
        if incoming.is_end_stream() && progress.complete.get() {
            lease.give_back();
        }
        let answer_timeout = self.answer_timeout;
        let body =
            UpstreamBody { incoming, lease, deadline, answer_timeout, progress, waiting: false };
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
            match self.connect(server, deadline).await {
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
        deadline.arm(Instant::now(), self.connect_timeout);
        let address = (server.host.as_str(), server.port);
        let connected = deadline.guard(TcpStream::connect(address)).await;
        deadline.disarm();
        let stream = connected
            .ok_or(Rejection::UpstreamConnectTimeout)?
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(Rejection::UpstreamUnreachable)?;
        Link::open(stream).await.map_err(Rejection::UpstreamInvalid)
    }

    /// Closes links that have rested too long.
    pub(crate) fn sweep(&self, now: Instant) {
        self.servers.iter().for_each(|(_, pool)| pool.sweep(now));
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

/// The body of an upstream's response; reading it drives the link that it comes from.
pub(crate) struct UpstreamBody {
    incoming: Incoming,
    lease: Lease,
    deadline: Deadline,
    answer_timeout: Duration,
    progress: Rc<Progress>,
    waiting: bool,
}

/// Why a response had to be cut short.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    #[error("upstream broke its response off: {0}")]
    Broken(hyper::Error),
    #[error("upstream stopped sending")]
    Stalled,
}

impl UpstreamBody {
    /// Reads what is there, then lets the link bring more, then reads that.
    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        for turn in 0..2 {
            let frame = Pin::new(&mut self.incoming).poll_frame(cx);
            if frame.is_ready() || turn == 1 {
                return frame;
            }
            if let Some(link) = &mut self.lease.link {
                _ = link.poll_connection(cx);
            }
        }
        Poll::Pending
    }

    /// Gives the link back once nothing is left on it, in either direction.
    fn finish(&mut self) {
        if self.progress.complete.get() {
            self.lease.give_back();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        loop {
            return match this.poll_incoming(cx) {
                Poll::Pending => {
                    if !std::mem::replace(&mut this.waiting, true) {
                        this.deadline.arm(Instant::now(), this.answer_timeout);
                    }
                    this.deadline.poll(cx).map(|()| Some(Err(Cut::Stalled)))
                }
                Poll::Ready(None) => {
                    this.finish();
                    Poll::Ready(None)
                }
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Cut::Broken(error)))),
                Poll::Ready(Some(Ok(frame))) => {
                    if std::mem::take(&mut this.waiting) {
                        this.deadline.disarm();
                    }
                    let Ok(data) = frame.into_data() else { continue };
                    if this.incoming.is_end_stream() {
                        this.finish();
                    }
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

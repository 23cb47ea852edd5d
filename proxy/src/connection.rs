//! One client connection: its protocol, its time bounds, its end.
//!
//! Two deadlines watch a connection. The first follows what it is doing: waiting for a request's head, resting between
//! requests, or nothing while requests are in flight (their own bounds hold then). The second is armed while a write makes
//! no progress. Neither costs a system call or a timer per request.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use http::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::client::{Client, PeerAddr};
use crate::deadline::Deadline;
use crate::pipeline::{self, Origin};
use crate::site::HostCache;
use crate::tls;
use crate::worker::Worker;

/// Serves an accepted socket to its end.
pub(crate) async fn serve(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, secure: bool) {
    let Some(_admission) = worker.admit_connection(peer.ip()) else { return };
    let client = Client::new(PeerAddr(peer));
    let watch = Watch::new(&worker);
    let origin = |tls| Origin {
        worker: Rc::clone(&worker),
        client,
        hosts: HostCache::default(),
        tls,
        watch,
    };
    if !secure {
        return http1(stream, Rc::new(origin(None))).await;
    }
    let now = Instant::now();
    let deadline = worker.deadlines.deadline();
    deadline.arm(now, worker.limits().handshake_timeout);
    // Boxed, so that what the handshake needs is freed when it is over.
    let secured = deadline.guard(Box::pin(tls::accept(stream, &worker.shared.tls))).await;
    drop(deadline);
    match secured {
        Some(Ok(secured)) if secured.http2 => {
            http2(secured.stream, Rc::new(origin(Some(secured.version)))).await;
        }
        Some(Ok(secured)) => http1(secured.stream, Rc::new(origin(Some(secured.version)))).await,
        Some(Err(error)) => {
            worker.counters.handshakes_failed.add(1);
            tracing::debug!(%peer, %error, "TLS handshake failed");
        }
        None => worker.counters.connections_timed_out.add(1),
    }
}

async fn http1<T: AsyncRead + AsyncWrite + Unpin + 'static>(stream: T, origin: Rc<Origin>) {
    let limits = origin.worker.limits();
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes)
        .max_buf_size(Worker::BUFFER.max(limits.header_bytes));
    if limits.header_count != 100 {
        builder.max_headers(limits.header_count); // hyper keeps its default on the stack
    }
    let service = service_fn({
        let origin = Rc::clone(&origin);
        move |request| answer(Rc::clone(&origin), request)
    });
    let connection = builder.serve_connection(Watched::new(stream, &origin), service);
    drive(&origin, connection, http1::Connection::graceful_shutdown).await;
}

async fn http2<T: AsyncRead + AsyncWrite + Unpin + 'static>(stream: T, origin: Rc<Origin>) {
    let limits = origin.worker.limits();
    let header_bytes = u32::try_from(limits.header_bytes).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(Spawner);
    builder
        .max_concurrent_streams(limits.http2_streams)
        .max_header_list_size(header_bytes)
        .max_send_buf_size(Worker::BUFFER)
        .max_local_error_reset_streams(64);
    let service = service_fn({
        let origin = Rc::clone(&origin);
        move |request| answer(Rc::clone(&origin), request)
    });
    origin.watch.multiplexed.set(true);
    let connection = builder.serve_connection(Watched::new(stream, &origin), service);
    drive(&origin, connection, http2::Connection::graceful_shutdown).await;
}

async fn answer(
    origin: Rc<Origin>,
    request: Request<Incoming>,
) -> Result<http::Response<crate::response::FinishedBody>, Infallible> {
    Ok(pipeline::handle(&origin, request).await)
}

/// Drives a connection until it ends, its time is up, or the worker drains.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    origin: &Rc<Origin>,
    connection: C,
    shut_down: impl Fn(Pin<&mut C>),
) {
    let mut connection = pin!(connection);
    let (worker, watch) = (&origin.worker, &origin.watch);
    watch.deadline.arm(Instant::now(), worker.limits().header_timeout);
    let mut shutting_down = false;
    let ended = poll_fn(|cx| {
        loop {
            if worker.draining.get() && !shutting_down {
                shutting_down = true;
                shut_down(connection.as_mut());
            }
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            let expired = watch.deadline.poll(cx).is_ready();
            if watch.stalled.poll(cx).is_ready() || (expired && (shutting_down || !watch.is_idle()))
            {
                return Poll::Ready(None);
            }
            if !expired {
                return Poll::Pending;
            }
            // It rested for too long: close it in the protocol's own way, and give that a moment.
            shutting_down = true;
            shut_down(connection.as_mut());
            watch.deadline.arm(Instant::now(), crate::deadline::TICK * 4);
        }
    })
    .await;
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            worker.counters.connections_broken.add(1);
            tracing::debug!(client = %origin.client.ip, %error, "connection broken");
        }
        None => worker.counters.connections_timed_out.add(1),
    }
}

/// What a connection is doing, and until when it may.
pub(crate) struct Watch {
    deadline: Deadline,
    stalled: Deadline,
    in_flight: Cell<u32>,
    resting: Cell<bool>,
    multiplexed: Cell<bool>,
}

impl Watch {
    fn new(worker: &Worker) -> Self {
        Self {
            deadline: worker.deadlines.deadline(),
            stalled: worker.deadlines.deadline(),
            in_flight: Cell::new(0),
            resting: Cell::new(false),
            multiplexed: Cell::new(false),
        }
    }

    /// A request's head has been read.
    pub(crate) fn begin(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.resting.set(false);
        self.deadline.disarm();
    }

    /// A response has been handed over or given up.
    pub(crate) fn end(&self, now: Instant, idle_timeout: std::time::Duration) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        if self.in_flight.get() == 0 {
            self.resting.set(true);
            self.deadline.arm(now, idle_timeout);
        }
    }

    fn is_idle(&self) -> bool {
        self.resting.get()
    }
}

/// The socket, watched: the first byte after a rest begins a head, and a write that waits is timed.
struct Watched<T> {
    stream: TokioIo<T>,
    origin: Rc<Origin>,
}

impl<T> Watched<T> {
    fn new(stream: T, origin: &Rc<Origin>) -> Self {
        Self { stream: TokioIo::new(stream), origin: Rc::clone(origin) }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let stalled = &self.origin.watch.stalled;
        if written.is_ready() {
            stalled.disarm();
        } else if !stalled.is_armed() {
            stalled.arm(Instant::now(), self.origin.worker.limits().response_write_timeout);
        }
        written
    }
}

impl<T: AsyncRead + Unpin> Read for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let watch = &self.origin.watch;
        if read.is_ready() && watch.resting.get() && !watch.multiplexed.get() {
            watch.resting.set(false);
            watch.deadline.arm(Instant::now(), self.origin.worker.limits().header_timeout);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> Write for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Runs the streams of an HTTP/2 connection on the worker's own thread.
#[derive(Clone, Copy)]
struct Spawner;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

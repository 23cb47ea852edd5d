//! One client connection: its protocol, its time bounds, its end.
//!
//! Two deadlines watch a connection, and a third each of its HTTP/2 streams (see [`stream`]). The
//! first follows what it is doing: waiting for a request's head, resting between requests, or
//! nothing while requests are in flight (their own bounds hold then). The second is armed while a
//! write makes no progress, for no longer than the response's [`pace`] leaves. Neither costs a
//! system call or a timer per request.
//!
//! An HTTP/1.1 connection that has rested for a moment gives back everything but its socket and its
//! TLS session; the next byte brings it back. Most connections rest most of the time.

mod contained;
mod duplex;
mod frames;
mod gather;
mod head;
mod http2;
mod interim;
mod pace;
mod proxy_protocol;
mod stream;
mod transport;
mod watch;

use std::convert::Infallible;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::rt::Write;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::body::ClientBody;
use crate::config::ProxyProtocol;
use crate::deadline::TICK;
use crate::pipeline::{self, Handled, Origin};
use crate::response::FinishedBody;
use crate::socket::Socket;
use crate::tls::{self, Secured};
use crate::worker::Worker;

pub(crate) use self::contained::Contained;
use self::gather::Gathered;
pub(crate) use self::head::Hidden;
use self::http2::Http2;
pub(crate) use self::interim::Interim;
use self::transport::Transport;
pub(crate) use self::watch::Watch;
use self::watch::Watched;

/// How long an HTTP/1.1 connection rests before it gives its buffers back.
const REST: Duration = TICK;

/// Serves an accepted socket to its end.
pub(crate) async fn serve(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, secure: bool) {
    let Some(mut admission) = worker.admit_connection(peer.ip()) else { return };
    let deadline = worker.deadlines.deadline();
    deadline.arm(worker.limits().handshake_timeout);
    // What each step needs is boxed, so that it is freed when the step is over.
    let announced = worker.snapshot().plan.config.listen.proxy_protocol;
    let (stream, peer) = match announced {
        ProxyProtocol::Off => (stream, peer),
        ProxyProtocol::Optional | ProxyProtocol::Required => {
            let introduced = introduce(&worker, stream, peer, announced == ProxyProtocol::Required);
            match Box::pin(deadline.guard(introduced)).await.flatten() {
                Some(introduced) => introduced,
                None => return worker.counters.connections_unannounced.add(1),
            }
        }
    };
    if !admission.is_for(peer.ip()) {
        return;
    }
    let stream = Socket::new(stream);
    if !secure {
        drop(deadline);
        return Box::pin(http1(stream, Origin::new(worker, peer, None))).await;
    }
    let snapshot = worker.snapshot();
    let handshake = Box::pin(tls::accept(stream, peer.ip(), &snapshot));
    let secured = deadline.guard(handshake).await;
    drop((deadline, snapshot));
    match secured {
        Some(Ok(None)) => {}
        Some(Ok(Some(Secured { stream, http2: false, session }))) => {
            Box::pin(http1(stream, Origin::new(worker, peer, Some(session)))).await;
        }
        Some(Ok(Some(Secured { stream, http2: true, session }))) => {
            let stream = Gathered::new(stream);
            Box::pin(http2(stream, Origin::new(worker, peer, Some(session)))).await;
        }
        Some(Err(error)) => {
            worker.counters.handshakes_failed.add(1);
            tracing::debug!(%peer, %error, "TLS handshake failed");
        }
        None => worker.counters.connections_timed_out.add(1),
    }
}

/// Whose connection it is: the peer's, or whose a trusted proxy says. `None` if it is to be closed.
async fn introduce(
    worker: &Worker,
    mut stream: TcpStream,
    peer: SocketAddr,
    required: bool,
) -> Option<(TcpStream, SocketAddr)> {
    if !worker.snapshot().plan.config.clients.trusted_proxies.contains(peer.ip()) {
        if required {
            tracing::debug!(%peer, "refused: only trusted proxies may connect");
        }
        return (!required).then_some((stream, peer));
    }
    match proxy_protocol::accept(&mut stream, required).await {
        Ok(source) => Some((stream, source.unwrap_or(peer))),
        Err(error) => {
            tracing::debug!(%peer, %error, "no PROXY protocol header");
            None
        }
    }
}

async fn http1<T: Transport>(stream: T, origin: Rc<Origin>) {
    let mut stream = Watched::new(stream, &origin);
    origin.watch.deadline.arm(origin.worker.limits().header_timeout);
    while let Some(resting) = Box::pin(http1_active(stream, &origin)).await {
        stream = resting;
        if !rest(&mut stream, &origin).await {
            let closing = poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx));
            origin.watch.deadline.arm(TICK);
            _ = origin.watch.deadline.guard(closing).await;
            return;
        }
    }
}

/// Serves requests until the connection ends, or rests: then its stream comes back.
async fn http1_active<T: Transport>(stream: Watched<T>, origin: &Rc<Origin>) -> Option<Watched<T>> {
    let limits = origin.worker.limits();
    let (mut builder, head_bytes) = (http1::Builder::new(), head::bytes(&limits));
    builder
        .header_read_timeout(None)
        .max_header_size(head_bytes)
        .max_buf_size(Worker::BUFFER.max(head_bytes));
    if limits.header_count > 100 {
        builder.max_headers(limits.header_count); // hyper keeps its default, 100, on the stack
    }
    let service = service_fn(|request| answer(origin, request));
    let mut connection = builder.serve_connection(stream, service);
    let rests = drive(origin, &mut connection, http1::Connection::graceful_shutdown).await;
    let parts = match (rests, origin.watch.tunnel.take()) {
        (_, Some(tunnel)) => {
            let parts = connection.into_parts();
            let stream = parts.io.stream.into_inner();
            Box::pin(tunnel.run(stream, parts.read_buf)).await;
            return None;
        }
        (false, None) => return None,
        (true, None) => connection.into_parts(),
    };
    let mut stream = parts.io;
    // Even with nothing in it, it would hold the protocol's buffer while the connection rests.
    stream.unread = if parts.read_buf.is_empty() { Bytes::new() } else { parts.read_buf };
    Some(stream)
}

/// Waits for the next request with nothing but the socket. False when the connection is to be
/// closed.
async fn rest<T: Transport>(stream: &mut Watched<T>, origin: &Rc<Origin>) -> bool {
    let (worker, watch) = (&origin.worker, &origin.watch);
    watch.deadline.arm(worker.limits().idle_timeout.saturating_sub(REST));
    if stream.unread.is_empty() {
        watch.head.rest();
    }
    let awake = poll_fn(|cx| {
        if !stream.unread.is_empty() {
            return Poll::Ready(true);
        }
        let came = stream.stream.inner().socket().stream().poll_read_ready(cx);
        let over = worker.draining.get() || watch.deadline.poll(cx).is_ready();
        if came.is_pending() && over { Poll::Ready(false) } else { came.map(|_| true) }
    })
    .await;
    // The first byte on the wire begins a head, even if it is only a part of a TLS record.
    watch.awake(worker.limits().header_timeout);
    awake
}

async fn http2(stream: Gathered, origin: Rc<Origin>) {
    let watch = &origin.watch;
    watch.multiplexed.set(true);
    watch.deadline.arm(origin.worker.limits().header_timeout);
    let stream = TokioIo::new(Watched::new(stream, &origin));
    match watch.deadline.guard(pin!(Http2::accept(stream, &origin))).await {
        Some(Ok(mut connection)) => {
            drive(&origin, &mut connection, Http2::graceful_shutdown).await;
        }
        Some(Err(error)) => broken(&origin, &error),
        None => origin.worker.counters.connections_timed_out.add(1),
    }
}

/// hyper wants a `Result`; there is no error.
fn answer(
    origin: &Rc<Origin>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<FinishedBody>, Infallible>> + use<> {
    let (head, body) = request.into_parts();
    let handled = pipeline::handle(Rc::clone(origin), head, ClientBody::Http1(body));
    let origin = Rc::clone(origin);
    async move {
        let mut response = match handled {
            Handled::Answered(response) => response,
            Handled::UnderWay(response) => response.await,
        };
        if let Some(tunnel) = response.body_mut().take_tunnel() {
            origin.watch.tunnel.set(Some(tunnel));
        } else if origin.worker.draining.get() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

/// Drives a connection until it ends, its time is up, the worker drains, or it rests: true then.
async fn drive<C: Future<Output = Result<(), E>> + Unpin, E: Display>(
    origin: &Origin,
    mut connection: &mut C,
    shut_down: impl Fn(Pin<&mut C>),
) -> bool {
    let (worker, watch) = (&origin.worker, &origin.watch);
    let (mut shutting_down, mut patient) = (false, false);
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(End::Closed(result));
            }
            if worker.draining.get() && !shutting_down {
                if !watch.awaits_head() {
                    shutting_down = true;
                    shut_down(Pin::new(connection));
                    continue;
                }
                // A request may be on its way that nobody would send again.
                if !std::mem::replace(&mut patient, true) {
                    watch.deadline.arm(TICK * 4);
                }
            }
            let expired = watch.deadline.poll(cx).is_ready();
            if watch.stalled.poll(cx).is_ready() {
                return Poll::Ready(End::TimedOut);
            }
            if !expired {
                return Poll::Pending;
            }
            if shutting_down || !(watch.resting.get() || patient) {
                return Poll::Ready(End::TimedOut);
            }
            if !watch.multiplexed.get() && !watch.stalled.is_armed() && !patient {
                return Poll::Ready(End::Resting);
            }
            // It rested for too long: close it in the protocol's own way, and give that a moment.
            shutting_down = true;
            shut_down(Pin::new(connection));
            watch.deadline.arm(TICK * 4);
        }
    })
    .await;
    match ended {
        End::Resting => return true,
        End::Closed(Ok(())) => {}
        End::Closed(Err(error)) => broken(origin, &error),
        End::TimedOut => worker.counters.connections_timed_out.add(1),
    }
    false
}

fn broken(origin: &Origin, error: &dyn Display) {
    origin.worker.counters.connections_broken.add(1);
    tracing::debug!(peer = %origin.sender.peer.ip, %error, "connection broken");
}

/// How driving a connection ends.
enum End<E> {
    Closed(Result<(), E>),
    TimedOut,
    Resting,
}

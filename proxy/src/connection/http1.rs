//! A connection of HTTP/1.1 (RFC 9112): its requests one after the other, and its rests.
//!
//! One that has rested for a moment gives back everything but its socket and its TLS session; the
//! next byte brings it back. Most connections rest most of the time.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
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
use tokio::task::yield_now;

use super::linger::linger;
use super::transport::Transport;
use super::watch::Watch;
use super::watched::Watched;
use super::{broken, drive, head};
use crate::body::ClientBody;
use crate::deadline::TICK;
use crate::pipeline::{self, Handled, Origin};
use crate::response::FinishedBody;
use crate::worker::Worker;

/// How long a connection rests before it gives its buffers back.
pub(super) const REST: Duration = TICK;

/// Serves a connection to its end.
pub(super) async fn serve<T: Transport>(stream: T, origin: Rc<Origin>) {
    let mut stream = Watched::new(stream, &origin);
    origin.watch.deadline.arm(origin.worker.limits().header_timeout);
    while let Some(resting) = Box::pin(active(stream, &origin)).await {
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
async fn active<T: Transport>(stream: Watched<T>, origin: &Rc<Origin>) -> Option<Watched<T>> {
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
    let driven = drive(origin, &mut connection, http1::Connection::graceful_shutdown).await;
    let rests = driven.unwrap_or_else(|error| {
        origin.worker.counters.requests_malformed.add(error.is_parse().into());
        broken(origin, &error);
        false
    });
    let parts = connection.into_parts();
    let mut stream = parts.io;
    if let Some(tunnel) = origin.watch.tunnel.take() {
        Box::pin(tunnel.run(stream.stream.into_inner(), parts.read_buf)).await;
        return None;
    }
    if !rests {
        if stream.is_shut_down {
            let watch = &origin.watch;
            let is_sending =
                watch.body_given_up.get() || watch.head.has_begun() || !parts.read_buf.is_empty();
            drop(parts.read_buf);
            Box::pin(linger(stream.stream.into_inner(), origin, is_sending)).await;
        }
        return None;
    }
    // Even with nothing in it, it would hold the protocol's buffer while the connection rests.
    stream.unread = if parts.read_buf.is_empty() { Bytes::new() } else { parts.read_buf };
    Some(stream)
}

/// Waits for the next request with nothing but the socket. False when the connection is to be
/// closed.
async fn rest<T: Transport>(stream: &mut Watched<T>, origin: &Rc<Origin>) -> bool {
    let (worker, watch) = (&origin.worker, &origin.watch);
    watch.deadline.arm(worker.limits().idle_timeout.saturating_sub(REST));
    watch.body_given_up.set(false); // the protocol has read it to its end
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

/// hyper wants a `Result`; there is no error.
fn answer(
    origin: &Rc<Origin>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<FinishedBody>, Infallible>> + use<> {
    let (head, body) = request.into_parts();
    let handled = pipeline::handle(
        Rc::clone(origin),
        head,
        ClientBody::http1(body, &origin.watch.body_given_up),
    );
    let origin = Rc::clone(origin);
    async move {
        let mut response = match handled {
            Handled::Answered(response) => response,
            Handled::UnderWay(response) => {
                let response = response.await;
                match origin.watch.has_interim() {
                    true => *behind_interim(&origin.watch, Box::new(response)).await,
                    false => response,
                }
            }
        };
        if let Some(tunnel) = response.body_mut().take_tunnel() {
            origin.watch.tunnel.set(Some(tunnel));
        } else if origin.worker.draining.get() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

/// Holds a response until the connection has flushed once, and interim ones with it. (Boxed, since
/// what is held over a wait takes room in every request.)
async fn behind_interim(
    watch: &Watch,
    response: Box<Response<FinishedBody>>,
) -> Box<Response<FinishedBody>> {
    yield_now().await;
    _ = watch.take_interim();
    response
}

//! A connection of HTTP/2 (RFC 9113): its streams, from the handshake to the last.
//!
//! # Why
//!
//! hyper serves HTTP/1.1 here; over HTTP/2 it keeps the streams to itself. With them in hand a
//! request that is answered at once costs no task, interim responses go out, and a body that the
//! client breaks off never looks complete.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::header::EXPECT;
use http::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;
use tokio_rustls::server::TlsStream;

use super::contained::Contained;
use super::gather::{Flush, Gathered};
use super::linger::Remainder;
use super::stream::{self, Responding};
use super::watched::Watched;
use super::{broken, drive};
use crate::body::ClientBody;
use crate::pipeline::{self, Handled, Origin};
use crate::response::FinishedBody;
use crate::socket::Socket;
use crate::worker::Worker;

/// Bytes that a client may have on the way: of a stream, and of the connection.
const WINDOW: u32 = 1 << 20;
/// Bytes by which many small frames may cost more than what they carry, until they are read: enough
/// for 9,000 messages of gRPC at once.
const OVERHEAD: usize = 2 << 20;

/// Serves a connection to its end.
pub(super) async fn serve(stream: Box<TlsStream<Socket>>, origin: Rc<Origin>) {
    let watch = &origin.watch;
    watch.multiplexed.set(true);
    watch.deadline.arm(origin.worker.limits().header_timeout);
    let stream = TokioIo::new(Watched::new(Gathered::new(stream), &origin));
    match watch.deadline.guard(pin!(Http2::accept(stream, &origin))).await {
        Some(Ok(mut connection)) => {
            let driven = drive(&origin, &mut connection, Http2::graceful_shutdown).await;
            if let Err(error) = driven {
                let is_calmed = error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
                origin.worker.counters.http2_floods.add((is_calmed && error.is_library()).into());
                broken(&origin, &error);
            }
        }
        Some(Err(error)) => broken(&origin, &error),
        None => origin.worker.counters.connections_timed_out.add(1),
    }
}

/// What a client may cost here, besides what [`super::frames`] counts.
fn builder(origin: &Origin) -> Builder {
    let limits = origin.worker.limits();
    let header_bytes = u32::try_from(limits.header_bytes * 2).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(limits.http2_streams)
        .max_header_list_size(header_bytes)
        .data_frame_budget(OVERHEAD)
        .max_send_buffer_size(Worker::BUFFER)
        .max_local_error_reset_streams(Some(128))
        .max_concurrent_reset_streams(limits.http2_streams as usize)
        .enable_connect_protocol();
    builder
}

/// A connection that is being served; done when its client has gone or it has shut down.
struct Http2<T> {
    origin: Rc<Origin>,
    connection: Connection<T, Bytes>,
    /// Answered without a wait. They are sent together when all that has arrived is answered.
    answered: Vec<(SendResponse<Bytes>, Response<FinishedBody>, Option<Remainder>)>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Http2<T> {
    /// Exchanges prefaces (RFC 9113, 3.4).
    async fn accept(stream: T, origin: &Rc<Origin>) -> Result<Self, h2::Error> {
        let connection = builder(origin).handshake(stream).await?;
        Ok(Self { origin: Rc::clone(origin), connection, answered: Vec::new() })
    }

    /// Begins to end it: the streams that are open are served.
    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.get_mut().connection.graceful_shutdown();
    }

    fn begin(&mut self, request: Request<RecvStream>, reply: SendResponse<Bytes>) {
        let (head, receive) = request.into_parts();
        let (body, receive) = match head.method {
            Method::CONNECT => (ClientBody::Empty, Some(receive)),
            _ => (ClientBody::http2(receive, &head.headers), None),
        };
        let remainder = match &body {
            ClientBody::Http2(body) => {
                let expects = head.headers.contains_key(EXPECT);
                Some(Remainder::new(&self.origin, body, expects))
            }
            ClientBody::Empty | ClientBody::Http1(_) => None,
        };
        match pipeline::handle(Rc::clone(&self.origin), head, body) {
            Handled::Answered(response) => self.answered.push((reply, response, remainder)),
            Handled::UnderWay(answer) => {
                self.spawn(stream::run(Rc::clone(&self.origin), reply, answer, receive, remainder));
            }
        }
    }

    fn send(&mut self, cx: &mut Context<'_>) {
        let mut answered = std::mem::take(&mut self.answered);
        for (reply, response, remainder) in answered.drain(..) {
            let begun = Responding::begin(&self.origin, reply, response, remainder);
            let Some(mut responding) = begun else { continue };
            if responding.poll(cx).is_pending() {
                self.spawn(async move { poll_fn(|cx| responding.poll(cx)).await });
            }
        }
        self.answered = answered;
    }

    fn spawn(&self, stream: impl Future<Output = ()> + 'static) {
        spawn_local(Contained::new(&self.origin.worker, stream));
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for Http2<T> {
    type Output = Result<(), h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.origin.watch.flush.set(Flush::Later);
        loop {
            match this.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, reply)))) => this.begin(request, reply),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending if !this.answered.is_empty() => this.send(cx),
                // Nothing is left to be written; asked once more, the library flushes.
                Poll::Pending if this.origin.watch.flush.replace(Flush::AtOnce) == Flush::Due => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

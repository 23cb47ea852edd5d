//! HTTP/2 to a server with prior knowledge (RFC 9113, 3.3): many requests at once on one
//! connection, which a task of its own drives.
//!
//! A request that the server has certainly not acted upon is given back: it was refused, or its
//! stream lies behind the last one that a GOAWAY names (RFC 9113, 8.7).

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};

use http::request::Parts;
use http::{HeaderValue, Request, Uri, Version, header};
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;

use super::replay::Replay;
use super::{Kind, Link, Sent, Stream, Unanswered};
use crate::body::RequestBody;
use crate::worker::Worker;

/// A connection that many requests share.
#[derive(Clone)]
pub(in crate::upstream) struct Multiplexed(Rc<Connection>);

type Driven = http2::Connection<TokioIo<Stream>, RequestBody, Local>;

struct Connection {
    sender: RefCell<http2::SendRequest<RequestBody>>,
    streams: Cell<usize>,
    /// Driven by its task; `None` once it has ended.
    driven: Rc<RefCell<Option<Driven>>>,
    /// No more requests are sent on it.
    closed: Cell<bool>,
    /// The pool's tick at which it was last used.
    used_ticks: Cell<u64>,
}

impl Multiplexed {
    /// Requests at once on one connection.
    const STREAMS: u32 = 100;
    /// As many are sent before the server has said how many it allows; more would be refused. The
    /// others wait. An odd number, to tell that it has not.
    const UNSETTLED: usize = 7;
    /// Bytes of the fields of a response, or of its trailers.
    const HEADER_BYTES: u32 = 64 << 10;

    /// Starts HTTP/2 on a connection.
    pub(in crate::upstream) async fn open(stream: Stream) -> Result<Self, hyper::Error> {
        let buffer = u32::try_from(Worker::BUFFER).unwrap_or(u32::MAX);
        let (sender, connection) = http2::Builder::new(Local)
            .initial_max_send_streams(Self::UNSETTLED)
            .initial_stream_window_size(buffer)
            // Streams whose clients take nothing leave room for the others.
            .initial_connection_window_size(buffer.saturating_mul(Self::STREAMS))
            .max_send_buf_size(Worker::BUFFER)
            .max_header_list_size(Self::HEADER_BYTES)
            .handshake(TokioIo::new(stream))
            .await?;
        let driven = Rc::new(RefCell::new(Some(connection)));
        let drives = Rc::clone(&driven);
        tokio::task::spawn_local(poll_fn(move |cx| {
            let mut driven = drives.borrow_mut();
            let Some(connection) = &mut *driven else { return Poll::Ready(()) };
            _ = ready!(Pin::new(connection).poll(cx));
            *driven = None;
            Poll::Ready(())
        }));
        Ok(Self(Rc::new(Connection {
            sender: RefCell::new(sender),
            streams: Cell::new(0),
            driven,
            closed: Cell::new(false),
            used_ticks: Cell::new(0),
        })))
    }

    /// Whether the server would still take requests.
    pub(in crate::upstream) fn is_open(&self) -> bool {
        !self.0.closed.get() && self.0.sender.borrow().is_ready()
    }

    /// Sends nothing more on it; what is under way ends as it may.
    pub(in crate::upstream) fn close(&self) {
        self.0.closed.set(true);
    }

    /// A link for one more request, if there is room.
    pub(in crate::upstream) fn link(&self, now_ticks: u64) -> Option<Link> {
        if !self.is_open() || self.0.streams.get() >= self.room() {
            return None;
        }
        self.used(now_ticks);
        self.0.streams.set(self.0.streams.get() + 1);
        Some(Link { kind: Kind::Http2(Http2(self.clone())), idle_ticks: now_ticks })
    }

    /// How many requests it carries at once, of which the server has the last say.
    fn room(&self) -> usize {
        let own = usize::try_from(Self::STREAMS).unwrap_or(usize::MAX);
        let Ok(driven) = self.0.driven.try_borrow() else { return own };
        match driven.as_ref().map_or(0, http2::Connection::current_max_send_streams) {
            Self::UNSETTLED => own,
            allowed => own.min(allowed.max(1)),
        }
    }

    /// Takes note that it is of use.
    pub(in crate::upstream) fn used(&self, now_ticks: u64) {
        self.0.used_ticks.set(now_ticks);
    }

    /// The tick at which it was last used; `None` while requests are in flight.
    pub(in crate::upstream) fn idle_ticks(&self) -> Option<u64> {
        (self.0.streams.get() == 0).then(|| self.0.used_ticks.get())
    }
}

/// The place of one request on a connection.
pub(super) struct Http2(Multiplexed);

impl Drop for Http2 {
    fn drop(&mut self) {
        let streams = &self.connection().0.streams;
        streams.set(streams.get().saturating_sub(1));
    }
}

impl Http2 {
    pub(super) fn connection(&self) -> &Multiplexed {
        &self.0
    }

    pub(super) fn is_usable(&self) -> bool {
        self.connection().is_open()
    }

    /// Hands a request over. What may be needed to send it again is kept until there is an answer.
    pub(super) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Sent> + use<> {
        let (mut head, body) = request.into_parts();
        let again = head.clone(); // which hyper does not give back
        let (replay, body) = Replay::of(body);
        absolute(&mut head);
        let request = Request::from_parts(head, body);
        let connection = self.connection().clone();
        let sent = connection.0.sender.borrow_mut().try_send_request(request);
        async move {
            match sent.await {
                Ok(response) => {
                    replay.forget();
                    Ok(response)
                }
                Err(mut error) => {
                    let untouched = error.take_message().is_some() || is_unprocessed(error.error());
                    if untouched {
                        connection.close(); // it would refuse the next one, too
                    }
                    let body = replay.again().filter(|_| untouched);
                    let unsent = body.map(|body| Box::new(Request::from_parts(again, body)));
                    Err(Unanswered { error: error.into_error(), unsent })
                }
            }
        }
    }
}

/// Whether the server says that it has not acted upon a request.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let error = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_some_and(|error| {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (refused || error.is_go_away())
    })
}

/// Turns a head for HTTP/1.1 into one for HTTP/2 (RFC 9113, 8.2.2 and 8.3.1).
fn absolute(head: &mut Parts) {
    head.version = Version::HTTP_2;
    head.headers.remove(header::CONNECTION);
    let host = head.headers.remove(header::HOST);
    let uri = std::mem::take(&mut head.uri).into_parts();
    let authority = host.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
    let path = uri.path_and_query.as_ref().map_or("/", |path| path.as_str());
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query(path);
    head.uri = uri.build().unwrap_or_default();
}

/// Runs a connection's tasks on the worker's own thread.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

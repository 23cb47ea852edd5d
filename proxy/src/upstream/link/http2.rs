//! HTTP/2 to a server with prior knowledge (RFC 9113, 3.3): many requests at once on one
//! connection, which a task of its own drives.
//!
//! A request that the server has certainly not acted upon is given back: it was refused, or its
//! stream lies behind the last one that a GOAWAY names (RFC 9113, 8.7).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, Uri, Version};
use http_body::{Body as _, Frame, SizeHint};
use tokio::task::{AbortHandle, spawn_local};

use super::replay::Replay;
use super::{Broken, Kind, Link, Returned, Stream, Unanswered};
use crate::body::RequestBody;
use crate::connection::Interim;
use crate::http2::{Receiving, Sending};
use crate::worker::Worker;

/// A connection that many requests share.
#[derive(Clone)]
pub(in crate::upstream) struct Multiplexed(Rc<Connection>);

struct Connection {
    sender: RefCell<SendRequest<Bytes>>,
    streams: Cell<usize>,
    /// Its task is over.
    ended: Rc<Cell<bool>>,
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
    /// Bytes of a response that the server may have on the way: as many are kept for a client that
    /// takes nothing.
    const WINDOW: u32 = 256 << 10;
    /// Bytes of the fields of a response, or of its trailers.
    const HEADER_BYTES: u32 = 64 << 10;

    /// Starts HTTP/2 on a connection.
    pub(in crate::upstream) async fn open(stream: Stream) -> Result<Self, h2::Error> {
        let (sender, connection) = Builder::new()
            .initial_max_send_streams(Self::UNSETTLED)
            .initial_window_size(Self::WINDOW)
            // Streams whose clients take nothing leave room for the others.
            .initial_connection_window_size(Self::WINDOW.saturating_mul(Self::STREAMS))
            .max_send_buffer_size(Worker::BUFFER)
            .max_header_list_size(Self::HEADER_BYTES)
            .enable_push(false)
            .handshake(stream)
            .await?;
        let ended = Rc::new(Cell::new(false));
        let ends = Rc::clone(&ended);
        spawn_local(async move {
            _ = connection.await; // those that wait for an answer on it learn how it ended
            ends.set(true);
        });
        Ok(Self(Rc::new(Connection {
            sender: RefCell::new(sender),
            streams: Cell::new(0),
            ended,
            closed: Cell::new(false),
            used_ticks: Cell::new(0),
        })))
    }

    /// Whether the server would still take requests.
    pub(in crate::upstream) fn is_open(&self) -> bool {
        !self.0.closed.get() && !self.0.ended.get()
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
        let link = Http2 { connection: self.clone(), upload: None, stage: Stage::Unused };
        Some(Link { kind: Kind::Http2(link), idle_ticks: now_ticks })
    }

    /// How many requests it carries at once, of which the server has the last say.
    fn room(&self) -> usize {
        let own = usize::try_from(Self::STREAMS).unwrap_or(usize::MAX);
        match self.0.sender.borrow().current_max_send_streams() {
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
pub(super) struct Http2 {
    connection: Multiplexed,
    /// The task that sends the request's body.
    upload: Option<AbortHandle>,
    stage: Stage,
}

/// How far its request has come.
enum Stage {
    Unused,
    Asked(Box<Asked>),
    Answered(Box<Receiving>),
}

/// A request that waits for its response.
struct Asked {
    response: Result<ResponseFuture, h2::Error>,
    /// The head, which the library does not give back, and as much of the body.
    head: Parts,
    replay: Replay,
    interim: Option<Rc<Interim>>,
}

impl Drop for Http2 {
    fn drop(&mut self) {
        // A task that is done does not mind.
        self.upload.take().iter().for_each(AbortHandle::abort);
        let streams = &self.connection().0.streams;
        streams.set(streams.get().saturating_sub(1));
    }
}

impl Http2 {
    pub(super) fn connection(&self) -> &Multiplexed {
        &self.connection
    }

    pub(super) fn is_usable(&self) -> bool {
        self.connection().is_open()
    }

    /// Sends the head, and lets a task send the body.
    fn begin(&mut self, head: Parts, body: RequestBody) -> Result<ResponseFuture, h2::Error> {
        let (mut request, is_whole) = (Request::from_parts(head, ()), body.is_end_stream());
        if let Some(length) = body.size_hint().exact().filter(|_| !is_whole) {
            let fields = request.headers_mut();
            fields.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        }
        let mut sender = self.connection.0.sender.borrow().clone();
        let (response, stream) = sender.send_request(request, is_whole)?;
        if !is_whole {
            let mut sending = Sending::new(stream, body);
            let upload = spawn_local(async move { poll_fn(|cx| sending.poll(cx)).await });
            self.upload = Some(upload.abort_handle());
        }
        Ok(response)
    }

    /// Hands a request over. What is needed to send it again is kept until there is an answer.
    pub(super) fn send(&mut self, request: Request<RequestBody>, interim: Option<&Rc<Interim>>) {
        let (head, body) = request.into_parts();
        let (mut sent, (replay, body)) = (head.clone(), Replay::of(body));
        absolute(&mut sent);
        let response = self.begin(sent, body);
        let interim = interim.cloned();
        self.stage = Stage::Asked(Box::new(Asked { response, head, replay, interim }));
    }

    /// Waits for the head of the response.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, Unanswered>> {
        let Stage::Asked(mut asked) = std::mem::replace(&mut self.stage, Stage::Unused) else {
            return Poll::Pending; // nothing was asked
        };
        let answer = match asked.response {
            Ok(ref mut response) => match poll_head(response, asked.interim.as_deref(), cx) {
                Poll::Ready(answer) => answer.map_err(|error| (is_unprocessed(&error), error)),
                Poll::Pending => {
                    self.stage = Stage::Asked(asked);
                    return Poll::Pending;
                }
            },
            Err(error) => Err((true, error)),
        };
        let (head, replay) = (asked.head, asked.replay);
        Poll::Ready(match answer {
            Ok(response) => {
                replay.forget();
                let (head, body) = response.into_parts();
                self.stage = Stage::Answered(Box::new(Receiving::new(body, &head.headers)));
                Ok(Response::from_parts(head, ()))
            }
            Err((is_unsent, error)) => {
                if is_unsent {
                    self.connection.close(); // it would refuse the next one, too
                }
                let request = replay.again().map(|body| Request::from_parts(head, body));
                let returned = match request.map(Box::new) {
                    Some(request) if is_unsent => Returned::Unsent(request),
                    Some(request) => Returned::Sent(request),
                    None => Returned::Nothing,
                };
                Err(Unanswered { error: error.into(), returned, is_leaving: is_unsent })
            }
        })
    }

    /// The next piece of the response's body.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.stage {
            Stage::Answered(body) => Pin::new(&mut **body).poll_frame(cx).map_err(Broken::Http2),
            Stage::Unused | Stage::Asked(_) => Poll::Ready(None),
        }
    }

    /// What is left of the response's body.
    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.stage {
            Stage::Answered(body) => body.size_hint(),
            Stage::Unused | Stage::Asked(_) => SizeHint::with_exact(0),
        }
    }

    /// Whether the response's body has been read to its end.
    pub(super) fn is_end_stream(&self) -> bool {
        match &self.stage {
            Stage::Answered(body) => body.is_end_stream(),
            Stage::Unused | Stage::Asked(_) => true,
        }
    }
}

/// Waits for the head of the response; those of interim ones before it are handed on.
fn poll_head(
    response: &mut ResponseFuture,
    interim: Option<&Interim>,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<RecvStream>, h2::Error>> {
    while let Some(interim) = interim
        && let Poll::Ready(Some(Ok(head))) = response.poll_informational(cx)
    {
        interim.add(head.status(), head.headers());
    }
    Pin::new(response).poll(cx)
}

/// Whether the server says that it has not acted upon a request.
fn is_unprocessed(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}

/// Turns a head for HTTP/1.1 into one for HTTP/2 (RFC 9113, 8.2.2 and 8.3.1).
fn absolute(head: &mut Parts) {
    head.version = Version::HTTP_2;
    head.headers.remove(CONNECTION);
    head.headers.remove(UPGRADE); // such a server does not switch
    let host = head.headers.remove(HOST);
    let uri = std::mem::take(&mut head.uri).into_parts();
    let authority = host.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
    let path = uri.path_and_query.as_ref().map_or("/", |path| path.as_str());
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query(path);
    head.uri = uri.build().unwrap_or_default();
}

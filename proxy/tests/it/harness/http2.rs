//! Upstreams that speak HTTP/2 without TLS: one that serves gRPC, and one that does with each
//! request as a test says, frame by frame.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::TestUpstream;
use super::frames::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Answer,
    /// Answered, with a 103 before.
    Hint,
    /// Answered with a 204 that tells a length (RFC 9110, 8.6).
    Nothing,
    /// Answered, and then the connection ends.
    AnswerAndClose,
    /// Half answered, and then the stream is reset with NO_ERROR.
    Half,
    /// Answered, with a GOAWAY that names it as the last.
    AnswerAndLeave,
    /// Not acted upon (RFC 9113, 8.7).
    Refuse,
    /// Not acted upon, and neither is any other.
    Leave,
    /// The connection ends without a word.
    Break,
}

impl TestUpstream {
    /// Answers over HTTP/2, `streams` requests at once: what is `application/grpc` by sending each
    /// message back as it comes, and `grpc-status` behind them; anything else as
    /// [`TestUpstream::start`] does.
    pub(crate) async fn http2(streams: u32) -> Self {
        Self::serve(move |upstream, stream| async move {
            let service = service_fn(move |request| {
                let upstream = upstream.clone();
                async move { Ok::<_, Infallible>(upstream.answer_http2(request).await) }
            });
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(streams);
            _ = builder.serve_connection(TokioIo::new(stream), service).await;
        })
        .await
    }

    async fn answer_http2(&self, request: Request<Incoming>) -> Response<Body> {
        let is_grpc = |value: &HeaderValue| value == "application/grpc";
        if !request.headers().get("content-type").is_some_and(is_grpc) {
            let response = self.answer(request).await;
            return response
                .map(|body| body.map_err(|_| -> hyper::Error { unreachable!() }).boxed_unsync());
        }
        let (head, body) = request.into_parts();
        let response = Response::builder().header("content-type", "application/grpc");
        let fails = head.uri.path().ends_with("/Fail");
        self.note(head, 0);
        if fails {
            let empty = http_body_util::Empty::new().map_err(|never: Infallible| match never {});
            return response.header("grpc-status", "5").body(empty.boxed_unsync()).unwrap();
        }
        let mut trailers = HeaderMap::new();
        for (name, value) in [("grpc-status", "0"), ("set-cookie", "evil"), ("x-checksum", "c")] {
            trailers.insert(name, HeaderValue::from_static(value));
        }
        response.body(body.with_trailers(async { Some(Ok(trailers)) }).boxed_unsync()).unwrap()
    }

    /// Does with each request what `act` says of its connection and of its place on it, both
    /// counted from 0.
    pub(crate) async fn acting(act: fn(usize, usize) -> Act) -> Self {
        let connections = Arc::new(AtomicUsize::new(0));
        Self::serve(move |upstream, stream| {
            let connection = connections.fetch_add(1, Ordering::Relaxed);
            async move {
                _ = upstream.act(stream, |request| act(connection, request)).await;
            }
        })
        .await
    }

    async fn act(&self, mut stream: TcpStream, act: impl Fn(usize) -> Act) -> std::io::Result<()> {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await?;
        stream.write_all(&frame(SETTINGS, 0, 0, b"")).await?;
        let mut requests = 0;
        loop {
            let mut header = [0; 9];
            stream.read_exact(&mut header).await?;
            let [_, high, low, kind, flags, id @ ..] = header;
            let mut payload = vec![0; usize::from(high) << 8 | usize::from(low)];
            stream.read_exact(&mut payload).await?;
            if kind == DATA && !payload.is_empty() {
                let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
                for stream_id in [0, u32::from_be_bytes(id)] {
                    stream.write_all(&frame(WINDOW_UPDATE, 0, stream_id, &length)).await?;
                }
            }
            match kind {
                SETTINGS if flags & 1 == 0 => stream.write_all(&frame(SETTINGS, 1, 0, b"")).await?,
                HEADERS | DATA if flags & END_STREAM != 0 => {
                    self.received(&payload);
                    let id = u32::from_be_bytes(id);
                    let (bytes, ends) = reply(act(requests), id);
                    stream.write_all(&bytes).await?;
                    if ends {
                        return stream.shutdown().await;
                    }
                    requests += 1;
                }
                _ => {}
            }
        }
    }
}

/// The frames of an act, and whether the connection ends with them.
fn reply(act: Act, stream: u32) -> (Vec<u8>, bool) {
    let answer = frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x88]); // :status 200
    let leave = |last: u32| frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat());
    match act {
        Act::Answer => (answer, false),
        Act::Hint => {
            let hint = frame(HEADERS, END_HEADERS, stream, b"\x08\x03103"); // :status 103
            ([hint.clone(), hint, answer].concat(), false)
        }
        Act::Nothing => {
            let head = b"\x89\x0f\x0d\x010"; // :status 204, content-length 0
            (frame(HEADERS, END_HEADERS | END_STREAM, stream, head), false)
        }
        Act::AnswerAndClose => (answer, true),
        Act::Half => {
            let head = frame(HEADERS, END_HEADERS, stream, &[0x88]);
            let reset = frame(RST_STREAM, 0, stream, &[0; 4]);
            ([head, frame(DATA, 0, stream, b"half"), reset].concat(), false)
        }
        Act::AnswerAndLeave => ([leave(stream), answer].concat(), true),
        Act::Refuse => (frame(RST_STREAM, 0, stream, &7_u32.to_be_bytes()), false),
        Act::Leave => (leave(stream.saturating_sub(2)), true),
        Act::Break => (Vec::new(), true),
    }
}

/// A message as gRPC frames it: not compressed, its length, its bytes.
pub(crate) fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[0], &length[..], text.as_bytes()].concat().into()
}

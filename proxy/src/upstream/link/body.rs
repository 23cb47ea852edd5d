//! The body of a response as its server's connection brings it, and how such a connection fails.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::http2::Receiving;

/// The body of a response, still at its server.
pub(crate) enum ServerBody {
    Http1(Incoming),
    Http2(Box<Receiving>),
}

/// Why a server's connection, or a stream of it, ended too early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

impl Body for ServerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Poll::Ready(match self.get_mut() {
            Self::Http1(body) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Broken::Http1))
            }
            Self::Http2(body) => {
                let frame = ready!(Pin::new(&mut **body).poll_frame(cx));
                frame.map(|frame| frame.map_err(Broken::Http2))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

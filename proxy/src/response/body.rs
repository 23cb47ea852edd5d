//! The body of a finished response, on its way to the connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body::{Body, Frame, SizeHint};

use crate::compression::Coded;
use crate::nonce::Plain;
use crate::record::Record;
use crate::trailers;
use crate::tunnel::Tunnel;
use crate::upstream::Cut;

/// Where a body comes from.
pub(super) enum Source {
    Own(Bytes),
    Upstream(Plain),
    Coded(Box<Coded>),
    /// There is no body: the connection, or the stream, becomes this. Taken when it does.
    Tunnel(Option<Box<Tunnel>>),
}

impl Source {
    /// The answer to a HEAD: the length is told, the body is not sent (RFC 9110, 9.3.2). An
    /// upstream's answer has none already, or should not have had.
    pub(super) fn without_body(self, fields: &mut HeaderMap) -> Self {
        match self {
            Self::Own(body) => {
                fields.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
                Self::Own(Bytes::new())
            }
            Self::Upstream(body) if body.is_end_stream() => Self::Upstream(body),
            Self::Upstream(_) | Self::Coded(_) | Self::Tunnel(_) => Self::Own(Bytes::new()),
        }
    }
}

/// The body of a finished response. It carries the record, which is written when the body is done
/// with.
pub(crate) struct FinishedBody {
    source: Source,
    /// Trailers are passed on.
    trailers: bool,
    /// Its end has been handed over.
    ended: bool,
    /// Why it breaks off, which comes next.
    cut: Option<Cut>,
    /// Not of a switch: that record goes with the tunnel.
    record: Option<Box<Record>>,
}

impl FinishedBody {
    /// Only [`super::finish`] and [`super::switch`] make one.
    pub(super) fn new(source: Source, trailers: bool, record: Option<Box<Record>>) -> Self {
        Self { source, trailers, ended: false, cut: None, record }
    }

    /// What the connection, or the stream, becomes instead of carrying a body.
    pub(crate) fn take_tunnel(&mut self) -> Option<Box<Tunnel>> {
        match &mut self.source {
            Source::Tunnel(tunnel) => tunnel.take(),
            Source::Own(_) | Source::Upstream(_) | Source::Coded(_) => None,
        }
    }
}

impl Body for FinishedBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        if let Some(cut) = this.cut.take() {
            return Poll::Ready(Some(Err(cut)));
        }
        let mut frame = match &mut this.source {
            Source::Tunnel(_) => Poll::Ready(None),
            Source::Own(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Own(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Upstream(body) => Pin::new(body).poll_frame(cx),
            Source::Coded(body) => Pin::new(&mut **body).poll_frame(cx),
        };
        if let Poll::Ready(Some(Ok(last))) = &mut frame
            && let Some(fields) = last.trailers_mut()
        {
            let fields = std::mem::take(fields);
            let passing = trailers::passing(fields).filter(|_| this.trailers);
            this.ended = true; // nobody asks for more
            frame = Poll::Ready(passing.map(|fields| Ok(Frame::trailers(fields))));
        }
        let Some(record) = &mut this.record else { return frame };
        if let Poll::Ready(Some(Err(cut))) = frame {
            record.aborted = true;
            let request_id = record.id.to_str().unwrap_or_default();
            tracing::warn!(request_id, %cut, "response cut short");
            // What there was of it leaves first: an error ends the connection, or the stream.
            this.cut = Some(cut);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                record.bytes_out += bytes as u64;
            }
            Poll::Ready(None) => this.ended = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Tunnel(_) => true,
            Source::Own(bytes) => bytes.is_empty(),
            Source::Upstream(body) => body.is_end_stream(),
            Source::Coded(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Tunnel(_) => SizeHint::with_exact(0),
            Source::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Upstream(body) => body.size_hint(),
            Source::Coded(body) => body.size_hint(),
        }
    }
}

impl Drop for FinishedBody {
    /// A body that is let go before its end was cut short by the client.
    fn drop(&mut self) {
        let cut = !self.ended && !self.is_end_stream();
        if let Some(record) = &mut self.record {
            record.aborted |= cut && !matches!(self.source, Source::Own(_));
        }
    }
}

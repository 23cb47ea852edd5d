//! A request body whose beginning is kept, so that a request which a server refuses can go to
//! another: an HTTP/2 server may do so after it has been sent some of it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::body::{Fault, RequestBody};

/// Bytes that are kept of a body. They are shared with those that are being sent, not copied.
const MOST: usize = 64 << 10;

/// What can be sent again.
pub(super) struct Replay(Option<Rc<RefCell<Kept>>>);

struct Kept {
    body: RequestBody,
    hint: SizeHint,
    /// What has been read of the body, from its beginning.
    pieces: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    bytes: usize,
    /// There is nothing missing in `pieces`.
    whole: bool,
    /// Who reads now; those before get no more.
    reader: u32,
    /// Where it is among the pieces.
    at: usize,
}

/// A body that is being sent, perhaps not for the first time.
pub(crate) struct Replayed {
    kept: Rc<RefCell<Kept>>,
    reader: u32,
}

impl Replay {
    /// Of a body, and the body in its place.
    pub(super) fn of(body: RequestBody) -> (Self, RequestBody) {
        let kept = match body {
            RequestBody::Empty => return (Self(None), RequestBody::Empty),
            RequestBody::Replayed(replayed) => {
                let kept = Rc::clone(&replayed.kept);
                return (Self(Some(kept)), RequestBody::Replayed(replayed));
            }
            body @ RequestBody::Streaming(_) => Rc::new(RefCell::new(Kept {
                hint: body.size_hint(),
                body,
                pieces: Vec::new(),
                trailers: None,
                bytes: 0,
                whole: true,
                reader: 0,
                at: 0,
            })),
        };
        let body = RequestBody::Replayed(Box::new(Replayed { kept: Rc::clone(&kept), reader: 0 }));
        (Self(Some(kept)), body)
    }

    /// There is an answer: nothing goes again.
    pub(super) fn forget(&self) {
        if let Some(kept) = &self.0 {
            kept.borrow_mut().give_up();
        }
    }

    /// The body from its beginning; `None` if too much of it has been read.
    pub(super) fn again(self) -> Option<RequestBody> {
        let Some(kept) = self.0 else { return Some(RequestBody::Empty) };
        let reader = {
            let mut kept = kept.borrow_mut();
            if !kept.whole {
                return None;
            }
            kept.at = 0;
            kept.reader += 1;
            kept.reader
        };
        Some(RequestBody::Replayed(Box::new(Replayed { kept, reader })))
    }
}

impl Kept {
    fn give_up(&mut self) {
        self.whole = false;
        if self.at >= self.pieces.len() {
            (self.pieces, self.at) = (Vec::new(), 0);
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Some(piece) = self.pieces.get(self.at) {
            let piece = piece.clone();
            self.at += 1;
            if !self.whole {
                self.give_up();
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(trailers) = &self.trailers {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers.clone()))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.keep(frame);
        }
        Poll::Ready(frame)
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
        }
        let Some(data) = frame.data_ref().filter(|_| self.whole) else { return };
        self.bytes += data.len();
        if self.bytes > MOST {
            return self.give_up();
        }
        self.pieces.push(data.clone());
        self.at += 1;
    }
}

impl Replayed {
    pub(crate) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let mut kept = self.kept.borrow_mut();
        match kept.reader == self.reader {
            true => kept.poll_frame(cx),
            false => Poll::Ready(Some(Err(Fault::Aborted))),
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        let kept = self.kept.borrow();
        let replayed = kept.at >= kept.pieces.len() && kept.trailers.is_none();
        replayed && kept.body.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.kept.borrow().hint
    }
}

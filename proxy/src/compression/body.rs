//! A response body on its way through an encoder.
//!
//! Whatever the upstream has sent goes out once the upstream pauses: a slow stream arrives as it is
//! made. Nothing is held but one piece of the upstream's and the encoder itself.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::encoder::Encoder;
use super::{Encoding, Slot};
use crate::nonce::Plain;
use crate::upstream::Cut;

/// The body of an upstream's response, compressed.
pub(crate) struct Coded {
    body: Plain,
    /// Gone once the stream has been ended.
    encoder: Option<Encoder>,
    /// What the upstream has sent and the encoder has not seen.
    unread: Bytes,
    /// Whether the encoder keeps something back.
    unflushed: bool,
    /// What comes after the end of the data.
    trailers: Option<Frame<Bytes>>,
    _slot: Slot,
}

impl Coded {
    /// Bytes that are encoded between two looks at what has come out.
    const PIECE: usize = 32 << 10;
    /// Bytes that are worth a frame.
    const FRAME: usize = 8 << 10;

    pub(crate) fn new(body: Plain, encoding: Encoding) -> Self {
        let Encoding { encoder, slot } = encoding;
        Self {
            body,
            encoder: Some(encoder),
            unread: Bytes::new(),
            unflushed: false,
            trailers: None,
            _slot: slot,
        }
    }

    fn finish(&mut self) -> Result<Option<Bytes>, Cut> {
        let Some(encoder) = self.encoder.take() else { return Ok(None) };
        encoder.finish().map(Some).map_err(Cut::Encoder)
    }
}

impl Body for Coded {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        let data = |bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        loop {
            let Some(encoder) = &mut this.encoder else {
                return Poll::Ready(this.trailers.take().map(Ok));
            };
            if !this.unread.is_empty() {
                let piece = this.unread.split_to(this.unread.len().min(Self::PIECE));
                if let Err(error) = encoder.write(&piece) {
                    return Poll::Ready(Some(Err(Cut::Encoder(error))));
                }
                this.unflushed = true;
                if encoder.ready() >= Self::FRAME {
                    return data(encoder.take());
                }
                continue;
            }
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Pending if !this.unflushed => return Poll::Pending,
                Poll::Pending => {
                    this.unflushed = false;
                    return match encoder.flush() {
                        Ok(()) => data(encoder.take()),
                        Err(error) => Poll::Ready(Some(Err(Cut::Encoder(error)))),
                    };
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => {
                        this.unread = bytes;
                        continue;
                    }
                    Err(trailers) => this.trailers = Some(trailers),
                },
                Poll::Ready(Some(Err(cut))) => return Poll::Ready(Some(Err(cut))),
                Poll::Ready(None) => {}
            }
            match this.finish() {
                Ok(rest) => return data(rest.unwrap_or_default()),
                Err(cut) => return Poll::Ready(Some(Err(cut))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }
}

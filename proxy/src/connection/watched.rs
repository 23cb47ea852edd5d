//! The stream through which a connection's bytes pass: looked at as they come, timed as they go.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::ReadBuf;

use super::frames::{Frames, Resets};
use super::gather::Flush;
use super::transport::Transport;
use super::watch::Watch;
use super::{head, interim};
use crate::pipeline::Origin;

/// The socket, watched: the first byte after a rest begins a head, and a write that waits is timed.
pub(super) struct Watched<T> {
    pub(super) stream: TokioIo<T>,
    /// What the protocol had read but not used when the connection came to rest.
    pub(super) unread: Bytes,
    /// What is left of interim responses that are being written.
    interim: Bytes,
    /// HTTP/2 only.
    frames: Option<Box<Frames>>,
    /// The client has been told that nothing more will come.
    pub(super) is_shut_down: bool,
    origin: Rc<Origin>,
}

impl<T: Transport> Watched<T> {
    pub(super) fn new(stream: T, origin: &Rc<Origin>) -> Self {
        Self {
            stream: TokioIo::new(stream),
            unread: Bytes::new(),
            interim: Bytes::new(),
            frames: origin.watch.multiplexed.get().then(|| Box::new(Frames::new())),
            is_shut_down: false,
            origin: Rc::clone(origin),
        }
    }

    /// Times what is written: for as long as it waits, only what the kernel takes is progress, not
    /// what finds room in a buffer. `is_all` says that nothing is left if it is ready.
    fn timed<R>(&self, written: Poll<io::Result<R>>, is_all: bool) -> Poll<io::Result<R>> {
        let Watch { stalled, pace: shared, .. } = &self.origin.watch;
        let worker = &self.origin.worker;
        let (now, mut pace) = (worker.deadlines.now_ms(), shared.get());
        let progress = self.stream.inner().socket().progress();
        if progress > 0 || (is_all && written.is_ready()) {
            pace.took(progress, now);
            stalled.disarm();
        }
        if written.is_pending() && !stalled.is_armed() {
            stalled.arm(pace.wait(now, &worker.limits()));
        }
        shared.set(pace);
        written
    }
}

impl<T: Transport> Watched<T> {
    /// Reads what may be a head, or frames: by way of the worker's buffer, where it can be looked
    /// at.
    fn poll_read_and_look(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let (worker, watch) = (&self.origin.worker, &self.origin.watch);
        let mut scratch = worker.scratch.borrow_mut();
        let length = scratch.len().min(buffer.remaining());
        let mut read = ReadBuf::new(scratch.get_mut(..length).unwrap_or_default());
        ready!(Pin::new(self.stream.inner_mut()).poll_read(cx, &mut read))?;
        let limits = worker.limits();
        let fits = match &mut self.frames {
            Some(frames) => frames.passed(read.filled(), worker.deadlines.now_ms(), &limits),
            None => {
                watch.head.passed(read.filled(), head::bytes(&limits));
                true
            }
        };
        if let Some(frames) = self.frames.as_ref().filter(|_| !fits) {
            worker.counters.http2_floods.add(1);
            // It tells the client why, unless another frame is half written, or nobody reads.
            if !watch.stalled.is_armed() {
                let mut stream = Pin::new(self.stream.inner_mut());
                _ = stream.as_mut().poll_write(cx, &frames.goaway());
                _ = stream.poll_flush(cx);
            }
            return Poll::Ready(Err(io::Error::other("a flood of HTTP/2 frames")));
        }
        buffer.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> Read for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let looks = self.frames.is_some() || self.origin.watch.head.is_reading();
        let read = if !self.unread.is_empty() {
            let length = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(length));
            Poll::Ready(Ok(()))
        } else if looks {
            self.poll_read_and_look(cx, &mut buffer)
        } else {
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        };
        let watch = &self.origin.watch;
        if read.is_ready() && watch.resting.get() && !watch.multiplexed.get() {
            watch.awake(self.origin.worker.limits().header_timeout);
        }
        read
    }
}

impl<T: Transport> Watched<T> {
    /// Ends what it has begun to write of interim responses.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.interim);
            match ready!(self.timed(written, false))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.interim.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> Watched<T> {
    /// Counts the streams that are reset by what has been written.
    fn left(&mut self, written: &Poll<io::Result<usize>>, slices: &[io::IoSlice<'_>]) {
        let (Some(frames), Poll::Ready(Ok(written))) = (&mut self.frames, written) else { return };
        let mut left = *written;
        for slice in slices {
            let (bytes, _) = slice.split_at(left.min(slice.len()));
            left -= bytes.len();
            let resets = frames.left(bytes);
            if resets != Resets::default() {
                let counters = &self.origin.worker.counters;
                counters.requests_malformed.add(resets.malformed);
                counters.streams_refused.add(resets.refused);
                tracing::debug!(peer = %self.origin.sender.peer.ip, ?resets, "streams reset");
            }
        }
    }
}

impl<T: Transport> Write for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.left(&written, &[io::IoSlice::new(bytes)]);
        self.timed(written, false)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.left(&written, slices);
        self.timed(written, false)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let watch = &self.origin.watch;
        if watch.flush.get() != Flush::AtOnce {
            watch.flush.set(Flush::Due);
            return Poll::Ready(Ok(()));
        }
        if self.interim.is_empty() {
            self.interim = interim::write(&watch.take_interim());
        }
        ready!(self.poll_interim(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.timed(flushed, true)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.is_shut_down = matches!(closed, Poll::Ready(Ok(())));
        self.timed(closed, true)
    }
}

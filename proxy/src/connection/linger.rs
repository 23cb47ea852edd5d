//! The end of an HTTP/1.1 connection whose client may still be sending.
//!
//! # Why
//!
//! A connection that is closed while bytes of it are unread, or before they arrive, is reset, and
//! the reset can overtake the response that says why (RFC 9112, 9.6). So what comes after the
//! connection has been shut down for writing is read and dropped, until its client ends it too.
//!
//! Over HTTP/2 it is the stream that lingers (see [`super::stream`]), and no connection is shut
//! down before its client has acknowledged that it will be.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::TcpStream;

use super::transport::Transport;
use crate::pipeline::Origin;
use crate::worker::Worker;

/// How long a client may take to find out that there is no use in going on.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits for the client to end a connection that has been shut down, unless it is known to have
/// sent all that it had begun.
pub(super) async fn linger<T: Transport>(stream: T, origin: &Origin) {
    let (worker, watch) = (&origin.worker, &origin.watch);
    let mut is_sending = watch.awaits_head() || watch.body_left.get();
    watch.deadline.arm(PATIENCE);
    poll_fn(|cx| {
        loop {
            match poll_drop(stream.socket().stream(), worker, cx) {
                Poll::Ready(Ok(1..)) => is_sending = true,
                Poll::Pending if is_sending => return watch.deadline.poll(cx),
                Poll::Ready(_) | Poll::Pending => return Poll::Ready(()),
            }
        }
    })
    .await;
}

/// Reads what has come, encrypted or not, to nowhere: how many bytes of it, 0 at the end.
fn poll_drop(stream: &TcpStream, worker: &Worker, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        match stream.try_read(&mut worker.scratch.borrow_mut()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return Poll::Ready(read),
        }
    }
}

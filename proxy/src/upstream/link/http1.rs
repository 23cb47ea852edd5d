//! HTTP/1.1 to a server: one request at a time, driven by whichever request uses the link.
//!
//! # Why
//!
//! hyper's client connection is a future of its own. Spawned as a task, it would cost two task
//! switches per request; here the request (and later its response's body) polls it in place, so
//! that reading, writing and answering happen in the task of the client's connection. A link in the
//! pool is polled by nobody; [`Http1::is_usable`] asks it, without a system call unless the kernel
//! has something to tell, whether the server has closed it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::{Broken, Sent, ServerBody, Stream, Unanswered};
use crate::body::RequestBody;
use crate::connection::Interim;
use crate::worker::Worker;

type Connection = http1::Connection<TokioIo<Stream>, RequestBody>;

/// An HTTP/1.1 connection.
pub(super) struct Http1 {
    sender: http1::SendRequest<RequestBody>,
    connection: Connection,
    /// The connection has ended, or switched to another protocol.
    ended: bool,
}

impl Http1 {
    /// Starts HTTP on a connection; nothing is sent yet.
    pub(super) async fn open(stream: Stream) -> Result<Self, Broken> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(Worker::BUFFER)
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Self { sender, connection, ended: false })
    }

    /// Whether the server would still take a request.
    pub(super) fn is_usable(&mut self) -> bool {
        _ = self.poll_connection(&mut Context::from_waker(Waker::noop()));
        !self.ended && self.sender.is_ready()
    }

    /// Hands a request over. The future is the head of the response; whoever waits for it has to
    /// poll the connection, too. An error gives the request back if none of it was sent.
    pub(super) fn send(
        &mut self,
        mut request: Request<RequestBody>,
        interim: Option<&Arc<Interim>>,
    ) -> impl Future<Output = Sent> + use<> {
        if let Some(interim) = interim {
            Arc::clone(interim).of(&mut request);
        }
        let sent = self.sender.try_send_request(request);
        async {
            match sent.await {
                Ok(response) => Ok(response.map(ServerBody::Http1)),
                Err(mut error) => {
                    let unsent = error.take_message().map(Box::new);
                    Err(Unanswered { error: error.into_error().into(), unsent })
                }
            }
        }
    }

    /// Moves bytes in both directions. Ready when the connection has ended; how it ended, those
    /// learn that wait for an answer on it.
    pub(super) fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.ended {
            _ = ready!(Pin::new(&mut self.connection).poll(cx));
            self.ended = true;
        }
        Poll::Ready(())
    }

    /// The stream of a connection that has switched protocols, and what was read beyond the switch.
    pub(super) async fn into_stream(mut self) -> (Stream, Bytes) {
        std::future::poll_fn(|cx| self.poll_connection(cx)).await;
        let parts = self.connection.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }
}

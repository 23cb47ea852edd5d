//! One client connection: its protocol, its time bounds, its end.
//!
//! Two deadlines watch a connection, and a third each of its HTTP/2 streams (see [`stream`]). The
//! first follows what it is doing: waiting for a request's head, resting between requests, or
//! nothing while requests are in flight (their own bounds hold then). The second is armed while a
//! write makes no progress, for no longer than the response's [`pace`] leaves. Neither costs a
//! system call or a timer per request.

mod contained;
mod duplex;
mod frames;
mod gather;
mod head;
mod http1;
mod http2;
mod interim;
mod linger;
mod pace;
mod proxy_protocol;
mod stream;
mod transport;
mod watch;
mod watched;

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use tokio::net::TcpStream;

use crate::config::ProxyProtocol;
use crate::deadline::TICK;
use crate::pipeline::Origin;
use crate::socket::Socket;
use crate::tls::{self, Secured};
use crate::worker::Worker;

pub(crate) use self::contained::Contained;
pub(crate) use self::head::Hidden;
pub(crate) use self::interim::Interim;
pub(crate) use self::watch::Watch;

/// Serves an accepted socket to its end.
pub(crate) async fn serve(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, secure: bool) {
    let Some(mut admission) = worker.admit_connection(peer.ip()) else { return };
    let deadline = worker.deadlines.deadline();
    deadline.arm(worker.limits().handshake_timeout);
    // What each step needs is boxed, so that it is freed when the step is over.
    let announced = worker.snapshot().plan.config.listen.proxy_protocol;
    let (stream, peer) = match announced {
        ProxyProtocol::Off => (stream, peer),
        ProxyProtocol::Optional | ProxyProtocol::Required => {
            let introduced = introduce(&worker, stream, peer, announced == ProxyProtocol::Required);
            match Box::pin(deadline.guard(introduced)).await.flatten() {
                Some(introduced) => introduced,
                None => return worker.counters.connections_unannounced.add(1),
            }
        }
    };
    if !admission.is_for(peer.ip()) {
        return;
    }
    let stream = Socket::new(stream);
    if !secure {
        drop(deadline);
        return Box::pin(http1::serve(stream, Origin::new(worker, peer, None))).await;
    }
    let snapshot = worker.snapshot();
    let handshake = Box::pin(tls::accept(stream, peer.ip(), &snapshot));
    let secured = deadline.guard(handshake).await;
    drop((deadline, snapshot));
    match secured {
        Some(Ok(None)) => {}
        Some(Ok(Some(Secured { stream, http2: false, session }))) => {
            Box::pin(http1::serve(stream, Origin::new(worker, peer, Some(session)))).await;
        }
        Some(Ok(Some(Secured { stream, http2: true, session }))) => {
            Box::pin(http2::serve(stream, Origin::new(worker, peer, Some(session)))).await;
        }
        Some(Err(error)) => {
            worker.counters.handshakes_failed.add(1);
            tracing::debug!(%peer, %error, "TLS handshake failed");
        }
        None => worker.counters.connections_timed_out.add(1),
    }
}

/// Whose connection it is: the peer's, or whose a trusted proxy says. `None` if it is to be closed.
async fn introduce(
    worker: &Worker,
    mut stream: TcpStream,
    peer: SocketAddr,
    required: bool,
) -> Option<(TcpStream, SocketAddr)> {
    if !worker.snapshot().plan.config.clients.trusted_proxies.contains(peer.ip()) {
        if required {
            tracing::debug!(%peer, "refused: only trusted proxies may connect");
        }
        return (!required).then_some((stream, peer));
    }
    match proxy_protocol::accept(&mut stream, required).await {
        Ok(source) => Some((stream, source.unwrap_or(peer))),
        Err(error) => {
            tracing::debug!(%peer, %error, "no PROXY protocol header");
            None
        }
    }
}

/// Drives a connection until it ends, breaks, its time is up, the worker drains, or it rests: true
/// then.
async fn drive<C: Future<Output = Result<(), E>> + Unpin, E>(
    origin: &Origin,
    mut connection: &mut C,
    shut_down: impl Fn(Pin<&mut C>),
) -> Result<bool, E> {
    let (worker, watch) = (&origin.worker, &origin.watch);
    let (mut shutting_down, mut patient) = (false, false);
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(End::Closed(result));
            }
            if worker.draining.get() && !shutting_down {
                if !watch.awaits_head() {
                    shutting_down = true;
                    shut_down(Pin::new(connection));
                    continue;
                }
                // A request may be on its way that nobody would send again.
                if !std::mem::replace(&mut patient, true) {
                    watch.deadline.arm(TICK * 4);
                }
            }
            let expired = watch.deadline.poll(cx).is_ready();
            if watch.stalled.poll(cx).is_ready() {
                return Poll::Ready(End::TimedOut);
            }
            if !expired {
                return Poll::Pending;
            }
            if shutting_down || !(watch.resting.get() || patient) {
                return Poll::Ready(End::TimedOut);
            }
            if !watch.multiplexed.get() && !watch.stalled.is_armed() && !patient {
                return Poll::Ready(End::Resting);
            }
            // It rested for too long: close it in the protocol's own way, and give that a moment.
            shutting_down = true;
            shut_down(Pin::new(connection));
            watch.deadline.arm(TICK * 4);
        }
    })
    .await;
    match ended {
        End::Resting => return Ok(true),
        End::Closed(closed) => closed?,
        End::TimedOut => worker.counters.connections_timed_out.add(1),
    }
    Ok(false)
}

fn broken(origin: &Origin, error: &dyn Display) {
    origin.worker.counters.connections_broken.add(1);
    tracing::debug!(peer = %origin.sender.peer.ip, %error, "connection broken");
}

/// How driving a connection ends.
enum End<E> {
    Closed(Result<(), E>),
    TimedOut,
    Resting,
}

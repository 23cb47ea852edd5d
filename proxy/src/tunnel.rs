//! WebSocket: from a request that asks for it to bytes that pass both ways (RFC 6455; over HTTP/2,
//! RFC 8441).
//!
//! Towards the upstream it is always an `Upgrade` over HTTP/1.1, on a link of its own. Nothing is
//! raw before the upstream has answered 101: until then, and if it answers anything else, this is a
//! request like any other. No other protocol is switched to.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use h2::ext::Protocol;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Version};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::deadline::Deadline;
use crate::record::Record;
use crate::upstream::{Lease, Slot, Stream};

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const SEC_WEBSOCKET_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const SEC_WEBSOCKET_ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

/// The upstream's side of a tunnel.
pub(crate) struct Far {
    pub(crate) stream: Stream,
    /// What the upstream sent right behind its 101.
    pub(crate) unread: Bytes,
    /// Counts the tunnel among the requests of its server.
    pub(crate) lease: Lease,
    /// And among those of its upstream.
    pub(crate) slot: Option<Slot>,
}

/// An upstream that has switched, waiting for the client's side.
pub(crate) struct Tunnel {
    far: Far,
    record: Box<Record>,
    deadline: Deadline,
    idle_timeout: Duration,
}

/// Whether a request asks for a WebSocket.
pub(crate) fn is_asked(head: &Parts) -> bool {
    if head.version == Version::HTTP_2 {
        let protocol = head.extensions.get::<Protocol>();
        return head.method == Method::CONNECT
            && protocol
                .is_some_and(|protocol| protocol.as_str().eq_ignore_ascii_case("websocket"));
    }
    head.version == Version::HTTP_11
        && head.method == Method::GET
        && names(&head.headers, header::CONNECTION, "upgrade")
        && is_websocket(&head.headers)
}

/// Whether the one protocol that a message switches to is WebSocket.
pub(crate) fn is_websocket(fields: &HeaderMap) -> bool {
    let mut values = fields.get_all(header::UPGRADE).iter();
    let only = values.next().filter(|_| values.next().is_none());
    only.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn names(fields: &HeaderMap, name: HeaderName, option: &str) -> bool {
    let mut values = fields.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(option)))
}

/// Makes the head that goes upstream ask for a WebSocket.
pub(crate) fn ask(head: &mut Parts) {
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(header::UPGRADE, WEBSOCKET);
    if head.method == Method::CONNECT {
        head.method = Method::GET;
        // HTTP/2 has no use for it; HTTP/1.1 wants 16 random bytes (RFC 6455, 4.1).
        let mut key = [0; 16];
        fastrand::fill(&mut key);
        let key = data_encoding::BASE64.encode(&key);
        head.headers.extend(HeaderValue::try_from(key).ok().map(|key| (SEC_WEBSOCKET_KEY, key)));
    }
}

/// The fields of the answer by which the client's connection, or stream, switches.
pub(crate) fn agree(fields: &mut HeaderMap, stream: bool) {
    if stream {
        fields.remove(SEC_WEBSOCKET_ACCEPT);
    } else {
        fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(header::UPGRADE, WEBSOCKET);
    }
}

impl Tunnel {
    pub(crate) fn new(
        far: Far,
        record: Box<Record>,
        deadline: Deadline,
        idle_timeout: Duration,
    ) -> Self {
        Self { far, record, deadline, idle_timeout }
    }

    /// Passes bytes both ways until both sides have ended, one fails, or nothing moves for too
    /// long. `unread` is what the client sent ahead.
    pub(crate) async fn run<S: AsyncRead + AsyncWrite>(self, near: S, unread: Bytes) {
        let Far { mut stream, unread: answered, lease: _lease, slot: _slot } = self.far;
        let (mut record, deadline, idle) = (self.record, self.deadline, self.idle_timeout);
        deadline.arm(idle);
        let (mut near_reads, mut near_writes) = tokio::io::split(near);
        let (mut far_reads, mut far_writes) = tokio::io::split(&mut stream);
        let (up, down) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let both = async {
            let up = pass(&mut near_reads, &mut far_writes, unread, &up, || deadline.arm(idle));
            let down = pass(&mut far_reads, &mut near_writes, answered, &down, || {
                deadline.arm(idle);
            });
            tokio::try_join!(up, down).map(|_| ())
        };
        let ended = deadline.guard(pin!(both)).await;
        (record.tunnelled_in, record.bytes_out) = (up.get(), down.get());
        record.aborted = !matches!(ended, Some(Ok(())));
    }
}

/// Passes bytes one way to the end, and then says that it is the end.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    first: Bytes,
    count: &std::cell::Cell<u64>,
    progressed: impl Fn(),
) -> io::Result<()> {
    const BUFFER: usize = 16 << 10;
    let mut buffer = Vec::new();
    buffer.extend_from_slice(&first);
    loop {
        to.write_all(&buffer).await?;
        to.flush().await?;
        count.set(count.get() + buffer.len() as u64);
        progressed();
        buffer.clear();
        buffer.reserve(BUFFER);
        if from.read_buf(&mut buffer).await? == 0 {
            return to.shutdown().await;
        }
    }
}

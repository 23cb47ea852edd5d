//! Requests that turn their connection, or their stream of HTTP/2, into something else.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::Origin;
use crate::record::Record;
use crate::response::{self, Answer, Finish, FinishedBody};
use crate::snapshot::Snapshot;
use crate::tunnel::Tunnel;
use crate::upstream::{Outgoing, Switched, Upstream};

/// Switches to another protocol, if the upstream agrees.
pub(super) async fn switch(
    origin: Rc<Origin>,
    snapshot: &Snapshot,
    to: Box<Switch>,
    finish: Finish,
    mut record: Box<Record>,
) -> Response<FinishedBody> {
    let Switch { upstream, outgoing, stream, idle_timeout } = *to;
    let answer = upstream.switch(outgoing).await;
    record.upstream_time = Some(record.started.elapsed());
    let fallback = snapshot.sites.fallback();
    let (head, far) = match answer {
        Ok(Switched::Tunnel(head, far)) => (head, far),
        Ok(Switched::Response(response)) => {
            return response::finish(Ok(Answer::Upstream(response)), finish, record, fallback);
        }
        Err(rejection) => return response::finish(Err(rejection), finish, record, fallback),
    };
    let response = response::switch(head, stream.is_some(), finish, &mut record, fallback);
    let deadline = origin.worker.deadlines.deadline();
    let tunnel = Tunnel::new(far, record, deadline, idle_timeout);
    match stream {
        Some(stream) => drop(tokio::task::spawn_local(async move {
            if let Ok(near) = stream.await {
                tunnel.run(TokioIo::new(near), Bytes::new()).await;
            }
        })),
        None => origin.tunnel.set(Some(Box::new(tunnel))),
    }
    response
}

/// A request that asks for a WebSocket.
pub(super) struct Switch {
    pub(super) upstream: Rc<Upstream>,
    pub(super) outgoing: Outgoing,
    /// The stream that switches; over HTTP/1.1 it is the connection.
    pub(super) stream: Option<OnUpgrade>,
    pub(super) idle_timeout: Duration,
}

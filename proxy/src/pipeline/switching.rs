//! Requests that turn their connection, or their stream of HTTP/2, into something else.

use std::rc::Rc;
use std::time::Duration;

use http::Response;

use super::Origin;
use crate::record::Record;
use crate::rejection::Rejection;
use crate::response::{self, Answer, Finish, FinishedBody};
use crate::snapshot::Snapshot;
use crate::tunnel::Tunnel;
use crate::upstream::{Outgoing, Switched, Upstream};

/// Switches to another protocol, if the upstream agrees.
pub(super) async fn switch(
    origin: &Origin,
    snapshot: &Snapshot,
    to: Box<Switch>,
    finish: Finish,
    mut record: Box<Record>,
) -> Response<FinishedBody> {
    let Switch { upstream, outgoing, idle_timeout } = *to;
    let answer = upstream.switch(outgoing).await;
    record.upstream_time = Some(record.started.elapsed());
    let fallback = snapshot.sites.fallback();
    let answer = match answer {
        Ok(Switched::Tunnel(head, far)) => {
            let deadline = origin.worker.deadlines.deadline();
            let tunnel = |record| Tunnel::new(far, record, deadline, idle_timeout);
            return response::switch(head, finish, record, fallback, tunnel);
        }
        // It would tell the client that the stream has switched (RFC 8441, 5).
        Ok(Switched::Response(response))
            if origin.watch.is_multiplexed() && response.status().is_success() =>
        {
            Err(Rejection::UpstreamRefused)
        }
        Ok(Switched::Response(response)) => Ok(Answer::Upstream(response)),
        Err(rejection) => Err(rejection),
    };
    response::finish(answer, finish, record, fallback)
}

/// A request that asks for a WebSocket.
pub(super) struct Switch {
    pub(super) upstream: Rc<Upstream>,
    pub(super) outgoing: Outgoing,
    pub(super) idle_timeout: Duration,
}

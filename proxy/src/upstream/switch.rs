//! A request that asks for another protocol.

use std::rc::Rc;

use http::{Response, StatusCode};

use super::{Outgoing, Upstream, UpstreamBody, forward};
use crate::rejection::Rejection;
use crate::tunnel::{self, Far};

/// What the upstream made of it.
pub(crate) enum Switched {
    /// It switches; with the head of its answer.
    Tunnel(http::response::Parts, Far),
    /// It does not.
    Response(Response<UpstreamBody>),
}

impl Upstream {
    /// Asks the upstream to switch to WebSocket, on a link of its own.
    pub(crate) async fn switch(self: Rc<Self>, outgoing: Outgoing) -> Result<Switched, Rejection> {
        let deadline = self.deadlines.deadline();
        let mut attempt = self.attempt();
        let (lease, mut link) = self.connect_any(&mut attempt, &deadline).await?;
        let sent = link.send(outgoing.request);
        let answer = self.answer(&deadline, None, &mut link, sent).await;
        let response = answer.map_err(|(rejection, _)| rejection)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return self.respond(response, lease, link, deadline, None).map(Switched::Response);
        }
        let (mut head, _) = response.into_parts();
        if !tunnel::is_websocket(&head.headers) {
            return Err(Rejection::UpstreamRefused);
        }
        forward::switched(&mut head);
        let (stream, unread) = link.into_stream().await;
        Ok(Switched::Tunnel(head, Far { stream, unread, lease }))
    }
}

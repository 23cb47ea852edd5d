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
        let (request, mut exchange) = self.exchange(outgoing);
        let mut attempt = self.attempt(request.headers());
        self.enter(&mut exchange).await?;
        let (lease, mut link) = self.connect_any(&mut attempt, &exchange.deadline).await?;
        link.send(request, None);
        let answer = self.answer(&exchange, &mut link).await;
        let response = answer.map_err(|failure| failure.rejection)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return self.respond(response, &attempt, lease, link, exchange).map(Switched::Response);
        }
        let (mut head, _) = response.into_parts();
        if !tunnel::is_websocket(&head.headers) {
            return Err(Rejection::UpstreamRefused);
        }
        forward::switched(&mut head);
        let (stream, unread) = link.into_stream().ok_or(Rejection::UpstreamRefused)?;
        self.stick(&mut head.headers, &attempt, &lease.server);
        Ok(Switched::Tunnel(head, Far { stream, unread, lease, slot: exchange.slot }))
    }
}

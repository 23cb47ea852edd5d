//! A request and its response at an upstream, from the slot to the link that is given back.

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};

use super::attempt::Attempt;
use super::link::{Link, Returned, Unanswered};
use super::queue::Slot;
use super::{Lease, Outgoing, Upstream, UpstreamBody, forward};
use crate::body::{Progress, RequestBody};
use crate::connection::Interim;
use crate::deadline::{Deadline, TICK};
use crate::rejection::Rejection;

/// What goes with a request from the moment it is sent to the end of its response.
pub(super) struct Exchange {
    pub(super) deadline: Deadline,
    pub(super) answer_timeout: Duration,
    pub(super) upload: Option<Rc<Progress>>,
    /// Where interim responses go.
    pub(super) interim: Option<Rc<Interim>>,
    /// `None` until there is room for it.
    pub(super) slot: Option<Slot>,
}

impl Upstream {
    /// Sends a request; the future is the response, its body still to be read.
    ///
    /// Over an idle link, which is the rule, the request has been handed over when this returns:
    /// the future does not carry it.
    pub(crate) fn send(
        self: Rc<Self>,
        outgoing: Outgoing,
    ) -> impl Future<Output = Result<Response<UpstreamBody>, Rejection>> {
        let (request, exchange) = self.exchange(outgoing);
        let mut attempt = self.attempt(request.headers());
        let begun = match exchange.slot.as_ref().map(|_| self.choose(&attempt)) {
            None => Begun::Unsent(Box::new(request)),
            Some(Err(rejection)) => Begun::Refused(rejection),
            Some(Ok(server)) => match server.pool.take() {
                None => Begun::Unsent(Box::new(request)),
                Some(mut link) => {
                    link.send(request, exchange.interim.as_ref());
                    Begun::Sent(Lease::new(server), link)
                }
            },
        };
        async move {
            let request = match begun {
                Begun::Refused(rejection) => return Err(rejection),
                Begun::Unsent(request) => *request,
                Begun::Sent(lease, mut link) => match self.answer(&exchange, &mut link).await {
                    Ok(response) => {
                        return self.respond(response, &attempt, lease, link, exchange);
                    }
                    Err(failure) => self.again(&mut attempt, &lease.server, failure)?,
                },
            };
            Box::pin(self.send_later(attempt, request, exchange)).await
        }
    }

    /// Begins the exchange of a request: with a slot, if one is free.
    pub(super) fn exchange(&self, outgoing: Outgoing) -> (Request<RequestBody>, Exchange) {
        let Outgoing { request, upload, interim, answer_timeout } = outgoing;
        let answer_timeout = answer_timeout.unwrap_or(self.configured.answer_timeout);
        let (deadline, slot) = (self.deadlines.deadline(), self.queue.enter());
        (request, Exchange { deadline, answer_timeout, upload, interim, slot })
    }

    /// Waits for a slot, if the exchange has none. True if it had to.
    pub(super) async fn enter(&self, exchange: &mut Exchange) -> Result<bool, Rejection> {
        if exchange.slot.is_some() {
            return Ok(false);
        }
        exchange.deadline.arm(self.configured.queue_timeout);
        let slot = exchange.deadline.guard(Rc::clone(&self.queue).wait()).await;
        exchange.deadline.disarm();
        exchange.slot = Some(slot.flatten().ok_or(Rejection::UpstreamSaturated)?);
        Ok(true)
    }

    /// Sends a request that had to wait, or that there was no idle link for, or that goes again.
    async fn send_later(
        &self,
        mut attempt: Attempt,
        mut request: Request<RequestBody>,
        mut exchange: Exchange,
    ) -> Result<Response<UpstreamBody>, Rejection> {
        let mut idle = None;
        if self.enter(&mut exchange).await? {
            // Who made room left a link.
            let server = self.choose(&attempt)?;
            idle = server.pool.take().map(|link| (Lease::new(server), link));
        }
        loop {
            let (lease, mut link) = match idle.take() {
                Some(idle) => idle,
                None => self.connect_any(&mut attempt, &exchange.deadline).await?,
            };
            link.send(request, exchange.interim.as_ref());
            request = match self.answer(&exchange, &mut link).await {
                Ok(response) => return self.respond(response, &attempt, lease, link, exchange),
                Err(failure) => self.again(&mut attempt, &lease.server, failure)?,
            };
        }
    }

    /// Waits for the response. The upstream's time begins anew with what it takes of the request,
    /// and does not run while the client is waited for.
    pub(super) async fn answer(
        &self,
        exchange: &Exchange,
        link: &mut Link,
    ) -> Result<Response<()>, Failed> {
        let Exchange { deadline, upload, .. } = exchange;
        let (mut taken, begun) = (None, self.deadlines.now_ms());
        let answer = std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = link.poll_answer(cx) {
                return Poll::Ready(Some(output));
            }
            let now = upload.as_ref().map_or((0, true), |up| (up.bytes.get(), up.complete.get()));
            let of_client = upload.as_ref().is_some_and(|upload| upload.waits_for_client.get());
            if taken.replace(now) != Some(now) || of_client {
                deadline.arm(exchange.answer_timeout);
            }
            deadline.poll(cx).map(|()| None)
        })
        .await;
        match (answer, upload.as_ref().and_then(|upload| upload.fault.get())) {
            (None, _) => {
                link.distrust();
                Err(Rejection::UpstreamTimeout.into())
            }
            (Some(Ok(response)), _) => Ok(response),
            (Some(Err(_)), Some(fault)) => Err(Rejection::from(fault).into()),
            (Some(Err(Unanswered { error, returned, is_leaving })), None) => {
                let soon = self.deadlines.now_ms() - begun <= CROSSING;
                let rejection = Rejection::UpstreamInvalid(error);
                Err(Failed { rejection, returned, is_leaving: is_leaving && soon })
            }
        }
    }

    pub(super) fn respond(
        &self,
        response: Response<()>,
        attempt: &Attempt,
        mut lease: Lease,
        link: Box<Link>,
        exchange: Exchange,
    ) -> Result<Response<UpstreamBody>, Rejection> {
        let (mut head, ()) = response.into_parts();
        if !forward::response(&mut head) {
            return Err(Rejection::UpstreamRefused);
        }
        self.stick(&mut head.headers, attempt, &lease.server);
        exchange.deadline.disarm();
        lease.server.health.answered();
        lease.link = Some(link);
        Ok(Response::from_parts(head, UpstreamBody::new(lease, exchange)))
    }
}

/// Milliseconds in which a request and the news that its connection is closed can cross on the
/// way. A server that takes longer was at work on it.
const CROSSING: u64 = 2 * TICK.as_millis() as u64;

/// Why there is no response.
pub(super) struct Failed {
    pub(super) rejection: Rejection,
    pub(super) returned: Returned,
    /// The server was leaving the connection as it was used.
    pub(super) is_leaving: bool,
}

impl From<Rejection> for Failed {
    /// Nothing goes again.
    fn from(rejection: Rejection) -> Self {
        Self { rejection, returned: Returned::Nothing, is_leaving: false }
    }
}

/// A request before the wait for its response.
enum Begun {
    /// Handed over to an idle link.
    Sent(Lease, Box<Link>),
    /// There was no idle link.
    Unsent(Box<Request<RequestBody>>),
    Refused(Rejection),
}

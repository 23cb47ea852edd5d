//! Which server is tried, and what is tried again.
//!
//! A request goes to another server for free as long as nothing of it was sent. One that was sent
//! goes again only if doing it twice is doing it once (an idempotent method, RFC 9110, 9.2.2), if
//! it has no body, and if the budget allows; an upstream that is merely slow is not asked twice.

use std::rc::Rc;

use http::{HeaderMap, Method, Request, header};
use smallvec::SmallVec;

use super::balance::{self, Candidate};
use super::health::Failure;
use super::link::Link;
use super::{Lease, Server, Upstream};
use crate::body::RequestBody;
use crate::deadline::Deadline;
use crate::rejection::Rejection;

/// Where a request has been.
#[derive(Debug)]
pub(super) struct Attempt {
    turn: usize,
    /// The place of the server that the client keeps.
    kept: Option<usize>,
    /// A bit for each of the first 64 servers.
    tried: u64,
    retries: u32,
}

impl Attempt {
    fn mark(&mut self, server: &Server) {
        self.tried |= bit(server);
    }

    fn has_tried(&self, server: &Server) -> bool {
        self.tried & bit(server) != 0
    }
}

fn bit(server: &Server) -> u64 {
    u32::try_from(server.place).ok().and_then(|place| 1_u64.checked_shl(place)).unwrap_or(0)
}

impl Upstream {
    /// The first attempt of the next request.
    pub(super) fn attempt(&self, fields: &HeaderMap) -> Attempt {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        self.budget.earn();
        let kept = self.standing.cookies.as_ref().and_then(|cookies| cookies.server(fields));
        Attempt { turn, kept, tried: 0, retries: self.configured.retries }
    }

    /// Makes the client keep the server that has answered, if it did not before.
    pub(super) fn stick(&self, fields: &mut HeaderMap, attempt: &Attempt, server: &Server) {
        if let Some(cookies) = &self.standing.cookies
            && attempt.kept != Some(server.place)
            && let Some(field) = cookies.field(server.place)
        {
            fields.append(header::SET_COOKIE, field.clone());
        }
    }

    /// The server that is tried next.
    pub(super) fn choose(&self, attempt: &Attempt) -> Result<&Rc<Server>, Rejection> {
        let servers = self.active();
        if let [only] = servers {
            let usable = only.health.is_up() && !attempt.has_tried(only);
            return usable.then_some(only).ok_or(Rejection::UpstreamDown);
        }
        let now = self.deadlines.now_ms();
        let kept = attempt.kept.and_then(|kept| servers.iter().find(|s| s.place == kept));
        if let Some(server) = kept
            && server.health.is_up()
            && !server.health.is_passed_over(now)
            && !attempt.has_tried(server)
        {
            return Ok(server);
        }
        let candidates: SmallVec<[Candidate; 4]> = servers
            .iter()
            .map(|server| Candidate {
                up: server.health.is_up(),
                passed_over: server.health.is_passed_over(now),
                share: server.health.share(now, self.configured.slow_start),
                in_flight: server.pool.in_flight.get(),
                tried: attempt.has_tried(server),
            })
            .collect();
        let chosen = balance::choose(self.configured.balance, attempt.turn, &candidates);
        chosen.and_then(|place| servers.get(place)).ok_or(Rejection::UpstreamDown)
    }

    /// A new link to the first server, of those that come into question, that accepts one.
    pub(super) async fn connect_any(
        &self,
        attempt: &mut Attempt,
        deadline: &Deadline,
    ) -> Result<(Lease, Box<Link>), Rejection> {
        let mut failure = None;
        loop {
            let server = match self.choose(attempt) {
                Ok(server) => server,
                Err(rejection) => return Err(failure.unwrap_or(rejection)),
            };
            let lease = Lease::new(server);
            match self.connect(server, deadline).await {
                Ok(link) => return Ok((lease, Box::new(link))),
                Err(rejection) => {
                    server.health.failed(Failure::Unreachable, self.deadlines.now_ms());
                    attempt.mark(server);
                    failure = Some(rejection);
                }
            }
        }
    }

    /// What would have to be sent again if the server breaks off; `None` if that may not be, or
    /// need not: the only server's link that was used a moment ago will not have been closed.
    pub(super) fn copy(
        &self,
        request: &Request<RequestBody>,
        rested: bool,
    ) -> Option<Box<Request<RequestBody>>> {
        let idempotent = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
        );
        let bare = matches!(request.body(), RequestBody::Empty);
        let worth_it = rested || self.active().len() > 1;
        if !(idempotent && bare && worth_it && self.configured.retries > 0) {
            return None;
        }
        let mut copy = Request::new(RequestBody::Empty);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        Some(Box::new(copy))
    }

    /// The request to send next, after `server` gave no answer to the last; `None` if it is over.
    pub(super) fn again(
        &self,
        attempt: &mut Attempt,
        server: &Server,
        rejection: &Rejection,
        unsent: Option<Box<Request<RequestBody>>>,
        copy: Option<Box<Request<RequestBody>>>,
    ) -> Option<Request<RequestBody>> {
        let broken = matches!(rejection, Rejection::UpstreamInvalid(_));
        if !broken && !matches!(rejection, Rejection::UpstreamTimeout) {
            return None; // the client's doing
        }
        server.health.failed(Failure::Broken, self.deadlines.now_ms());
        if self.active().len() > 1 {
            attempt.mark(server);
        }
        if !broken {
            return None;
        }
        attempt.retries = attempt.retries.checked_sub(1)?;
        let request = unsent.or_else(|| copy.filter(|_| self.budget.spend()))?;
        Some(*request)
    }
}

//! Which server is tried, and what is tried again.
//!
//! A request goes to another server for free as long as nothing of it was sent. One that was sent
//! goes again only if doing it twice is doing it once (an idempotent method, RFC 9110, 9.2.2), if
//! it has no body, and if the budget allows, which does not count what crossed with the news that
//! the server leaves the connection. An upstream that is merely slow is not asked twice.

use std::rc::Rc;

use http::{HeaderMap, Method, Request, header};
use smallvec::SmallVec;

use super::balance::{self, Candidate};
use super::health::Failure;
use super::link::{Link, Returned};
use super::{Lease, Server, Upstream, exchange};
use crate::body::RequestBody;
use crate::deadline::Deadline;
use crate::rejection::Rejection;

/// Connections that the server leaves as a request comes: it may meet so many.
const CROSSINGS: u32 = 2;

/// Where a request has been.
#[derive(Debug)]
pub(super) struct Attempt {
    turn: usize,
    /// The place of the server that the client keeps.
    kept: Option<usize>,
    /// A bit for each of the first 64 servers.
    tried: u64,
    retries: u32,
    /// How often it may yet meet a server that leaves the connection.
    crossings: u32,
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
        Attempt { turn, kept, tried: 0, retries: self.configured.retries, crossings: CROSSINGS }
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

    /// The request to send next, after `server` gave no answer to the last.
    pub(super) fn again(
        &self,
        attempt: &mut Attempt,
        server: &Server,
        failure: exchange::Failed,
    ) -> Result<Request<RequestBody>, Rejection> {
        let exchange::Failed { rejection, returned, is_leaving } = failure;
        if !matches!(rejection, Rejection::UpstreamInvalid(_) | Rejection::UpstreamTimeout) {
            return Err(rejection); // the client's doing
        }
        // To leave a connection is no failure, and what met that goes again without the budget.
        let crossed = is_leaving && attempt.crossings > 0;
        if crossed {
            attempt.crossings -= 1;
        } else {
            server.health.failed(Failure::Broken, self.deadlines.now_ms());
            if self.active().len() > 1 {
                attempt.mark(server);
            }
        }
        let (request, spends) = match returned {
            Returned::Unsent(request) if crossed => return Ok(*request),
            Returned::Unsent(request) => (request, false),
            Returned::Sent(request) if is_repeatable(&request) => (request, !crossed),
            Returned::Sent(_) | Returned::Nothing => return Err(rejection),
        };
        let left = attempt.retries.checked_sub(1).filter(|_| !spends || self.budget.spend());
        let Some(left) = left else { return Err(rejection) };
        attempt.retries = left;
        Ok(*request)
    }
}

/// Whether to do it twice is to do it once.
fn is_repeatable(request: &Request<RequestBody>) -> bool {
    let is_idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    );
    is_idempotent && matches!(request.body(), RequestBody::Empty)
}

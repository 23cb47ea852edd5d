//! The request under way on a link, until its response begins.

use std::rc::Rc;

use http::{Method, Request, Response};

use super::outbound::Outbound;
use super::{Broken, Returned};
use crate::body::RequestBody;
use crate::connection::Interim;

/// Interim responses ahead of a response.
pub(super) const INTERIM: u32 = 10_000;

/// A request under way.
pub(super) struct Asked {
    /// With its body until that is being sent.
    request: Request<RequestBody>,
    sent: Sent,
    /// Where what comes ahead of its response goes.
    interim: Option<Rc<Interim>>,
    interim_heads: u32,
}

/// How much of it has been sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Nothing,
    /// The head, which is all of it.
    Whole,
    /// The head, and perhaps some of its body.
    Partial,
}

impl Asked {
    pub(super) fn new(request: Request<RequestBody>, interim: Option<Rc<Interim>>) -> Self {
        Self { request, sent: Sent::Nothing, interim, interim_heads: 0 }
    }

    /// Whether nothing of it has been sent.
    pub(super) fn is_unsent(&self) -> bool {
        self.sent == Sent::Nothing
    }

    /// Begins to send it.
    pub(super) fn begin(&mut self, outbound: &mut Outbound) {
        let has_body = outbound.begin(&mut self.request);
        self.sent = if has_body { Sent::Partial } else { Sent::Whole };
    }

    pub(super) fn method(&self) -> &Method {
        self.request.method()
    }

    /// There is one more head ahead of its response.
    pub(super) fn hinted(&mut self, head: &Response<()>) -> Result<(), Broken> {
        self.interim_heads += 1;
        if self.interim_heads > INTERIM {
            return Err(Broken::Interim);
        }
        if let Some(interim) = &self.interim {
            interim.add(head.status(), head.headers());
        }
        Ok(())
    }

    /// Whether there was a head ahead of its response.
    pub(super) fn is_hinted(&self) -> bool {
        self.interim_heads > 0
    }

    /// What comes back of it.
    pub(super) fn returned(self) -> Returned {
        let request = Box::new(self.request);
        match self.sent {
            Sent::Nothing => Returned::Unsent(request),
            Sent::Whole => Returned::Sent(request),
            Sent::Partial => Returned::Nothing,
        }
    }
}

//! The decisions about a request that need no upstream: its rate limits and its response headers.

pub mod headers;
pub(crate) mod rate_limit;

use http::request::Parts;

use self::rate_limit::{Decision, Facts, Limiter, Quoted, Rules};
use crate::rejection::Rejection;

/// A request that every limit has admitted.
///
/// Only [`admit`] makes one and [`crate::upstream`] takes nothing else: forwarding a request that
/// no limit has seen does not compile.
pub(crate) struct Admitted(Parts);

impl Admitted {
    pub(crate) fn into_head(self) -> Parts {
        self.0
    }
}

/// Holds a request against all rules. What the client is to be told about its quota is left in
/// `quoted` either way.
pub(crate) fn admit(
    head: Parts,
    limiter: &Limiter,
    rules: &Rules,
    facts: &Facts<'_>,
    now: u64,
    quoted: &mut Option<Quoted>,
) -> Result<Admitted, Rejection> {
    match limiter.decide(rules, facts, now) {
        Decision::Admit(quota) => {
            *quoted = quota;
            Ok(Admitted(head))
        }
        Decision::Reject(quota, rule) => {
            let retry_after = quota.retry_after;
            *quoted = Some(quota);
            Err(Rejection::RateLimited(rule, retry_after))
        }
    }
}

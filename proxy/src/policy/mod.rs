//! The decisions about a request that need no upstream: its rate limits and its response headers.

pub mod headers;
pub mod rate_limit;

use std::sync::Arc;

use http::request::Parts;
use smallvec::SmallVec;

use self::rate_limit::{Decision, Denied, Facts, Fields, Lease, Limiter, Question, Rules, Verdict};
use crate::client::Client;
use crate::rejection::Rejection;
use crate::site::Route;
use crate::store::Link;

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

/// What has been found out about a request.
pub(crate) struct Found<'a> {
    pub(crate) client: &'a Client,
    pub(crate) host: &'a str,
    /// Decoded and free of dot segments.
    pub(crate) path: &'a str,
    pub(crate) route: &'a Route,
}

impl Found<'_> {
    /// What rules look at.
    pub(crate) fn facts<'a>(&'a self, head: &'a Parts) -> Facts<'a> {
        Facts {
            ip: self.client.ip,
            client: self.client.bucket,
            method: &head.method,
            host: self.host,
            path: self.path,
            fields: &head.headers,
            site: self.route.site,
            route: self.route.index,
        }
    }
}

/// What came of the limits, besides whether the request may pass.
#[derive(Default)]
pub(crate) struct Terms {
    /// What the client is told of its quota.
    pub(crate) fields: Fields,
    /// What the request holds until its end.
    pub(crate) lease: Lease,
    /// Shadow rules that would have rejected it.
    pub(crate) shadowed: SmallVec<[Arc<str>; 1]>,
}

/// Whether a request may pass, and on which terms.
pub(crate) type Outcome = (Terms, Result<Admitted, Rejection>);

/// How far a request comes without waiting.
#[expect(clippy::large_enum_variant, reason = "without a store all are the large variant")]
pub(crate) enum Admission {
    Decided(Outcome),
    /// The shared store has to be asked.
    Ask(Parts, Box<Question>),
}

/// Holds a request against all rules.
pub(crate) fn admit(
    head: Parts,
    found: &Found<'_>,
    limiter: &Limiter,
    link: Option<&Link>,
    rules: &Rules,
    now: u64,
) -> Admission {
    let facts = found.facts(&head);
    let verdict = match link {
        None => Verdict::Decided(Ok(limiter.decide(rules, &facts, now))),
        Some(link) => limiter.consult(rules, &facts, link, now),
    };
    match verdict {
        Verdict::Decided(decision) => Admission::Decided(outcome(head, decision, rules)),
        Verdict::Ask(question) => Admission::Ask(head, question),
    }
}

/// The same, of a request about which the shared store has to be asked. `now` is when it answered.
pub(crate) async fn admit_shared(
    head: Parts,
    question: Box<Question>,
    found: &Found<'_>,
    limiter: &Limiter,
    link: &Link,
    rules: &Rules,
    now: impl FnOnce() -> u64,
) -> Outcome {
    let answer = question.ask(link).await;
    let facts = found.facts(&head);
    let decision = limiter.conclude(rules, &facts, question, answer, link, now());
    outcome(head, decision, rules)
}

fn outcome(head: Parts, decision: Result<Decision, Denied>, rules: &Rules) -> Outcome {
    let Ok(decision) = decision else {
        return (Terms::default(), Err(Rejection::LimitsUnavailable));
    };
    let fields = decision.fields(rules);
    let shadowed = decision.shadowed(rules).map(|rule| Arc::clone(&rule.name)).collect();
    let admitted = match decision.refusal(rules) {
        None => Ok(Admitted(head)),
        Some(refusal) => Err(Rejection::RateLimited(refusal)),
    };
    (Terms { fields, lease: decision.lease, shadowed }, admitted)
}

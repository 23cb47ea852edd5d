//! Rate limits: what holds for all rules, and each rule.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, Method};

use super::store::OnFailure;
use crate::client::networks::Networks;
use crate::site::pattern::Pattern;

/// The `[rate_limits]` section: what holds for all rules.
#[derive(Clone)]
pub struct RateLimits {
    /// Bytes that live keys may take (default 64 MiB).
    pub memory: u64,
    /// How clients are told of their quota.
    pub fields: FieldSyntax,
    /// Requests that no rule counts: those that any of these holds.
    pub exempt: Vec<Match>,
    /// By which of these secrets a JSON Web Token has to be signed to be believed (HS256, HS384 or
    /// HS512); none for no token.
    pub jwt_secrets: Vec<String>,
}

impl fmt::Debug for RateLimits {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimits")
            .field("memory", &self.memory)
            .field("fields", &self.fields)
            .field("exempt", &self.exempt)
            .field("jwt_secrets", &self.jwt_secrets.len())
            .finish()
    }
}

/// The fields that tell clients of their quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldSyntax {
    /// `RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-11 (the default).
    Draft11,
    /// The same with the parameters that the working group means to rename: `a` for `r`, `w` for
    /// `t`.
    Next,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset` (in seconds).
    Legacy,
    /// None. `Retry-After` is sent all the same.
    Off,
}

/// A `[[rate_limit]]` table.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Unique, printable ASCII without `"` and `\`: it travels in header fields.
    pub name: String,
    /// Where in the file it stands, which says whose requests it counts.
    pub scope: Scope,
    /// How much is allowed.
    pub bound: Bound,
    /// Which requests the rule counts.
    pub matches: Match,
    /// What makes two requests share a count; at least one part.
    pub key: Vec<KeyPart>,
    /// Whether the rule rejects.
    pub mode: Mode,
    /// What it does when the shared store does not answer.
    pub on_failure: OnFailure,
}

/// Whose requests a rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those of every site.
    All,
    /// Those of one site, by its place in the file.
    Site(usize),
    /// Those of one route, by the site's place in the file and the route's in the site.
    Route(usize, usize),
}

/// How much a rule allows.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// So many requests in any interval of a length.
    Window {
        /// What may pass in any interval of `window`, at least 1.
        limit: u64,
        /// 1 ms to 366 d.
        window: Duration,
        /// What a request takes of the limit, 1 to `limit`.
        cost: Cost,
        /// Only some answers count.
        count: Option<Count>,
        /// What comes of going on after a rejection.
        ban: Option<Ban>,
    },
    /// So many requests at a time, at least 1: from the decision to the end of the response.
    InFlight(u64),
}

/// What a request takes of the limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// Of some requests; the first that holds one counts.
    pub of: Vec<(Match, u64)>,
    /// Of all others.
    pub otherwise: u64,
}

impl Cost {
    /// The least that a request may cost, and the most.
    #[must_use]
    pub fn range(&self) -> RangeInclusive<u64> {
        let costs = || self.of.iter().map(|(_, cost)| *cost).chain([self.otherwise]);
        costs().min().unwrap_or(1)..=costs().max().unwrap_or(1)
    }
}

/// Which answers take quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Statuses, 200 to 599.
    pub status: Vec<RangeInclusive<u16>>,
    /// How many more requests may wait for their answers than there is quota for.
    pub ahead: u64,
}

impl Count {
    /// Whether an answer with this status takes quota.
    #[must_use]
    pub fn covers(&self, status: u16) -> bool {
        self.status.iter().any(|range| range.contains(&status))
    }
}

/// What comes of going on after a rejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// Rejections with less than a window between them.
    pub after: u64,
    /// How long a key is then rejected outright.
    pub length: Duration,
    /// Each further ban is twice as long as the last, up to this.
    pub up_to: Duration,
}

/// The `match` of a rule: every list that is not empty must hold the request, and no `not_` list
/// may.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Match {
    /// Request methods.
    pub methods: Vec<Method>,
    /// Request methods that the rule leaves alone.
    pub not_methods: Vec<Method>,
    /// Path patterns.
    pub paths: Vec<Pattern>,
    /// Path patterns that the rule leaves alone.
    pub not_paths: Vec<Pattern>,
    /// Hosts, lower case.
    pub hosts: Vec<String>,
    /// Hosts that the rule leaves alone, lower case.
    pub not_hosts: Vec<String>,
    /// Header fields.
    pub headers: Vec<FieldMatch>,
    /// Header fields whose requests the rule leaves alone.
    pub not_headers: Vec<FieldMatch>,
    /// Client addresses.
    pub clients: Networks,
    /// Client addresses that the rule leaves alone.
    pub not_clients: Networks,
}

impl Match {
    /// Whether it asks for nothing but who the client is.
    pub(crate) fn is_by_client_alone(&self) -> bool {
        *self == Self { clients: self.clients.clone(), ..Self::default() }
    }
}

/// A header field that a request has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldMatch {
    /// Its name.
    pub name: HeaderName,
    /// Its value; `None` for any.
    pub value: Option<String>,
}

/// One part of a rule's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The client's address.
    Ip,
    /// One count for everybody.
    Global,
    /// The request's host.
    Host,
    /// The decoded path.
    Path,
    /// The request's method.
    Method,
    /// The value of a header field.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(String),
    /// A claim of the bearer token, or the token itself if there is nothing to verify it by.
    Jwt(String),
}

impl fmt::Display for KeyPart {
    /// As the file writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip => f.write_str("ip"),
            Self::Global => f.write_str("global"),
            Self::Host => f.write_str("host"),
            Self::Path => f.write_str("path"),
            Self::Method => f.write_str("method"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Jwt(claim) => write!(f, "jwt:{claim}"),
        }
    }
}

/// What a rule does with a request over its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Reject it.
    Enforce,
    /// Count and log it, and let it pass.
    Shadow,
}

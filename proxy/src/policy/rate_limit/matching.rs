//! Whether a rule counts a request.
//!
//! Nothing is guessed of what an application treats alike: a path is matched with its case and its
//! last slash, and `GET` does not hold `HEAD`.

use http::HeaderValue;

use super::Facts;
use crate::config::{FieldMatch, Match, Scope};

/// The first thing about a request that keeps a rule from counting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// It is for another site or route.
    Scope,
    /// By `methods` or `not_methods`.
    Method,
    /// By `path` or `not_path`.
    Path,
    /// By `hosts` or `not_hosts`.
    Host,
    /// By `headers` or `not_headers`.
    Header,
    /// By `clients` or `not_clients`.
    Client,
}

impl Mismatch {
    /// The reason, for people: it goes on from "does not match".
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Scope => "because it stands in another site or route",
            Self::Method => "by `methods` or `not_methods`",
            Self::Path => "by `path` or `not_path`",
            Self::Host => "by `hosts` or `not_hosts`",
            Self::Header => "by `headers` or `not_headers`",
            Self::Client => "by `clients` or `not_clients`",
        }
    }
}

impl Scope {
    pub(super) fn check(self, facts: &Facts<'_>) -> Result<(), Mismatch> {
        let holds = match self {
            Self::All => true,
            Self::Site(site) => facts.site == site,
            Self::Route(site, route) => facts.site == site && facts.route == Some(route),
        };
        if holds { Ok(()) } else { Err(Mismatch::Scope) }
    }
}

impl Match {
    /// Every list that is not empty holds the request, and no `not_` list does.
    pub(super) fn check(&self, facts: &Facts<'_>) -> Result<(), Mismatch> {
        let has = |field: &FieldMatch| field.is_in(facts);
        let holds = |ok: bool, otherwise| if ok { Ok(()) } else { Err(otherwise) };
        holds(
            (self.methods.is_empty() || self.methods.contains(facts.method))
                && !self.not_methods.contains(facts.method),
            Mismatch::Method,
        )?;
        holds(
            (self.paths.is_empty() || self.paths.iter().any(|path| path.matches(facts.path)))
                && !self.not_paths.iter().any(|path| path.matches(facts.path)),
            Mismatch::Path,
        )?;
        holds(
            (self.hosts.is_empty() || self.hosts.iter().any(|host| host == facts.host))
                && !self.not_hosts.iter().any(|host| host == facts.host),
            Mismatch::Host,
        )?;
        holds(
            (self.headers.is_empty() || self.headers.iter().any(has))
                && !self.not_headers.iter().any(has),
            Mismatch::Header,
        )?;
        holds(
            (self.clients.is_empty() || self.clients.contains(facts.ip))
                && !self.not_clients.contains(facts.ip),
            Mismatch::Client,
        )
    }
}

impl FieldMatch {
    fn is_in(&self, facts: &Facts<'_>) -> bool {
        let mut values = facts.fields.get_all(&self.name).iter();
        match &self.value {
            None => values.next().is_some(),
            Some(wanted) => {
                let is = |value: &HeaderValue| value.as_bytes() == wanted.as_bytes();
                values.any(is)
            }
        }
    }
}

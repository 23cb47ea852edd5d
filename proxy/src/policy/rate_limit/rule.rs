//! Rules, ready to be evaluated: which requests each counts, by what, and how much it allows.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};
use siphasher::sip128::SipHasher13;

use super::Limiter;
use super::fields::{Page, Policy};
use super::key::{self, Key};
use super::matching::Mismatch;
use super::tally::Tally;
use super::token::Verifier;
use super::window::{Quota, nanoseconds};
use crate::config::{
    self, Config, Cost, Count, FieldSyntax, KeyPart, Match, Mode, OnFailure, Scope,
};

/// What rules look at. Nothing in it is of a connection: a line of a log will do.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The client's address.
    pub ip: IpAddr,
    /// What the client is counted by: its address, or the network it lies in.
    pub client: IpAddr,
    /// The request's method.
    pub method: &'a Method,
    /// Lower case, without port.
    pub host: &'a str,
    /// Decoded and free of dot segments.
    pub path: &'a str,
    /// The request's header fields.
    pub fields: &'a HeaderMap,
    /// The site's place in the file.
    pub site: usize,
    /// The route's place in the site; `None` for the site's own.
    pub route: Option<usize>,
}

/// A rule, ready to be evaluated.
#[derive(Debug)]
pub struct Rule {
    /// As the file names it.
    pub name: Arc<str>,
    pub(super) bound: Bound,
    pub(super) mode: Mode,
    scope: Scope,
    matches: Match,
    key: Vec<KeyPart>,
    /// Where the hashes of its keys begin.
    seed: SipHasher13,
    pub(super) policy: Policy,
    /// What it does when the shared store does not answer.
    pub(super) on_failure: OnFailure,
    /// The bodies of a 429.
    pub(crate) page: Page,
    /// Of the worker whose rule it is.
    pub(super) tally: Arc<Tally>,
}

/// How much a rule allows.
#[derive(Debug)]
pub(super) enum Bound {
    Window { quota: Quota, cost: Cost, count: Option<Count>, ban: Option<Ban> },
    InFlight(u64),
}

/// What comes of going on after a rejection; see [`config::Ban`]. In nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ban {
    pub(super) after: u64,
    pub(super) length: u64,
    pub(super) up_to: u64,
}

/// The rules of a configuration, as one worker has them.
#[derive(Debug)]
pub struct Rules {
    pub(super) list: Vec<Arc<Rule>>,
    exempt: Vec<Match>,
    tokens: Verifier,
    pub(super) syntax: FieldSyntax,
    secret: [u8; 16],
    /// The length of the networks that clients are counted by.
    ipv6_prefix: u8,
}

/// What a request asks of one rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// The rule's place in [`Rules`].
    pub(crate) rule: usize,
    pub(crate) key: Key,
    pub(crate) cost: u64,
}

/// How a rule counts a request.
#[derive(Debug)]
pub(crate) struct Counting {
    /// Whom or what by.
    pub(crate) by: String,
    /// What it takes of the limit.
    pub(crate) cost: u64,
}

impl Rules {
    /// The rules of `config`, whose counts `limiter` keeps. What was counted `before` goes on.
    #[must_use]
    pub fn new(config: &Config, limiter: &Limiter, before: Option<&Self>) -> Self {
        let known = |name: &str| before?.list.iter().find(|rule| *rule.name == *name);
        let rule = |rule: &config::Rule| {
            let tally = known(&rule.name).map(|known| Arc::clone(&known.tally));
            let tally = tally.unwrap_or_else(|| limiter.tallies.open(&rule.name));
            Arc::new(Rule::new(rule, &limiter.secret, tally))
        };
        Self {
            list: config.rules.iter().map(rule).collect(),
            exempt: config.rate_limits.exempt.clone(),
            tokens: Verifier::new(&config.rate_limits.jwt_secrets),
            syntax: config.rate_limits.fields,
            secret: limiter.secret,
            ipv6_prefix: config.clients.ipv6_prefix,
        }
    }

    /// The rule at a place.
    pub(crate) fn get(&self, index: usize) -> Option<&Arc<Rule>> {
        self.list.get(index)
    }

    /// Whether no rule counts a request.
    pub(crate) fn exempts(&self, facts: &Facts<'_>) -> bool {
        self.exempt.iter().any(|exempt| exempt.check(facts).is_ok())
    }

    /// What a request asks of the rules that count it.
    pub(crate) fn asked<'a>(&'a self, facts: &'a Facts<'_>) -> impl Iterator<Item = Asked> + 'a {
        let rules = if self.exempts(facts) { &[][..] } else { &self.list };
        let counting = rules.iter().enumerate().filter(|(_, rule)| rule.counts(facts).is_ok());
        counting.map(|(index, rule)| Asked {
            rule: index,
            key: key::key(rule.seed, &rule.key, facts, &self.tokens),
            cost: rule.cost(facts),
        })
    }

    /// What every rule has to do with a request.
    pub(crate) fn explain<'a>(
        &'a self,
        facts: &'a Facts<'_>,
    ) -> impl Iterator<Item = (&'a str, Result<Counting, Mismatch>)> {
        self.list.iter().map(move |rule| {
            let counting = rule
                .counts(facts)
                .map(|()| Counting { by: self.label(rule, facts), cost: rule.cost(facts) });
            (&*rule.name, counting)
        })
    }

    /// The key of a rule by a secret that other instances have, too.
    pub(super) fn shared_key(&self, rule: &Rule, facts: &Facts<'_>, secret: &[u8; 16]) -> Key {
        let seed = key::seed(secret, &rule.name, rule.bound.numbers());
        key::key(seed, &rule.key, facts, &self.tokens)
    }

    /// What a request is counted by, for people.
    pub(crate) fn label(&self, rule: &Rule, facts: &Facts<'_>) -> String {
        key::label(&self.secret, &rule.key, facts, &self.tokens, self.ipv6_prefix)
    }
}

impl Rule {
    fn new(rule: &config::Rule, secret: &[u8; 16], tally: Arc<Tally>) -> Self {
        let bound = Bound::new(&rule.bound);
        let seed = key::seed(secret, &rule.name, bound.numbers());
        let policy = Policy::new(&rule.name, &rule.bound);
        Self {
            name: rule.name.as_str().into(),
            bound,
            mode: rule.mode,
            scope: rule.scope,
            matches: rule.matches.clone(),
            key: rule.key.clone(),
            seed,
            policy,
            on_failure: rule.on_failure,
            page: Page::new(&rule.name),
            tally,
        }
    }

    /// Whether the rule counts a request, or why not.
    pub(crate) fn counts(&self, facts: &Facts<'_>) -> Result<(), Mismatch> {
        self.scope.check(facts)?;
        self.matches.check(facts)
    }

    /// Whether a request with this answer takes of the limit.
    pub(crate) fn charges(&self, status: Option<u16>) -> bool {
        match &self.bound {
            Bound::Window { count: Some(count), .. } => {
                status.is_some_and(|status| count.covers(status))
            }
            Bound::Window { count: None, .. } | Bound::InFlight(_) => true,
        }
    }

    /// Whether it has to learn of the end of what it admits.
    pub(super) fn is_leased(&self) -> bool {
        !matches!(self.bound, Bound::Window { count: None, .. })
    }

    /// What a request takes of the limit.
    fn cost(&self, facts: &Facts<'_>) -> u64 {
        let Bound::Window { cost, .. } = &self.bound else { return 1 };
        let special = cost.of.iter().find(|(matches, _)| matches.check(facts).is_ok());
        special.map_or(cost.otherwise, |(_, cost)| *cost)
    }
}

impl Bound {
    pub(super) fn new(bound: &config::Bound) -> Self {
        match bound {
            config::Bound::Window { limit, window, cost, count, ban } => Self::Window {
                quota: Quota::new(*limit, *window),
                cost: cost.clone(),
                count: count.clone(),
                ban: ban.as_ref().map(|ban| Ban {
                    after: ban.after,
                    length: nanoseconds(ban.length),
                    up_to: nanoseconds(ban.up_to),
                }),
            },
            config::Bound::InFlight(most) => Self::InFlight(*most),
        }
    }

    /// What tells its keys from those of another bound: limit and window, or what is in flight.
    pub(super) fn numbers(&self) -> [u64; 2] {
        match self {
            Self::Window { quota, .. } => [quota.limit, quota.window],
            Self::InFlight(most) => [*most, 0],
        }
    }

    /// The most that may be used up.
    pub(super) fn limit(&self) -> u64 {
        self.numbers()[0]
    }
}

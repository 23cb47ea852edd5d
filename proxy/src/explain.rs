//! What would happen to a request, and why, found out by the very functions of the request path.
//!
//! Nothing is counted and nobody is asked: limits are taken to have all their quota.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Method, Request, uri::Scheme};
use serde::Serialize;

use crate::client::{self, Client, PeerAddr, Sender};
use crate::config::{Bound, Config, KeyPart, Mode, Rule};
use crate::policy::Found;
use crate::policy::rate_limit::{Limiter, Rules};
use crate::rejection::Rejection;
use crate::site::{Route, Sites, path};

/// What would happen to a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// As it was asked about.
    pub method: String,
    /// As it was asked about.
    pub url: String,
    /// Who sends it, and how that is known.
    pub client: Who,
    /// The host that it names, lower case, without port.
    pub host: Option<String>,
    /// The first host of the site that it is for.
    pub site: Option<String>,
    /// The pattern of its route, or `*` for the site's own.
    pub route: Option<String>,
    /// The path that patterns are matched against.
    pub path: Option<String>,
    /// What becomes of it if no limit is used up.
    pub outcome: Outcome,
    /// Whether `exempt` takes it out of all limits.
    pub exempt: bool,
    /// Every rule, in the order of the file.
    pub rules: Vec<OfRule>,
    /// Where it goes.
    pub upstream: Option<Whither>,
    /// What is put on the response, over what the upstream says.
    pub headers: Vec<(String, String)>,
}

/// The client of a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Who {
    /// Where the connection comes from.
    pub peer: IpAddr,
    /// Whether that is believed what it says of its clients.
    pub peer_is_trusted: bool,
    /// The client's address.
    pub address: IpAddr,
    /// What it is counted by: the address, or the network it lies in.
    pub counted_as: String,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Outcome {
    /// It goes to the upstream.
    Forwarded,
    /// It is sent to https.
    Redirected,
    /// It is answered with an error.
    Rejected {
        /// Of the answer.
        status: u16,
        /// The label in records and metrics.
        reason: &'static str,
        /// The same, for people.
        because: String,
    },
}

/// What a rule has to do with a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfRule {
    /// Its name.
    pub name: String,
    /// What it allows.
    pub allows: String,
    /// Whether it rejects, or only counts.
    pub enforces: bool,
    /// Whether it counts the request.
    pub counts: bool,
    /// Why it does not.
    pub not_because: Option<&'static str>,
    /// The parts of its key.
    pub key: Vec<String>,
    /// What the request is counted by.
    pub counted_by: Option<String>,
    /// What it takes of the limit.
    pub cost: Option<u64>,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Whither {
    /// The name of the upstream.
    pub name: String,
    /// Its servers.
    pub servers: Vec<String>,
}

/// Says what would happen to a request for an absolute URL, sent by `peer`.
#[must_use]
pub fn explain(config: &Config, request: Request<()>, peer: IpAddr) -> Explanation {
    let (head, ()) = request.into_parts();
    let sender = Sender::new(PeerAddr(SocketAddr::new(peer, 0)), &config.clients);
    let client = sender.client(&head.headers, &config.clients);
    let tls = head.uri.scheme() == Some(&Scheme::HTTPS);
    let secure = tls || sender.is_secure(&head.headers);
    let mut explanation = Explanation {
        method: head.method.to_string(),
        url: head.uri.to_string(),
        client: Who {
            peer: sender.peer.ip,
            peer_is_trusted: sender.is_trusted(),
            address: client.ip,
            counted_as: client::shown(client.bucket, config.clients.ipv6_prefix),
        },
        host: None,
        site: None,
        route: None,
        path: None,
        outcome: Outcome::Forwarded,
        exempt: false,
        rules: Vec::new(),
        upstream: None,
        headers: Vec::new(),
    };
    let sites = Sites::new(config, None);
    if let Err(rejection) = explanation.follow(config, &sites, &head, &client, secure) {
        explanation.outcome = Outcome::Rejected {
            status: rejection.status().as_u16(),
            reason: rejection.reason(),
            because: rejection.to_string(),
        };
    }
    explanation.dress(&sites, tls);
    explanation
}

impl Explanation {
    /// Goes the way of the request; see [`crate::pipeline`].
    fn follow(
        &mut self,
        config: &Config,
        sites: &Sites,
        head: &http::request::Parts,
        client: &Client,
        secure: bool,
    ) -> Result<(), Rejection> {
        let named = sites.host_of(head, None).and_then(|raw| sites.find(raw, None));
        if let Ok((host, place)) = &named {
            self.host = Some(host.to_string());
            if let Ok(site) = sites.get(*place) {
                self.site = config.sites.get(site.default.site).map(|site| site.name().to_owned());
                self.take(&site.default);
            }
        }
        if matches!(head.method, Method::CONNECT | Method::TRACE) {
            return Err(Rejection::MethodRefused);
        }
        let (host, place) = named?;
        let site = sites.get(place)?;
        site.admit(client.ip)?;
        if !secure && site.redirect_http {
            self.outcome = Outcome::Redirected;
            return Ok(());
        }
        let path = path::clean(head.uri.path(), site.ambiguous_paths)?;
        self.path = Some(path.to_string());
        let route = site.route(&path);
        self.take(route);
        let found = Found { client, host: &host, path: &path, route };
        let facts = found.facts(head);
        let limiter = Limiter::new(config.rate_limits.memory, [0; 16]);
        let rules = Rules::new(config, &limiter, None);
        self.exempt = rules.exempts(&facts);
        for (rule, (_, counting)) in config.rules.iter().zip(rules.explain(&facts)) {
            let (counting, mismatch) = match counting {
                Ok(counting) => (Some(counting), None),
                Err(mismatch) => (None, Some(mismatch.text())),
            };
            self.rules.push(OfRule {
                name: rule.name.clone(),
                allows: allows(rule),
                enforces: rule.mode == Mode::Enforce,
                counts: counting.is_some() && !self.exempt,
                not_because: mismatch,
                key: rule.key.iter().map(KeyPart::to_string).collect(),
                cost: counting.as_ref().map(|counting| counting.cost),
                counted_by: counting.map(|counting| counting.by),
            });
        }
        self.upstream = config.upstreams.get(route.upstream.0).map(|upstream| Whither {
            name: upstream.name.clone(),
            servers: upstream.servers.iter().map(ToString::to_string).collect(),
        });
        Ok(())
    }

    fn take(&mut self, route: &Route) {
        self.route = Some(route.label.to_string());
        self.headers = headers(route, true);
    }

    /// Leaves out what does not go over plain HTTP, and falls back on the headers of the first
    /// site.
    fn dress(&mut self, sites: &Sites, tls: bool) {
        if self.route.is_none()
            && let Some(route) = sites.fallback()
        {
            self.headers = headers(route, tls);
        }
        if !tls {
            self.headers.retain(|(name, _)| name != "strict-transport-security");
        }
    }
}

/// `100 per 60s`.
fn allows(rule: &Rule) -> String {
    match &rule.bound {
        Bound::Window { limit, window, .. } => {
            format!("{limit} per {}", crate::config::format_duration(*window))
        }
        Bound::InFlight(most) => format!("{most} in flight"),
    }
}

fn headers(route: &Route, tls: bool) -> Vec<(String, String)> {
    let mut headers = HeaderMap::new();
    route.headers.apply(&mut headers, tls);
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

//! Rules: which requests each counts, and what makes two of them share a count.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Method};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::fields::{self, Page};
use super::table::Key;
use super::window::Quota;
use crate::config::{self, KeyPart, Mode};

/// What rules look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The client, already cut to its prefix.
    pub(crate) client: IpAddr,
    pub(crate) method: &'a Method,
    pub(crate) host: &'a str,
    /// Decoded and free of dot segments.
    pub(crate) path: &'a str,
}

/// A rule, ready to be evaluated.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    pub(super) quota: Quota,
    matches: config::Match,
    key: Vec<KeyPart>,
    pub(super) mode: Mode,
    /// The rule's item in `RateLimit-Policy`.
    pub(super) policy: HeaderValue,
    /// The bodies of a 429.
    pub(crate) page: Page,
}

/// The rules of a configuration.
#[derive(Debug, Default)]
pub(crate) struct Rules(pub(super) Vec<Arc<Rule>>);

impl Rules {
    pub(crate) fn new(rules: &[config::Rule]) -> Self {
        Self(rules.iter().map(|rule| Arc::new(Rule::new(rule))).collect())
    }
}

impl Rule {
    fn new(rule: &config::Rule) -> Self {
        Self {
            name: rule.name.as_str().into(),
            quota: Quota::new(rule.limit, rule.window),
            matches: rule.matches.clone(),
            key: rule.key.clone(),
            mode: rule.mode,
            policy: fields::policy(&rule.name, rule.limit, rule.window),
            page: Page::new(&rule.name),
        }
    }

    /// Whether the rule counts a request.
    pub(super) fn holds(&self, facts: &Facts<'_>) -> bool {
        let m = &self.matches;
        (m.methods.is_empty() || m.methods.contains(facts.method))
            && !m.not_methods.contains(facts.method)
            && (m.paths.is_empty() || m.paths.iter().any(|p| p.matches(facts.path)))
            && !m.not_paths.iter().any(|p| p.matches(facts.path))
            && (m.hosts.is_empty() || m.hosts.iter().any(|h| h == facts.host))
            && !m.not_hosts.iter().any(|h| h == facts.host)
    }

    /// The name and the quota are part of the key: a rule that is changed starts afresh.
    pub(super) fn hash(&self, secret: &[u8; 16], facts: &Facts<'_>) -> Key {
        use std::hash::Hasher as _;
        let mut hasher = SipHasher13::new_with_key(secret);
        let text = |hasher: &mut SipHasher13, text: &str| {
            hasher.write_usize(text.len());
            hasher.write(text.as_bytes());
        };
        text(&mut hasher, &self.name);
        hasher.write_u64(self.quota.limit);
        hasher.write_u64(self.quota.window);
        for part in &self.key {
            match part {
                KeyPart::Ip => match facts.client {
                    IpAddr::V4(ip) => hasher.write(&ip.octets()),
                    IpAddr::V6(ip) => hasher.write(&ip.octets()),
                },
                KeyPart::Global => {}
                KeyPart::Host => text(&mut hasher, facts.host),
                KeyPart::Path => text(&mut hasher, facts.path),
                KeyPart::Method => text(&mut hasher, facts.method.as_str()),
            }
        }
        hasher.finish128().as_u128()
    }
}

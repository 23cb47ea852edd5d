//! Security headers: a policy is compiled once, when the configuration is read, and then only
//! inserted.
//!
//! Invariants: what the upstream sets is never made looser, unless the policy says so ([`Merge`]);
//! HSTS, whoever set it, never goes out over plain HTTP (RFC 6797, 7.2); a policy on a response
//! that sets none of its headers copies no bytes, for every value is [`permanent`].

mod caching;
mod cookies;
mod csp;
mod draft;
mod field;
mod frames;
mod hsts;
mod merge;
mod nonce;
pub(crate) mod permanent;
mod permissions;
mod preset;
mod reporting;
pub(crate) mod strip;
mod structured;
#[cfg(test)]
mod merge_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::header::{CONTENT_SECURITY_POLICY, STRICT_TRANSPORT_SECURITY, X_FRAME_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, header};

pub(crate) use cookies::{Cookies, SameSite};
pub(crate) use csp::{Csp, DIRECTIVES, Directive};
pub(crate) use draft::{Draft, removable, settable};
pub(crate) use field::FIELDS;
use frames::Framing;
pub(crate) use hsts::Hsts;
pub use merge::Merge;
use merge::Rule;
pub use nonce::Nonce;
pub(crate) use nonce::{
    PLACEHOLDER as NONCE_PLACEHOLDER, of_application as nonces_of_application,
    renew as renew_nonces,
};
pub use preset::Preset;
pub(crate) use reporting::PATH as REPORTS_PATH;

/// The headers of a `[headers.NAME]` section, ready to be put on a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderPolicy {
    merge: Merge,
    set: Vec<Setting>,
    /// From so many seconds of climbing on, the first step first.
    hsts: Vec<(u64, Hsts, HeaderValue)>,
    remove: Vec<HeaderName>,
    /// Whether to remove what tells of the software behind.
    strip: bool,
    cookies: Option<Cookies>,
    /// Whether reports come to Gatehouse.
    pub(crate) collects: bool,
    /// Where in the configuration it is.
    pub(crate) section: Option<Arc<str>>,
    /// Its Content-Security-Policy, as it is configured.
    pub(crate) csp: Csp,
    /// What is tried out beside it.
    pub(crate) trial: Option<Csp>,
    /// What it comes to on a response that has no fields yet: without TLS, and with it.
    ready: Option<[HeaderMap; 2]>,
}

/// What a policy has to know of a response.
#[derive(Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    /// It is Gatehouse's own: what it has to say of itself stays, however the policy merges.
    pub(crate) own: bool,
    /// It goes out over TLS.
    pub(crate) secure: bool,
    /// What takes the places of nonces; without it, there are none.
    pub(crate) nonces: Option<&'a str>,
    /// Seconds for which HSTS has climbed on this site.
    pub(crate) climbed: u64,
}

/// A header that a policy sets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    name: HeaderName,
    value: HeaderValue,
    /// The same with places for nonces, if there are to be any.
    template: Option<nonce::Template>,
    rule: Rule,
}

/// The fields that answers of Gatehouse's own bring along.
const OWN: [HeaderName; 7] = [
    header::ALLOW,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::LOCATION,
    header::RETRY_AFTER,
];

/// The fields that say for how long and for whom something is kept.
const OF_CACHES: [HeaderName; 3] = [
    header::CACHE_CONTROL,
    HeaderName::from_static("cdn-cache-control"),
    HeaderName::from_static("surrogate-control"),
];

impl HeaderPolicy {
    /// The policy of a preset, unchanged.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        Draft::new(preset).compile()
    }

    /// Whether pages get a nonce.
    pub(crate) fn has_nonces(&self) -> bool {
        self.set.iter().any(|setting| setting.template.is_some())
    }

    /// Removes what the policy removes, and merges what it sets with what is there. `secure` says
    /// whether the response goes out over TLS; without it HSTS is removed, whoever set it.
    pub fn apply(&self, headers: &mut HeaderMap, secure: bool) {
        self.apply_with(
            headers,
            Circumstances { own: false, secure, nonces: None, climbed: u64::MAX },
        );
    }

    /// What a response of Gatehouse's own begins with, if that is as good as to apply the policy to
    /// it when it is done: a map that is copied is one that is not filled.
    pub(crate) fn ready(&self, secure: bool) -> Option<&HeaderMap> {
        self.ready.as_ref().map(|[plain, tls]| if secure { tls } else { plain })
    }

    /// Gets it ready, unless the policy changes with time or has a say in the fields of an answer.
    fn get_ready(&mut self) {
        let is_own = |name: &HeaderName| OWN.contains(name);
        let names = self.set.iter().map(|setting| &setting.name);
        if !self.has_ramp() && !names.chain(&self.remove).any(is_own) {
            let fields = |secure| {
                // With room for what an answer adds, so that no copy has to grow.
                let mut fields = HeaderMap::with_capacity(self.set.len() + 12);
                self.apply(&mut fields, secure);
                fields
            };
            self.ready = Some([fields(false), fields(true)]);
        }
    }

    /// Whether HSTS is reached step by step.
    pub(crate) fn has_ramp(&self) -> bool {
        self.hsts.len() > 1
    }

    /// The same, in the circumstances of one response.
    pub(crate) fn apply_with(&self, headers: &mut HeaderMap, with: Circumstances<'_>) {
        let Circumstances { own, secure, nonces, climbed } = with;
        let is_kept = |name: &HeaderName| nonces.is_some() && *name == header::CACHE_CONTROL;
        for name in self.remove.iter().filter(|name| !is_kept(name)) {
            headers.remove(name);
        }
        if self.strip {
            strip::apply(headers);
        }
        if let Some(cookies) = &self.cookies {
            cookies.apply(headers, secure);
        }
        headers.reserve(self.set.len() + 1);
        let framing = self.framing(headers);
        for Setting { name, value, template, rule } in &self.set {
            if own && OWN.contains(name) && headers.contains_key(name) {
                // Of what must not be cached, only how that is said is the policy's.
                if *name == header::CACHE_CONTROL {
                    rule.tighten(headers, name, value);
                }
                continue;
            }
            if nonces.is_some() && OF_CACHES.contains(name) {
                // A page with a nonce is for one client, whatever the policy says of pages.
                if *name == header::CACHE_CONTROL {
                    rule.tighten(headers, name, value);
                }
                continue;
            }
            let filled = template.as_ref().zip(nonces);
            let filled = filled.and_then(|(template, nonces)| template.fill(nonces));
            let value = filled.as_ref().unwrap_or(value);
            match self.merge {
                Merge::Tighten => rule.tighten(headers, name, value),
                Merge::IfAbsent if headers.contains_key(name) => {}
                Merge::IfAbsent | Merge::Override => drop(headers.insert(name, value.clone())),
            }
        }
        if let Some(framing) = framing {
            headers.append(CONTENT_SECURITY_POLICY, framing.policy());
        }
        self.hsts(headers, secure, climbed);
    }

    /// What one side says of frames in `X-Frame-Options` and would not be heard with, since the
    /// other side says it in its policy.
    fn framing(&self, theirs: &HeaderMap) -> Option<Framing> {
        if !theirs.contains_key(X_FRAME_OPTIONS) && !theirs.contains_key(CONTENT_SECURITY_POLICY) {
            return None;
        }
        let set = |name| self.set.iter().find(|setting| setting.name == name);
        let ours = set(CONTENT_SECURITY_POLICY).and_then(|_| self.csp.get("frame-ancestors"));
        match (self.merge, ours) {
            (Merge::Override, _) => None,
            (Merge::IfAbsent, Some(_)) if theirs.contains_key(CONTENT_SECURITY_POLICY) => None,
            (Merge::Tighten | Merge::IfAbsent, Some(ours)) => {
                let theirs = Framing::of(theirs).filter(|_| !frames::has_ancestors(theirs))?;
                let says = |text: &str| ours.eq_ignore_ascii_case(text);
                let is_said = says("'none'") || theirs == Framing::SameOrigin && says("'self'");
                (!is_said).then_some(theirs)
            }
            (Merge::IfAbsent, None) => None,
            (Merge::Tighten, None) => {
                let ours = Framing::one(&set(X_FRAME_OPTIONS)?.value)?;
                frames::has_ancestors(theirs).then_some(ours)
            }
        }
    }

    fn hsts(&self, headers: &mut HeaderMap, secure: bool, climbed: u64) {
        if !secure {
            headers.remove(STRICT_TRANSPORT_SECURITY);
            return;
        }
        let mut steps = self.hsts.iter().rev();
        let Some((_, hsts, value)) = steps.find(|(from, ..)| climbed >= *from) else { return };
        let theirs = headers.get(STRICT_TRANSPORT_SECURITY);
        let value = match self.merge {
            Merge::IfAbsent if theirs.is_some() => return,
            Merge::Tighten => merge::hsts(*hsts, theirs).unwrap_or_else(|| value.clone()),
            Merge::IfAbsent | Merge::Override => value.clone(),
        };
        headers.insert(STRICT_TRANSPORT_SECURITY, value);
    }
}

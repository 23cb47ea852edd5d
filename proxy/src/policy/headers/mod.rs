//! Security headers: a policy is compiled once, when the configuration is read, and then only
//! inserted.
//!
//! Invariants: what the upstream sets is never made looser, unless the policy says so ([`Merge`]);
//! HSTS, whoever set it, never goes out over plain HTTP (RFC 6797, 7.2); a policy on a response
//! that sets none of its headers copies no bytes, for every value shares its storage.

mod cookies;
mod csp;
mod draft;
mod field;
mod hsts;
mod merge;
mod nonce;
mod permissions;
mod preset;
mod reporting;
pub(crate) mod strip;
#[cfg(test)]
mod merge_tests;
#[cfg(test)]
mod tests;

use http::header::STRICT_TRANSPORT_SECURITY;
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) use cookies::{Cookies, SameSite};
pub(crate) use csp::{DIRECTIVES, Directive};
pub(crate) use draft::{Draft, removable, settable};
pub(crate) use field::FIELDS;
pub(crate) use hsts::Hsts;
pub use merge::Merge;
use merge::Rule;
pub(crate) use nonce::{Nonce, of_application as nonces_of_application};
pub use preset::Preset;

/// The headers of a `[headers.NAME]` section, ready to be put on a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderPolicy {
    merge: Merge,
    set: Vec<Setting>,
    hsts: Option<(Hsts, HeaderValue)>,
    remove: Vec<HeaderName>,
    /// Whether to remove what tells of the software behind.
    strip: bool,
    cookies: Option<Cookies>,
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

impl HeaderPolicy {
    /// The policy of a preset, unchanged.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        Draft::new(preset).compile()
    }

    /// A copy that shares no reference count with this one, so that workers who each have their own
    /// never write to the same cache line.
    pub(crate) fn detached(&self) -> Self {
        let own = |value: &HeaderValue| {
            HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
        };
        let set = self.set.iter();
        let set = set.map(|setting| Setting { value: own(&setting.value), ..setting.clone() });
        Self {
            set: set.collect(),
            hsts: self.hsts.as_ref().map(|(hsts, value)| (*hsts, own(value))),
            ..self.clone()
        }
    }

    /// Whether pages get a nonce.
    pub(crate) fn has_nonces(&self) -> bool {
        self.set.iter().any(|setting| setting.template.is_some())
    }

    /// Removes what the policy removes, and merges what it sets with what is there. `secure` says
    /// whether the response goes out over TLS; without it HSTS is removed, whoever set it.
    pub fn apply(&self, headers: &mut HeaderMap, secure: bool) {
        self.apply_with(headers, secure, None);
    }

    /// The same, with `nonces` in the places for them.
    pub(crate) fn apply_with(&self, headers: &mut HeaderMap, secure: bool, nonces: Option<&str>) {
        for name in &self.remove {
            headers.remove(name);
        }
        if self.strip {
            strip::apply(headers);
        }
        if let Some(cookies) = &self.cookies {
            cookies.apply(headers, secure);
        }
        headers.reserve(self.set.len() + usize::from(self.hsts.is_some()));
        for Setting { name, value, template, rule } in &self.set {
            let filled = template.as_ref().zip(nonces);
            let filled = filled.and_then(|(template, nonces)| template.fill(nonces));
            let value = filled.as_ref().unwrap_or(value);
            match self.merge {
                Merge::Tighten => rule.tighten(headers, name, value),
                Merge::IfAbsent if headers.contains_key(name) => {}
                Merge::IfAbsent | Merge::Override => drop(headers.insert(name, value.clone())),
            }
        }
        self.hsts(headers, secure);
    }

    fn hsts(&self, headers: &mut HeaderMap, secure: bool) {
        if !secure {
            headers.remove(STRICT_TRANSPORT_SECURITY);
            return;
        }
        let Some((hsts, value)) = &self.hsts else { return };
        let theirs = headers.get(STRICT_TRANSPORT_SECURITY);
        let value = match self.merge {
            Merge::IfAbsent if theirs.is_some() => return,
            Merge::Tighten => merge::hsts(*hsts, theirs).unwrap_or_else(|| value.clone()),
            Merge::IfAbsent | Merge::Override => value.clone(),
        };
        headers.insert(STRICT_TRANSPORT_SECURITY, value);
    }
}

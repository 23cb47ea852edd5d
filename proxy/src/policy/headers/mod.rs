//! Security headers: a policy is compiled once, when the configuration is read, and then only
//! inserted.
//!
//! Invariants: a header that the policy sets replaces every value of that name from the upstream;
//! HSTS, whoever set it, never goes out over plain HTTP (RFC 6797, 7.2); applying a policy copies
//! no bytes, for every value shares its storage.
//!
//! # Not here
//!
//! Merging with what the upstream sets: a policy overrides. Nonces in a Content-Security-Policy.

mod csp;
mod draft;
mod field;
mod hsts;
mod permissions;
mod preset;
#[cfg(test)]
mod tests;

use http::header::STRICT_TRANSPORT_SECURITY;
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) use csp::{DIRECTIVES, Directive};
pub(crate) use draft::{Draft, removable, settable};
pub(crate) use field::FIELDS;
pub(crate) use hsts::Hsts;
pub use preset::Preset;

/// The headers of a `[headers.NAME]` section, ready to be put on a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderPolicy {
    set: Vec<(HeaderName, HeaderValue)>,
    hsts: Option<HeaderValue>,
    remove: Vec<HeaderName>,
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
        Self {
            set: self.set.iter().map(|(name, value)| (name.clone(), own(value))).collect(),
            hsts: self.hsts.as_ref().map(own),
            remove: self.remove.clone(),
        }
    }

    /// Removes what the policy removes and sets what it sets. `secure` says whether the response
    /// goes out over TLS; without it HSTS is removed, whoever set it.
    pub fn apply(&self, headers: &mut HeaderMap, secure: bool) {
        for name in &self.remove {
            headers.remove(name);
        }
        headers.reserve(self.set.len() + usize::from(self.hsts.is_some()));
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        match (&self.hsts, secure) {
            (_, false) => drop(headers.remove(STRICT_TRANSPORT_SECURITY)),
            (Some(hsts), true) => drop(headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone())),
            (None, true) => {}
        }
    }
}

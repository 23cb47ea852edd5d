//! A policy in the making: a preset, and what the configuration changes in it.

use http::header::{CONTENT_SECURITY_POLICY, STRICT_TRANSPORT_SECURITY};
use http::{HeaderName, HeaderValue};

use super::HeaderPolicy;
use super::csp::{Csp, Directive};
use super::hsts::Hsts;
use super::preset::Preset;

/// What becomes a [`HeaderPolicy`].
#[derive(Debug)]
pub(crate) struct Draft {
    csp: Csp,
    hsts: Option<Hsts>,
    /// The two above, where the operator wrote the whole value.
    verbatim_csp: Option<HeaderValue>,
    verbatim_hsts: Option<HeaderValue>,
    set: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

impl Draft {
    pub(crate) fn new(preset: Preset) -> Self {
        let fields = preset.fields().iter();
        let remove = preset.remove().iter();
        Self {
            csp: Csp::new(preset),
            hsts: preset.hsts(),
            verbatim_csp: None,
            verbatim_hsts: None,
            set: fields
                .map(|(name, value)| {
                    (HeaderName::from_static(name), HeaderValue::from_static(value))
                })
                .collect(),
            remove: remove.map(|name| HeaderName::from_static(name)).collect(),
        }
    }

    /// Replaces a CSP directive and keeps the others.
    pub(crate) fn set_directive(&mut self, directive: &Directive, values: &[&str]) {
        self.csp.set(directive, values);
    }

    /// Leaves out a CSP directive.
    pub(crate) fn drop_directive(&mut self, directive: &Directive) {
        self.csp.remove(directive);
    }

    /// Leaves out the Content-Security-Policy.
    pub(crate) fn drop_csp(&mut self) {
        self.csp.clear();
    }

    /// The HSTS so far.
    pub(crate) fn hsts(&self) -> Option<Hsts> {
        self.hsts
    }

    /// Replaces the HSTS, or leaves it out.
    pub(crate) fn set_hsts(&mut self, hsts: Option<Hsts>) {
        self.hsts = hsts;
    }

    /// Sets a header to a whole value, in the place of the preset's if it sets it too.
    pub(crate) fn set(&mut self, name: HeaderName, value: HeaderValue) {
        match name {
            CONTENT_SECURITY_POLICY => self.verbatim_csp = Some(value),
            STRICT_TRANSPORT_SECURITY => self.verbatim_hsts = Some(value),
            name => match self.set.iter_mut().find(|(set, _)| *set == name) {
                Some((_, old)) => *old = value,
                None => self.set.push((name, value)),
            },
        }
    }

    /// Leaves a header of the preset to the upstream.
    pub(crate) fn drop(&mut self, name: &HeaderName) {
        self.set.retain(|(set, _)| set != name);
    }

    /// Removes a header of the upstream.
    pub(crate) fn remove(&mut self, name: HeaderName) {
        if !self.remove.contains(&name) {
            self.remove.push(name);
        }
    }

    /// Whether the policy sets this header.
    pub(crate) fn sets(&self, name: &HeaderName) -> bool {
        match *name {
            CONTENT_SECURITY_POLICY => self.verbatim_csp.is_some() || self.csp.value().is_some(),
            STRICT_TRANSPORT_SECURITY => self.verbatim_hsts.is_some() || self.hsts.is_some(),
            _ => self.set.iter().any(|(set, _)| set == name),
        }
    }

    /// The finished policy.
    pub(crate) fn compile(self) -> HeaderPolicy {
        let mut set = self.set;
        // Every directive was checked to be printable ASCII, so the value is always one.
        let csp = || self.csp.value().and_then(|value| HeaderValue::try_from(value).ok());
        let csp = self.verbatim_csp.or_else(csp);
        set.extend(csp.map(|value| (CONTENT_SECURITY_POLICY, value)));
        let mut remove = self.remove;
        remove.retain(|name| set.iter().all(|(set, _)| set != name));
        let hsts = self.verbatim_hsts.or_else(|| self.hsts.map(|hsts| hsts.value()));
        HeaderPolicy { set, hsts, remove }
    }
}

/// Fields of one connection or of a message's framing (RFC 9110, 7.6.1): they are not policy.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-encoding",
];

/// Refuses to remove a header that is not the policy's business; the error is the remedy.
pub(crate) fn removable(name: &HeaderName) -> Result<(), String> {
    match FRAMING.contains(&name.as_str()) {
        true => Err("this field frames the message and belongs to the connection".to_owned()),
        false => Ok(()),
    }
}

/// Refuses to set a header by `set` that is not the policy's business; the error is the remedy.
pub(crate) fn settable(name: &HeaderName) -> Result<(), String> {
    removable(name)?;
    match name.as_str() {
        "set-cookie" => Err("it would replace every cookie of the upstream".to_owned()),
        _ => Ok(()),
    }
}

//! A policy in the making: a preset, and what the configuration changes in it.

use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY_REPORT_ONLY, STRICT_TRANSPORT_SECURITY,
};
use http::{HeaderName, HeaderValue};

use super::cookies::Cookies;
use super::csp::{Csp, Directive};
use super::field::FIELDS;
use super::hsts::Hsts;
use super::merge::{Merge, Rule};
use super::nonce::Template;
use super::preset::Preset;
use super::{HeaderPolicy, Setting, permanent, reporting};

/// What becomes a [`HeaderPolicy`].
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    csp: Csp,
    hsts: Option<Hsts>,
    set: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
    strip: bool,
    merge: Merge,
    cookies: Option<Cookies>,
    /// What is tried out: directives that differ from the CSP, which is not enforced with them.
    trial: Vec<(&'static Directive, Option<String>)>,
    /// The CSP is reported and not enforced.
    report_only: bool,
    /// Reports come to Gatehouse.
    collect: bool,
}

impl Draft {
    pub(crate) fn new(preset: Preset) -> Self {
        let fields = preset.fields().iter();
        let remove = preset.remove().iter();
        Self {
            csp: Csp::new(preset),
            hsts: preset.hsts(),
            set: fields
                .map(|(name, value)| {
                    (HeaderName::from_static(name), HeaderValue::from_static(value))
                })
                .collect(),
            remove: remove.map(|name| HeaderName::from_static(name)).collect(),
            strip: false,
            merge: Merge::default(),
            cookies: None,
            trial: Vec::new(),
            report_only: false,
            collect: false,
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

    /// Tries out other values of a CSP directive, or to do without it.
    pub(crate) fn try_directive(&mut self, directive: &'static Directive, values: Option<&[&str]>) {
        self.trial.retain(|(known, _)| known.name != directive.name);
        self.trial.push((directive, values.map(|values| values.join(" "))));
    }

    /// Ends what is tried out.
    pub(crate) fn drop_trial(&mut self) {
        self.trial.clear();
    }

    /// Whether the CSP is reported only, and whether reports come to Gatehouse.
    pub(crate) fn reports(&mut self) -> (&mut bool, &mut bool) {
        (&mut self.report_only, &mut self.collect)
    }

    /// Whether anything tells somebody what the policy would stop.
    pub(crate) fn is_reported(&self) -> bool {
        self.collect || self.csp.get("report-to").or_else(|| self.csp.get("report-uri")).is_some()
    }

    /// The HSTS so far.
    pub(crate) fn hsts(&self) -> Option<Hsts> {
        self.hsts
    }

    /// Replaces the HSTS, or leaves it out.
    pub(crate) fn set_hsts(&mut self, hsts: Option<Hsts>) {
        self.hsts = hsts;
    }

    /// The values of a CSP directive, if the policy has it.
    pub(crate) fn directive(&self, name: &str) -> Option<&str> {
        self.csp.get(name)
    }

    /// A header's value as the draft has it; neither a CSP nor HSTS.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let field = self.set.iter().find(|(set, _)| set.as_str() == name);
        field.and_then(|(_, value)| value.to_str().ok())
    }

    /// Sets a header to a whole value, in the place of the one that it has; the error is the
    /// remedy.
    pub(crate) fn set(&mut self, name: HeaderName, value: &str) -> Result<(), String> {
        self.remove.retain(|removed| *removed != name);
        if name == CONTENT_SECURITY_POLICY {
            self.csp = Csp::parse(value)?;
            return Ok(());
        }
        if name == STRICT_TRANSPORT_SECURITY {
            self.hsts = Some(Hsts::parse(value)?);
            return Ok(());
        }
        let field = FIELDS.iter().find(|field| field.name == name.as_str());
        let value = field.map_or_else(|| whole(value), |field| field.parse(value))?;
        self.put(name, value);
        Ok(())
    }

    /// As [`Self::set`], of a value that was already read.
    pub(crate) fn put(&mut self, name: HeaderName, value: HeaderValue) {
        self.remove.retain(|removed| *removed != name);
        match self.set.iter_mut().find(|(set, _)| *set == name) {
            Some((_, old)) => *old = value,
            None => self.set.push((name, value)),
        }
    }

    /// Leaves a header of the preset to the upstream.
    pub(crate) fn drop(&mut self, name: &HeaderName) {
        self.set.retain(|(set, _)| set != name);
    }

    /// Removes a header of the upstream.
    pub(crate) fn remove(&mut self, name: HeaderName) {
        self.drop(&name);
        if !self.remove.contains(&name) {
            self.remove.push(name);
        }
    }

    /// Whether to remove what tells of the software behind.
    pub(crate) fn strip(&mut self, strip: bool) {
        self.strip = strip;
    }

    /// How to meet the headers of the upstream.
    pub(crate) fn merge(&mut self, merge: Merge) {
        self.merge = merge;
    }

    /// What to add to cookies, if anything.
    pub(crate) fn cookies(&mut self, cookies: Option<Cookies>) {
        self.cookies = cookies;
    }

    /// Whether the policy sets this header.
    pub(crate) fn sets(&self, name: &HeaderName) -> bool {
        match *name {
            CONTENT_SECURITY_POLICY => self.csp.value().is_some(),
            STRICT_TRANSPORT_SECURITY => self.hsts.is_some(),
            _ => self.set.iter().any(|(set, _)| set == name),
        }
    }

    /// The finished policy.
    pub(crate) fn compile(self) -> HeaderPolicy {
        let plain = |(name, value)| Setting { rule: Rule::of(&name), template: None, name, value };
        let mut set: Vec<_> = self.set.iter().cloned().map(plain).collect();
        if self.collect {
            endpoint(&mut set);
        }
        set.extend(self.policy(&self.csp, self.report_only));
        let trial = self.tried();
        set.extend(trial.as_ref().and_then(|trial| self.policy(trial, true)));
        for Setting { name, value, .. } in &mut set {
            (*name, *value) = (permanent::name(name), permanent::value(value));
        }
        let hsts = self.hsts.iter().flat_map(Hsts::steps);
        let hsts = hsts.map(|(from, hsts)| (from, hsts, permanent::value(&hsts.value())));
        let mut policy = HeaderPolicy {
            merge: self.merge,
            set,
            hsts: hsts.collect(),
            remove: self.remove,
            strip: self.strip,
            cookies: self.cookies,
            collects: self.collect,
            section: None,
            csp: self.csp,
            trial,
            ready: None,
        };
        policy.get_ready();
        policy
    }

    /// The CSP with what is tried out in it.
    fn tried(&self) -> Option<Csp> {
        let mut trial = self.csp.clone();
        for (directive, values) in &self.trial {
            match values {
                Some(values) => trial.set(directive, &[values]),
                None => trial.remove(directive),
            }
        }
        (!self.trial.is_empty()).then_some(trial)
    }

    /// The header of a CSP; `None` if it says nothing.
    fn policy(&self, csp: &Csp, report_only: bool) -> Option<Setting> {
        let mut csp = csp.clone();
        let name = match report_only {
            true => CONTENT_SECURITY_POLICY_REPORT_ONLY,
            false => CONTENT_SECURITY_POLICY,
        };
        if report_only {
            csp.keep_reportable();
        }
        csp.value()?;
        if self.collect {
            csp.report_to(reporting::PATH, reporting::GROUP);
        }
        let template = Template::new(&csp.value()?);
        // Every directive was checked to be printable ASCII, so the value is always one.
        let value = HeaderValue::try_from(csp.without_nonces().value()?).ok()?;
        Some(Setting { rule: Rule::of(&name), name, value, template })
    }
}

/// Names the place where reports are collected, beside those of the operator's.
fn endpoint(set: &mut Vec<Setting>) {
    let name = HeaderName::from_static("reporting-endpoints");
    let ours = format!("{}=\"{}\"", reporting::GROUP, reporting::PATH);
    let known = set.iter_mut().find(|setting| setting.name == name);
    let text = match &known {
        Some(known) => format!("{}, {ours}", known.value.to_str().unwrap_or_default()),
        None => ours,
    };
    let Ok(value) = HeaderValue::try_from(text) else { return };
    match known {
        Some(known) => known.value = value,
        None => set.push(Setting { rule: Rule::of(&name), template: None, name, value }),
    }
}

/// A value without a grammar.
fn whole(text: &str) -> Result<HeaderValue, String> {
    let printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    match text.trim() == text && text.bytes().all(printable) {
        true => HeaderValue::try_from(text).map_err(|error| error.to_string()),
        false => Err("write printable ASCII without spaces at the ends".to_owned()),
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

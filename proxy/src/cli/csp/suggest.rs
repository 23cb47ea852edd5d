//! `gatehouse csp suggest`: the smallest change of each policy that would end the reports.
//!
//! A report is anybody's word. What it leads to is a difference for a person to read, and never a
//! source that would make the policy worthless: `'unsafe-inline'` and `'unsafe-eval'`, `data:` and
//! `blob:` where code or styles come from, plain http, a wildcard, another ancestor or base.

use std::collections::BTreeMap;

use serde_json::json;

use super::reports::Report;
use crate::config::{Config, Site};
use crate::policy::headers::{Csp, HeaderPolicy, NONCE_PLACEHOLDER};

/// What to change, and what rather not.
#[derive(Debug, Default)]
pub(super) struct Suggestions {
    /// By section, table of directives and directive.
    changes: BTreeMap<(String, &'static str, &'static str), Change>,
    /// What was refused: section, directive, what was blocked; why, and how often it was reported.
    refused: BTreeMap<(String, String, String), (&'static str, u64)>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Change {
    before: Option<String>,
    sources: Vec<String>,
    reports: u64,
}

/// Directives in the order in which browsers look for the one that holds (CSP Level 3, 6.8.3).
const FALLBACKS: [(&str, &[&str]); 15] = [
    ("child-src", &["child-src"]),
    ("connect-src", &["connect-src"]),
    ("font-src", &["font-src"]),
    ("form-action", &["form-action"]),
    ("frame-src", &["frame-src", "child-src"]),
    ("img-src", &["img-src"]),
    ("manifest-src", &["manifest-src"]),
    ("media-src", &["media-src"]),
    ("object-src", &["object-src"]),
    ("script-src", &["script-src"]),
    ("script-src-elem", &["script-src-elem", "script-src"]),
    ("style-src", &["style-src"]),
    ("style-src-attr", &["style-src-attr", "style-src"]),
    ("style-src-elem", &["style-src-elem", "style-src"]),
    ("worker-src", &["worker-src", "child-src", "script-src"]),
];

impl Suggestions {
    pub(super) fn new(config: &Config, reports: &[Report]) -> Self {
        let mut suggestions = Self::default();
        for report in reports {
            let site = config.sites.iter().find(|site| site.name() == report.site);
            if let Some(site) = site {
                suggestions.add(policy_of(site, &report.page), report);
            }
        }
        suggestions
    }

    fn add(&mut self, policy: &HeaderPolicy, report: &Report) {
        let section = policy.section.as_deref().unwrap_or("site").to_owned();
        match source(report) {
            Ok(None) => {}
            Ok(Some(source)) => {
                let Some((table, directive, before)) = place(policy, report) else { return };
                let has =
                    |known: &str| before.is_some_and(|list| list.split(' ').any(|s| s == known));
                if has(&source) {
                    return self.known(section, &source, report);
                }
                if source != NONCE_PLACEHOLDER && has("'strict-dynamic'") {
                    let reason = "hosts say nothing beside 'strict-dynamic': give its tag a nonce";
                    return self.refuse(section, report, reason);
                }
                let change = self.changes.entry((section, table, directive)).or_default();
                change.before = before.map(str::to_owned);
                change.reports += report.count;
                if !change.sources.contains(&source) {
                    change.sources.push(source);
                }
            }
            Err(reason) => self.refuse(section, report, reason),
        }
    }

    /// A report of what the policy allows by now: it is older than the policy, unless it is of
    /// something inline that has no nonce.
    fn known(&mut self, section: String, source: &str, report: &Report) {
        if source == NONCE_PLACEHOLDER {
            let reason = "it had no nonce: an older policy, a script, or an attacker put it there";
            self.refuse(section, report, reason);
        }
    }

    fn refuse(&mut self, section: String, report: &Report, reason: &'static str) {
        let key = (section, report.directive.clone(), report.blocked.clone());
        let (_, count) = self.refused.entry(key).or_insert((reason, 0));
        *count += report.count;
    }

    /// As text for a person, or as JSON.
    pub(super) fn render(&self, as_json: bool) -> String {
        if as_json {
            return self.document();
        }
        let mut lines = Vec::new();
        if !self.changes.is_empty() {
            lines.push(
                "# Anybody can send a report: take over what you know to be yours.".to_owned(),
            );
        }
        for ((section, table, directive), change) in &self.changes {
            lines.push(format!("# {} reports of {table}.{directive}", change.reports));
            lines.push(format!("[headers.{section}]"));
            let list = |sources: Vec<&str>| json!(sources).to_string().replace("\",\"", "\", \"");
            if let Some(before) = &change.before {
                lines.push(format!("-{table}.{directive} = {}", list(before.split(' ').collect())));
            }
            lines.push(format!("+{table}.{directive} = {}\n", list(change.after())));
        }
        for ((section, directive, blocked), (reason, count)) in &self.refused {
            lines.push(format!("# refused in [headers.{section}]: {directive} of `{blocked}`"));
            lines.push(format!("#   {count} reports; {reason}"));
        }
        match lines.is_empty() {
            true => "nothing to change: no report stands against a policy".to_owned(),
            false => lines.join("\n"),
        }
    }

    fn document(&self) -> String {
        let changes = self.changes.iter().map(|((section, table, directive), change)| {
            json!({
                "section": section, "key": format!("{table}.{directive}"), "before": change.before,
                "after": change.after(), "reports": change.reports,
            })
        });
        let refused =
            self.refused.iter().map(|((section, directive, blocked), (reason, count))| {
                json!({
                    "section": section, "directive": directive, "blocked": blocked,
                    "reason": reason, "reports": count,
                })
            });
        let (changes, refused): (Vec<_>, Vec<_>) = (changes.collect(), refused.collect());
        format!("{:#}", json!({ "changes": changes, "refused": refused }))
    }
}

impl Change {
    /// The whole list as it would be.
    fn after(&self) -> Vec<&str> {
        let before = self.before.as_deref().unwrap_or_default().split(' ');
        let kept = before.filter(|source| !source.is_empty() && *source != "'none'");
        let mut after: Vec<&str> = kept.collect();
        for source in &self.sources {
            if !after.contains(&source.as_str()) {
                after.push(source);
            }
        }
        after
    }
}

/// The policy of a page.
fn policy_of<'s>(site: &'s Site, page: &str) -> &'s HeaderPolicy {
    let mut routes = site.routes.iter();
    let route = routes.find(|(pattern, _)| pattern.matches(page)).map(|(_, route)| route);
    &route.unwrap_or(&site.default).headers
}

/// Where a source is to be added, and what stands there: the policy, or what is tried out, if the
/// directive differs in that one.
fn place<'p>(
    policy: &'p HeaderPolicy,
    report: &Report,
) -> Option<(&'static str, &'static str, Option<&'p str>)> {
    let of = |csp: &'p Csp| directive(csp, &report.directive);
    let (csp, enforced) = (&policy.csp, of(&policy.csp));
    let differs = |trial: &&'p Csp| {
        of(trial).is_some_and(|(name, sources)| {
            trial.get(name) != csp.get(name) || Some((name, sources)) != enforced
        })
    };
    let trial = policy.trial.as_ref().filter(|_| !report.enforced).filter(differs);
    let (table, (name, sources)) = match trial.and_then(of) {
        Some(tried) => ("csp_trial", tried),
        None => ("csp", enforced?),
    };
    Some((table, name, sources))
}

/// The directive that holds, and its sources. What falls back on `default-src` gets a directive of
/// its own: all else is not to be loosened with it.
fn directive<'p>(csp: &'p Csp, reported: &str) -> Option<(&'static str, Option<&'p str>)> {
    let (own, chain) = FALLBACKS.iter().find(|(name, _)| *name == reported)?;
    let found = chain.iter().find_map(|name| csp.get(name).map(|values| (*name, Some(values))));
    let specific = match *own {
        "script-src-elem" => "script-src",
        "style-src-elem" | "style-src-attr" => "style-src",
        own => own,
    };
    Some(found.unwrap_or_else(|| (specific, csp.get("default-src"))))
}

/// Directives of what runs, or styles what runs.
const IS_CODE: [&str; 10] = [
    "script-src",
    "script-src-elem",
    "script-src-attr",
    "style-src",
    "style-src-elem",
    "worker-src",
    "object-src",
    "frame-src",
    "child-src",
    "default-src",
];

/// The source that would allow what was blocked; `None` if it is nothing of the page's; the error
/// is what to do instead.
fn source(report: &Report) -> Result<Option<String>, &'static str> {
    let (directive, blocked) = (report.directive.as_str(), report.blocked.as_str());
    let is_code = IS_CODE.contains(&directive);
    match directive {
        "frame-ancestors" => return Err("who may frame a page is for you to decide, not for it"),
        "base-uri" => return Err("another base lets an attacker choose where scripts come from"),
        "script-src-attr" => return Err("move handlers from attributes into scripts"),
        "style-src-attr" => return Err("move styles from attributes into classes"),
        directive if directive.contains("trusted-types") => {
            return Err("have the script make its HTML by a Trusted Types policy");
        }
        _ => {}
    }
    let (scheme, rest) = blocked.split_once(':').unwrap_or((blocked, ""));
    match scheme {
        "inline" if directive.starts_with("script-src") || directive.starts_with("style-src") => {
            return Ok(Some(NONCE_PLACEHOLDER.to_owned()));
        }
        "eval" => return Err("'unsafe-eval' lets any string become code: replace eval()"),
        "wasm-eval" => return Ok(Some("'wasm-unsafe-eval'".to_owned())),
        "data" | "blob" if is_code => return Err("an attacker can write code into such a URL"),
        "data" | "blob" => return Ok(Some(format!("{scheme}:"))),
        path if path.starts_with('/') => return Ok(Some("'self'".to_owned())),
        "http" | "ws" => return Err("whoever is on the way can change it: load it over https"),
        "https" | "wss" => {}
        scheme if scheme.ends_with("extension") => return Ok(None), // the visitor's, not the page's
        _ => return Err("nothing is known of what this is"),
    }
    let authority = rest.trim_start_matches('/').split('/').next().unwrap_or_default();
    match is_host(authority) {
        true => Ok(Some(format!("{scheme}://{}", authority.to_ascii_lowercase()))),
        false => Err("this is no host"),
    }
}

/// Whether it is one host, with or without a port: no wildcard, and nothing that ends a source.
fn is_host(authority: &str) -> bool {
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    host.split('.').all(label) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
#[path = "suggest_tests.rs"]
mod tests;

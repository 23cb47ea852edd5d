//! The Content-Security-Policy, by the Observatory's questions.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, HeaderValue, header};

use super::Finding;
use super::page::Page;

/// Sources that let in nearly everybody.
const BROAD: [&str; 8] =
    ["*", "http:", "https:", "ftp:", "http://*", "https://*", "http://*.*", "https://*.*"];

/// Directives whose content a page shows and does not run.
const PASSIVE: [&str; 2] = ["img-src", "media-src"];

/// Directives that may stand twice, though only the first counts.
const REPORTING: [&str; 2] = ["report-uri", "report-to"];

/// Directives that mean nothing in a page itself (CSP Level 3, 3.3).
const OF_HEADERS: [&str; 3] = ["frame-ancestors", "report-uri", "sandbox"];

/// The shortest text that can be a policy: a directive without sources.
const SHORTEST: usize = 6;

type Sources = BTreeSet<String>;

/// What the policies of a response allow together.
#[derive(Debug, Default)]
pub(super) struct Policies {
    directives: BTreeMap<String, Sources>,
    /// Whether a directive of [`REPORTING`] stands twice.
    repeats: bool,
}

/// A policy cannot be read, or names a directive twice.
#[derive(Debug)]
pub(super) struct Invalid;

impl Policies {
    /// Those in the header and in the page.
    pub(super) fn of(headers: &HeaderMap, page: &Page) -> Result<Self, Invalid> {
        let fields = headers.get_all(header::CONTENT_SECURITY_POLICY).iter();
        let fields = fields.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        let mut policies = Self::default();
        for (place, text) in fields.chain(page.policies.iter().map(String::as_str)).enumerate() {
            policies.add(text, place == 0)?;
        }
        Ok(policies)
    }

    /// A further policy: what it does not allow, too, is forbidden.
    fn add(&mut self, text: &str, is_first: bool) -> Result<(), Invalid> {
        let text = text.trim();
        if text.len() < SHORTEST {
            return Err(Invalid);
        }
        let mut seen = BTreeSet::new();
        for directive in text.split(';') {
            let mut words = directive.split_ascii_whitespace().map(str::to_ascii_lowercase);
            let Some(name) = words.next() else { continue };
            if !seen.insert(name.clone()) {
                match REPORTING.contains(&name.as_str()) {
                    true => self.repeats = true,
                    false => return Err(Invalid),
                }
                continue;
            }
            let own: Sources = words.collect();
            let known = self.directives.entry(name).or_default();
            match is_first {
                true => *known = own,
                false => known.retain(|source| own.contains(source)),
            }
            if known.is_empty() {
                known.insert("'none'".to_owned());
            }
        }
        Ok(())
    }

    /// The sources of a directive, or of `default-src`; everybody where nothing restricts it.
    fn sources(&self, directive: &str) -> Sources {
        let found = self.directives.get(directive).or_else(|| self.directives.get("default-src"));
        let mut sources = found.cloned().unwrap_or_else(|| Sources::from(["*".to_owned()]));
        if is_named(&sources) {
            sources.remove("'unsafe-inline'"); // which browsers then ignore (CSP 3, 6.7.3.2)
        }
        sources
    }

    /// The sources of scripts; `Err` if `'strict-dynamic'` has nothing to begin from.
    fn scripts(&self) -> Result<Sources, Invalid> {
        let mut sources = self.sources("script-src");
        if sources.contains("'strict-dynamic'") {
            if !is_named(&sources) {
                return Err(Invalid);
            }
            sources.retain(|s| s != "'self'" && !BROAD.iter().any(|broad| s.starts_with(broad)));
        }
        Ok(sources)
    }

    /// Whether a page of the site says who may frame it.
    pub(super) fn has_ancestors(&self) -> bool {
        self.directives.contains_key("frame-ancestors")
    }
}

/// Whether there are nonces or hashes.
fn is_named(sources: &Sources) -> bool {
    let kinds = ["'nonce-", "'sha256-", "'sha384-", "'sha512-"];
    sources.iter().any(|source| kinds.iter().any(|kind| source.starts_with(kind)))
}

fn any(sources: &Sources, test: impl Fn(&str) -> bool) -> bool {
    sources.iter().any(|source| test(source))
}

fn is_broad(source: &str) -> bool {
    BROAD.contains(&source)
}

fn is_unsafe(source: &str) -> bool {
    is_broad(source) || source == "'unsafe-inline'" || source == "data:"
}

fn is_plain(source: &str) -> bool {
    source.starts_with("http:") || source.starts_with("ftp:")
}

pub(super) fn judge(headers: &HeaderMap, page: &Page) -> Finding {
    let test = "content-security-policy";
    let bad =
        |result, score, found: &str, remedy: &str| Finding::bad(test, result, score, found, remedy);
    let invalid = |found: &str| bad("csp-header-invalid", -25, found, "gatehouse check");
    let Ok(policies) = Policies::of(headers, page) else {
        return invalid("a policy is empty, or names a directive twice");
    };
    let of_headers = |name: &str| OF_HEADERS.contains(&name);
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY)
        && policies.directives.keys().all(|name| of_headers(name))
    {
        let remedy = "preset = \"helmet\" in [headers.NAME], or csp.default-src = [\"'self'\"]";
        let trial = headers.get(header::CONTENT_SECURITY_POLICY_REPORT_ONLY);
        return match trial.map(HeaderValue::len).unwrap_or_default() {
            0 => bad("csp-not-implemented", -25, "missing", remedy),
            _ => {
                let result = "csp-not-implemented-but-reporting-enabled";
                bad(result, -25, "only reported, not enforced", "csp instead of csp_trial")
            }
        };
    }
    let Ok(scripts) = policies.scripts() else {
        return invalid("'strict-dynamic' without a nonce or a hash lets nothing run");
    };
    match fault(&policies, &scripts) {
        Some((result, score, found, remedy)) => bad(result, score, found, remedy),
        None => merit(&policies),
    }
}

/// What is to be mended, the worst first: result, score, what was found, remedy.
fn fault(
    policies: &Policies,
    scripts: &Sources,
) -> Option<(&'static str, i32, &'static str, &'static str)> {
    if any(scripts, is_unsafe) || any(&policies.sources("object-src"), is_broad) {
        let found = "inline scripts, data: or nearly any host may run code";
        let remedy = "csp.script-src = [\"'self'\", \"'nonce'\"] and csp.object-src = [\"'none'\"]";
        return Some(("csp-implemented-with-unsafe-inline", -20, found, remedy));
    }
    let active = policies.directives.iter();
    let active = active.filter(|(name, _)| {
        *name != "script-src" && !PASSIVE.iter().any(|passive| name == passive)
    });
    if active.flat_map(|(_, sources)| sources).chain(scripts).any(|source| is_plain(source)) {
        let found = "a source is plain HTTP";
        return Some((
            "csp-implemented-with-insecure-scheme",
            -20,
            found,
            "https:// in the sources",
        ));
    }
    let styles = policies.sources("style-src");
    if scripts.union(&styles).any(|source| source == "'unsafe-eval'") {
        let found = "scripts may turn text into code";
        let remedy = "csp.script-src without 'unsafe-eval'";
        return Some(("csp-implemented-with-unsafe-eval", -10, found, remedy));
    }
    if PASSIVE.iter().any(|name| any(&policies.sources(name), is_plain)) {
        let result = "csp-implemented-with-insecure-scheme-in-passive-content-only";
        let found = "pictures or media may come over plain HTTP";
        return Some((result, -10, found, "https:// in csp.img-src and csp.media-src"));
    }
    None
}

/// How good a policy without faults is.
fn merit(policies: &Policies) -> Finding {
    let good =
        |result, score, found| Finding::good("content-security-policy", result, score, found);
    if policies.repeats {
        let found = "report-uri or report-to stands twice, and only the first counts";
        return good("csp-implemented-but-duplicate-directives", 0, found);
    }
    if any(&policies.sources("style-src"), is_unsafe) {
        let result = "csp-implemented-with-unsafe-inline-in-style-src-only";
        return good(result, 0, "unsafe sources for styles only");
    }
    let default = policies.directives.get("default-src");
    match default.is_some_and(|sources| *sources == Sources::from(["'none'".to_owned()])) {
        true => {
            let result = "csp-implemented-with-no-unsafe-default-src-none";
            good(result, 10, "everything is forbidden that is not named")
        }
        false => good("csp-implemented-with-no-unsafe", 5, "no unsafe source"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fields;
    use super::*;

    fn score(policies: &[&str]) -> i32 {
        let all: Vec<_> = policies.iter().map(|p| ("content-security-policy", *p)).collect();
        judge(&fields(&all), &Page::default()).score
    }

    #[test]
    fn policies_are_scored_as_published() {
        for (policy, expected) in [
            (" ; ", -25),
            ("default-src 'self'", 5),
            ("default-src 'none'; form-action 'self'", 10),
            ("default-src; img-src 'self'", 10),
            ("script-src 'self'; object-src 'none'; style-src 'unsafe-inline'", 0),
            ("script-src 'self'; object-src 'none'", 0),
            ("script-src 'self'", -20),
            ("default-src 'self' 'unsafe-inline'", -20),
            ("default-src 'self'; script-src https:", -20),
            ("default-src 'self'; script-src 'unsafe-inline' 'nonce-x'", 5),
            ("default-src 'self'; script-src 'self' 'unsafe-eval'", -10),
            ("default-src 'self'; img-src http://a", -10),
            ("default-src 'self'; img-src http://a; upgrade-insecure-requests", -10),
            ("default-src 'self'; font-src http://a", -20),
            ("default-src 'self'; script-src 'strict-dynamic'", -25),
            ("default-src 'self'; default-src 'none'", -25),
            ("default-src 'self'; report-uri /a; report-uri /b", 0),
        ] {
            assert_eq!(score(&[policy]), expected, "{policy}");
        }
        assert_eq!(score(&[]), -25);
        let strict = "script-src 'nonce-x' 'strict-dynamic' https: 'unsafe-inline'; \
                      object-src 'none'; style-src 'self'";
        assert_eq!(score(&[strict]), 5);
    }

    #[test]
    fn the_second_policy_can_only_forbid() {
        assert_eq!(score(&["default-src * 'self'", "default-src 'self'"]), 5);
        assert_eq!(score(&["default-src * 'self', default-src 'self'"]), 5);
        assert_eq!(score(&["default-src *", "default-src 'self'"]), 10, "together they allow none");
    }

    #[test]
    fn a_policy_of_the_page_counts_and_one_that_only_reports_does_not() {
        let trial = fields(&[("content-security-policy-report-only", "default-src 'none'")]);
        let judged = judge(&trial, &Page::default());
        assert_eq!(
            (judged.score, judged.result),
            (-25, "csp-not-implemented-but-reporting-enabled")
        );
        let page = |policy: &str| Page { policies: vec![policy.to_owned()], ..Page::default() };
        assert_eq!(judge(&trial, &page("default-src 'self'")).score, 5);
        assert_eq!(judge(&trial, &page("frame-ancestors 'self'")).score, -25);
    }
}

//! The Content-Security-Policy, by the Observatory's questions.

use std::collections::BTreeMap;

use http::{HeaderMap, header};

use super::Finding;

/// Sources that let in nearly everybody.
const BROAD: [&str; 8] =
    ["*", "http:", "https:", "ftp:", "http://*", "https://*", "http://*.*", "https://*.*"];

/// Directives whose content a page shows and does not run.
const PASSIVE: [&str; 2] = ["img-src", "media-src"];

/// All policies of a response, directive by directive.
struct Policies(Vec<BTreeMap<String, Vec<String>>>);

impl Policies {
    /// `None` if a policy has no directive at all.
    fn parse(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(header::CONTENT_SECURITY_POLICY).iter();
        let texts = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        let policies = texts.map(|text| {
            let mut policy = BTreeMap::new();
            for directive in text.split(';') {
                let mut words = directive.split_ascii_whitespace().map(str::to_ascii_lowercase);
                let Some(name) = words.next() else { continue };
                policy.entry(name).or_insert_with(|| words.collect());
            }
            policy
        });
        let policies: Vec<_> = policies.collect();
        policies.iter().all(|policy| !policy.is_empty()).then_some(Self(policies))
    }

    /// Whether a policy names the directive.
    fn has(&self, directive: &str) -> bool {
        self.0.iter().any(|policy| policy.contains_key(directive))
    }

    /// Whether a test holds in every policy: what one forbids is forbidden.
    fn all(&self, test: impl Fn(&BTreeMap<String, Vec<String>>) -> bool) -> bool {
        self.0.iter().all(test)
    }
}

/// The sources of a directive, or of `default-src`; `None` where nothing restricts it.
fn sources<'a>(policy: &'a BTreeMap<String, Vec<String>>, directive: &str) -> Option<&'a [String]> {
    policy.get(directive).or_else(|| policy.get("default-src")).map(Vec::as_slice)
}

/// Whether inline code, or code of nearly any host, may run.
fn is_unsafe(policy: &BTreeMap<String, Vec<String>>, directive: &str) -> bool {
    let Some(sources) = sources(policy, directive) else { return true };
    let named = sources.iter().any(|source| {
        ["'nonce-", "'sha256-", "'sha384-", "'sha512-"].iter().any(|kind| source.starts_with(kind))
    });
    let strict = named && sources.iter().any(|source| source == "'strict-dynamic'");
    sources.iter().any(|source| match source.as_str() {
        "'unsafe-inline'" => !named, // which browsers then ignore (CSP 3, 6.7.3.2)
        "data:" => !strict,
        broad => !strict && BROAD.contains(&broad),
    })
}

fn allows(policy: &BTreeMap<String, Vec<String>>, directive: &str, source: &str) -> bool {
    sources(policy, directive).is_none_or(|sources| sources.iter().any(|own| own == source))
}

/// Whether a directive names plain HTTP.
fn insecure(policy: &BTreeMap<String, Vec<String>>, passive: bool) -> bool {
    let upgraded = policy.contains_key("upgrade-insecure-requests");
    !upgraded
        && policy.iter().any(|(name, sources)| {
            let counts = name.ends_with("-src") && PASSIVE.contains(&name.as_str()) == passive;
            counts && sources.iter().any(|s| s.starts_with("http:") || s.starts_with("ftp:"))
        })
}

pub(super) fn judge(headers: &HeaderMap) -> Finding {
    let test = "content-security-policy";
    let bad =
        |result, score, found: &str, remedy: &str| Finding::bad(test, result, score, found, remedy);
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        let found = match headers.contains_key(header::CONTENT_SECURITY_POLICY_REPORT_ONLY) {
            true => "only reported, not enforced",
            false => "missing",
        };
        let remedy = "preset = \"helmet\" in [headers.NAME], or csp.default-src = [\"'self'\"]";
        return bad("csp-not-implemented", -25, found, remedy);
    }
    let Some(policies) = Policies::parse(headers) else {
        return bad("csp-header-invalid", -25, "it has no directive", "");
    };
    if policies.all(|policy| {
        let objects = sources(policy, "object-src");
        is_unsafe(policy, "script-src")
            || objects.is_none_or(|list| list.iter().any(|s| BROAD.contains(&s.as_str())))
    }) {
        let found = "inline scripts, data: or nearly any host may run code";
        let remedy = "csp.script-src = [\"'self'\", \"'nonce'\"] and csp.object-src = [\"'none'\"]";
        return bad("csp-implemented-with-unsafe-inline", -20, found, remedy);
    }
    if policies.all(|policy| insecure(policy, false)) {
        let found = "a source is plain HTTP";
        let remedy = "https:// in the sources, or csp.upgrade-insecure-requests = []";
        return bad("csp-implemented-with-insecure-scheme", -20, found, remedy);
    }
    if policies.all(|policy| allows(policy, "script-src", "'unsafe-eval'")) {
        let found = "scripts may turn text into code";
        let remedy = "csp.script-src without 'unsafe-eval'";
        return bad("csp-implemented-with-unsafe-eval", -10, found, remedy);
    }
    if policies.all(|policy| insecure(policy, true)) {
        let found = "pictures or media may come over plain HTTP";
        let remedy = "csp.upgrade-insecure-requests = []";
        let result = "csp-implemented-with-insecure-scheme-in-passive-content-only";
        return bad(result, -10, found, remedy);
    }
    if policies.all(|policy| is_unsafe(policy, "style-src")) {
        let result = "csp-implemented-with-unsafe-inline-in-style-src-only";
        return Finding::good(test, result, 0, "unsafe sources for styles only");
    }
    let none = |policy: &BTreeMap<String, Vec<String>>| {
        policy.get("default-src").is_some_and(|sources| *sources == ["'none'"])
    };
    let forms = policies.has("form-action")
        && policies.0.iter().any(|policy| {
            let sources = policy.get("form-action").map(Vec::as_slice).unwrap_or_default();
            sources.iter().all(|source| matches!(source.as_str(), "'none'" | "'self'"))
        });
    match policies.0.iter().any(none) && forms {
        true => {
            let result = "csp-implemented-with-no-unsafe-default-src-none";
            Finding::good(test, result, 10, "everything is forbidden that is not named")
        }
        false => Finding::good(test, "csp-implemented-with-no-unsafe", 5, "no unsafe source"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fields;
    use super::*;

    fn score(policies: &[&str]) -> i32 {
        let all: Vec<_> = policies.iter().map(|p| ("content-security-policy", *p)).collect();
        judge(&fields(&all)).score
    }

    #[test]
    fn policies_are_scored_as_published() {
        assert_eq!(score(&[]), -25);
        assert_eq!(score(&[" ; "]), -25);
        assert_eq!(score(&["default-src 'self'"]), 5);
        assert_eq!(score(&["default-src 'none'; form-action 'self'"]), 10);
        assert_eq!(score(&["default-src 'none'"]), 5, "forms may go anywhere");
        assert_eq!(score(&["script-src 'self'; object-src 'none'; style-src 'unsafe-inline'"]), 0);
        assert_eq!(score(&["script-src 'self'"]), -20, "plug-ins of any host");
        assert_eq!(score(&["default-src 'self' 'unsafe-inline'"]), -20);
        assert_eq!(score(&["default-src 'self'; script-src https:"]), -20);
        assert_eq!(score(&["default-src 'self'; script-src 'unsafe-inline' 'nonce-x'"]), 5);
        assert_eq!(score(&["default-src 'self'; script-src 'self' 'unsafe-eval'"]), -10);
        assert_eq!(score(&["default-src 'self'; img-src http://a"]), -10);
        assert_eq!(score(&["default-src 'self'; font-src http://a"]), -20);
        let upgraded = "default-src 'self'; img-src http://a; upgrade-insecure-requests";
        assert_eq!(score(&[upgraded]), 5);
        let strict = "script-src 'nonce-x' 'strict-dynamic' https: 'unsafe-inline'; \
                      object-src 'none'; style-src 'self'";
        assert_eq!(score(&[strict]), 5);
    }

    #[test]
    fn the_second_policy_can_only_forbid() {
        assert_eq!(score(&["default-src *", "default-src 'self'"]), 5);
        assert_eq!(score(&["default-src *, default-src 'self'"]), 5);
    }

    #[test]
    fn a_policy_that_only_reports_is_none() {
        let fields = fields(&[("content-security-policy-report-only", "default-src 'none'")]);
        assert_eq!(judge(&fields).score, -25);
    }
}

//! All headers but the Content-Security-Policy and cookies.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Finding;
use super::csp::Policies;
use super::page::Page;
use crate::policy::headers::strip;

/// 180 days, in seconds: what the Observatory takes for the half year that it asks of HSTS.
const HALF_A_YEAR: u64 = 15_552_000;

/// Judges what came with a page.
pub(super) fn judge(headers: &HeaderMap, page: &Page) -> Vec<Finding> {
    let mut findings = vec![
        content_type_options(headers),
        frame_options(headers, page),
        referrer_policy(headers, page),
    ];
    findings.extend(ISOLATION.map(|isolation| isolated(headers, &isolation)));
    findings.push(permissions(headers));
    findings.push(disclosed(headers));
    findings
}

/// A field that may stand once; `Err` if its values disagree.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter().map(HeaderValue::to_str);
    let Some(first) = values.next() else { return Ok(None) };
    let first = first.map_err(|_| ())?.trim();
    let same = values.all(|other| other.is_ok_and(|other| other.trim() == first));
    same.then_some(Some(first)).ok_or(())
}

/// HSTS, which browsers take only over connections that they trust (RFC 6797, 8.1).
pub(super) fn transport_security(headers: &HeaderMap, trusted: bool) -> Finding {
    let test = "strict-transport-security";
    let remedy = "hsts = { max_age = \"365d\", include_subdomains = true } in [headers.NAME]";
    let bad = |result, score, found: String| Finding::bad(test, result, score, found, remedy);
    if !trusted {
        let found = "without effect: the certificate is not trusted";
        let remedy = "issuer = \"acme\" of the site, or its own under [[tls.certificate]]";
        return Finding::bad(test, "hsts-invalid-cert", -20, found, remedy);
    }
    let mut values = headers.get_all(header::STRICT_TRANSPORT_SECURITY).iter();
    let value = match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(value)), None) if !value.contains(',') => value.to_ascii_lowercase(),
        (None, _) => return bad("hsts-not-implemented", -20, "missing".to_owned()),
        _ => return bad("hsts-header-invalid", -20, "it stands twice".to_owned()),
    };
    let age = value.split(';').find_map(|part| part.trim().strip_prefix("max-age="));
    match age.and_then(|age| age.trim_matches('"').parse::<u64>().ok()) {
        None => bad("hsts-header-invalid", -20, format!("`{value}` has no max-age")),
        Some(age) if age < HALF_A_YEAR => {
            let age =
                if age < 86_400 { format!("{age} s") } else { format!("{} days", age / 86_400) };
            let found = format!("max-age is {age}, less than half a year, which a ramp reaches");
            bad("hsts-implemented-max-age-less-than-six-months", -10, found)
        }
        Some(age) => {
            let result = "hsts-implemented-max-age-at-least-six-months";
            Finding::good(test, result, 0, format!("{} days", age / 86_400))
        }
    }
}

fn content_type_options(headers: &HeaderMap) -> Finding {
    let test = "x-content-type-options";
    let remedy = "preset = \"helmet\" in [headers.NAME]";
    match one(headers, &header::X_CONTENT_TYPE_OPTIONS) {
        Ok(Some(value)) if value.eq_ignore_ascii_case("nosniff") => {
            Finding::good(test, "x-content-type-options-nosniff", 0, "nosniff")
        }
        Ok(None) => {
            Finding::bad(test, "x-content-type-options-not-implemented", -5, "missing", remedy)
        }
        Ok(Some(_)) | Err(()) => {
            let result = "x-content-type-options-header-invalid";
            Finding::bad(test, result, -5, "not `nosniff`", remedy)
        }
    }
}

fn frame_options(headers: &HeaderMap, page: &Page) -> Finding {
    let test = "x-frame-options";
    if Policies::of(headers, page).is_ok_and(|policies| policies.has_ancestors()) {
        let found = "frame-ancestors of the Content-Security-Policy";
        return Finding::good(test, "x-frame-options-implemented-via-csp", 5, found);
    }
    let remedy = "csp.frame-ancestors = [\"'self'\"] in [headers.NAME]";
    match one(headers, &header::X_FRAME_OPTIONS) {
        Ok(Some(value)) if ["deny", "sameorigin"].iter().any(|v| value.eq_ignore_ascii_case(v)) => {
            Finding::good(test, "x-frame-options-sameorigin-or-deny", 5, value)
        }
        Ok(Some(value)) if value.to_ascii_lowercase().starts_with("allow-from") => {
            let found = "ALLOW-FROM, which browsers no longer know";
            Finding::good(test, "x-frame-options-allow-from-origin", 0, found)
        }
        Ok(None) => Finding::bad(test, "x-frame-options-not-implemented", -20, "missing", remedy),
        Ok(Some(_)) | Err(()) => {
            let found = "neither DENY nor SAMEORIGIN";
            Finding::bad(test, "x-frame-options-header-invalid", -20, found, remedy)
        }
    }
}

fn referrer_policy(headers: &HeaderMap, page: &Page) -> Finding {
    let test = "referrer-policy";
    const PRIVATE: [&str; 4] =
        ["no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin"];
    const LOOSE: [&str; 4] =
        ["no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "unsafe-url"];
    let values = headers.get_all(header::REFERRER_POLICY).iter();
    let values = values.filter_map(|value| value.to_str().ok()).chain(page.referrer.as_deref());
    let words = values.flat_map(|value| value.split(','));
    let words: Vec<_> = words.map(|word| word.trim().to_ascii_lowercase()).collect();
    let known = |word: &&String| PRIVATE.contains(&word.as_str()) || LOOSE.contains(&word.as_str());
    let remedy = "preset = \"helmet\" in [headers.NAME]";
    // The last that is known holds (Referrer Policy, 8.1).
    match words.iter().rfind(known) {
        Some(word) if PRIVATE.contains(&word.as_str()) => {
            Finding::good(test, "referrer-policy-private", 5, word.as_str())
        }
        Some(word) => Finding::bad(test, "referrer-policy-unsafe", -5, word.as_str(), remedy),
        None if words.is_empty() => {
            let found = "missing; browsers then use strict-origin-when-cross-origin";
            Finding::good(test, "referrer-policy-not-implemented", 0, found)
        }
        None => {
            let found = format!("no known policy in `{}`", words.join(", "));
            Finding::bad(test, "referrer-policy-header-invalid", -5, found, remedy)
        }
    }
}

/// What a page of another origin is told when it asks whether it may read this one.
pub(super) fn sharing(preflight: Option<&HeaderMap>, asking: &str) -> Finding {
    let test = "cross-origin-resource-sharing";
    let of = |name: HeaderName| preflight.and_then(|headers| headers.get(name));
    let origin = of(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(HeaderValue::as_bytes);
    let credentials = of(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
    match origin {
        None => {
            let result = "cross-origin-resource-sharing-not-implemented";
            Finding::good(test, result, 0, "not used")
        }
        Some(b"*") => {
            let result = "cross-origin-resource-sharing-implemented-with-public-access";
            Finding::good(test, result, 0, "public, without credentials")
        }
        Some(origin)
            if origin == asking.as_bytes()
                && credentials
                    .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true")) =>
        {
            let result = "cross-origin-resource-sharing-implemented-with-universal-access";
            let remedy = "not in gatehouse.toml: let the application name the origins it trusts";
            Finding::bad(test, result, -50, "any page may ask with the user's cookies", remedy)
        }
        Some(_) => {
            let result = "cross-origin-resource-sharing-implemented-with-restricted-access";
            Finding::good(test, result, 0, "restricted to an origin")
        }
    }
}

/// A header that keeps other sites out of the page's process.
struct Isolation {
    name: &'static str,
    /// What it may say: the value, the result, the score; the best first.
    values: &'static [(&'static str, &'static str, i32)],
    missing: &'static str,
    invalid: &'static str,
}

const ISOLATION: [Isolation; 3] = [
    Isolation {
        name: "cross-origin-opener-policy",
        values: &[
            ("same-origin", "coop-implemented-with-same-origin", 10),
            ("same-origin-allow-popups", "coop-implemented-with-same-origin-allow-popups", 10),
            ("noopener-allow-popups", "coop-implemented-with-noopener-allow-popups", 10),
            ("unsafe-none", "coop-implemented-with-unsafe-none", 0),
        ],
        missing: "coop-not-implemented",
        invalid: "coop-header-invalid",
    },
    Isolation {
        name: "cross-origin-resource-policy",
        values: &[
            ("same-origin", "corp-implemented-with-same-origin", 10),
            ("same-site", "corp-implemented-with-same-site", 10),
            ("cross-origin", "corp-implemented-with-cross-origin", 0),
        ],
        missing: "corp-not-implemented",
        invalid: "corp-header-invalid",
    },
    Isolation {
        name: "cross-origin-embedder-policy",
        values: &[
            ("require-corp", "coep-implemented-with-require-corp", 10),
            ("credentialless", "coep-implemented-with-credentialless", 10),
            ("unsafe-none", "coep-implemented-with-unsafe-none", 0),
        ],
        missing: "coep-not-implemented",
        invalid: "coep-header-invalid",
    },
];

fn isolated(headers: &HeaderMap, isolation: &Isolation) -> Finding {
    let Isolation { name, values, missing, invalid } = *isolation;
    let Some(value) = headers.get(name).map(|value| value.to_str().unwrap_or_default()) else {
        return Finding::good(name, missing, 0, "missing");
    };
    // Parameters follow behind a semicolon: report-to.
    let value = value.split(';').next().unwrap_or_default().trim();
    match values.iter().find(|(known, ..)| *known == value) {
        Some((value, result, score)) => Finding::good(name, result, *score, *value),
        None => {
            let best = values.first().map_or("", |(best, ..)| best);
            let remedy = format!("set.{name} = \"{best}\"");
            Finding::bad(name, invalid, -5, format!("`{value}` is no value of it"), remedy)
        }
    }
}

/// OWASP asks for it; the Observatory does not.
fn permissions(headers: &HeaderMap) -> Finding {
    let test = "permissions-policy";
    match headers.contains_key(test) {
        true => Finding::good(test, "permissions-policy-implemented", 0, "set"),
        false => {
            let found = "missing: frames may ask for the camera and the like";
            Finding::good(test, "permissions-policy-not-implemented", 0, found)
        }
    }
}

/// What tells an attacker which software to look up.
fn disclosed(headers: &HeaderMap) -> Finding {
    let test = "disclosure";
    let names: Vec<_> =
        headers.keys().map(HeaderName::as_str).filter(|name| strip::discloses(name)).collect();
    if names.is_empty() {
        return Finding::good(test, "disclosure-none", 0, "no header names the software");
    }
    let remedy = "strip = \"owasp\" in [headers.NAME]";
    Finding::bad(test, "disclosure-of-software", 0, names.join(", "), remedy)
}

#[cfg(test)]
mod tests {
    use super::super::tests::fields;
    use super::*;

    fn found(name: &str, value: &str) -> (i32, bool) {
        let headers = fields(&[(name, value)]);
        let mut findings = judge(&headers, &Page::default());
        findings.push(transport_security(&headers, true));
        let one = findings.iter().find(|finding| finding.test == name).unwrap();
        (one.score, one.pass)
    }

    #[test]
    fn each_header_is_scored_as_published() {
        for (name, value, score) in [
            ("strict-transport-security", "max-age=31536000; includeSubDomains", 0),
            ("strict-transport-security", "max-age=\"15552000\"", 0),
            ("strict-transport-security", "max-age=86400", -10),
            ("strict-transport-security", "includeSubDomains", -20),
            ("strict-transport-security", "max-age=31536000, max-age=31536000", -20),
            ("x-content-type-options", "nosniff", 0),
            ("x-content-type-options", "sniff", -5),
            ("x-frame-options", "SAMEORIGIN", 5),
            ("x-frame-options", "ALLOW-FROM https://a.example", 0),
            ("x-frame-options", "ALLOW", -20),
            ("referrer-policy", "no-referrer, future", 5),
            ("referrer-policy", "unsafe-url", -5),
            ("referrer-policy", "whatever", -5),
            ("cross-origin-opener-policy", "same-origin; report-to=\"x\"", 10),
            ("cross-origin-opener-policy", "Same-Origin", -5),
            ("cross-origin-resource-policy", "cross-origin", 0),
            ("cross-origin-embedder-policy", "none", -5),
        ] {
            assert_eq!(found(name, value), (score, score >= 0), "{name}: {value}");
        }
        let missing = judge(&HeaderMap::new(), &Page::default());
        assert_eq!(missing.iter().map(|finding| finding.score).sum::<i32>(), -25);
        assert_eq!(transport_security(&HeaderMap::new(), true).score, -20);
    }

    #[test]
    fn hsts_of_an_untrusted_certificate_is_none() {
        let headers = fields(&[("strict-transport-security", "max-age=31536000")]);
        assert_eq!(transport_security(&headers, false).result, "hsts-invalid-cert");
    }

    #[test]
    fn a_page_says_how_it_is_referred_to() {
        let page = Page { referrer: Some("origin".to_owned()), ..Page::default() };
        let headers = fields(&[("referrer-policy", "no-referrer")]);
        assert_eq!(referrer_policy(&headers, &page).score, -5, "the page has the last word");
    }

    #[test]
    fn whoever_asks_may_read_with_cookies_is_the_worst() {
        let score = |origin, credentials| {
            let headers = fields(&[
                ("access-control-allow-origin", origin),
                ("access-control-allow-credentials", credentials),
            ]);
            sharing(Some(&headers), "https://a.example").score
        };
        assert_eq!(score("https://a.example", "true"), -50);
        assert_eq!(score("https://a.example", "false"), 0);
        assert_eq!(score("https://b.example", "true"), 0);
        assert_eq!(score("*", "true"), 0, "which browsers refuse");
        assert_eq!(sharing(None, "https://a.example").score, 0);
    }

    #[test]
    fn software_that_is_named_is_a_finding() {
        assert!(!disclosed(&fields(&[("x-powered-by", "Express")])).pass);
        assert!(disclosed(&fields(&[("date", "now")])).pass);
    }
}

//! All headers but the Content-Security-Policy and cookies.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Finding;
use crate::policy::headers::strip;

/// Half a year, in seconds: what the Observatory asks of HSTS.
const HALF_A_YEAR: u64 = 15_768_000;

pub(super) fn judge(headers: &HeaderMap) -> Vec<Finding> {
    let mut findings = vec![
        transport_security(headers),
        content_type_options(headers),
        frame_options(headers),
        referrer_policy(headers),
        sharing(headers),
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

fn transport_security(headers: &HeaderMap) -> Finding {
    let test = "strict-transport-security";
    let remedy = "hsts = { max_age = \"365d\", include_subdomains = true } in [headers.NAME]";
    let bad = |result, score, found: String| Finding::bad(test, result, score, found, remedy);
    let value = match one(headers, &header::STRICT_TRANSPORT_SECURITY) {
        Ok(Some(value)) => value.to_ascii_lowercase(),
        Ok(None) => return bad("hsts-not-implemented", -20, "missing".to_owned()),
        Err(()) => return bad("hsts-header-invalid", -20, "it stands twice".to_owned()),
    };
    let age = value.split(';').find_map(|part| part.trim().strip_prefix("max-age="));
    match age.and_then(|age| age.trim_matches('"').parse::<u64>().ok()) {
        None => bad("hsts-header-invalid", -20, format!("`{value}` has no max-age")),
        Some(age) if age < HALF_A_YEAR => {
            let found = format!("max-age is {} days, less than half a year", age / 86_400);
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

fn frame_options(headers: &HeaderMap) -> Finding {
    let test = "x-frame-options";
    let policies = headers.get_all(header::CONTENT_SECURITY_POLICY);
    let framed = policies.iter().filter_map(|value| value.to_str().ok()).any(|policy| {
        policy.split([';', ',']).any(|directive| directive.trim().starts_with("frame-ancestors "))
    });
    if framed {
        let found = "frame-ancestors of the Content-Security-Policy";
        return Finding::good(test, "x-frame-options-implemented-via-csp", 5, found);
    }
    let remedy = "csp.frame-ancestors = [\"'self'\"] in [headers.NAME]";
    match one(headers, &header::X_FRAME_OPTIONS) {
        Ok(Some(value)) if ["deny", "sameorigin"].iter().any(|v| value.eq_ignore_ascii_case(v)) => {
            Finding::good(test, "x-frame-options-sameorigin-or-deny", 5, value)
        }
        Ok(None) => Finding::bad(test, "x-frame-options-not-implemented", -20, "missing", remedy),
        Ok(Some(_)) | Err(()) => {
            let found = "neither DENY nor SAMEORIGIN";
            Finding::bad(test, "x-frame-options-header-invalid", -20, found, remedy)
        }
    }
}

fn referrer_policy(headers: &HeaderMap) -> Finding {
    let test = "referrer-policy";
    const PRIVATE: [&str; 4] =
        ["no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin"];
    const LOOSE: [&str; 4] =
        ["no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "unsafe-url"];
    let values = headers.get_all(header::REFERRER_POLICY).iter();
    let words = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
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

/// Cross-origin resource sharing with credentials is access for everybody.
fn sharing(headers: &HeaderMap) -> Finding {
    let test = "cross-origin-resource-sharing";
    let origin = headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    let credentials = headers.get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
    match origin.map(HeaderValue::as_bytes) {
        None => {
            let result = "cross-origin-resource-sharing-not-implemented";
            Finding::good(test, result, 0, "not used")
        }
        Some(b"*") if credentials.is_some_and(|value| value == "true") => {
            let result = "cross-origin-resource-sharing-implemented-with-universal-access";
            let remedy = "not in gatehouse.toml: let the application name the origins it trusts";
            Finding::bad(test, result, -50, "any page may ask with the user's cookies", remedy)
        }
        Some(b"*") => {
            let result = "cross-origin-resource-sharing-implemented-with-public-access";
            Finding::good(test, result, 0, "public, without credentials")
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
    good: &'static [&'static str],
    /// Known, and worth nothing.
    neutral: &'static [&'static str],
    results: [&'static str; 4],
}

const ISOLATION: [Isolation; 3] = [
    Isolation {
        name: "cross-origin-opener-policy",
        good: &["same-origin", "same-origin-allow-popups", "noopener-allow-popups"],
        neutral: &["unsafe-none"],
        results: ["coop-implemented", "coop-neutral", "coop-not-implemented", "coop-invalid"],
    },
    Isolation {
        name: "cross-origin-resource-policy",
        good: &["same-origin", "same-site"],
        neutral: &["cross-origin"],
        results: ["corp-implemented", "corp-neutral", "corp-not-implemented", "corp-invalid"],
    },
    Isolation {
        name: "cross-origin-embedder-policy",
        good: &["require-corp", "credentialless"],
        neutral: &["unsafe-none"],
        results: ["coep-implemented", "coep-neutral", "coep-not-implemented", "coep-invalid"],
    },
];

fn isolated(headers: &HeaderMap, isolation: &Isolation) -> Finding {
    let Isolation { name, good, neutral, results: [yes, so_so, none, invalid] } = *isolation;
    let value = headers.get(name).map(|value| value.to_str().unwrap_or_default());
    // Parameters follow behind a semicolon: report-to.
    let value = value.map(|value| value.split(';').next().unwrap_or_default().trim());
    match value {
        Some(value) if good.contains(&value) => Finding::good(name, yes, 10, value),
        Some(value) if neutral.contains(&value) => Finding::good(name, so_so, 0, value),
        Some(value) => {
            let remedy = format!("set.{name} = \"{}\"", good.first().unwrap_or(&""));
            Finding::bad(name, invalid, -5, format!("`{value}` is no value of it"), remedy)
        }
        None => Finding::good(name, none, 0, "missing"),
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
        let findings = judge(&fields(&[(name, value)]));
        let one = findings.iter().find(|finding| finding.test == name).unwrap();
        (one.score, one.pass)
    }

    #[test]
    fn each_header_is_scored_as_published() {
        for (name, value, score) in [
            ("strict-transport-security", "max-age=31536000; includeSubDomains", 0),
            ("strict-transport-security", "max-age=\"15768000\"", 0),
            ("strict-transport-security", "max-age=86400", -10),
            ("strict-transport-security", "includeSubDomains", -20),
            ("x-content-type-options", "nosniff", 0),
            ("x-content-type-options", "sniff", -5),
            ("x-frame-options", "SAMEORIGIN", 5),
            ("x-frame-options", "ALLOW", -20),
            ("referrer-policy", "no-referrer, future", 5),
            ("referrer-policy", "unsafe-url", -5),
            ("referrer-policy", "whatever", -5),
            ("cross-origin-opener-policy", "same-origin; report-to=\"x\"", 10),
            ("cross-origin-resource-policy", "cross-origin", 0),
            ("cross-origin-embedder-policy", "none", -5),
        ] {
            assert_eq!(found(name, value), (score, score >= 0), "{name}: {value}");
        }
        let missing: i32 = judge(&HeaderMap::new()).iter().map(|finding| finding.score).sum();
        assert_eq!(missing, -45, "HSTS, nosniff and framing");
    }

    #[test]
    fn everybody_with_credentials_is_the_worst() {
        let open =
            [("access-control-allow-origin", "*"), ("access-control-allow-credentials", "true")];
        assert_eq!(sharing(&fields(&open)).score, -50);
        assert_eq!(sharing(&fields(&open[..1])).score, 0);
    }

    #[test]
    fn software_that_is_named_is_a_finding() {
        assert!(!disclosed(&fields(&[("x-powered-by", "Express")])).pass);
        assert!(disclosed(&fields(&[("date", "now")])).pass);
    }

    #[test]
    fn two_that_differ_are_invalid() {
        let twice = [
            ("strict-transport-security", "max-age=31536000"),
            ("strict-transport-security", "max-age=0"),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in twice {
            headers.append(name, value.parse().unwrap());
        }
        assert_eq!(transport_security(&headers).result, "hsts-header-invalid");
    }
}

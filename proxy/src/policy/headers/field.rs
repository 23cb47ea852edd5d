//! Headers with a key of their own in `[headers.NAME]`, and the values that browsers understand.

use http::HeaderValue;

use crate::config::nearest;

use super::{permissions, reporting};

/// A header with a grammar.
#[derive(Debug)]
pub(crate) struct Field {
    /// The key, which is the header's name in lower case.
    pub(crate) name: &'static str,
    grammar: Grammar,
}

#[derive(Debug)]
enum Grammar {
    /// One of these, in any case.
    OneOf(&'static [&'static str]),
    /// A list of these with commas: browsers take the last one that they know.
    ListOf(&'static [&'static str]),
    /// A Permissions-Policy.
    Permissions,
    /// Names of places that browsers send reports to.
    Endpoints,
    /// Network Error Logging.
    NetworkErrors,
}

const fn one_of(name: &'static str, values: &'static [&'static str]) -> Field {
    Field { name, grammar: Grammar::OneOf(values) }
}

/// All of them.
pub(crate) const FIELDS: [Field; 14] = [
    one_of("cross-origin-embedder-policy", &["require-corp", "credentialless", "unsafe-none"]),
    one_of(
        "cross-origin-opener-policy",
        &["same-origin", "same-origin-allow-popups", "noopener-allow-popups", "unsafe-none"],
    ),
    one_of("cross-origin-resource-policy", &["same-origin", "same-site", "cross-origin"]),
    Field { name: "nel", grammar: Grammar::NetworkErrors },
    one_of("origin-agent-cluster", &["?1", "?0"]),
    Field { name: "permissions-policy", grammar: Grammar::Permissions },
    Field { name: "referrer-policy", grammar: Grammar::ListOf(&REFERRER_POLICIES) },
    Field { name: "reporting-endpoints", grammar: Grammar::Endpoints },
    one_of("x-content-type-options", &["nosniff"]),
    one_of("x-dns-prefetch-control", &["off", "on"]),
    one_of("x-download-options", &["noopen"]),
    one_of("x-frame-options", &["DENY", "SAMEORIGIN"]),
    one_of(
        "x-permitted-cross-domain-policies",
        &["none", "master-only", "by-content-type", "by-ftp-filename", "all", "none-this-response"],
    ),
    one_of("x-xss-protection", &["0", "1", "1; mode=block"]),
];

const REFERRER_POLICIES: [&str; 8] = [
    "no-referrer",
    "no-referrer-when-downgrade",
    "same-origin",
    "origin",
    "strict-origin",
    "origin-when-cross-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
];

impl Field {
    /// The header's value; the error is the remedy.
    pub(crate) fn parse(&self, text: &str) -> Result<HeaderValue, String> {
        match self.grammar {
            Grammar::OneOf(values) => {
                let known = known(text, values)?;
                return Ok(HeaderValue::from_static(known));
            }
            Grammar::ListOf(values) => {
                for item in text.split(',') {
                    known(item.trim(), values)?;
                }
            }
            Grammar::Permissions => permissions::check(text)?,
            Grammar::Endpoints => drop(reporting::endpoints(text)?),
            Grammar::NetworkErrors => reporting::check_nel(text)?,
        }
        HeaderValue::try_from(text).map_err(|_| "write printable ASCII".to_owned())
    }
}

fn known(text: &str, values: &'static [&'static str]) -> Result<&'static str, String> {
    let known = values.iter().copied().find(|value| value.eq_ignore_ascii_case(text));
    known.ok_or_else(|| match text.to_ascii_lowercase().starts_with("allow-from") {
        true => "browsers ignore ALLOW-FROM: write csp.frame-ancestors instead".to_owned(),
        false => nearest::suggestion(text, values.iter().copied()),
    })
}

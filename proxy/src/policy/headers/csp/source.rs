//! One source of a CSP directive (CSP Level 3, 2.3.1), and what is wrong with a list of them.

use crate::config::nearest;

/// Keywords, which mean something else without their quotes.
const KEYWORDS: [&str; 11] = [
    "'none'",
    "'self'",
    "'strict-dynamic'",
    "'report-sample'",
    "'inline-speculation-rules'",
    "'unsafe-inline'",
    "'unsafe-eval'",
    "'unsafe-hashes'",
    "'unsafe-webtransport-hashes'",
    "'wasm-unsafe-eval'",
    "'trusted-types-eval'",
];

/// What a nonce or a hash begins with, without its quote.
const PREFIXES: [&str; 4] = ["nonce-", "sha256-", "sha384-", "sha512-"];

/// Refuses a source that browsers would ignore or read as something else; the error is the remedy.
pub(super) fn check(source: &str) -> Result<(), String> {
    let folded = source.to_ascii_lowercase();
    let is_keyword = |text: &str| KEYWORDS.contains(&text);
    let is_nonce_or_hash = |text: &str| PREFIXES.iter().any(|prefix| text.starts_with(prefix));
    if is_keyword(&folded) {
        return Ok(());
    }
    if is_keyword(&format!("'{folded}'")) || is_nonce_or_hash(&folded) {
        return Err(format!("put it in single quotes: \"'{source}'\""));
    }
    match source.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        None if source.contains(['\'', '"']) => {
            Err("single quotes stand around a whole keyword only".to_owned())
        }
        None => check_place(&folded),
        Some("nonce") => Ok(()),
        Some(_) if folded.starts_with("'nonce-") => {
            Err("a nonce that is in every response protects nothing: write 'nonce' for a fresh one"
                .to_owned())
        }
        Some(inner) if is_nonce_or_hash(&inner.to_ascii_lowercase()) => match is_base64(inner) {
            true => Ok(()),
            false => Err("write base64 after the hyphen".to_owned()),
        },
        Some(_) => Err(nearest::suggestion(source, KEYWORDS)),
    }
}

/// Refuses what is neither a scheme nor a host with an optional scheme, port and path.
fn check_place(source: &str) -> Result<(), String> {
    if source == "*" {
        return Ok(());
    }
    if let Some(scheme) = source.strip_suffix(':')
        && !scheme.contains(['/', '.'])
    {
        return match is_scheme(scheme) {
            true => Ok(()),
            false => Err("a scheme is letters, digits, `+`, `-` and `.`".to_owned()),
        };
    }
    let (scheme, rest) = source.split_once("://").unwrap_or(("https", source));
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let (host, port) = authority.split_once(':').unwrap_or((authority, "*"));
    if path.contains('*') {
        return Err("a path has no wildcard: end it with `/` for all below it".to_owned());
    }
    if path.contains(['?', '#']) {
        return Err("leave out the query and the fragment: browsers do not match them".to_owned());
    }
    let host = host.strip_prefix("*.").unwrap_or(host);
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if host != "*" && !host.split('.').all(label) {
        return Err("a host is a name, or `*.` and a name: https://*.example.com".to_owned());
    }
    match is_scheme(scheme) && (port == "*" || port.parse::<u16>().is_ok()) {
        true => Ok(()),
        false => Err("write SCHEME://HOST:PORT/PATH, of which only HOST is needed".to_owned()),
    }
}

fn is_scheme(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(allowed)
}

/// Whether base64 or base64url follows the first hyphen of a nonce or hash.
fn is_base64(source: &str) -> bool {
    let value = source.split_once('-').map_or("", |(_, value)| value).trim_end_matches('=');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
    !value.is_empty() && value.bytes().all(allowed)
}

/// Whether a source is a nonce or a hash, beside which `'unsafe-inline'` has no meaning.
pub(super) fn is_nonce_or_hash(source: &str) -> bool {
    let inner = source.strip_prefix('\'').unwrap_or_default().to_ascii_lowercase();
    inner == "nonce'" || PREFIXES.iter().any(|prefix| inner.starts_with(prefix))
}

/// What in a list probably does not mean what its author thinks: which source, and why.
pub(super) fn doubts(sources: &[&str]) -> Vec<(usize, &'static str)> {
    let strict = |source: &&str| is_nonce_or_hash(source);
    let has = |wanted: &str| sources.iter().any(|source| source.eq_ignore_ascii_case(wanted));
    let is_place = |source: &&str| !source.starts_with('\'');
    let mut doubts = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let others = || sources.iter().enumerate().filter(move |(other, _)| *other != index);
        let doubt = match source.to_ascii_lowercase().as_str() {
            "*" if others().any(|(_, other)| is_place(other) || *other == "'self'") => {
                "`*` allows every host, so that the others beside it say nothing: remove it"
            }
            "https:" if others().any(|(_, other)| other.starts_with("https://")) => {
                "`https:` allows every host, so that those named beside it say nothing: remove it"
            }
            "'unsafe-inline'" if sources.iter().any(strict) => {
                "browsers ignore `'unsafe-inline'` beside a nonce or a hash: remove it"
            }
            "'unsafe-inline'" if has("'strict-dynamic'") => {
                "browsers ignore `'unsafe-inline'` beside `'strict-dynamic'`: remove it"
            }
            "'strict-dynamic'" if !sources.iter().any(strict) => {
                "`'strict-dynamic'` trusts what a nonce or a hash has loaded, and there is none"
            }
            _ => continue,
        };
        doubts.push((index, doubt));
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_what_browsers_read_as_such() {
        for good in [
            "*",
            "https:",
            "data:",
            "a.example",
            "*.a.example",
            "localhost:3000",
            "https://*.a.example:*/js/",
            "wss://a.example",
            "'self'",
            "'nonce'",
            "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "self",
            "'selv'",
            "'nonce-abc'",
            "nonce-abc",
            "https://a.example/*",
            "https://a.example/x?y",
            "https://[::1]",
            "a.*.example",
            "*a.example",
            "https://a.example:http",
            "1:",
            "://a",
            "'self",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_that_contradict_themselves_are_doubted() {
        for (sources, doubted) in [
            (&["'self'", "https://a.example"][..], &[][..]),
            (&["*"], &[]),
            (&["*", "data:"], &[0]),
            (&["'self'", "*"], &[1]),
            (&["https:", "https://a.example"], &[0]),
            (&["'self'", "https:", "'unsafe-inline'"], &[]),
            (&["'unsafe-inline'", "'sha256-YQ=='"], &[0]),
            (&["'strict-dynamic'", "'sha256-YQ=='"], &[]),
            (&["'strict-dynamic'", "'unsafe-inline'"], &[0, 1]),
        ] {
            let found: Vec<_> = doubts(sources).into_iter().map(|(index, _)| index).collect();
            assert_eq!(found, doubted, "{sources:?}");
        }
    }
}

//! Scripts of other sites: over TLS, and with the hash of what they are meant to be (Subresource
//! Integrity).

use std::net::IpAddr;

use http::Uri;

use super::Finding;
use super::page::{Page, Script};

/// Where a script comes from.
enum Origin {
    /// The page's own, or another host of its site.
    Own,
    /// Another site's, over https.
    Foreign,
    /// Over plain HTTP, or over whatever the page came by.
    Insecure,
}

impl Origin {
    fn of(src: &str, host: &str) -> Self {
        if src.starts_with("//") {
            return Self::Insecure;
        }
        let Ok(url) = src.parse::<Uri>() else { return Self::Own };
        match url.scheme_str() {
            Some("http" | "https") if site(url.host().unwrap_or_default()) == site(host) => {
                Self::Own
            }
            Some("https") => Self::Foreign,
            Some("http") => Self::Insecure,
            _ => Self::Own,
        }
    }
}

/// The name below a public suffix: `example.co.uk` of `www.example.co.uk`; `None` for an address,
/// and for a name that is none on the internet.
fn site(host: &str) -> Option<&str> {
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let domain = if is_address { None } else { psl::domain_str(host) };
    domain.filter(|domain| domain.contains('.'))
}

/// The worst script decides.
pub(super) fn judge(page: &Page, host: &str) -> Finding {
    let test = "subresource-integrity";
    if !page.is_html {
        return Finding::good(test, "sri-not-implemented-response-not-html", 0, "this is no page");
    }
    if page.scripts.is_empty() {
        let result = "sri-not-implemented-but-no-scripts-loaded";
        return Finding::good(test, result, 0, "no scripts");
    }
    let (mut foreign, mut own_hashed) = (false, false);
    let mut worst = None;
    for Script { src, hashed } in &page.scripts {
        let Some(src) = src else { continue };
        // In the Observatory's order, which is not that of the scores.
        let fault = match (Origin::of(src, host), hashed) {
            (Origin::Own, hashed) => {
                own_hashed |= hashed;
                continue;
            }
            (Origin::Foreign, true) => None,
            (Origin::Insecure, true) => {
                let result = "sri-implemented-but-external-scripts-not-loaded-securely";
                Some((1, -20, result, src, "is not bound to https"))
            }
            (Origin::Foreign, false) => {
                let result = "sri-not-implemented-but-external-scripts-loaded-securely";
                Some((2, -5, result, src, "is loaded without a hash"))
            }
            (Origin::Insecure, false) => {
                let result = "sri-not-implemented-and-external-scripts-not-loaded-securely";
                Some((3, -50, result, src, "is not bound to https, and loaded without a hash"))
            }
        };
        foreign = true;
        worst = worst.max(fault);
    }
    if let Some((_, score, result, src, what)) = worst {
        let found = format!("{} {what}", src.chars().take(80).collect::<String>());
        let remedy = "not in gatehouse.toml: give the tag in the page https:// and `integrity`";
        return Finding::bad(test, result, score, found, remedy);
    }
    let (result, score, found) = match (foreign, own_hashed) {
        (_, true) => {
            let result = "sri-implemented-and-all-scripts-loaded-securely";
            (result, 5, "scripts have hashes")
        }
        (true, false) => {
            let result = "sri-implemented-and-external-scripts-loaded-securely";
            (result, 5, "scripts of other sites have hashes")
        }
        (false, false) => {
            let result = "sri-not-implemented-but-all-scripts-loaded-from-secure-origin";
            (result, 0, "all scripts are the site's own")
        }
    };
    Finding::good(test, result, score, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(scripts: &[(&str, bool)]) -> i32 {
        let script = |(src, hashed): &(&str, bool)| Script {
            src: (!src.is_empty()).then(|| (*src).to_owned()),
            hashed: *hashed,
        };
        let scripts = scripts.iter().map(script).collect();
        judge(&Page { is_html: true, scripts, ..Page::default() }, "www.example.co.uk").score
    }

    #[test]
    fn scripts_of_others_need_a_hash() {
        assert_eq!(score(&[]), 0);
        assert_eq!(score(&[("/own.js", false), ("", false)]), 0);
        assert_eq!(score(&[("/own.js", true)]), 5);
        assert_eq!(score(&[("https://cdn.example/a.js", false)]), -5);
        assert_eq!(score(&[("https://cdn.example/a.js", true)]), 5);
        assert_eq!(score(&[("//cdn.example/a.js", true)]), -20);
        assert_eq!(score(&[("https://cdn.example/a.js", true), ("http://b.example/", false)]), -50);
        assert_eq!(score(&[("https://a.example/", false), ("https://b.example/", true)]), -5);
    }

    #[test]
    fn the_hosts_of_one_site_are_its_own() {
        assert_eq!(score(&[("https://static.example.co.uk/a.js", false)]), 0);
        assert_eq!(score(&[("https://other.co.uk/a.js", false)]), -5, "`co.uk` is everybody's");
        assert_eq!(site("localhost"), None);
        assert_eq!(site("127.0.0.1"), None);
    }
}

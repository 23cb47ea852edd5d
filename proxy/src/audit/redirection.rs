//! From plain HTTP to https: the first hop must stay on the host, or HSTS never reaches it.

use http::{Uri, header};

use super::Finding;
use super::visit::Visitor;

/// Hops that are followed.
const HOPS: usize = 10;

/// Where plain HTTP leads: every URL that was asked for or named, in order.
#[derive(Debug)]
pub(super) enum Way {
    /// Nobody listens, or nobody said where.
    NoHttp,
    Hops(Vec<Uri>),
}

/// Follows the redirects of the host's plain HTTP until they end or reach https.
pub(super) async fn follow(visitor: &Visitor, url: &Uri, port: Option<u16>) -> Way {
    let (Some(port), Some(host)) = (port, url.host()) else { return Way::NoHttp };
    let authority = if port == 80 { host.to_owned() } else { format!("{host}:{port}") };
    let Ok(first) = format!("http://{authority}/").parse::<Uri>() else { return Way::NoHttp };
    let mut hops = vec![first];
    while let Some(here) = hops.last()
        && hops.len() <= HOPS
        && here.scheme_str() == Some("http")
    {
        let Ok(response) = visitor.plain(here).await else {
            return if hops.len() == 1 { Way::NoHttp } else { Way::Hops(hops) };
        };
        let there = response.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let Some(next) = there.and_then(|there| resolve(here, there)) else { break };
        if !response.status.is_redirection() {
            break;
        }
        hops.push(next);
    }
    Way::Hops(hops)
}

/// A `Location` (RFC 9110, 10.2.2), if it is a URL of http or https.
fn resolve(here: &Uri, there: &str) -> Option<Uri> {
    let there = match there.strip_prefix("//") {
        Some(rest) => format!("{}://{rest}", here.scheme_str()?),
        None if there.starts_with('/') => {
            format!("{}://{}{there}", here.scheme_str()?, here.authority()?)
        }
        None => there.to_owned(),
    };
    there.parse().ok().filter(|uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")))
}

pub(super) fn judge(way: &Way) -> Finding {
    let test = "redirection";
    let remedy = "redirect_http = true of the site, which is the default";
    let hops = match way {
        Way::NoHttp => {
            let found = "there is no plain HTTP to redirect";
            return Finding::good(test, "redirection-not-needed-no-http", 0, found);
        }
        Way::Hops(hops) => hops.as_slice(),
    };
    let is_secure = |uri: &Uri| uri.scheme_str() == Some("https");
    let bad = |result, score, found| Finding::bad(test, result, score, found, remedy);
    match hops {
        [] | [_] => bad("redirection-missing", -20, "plain HTTP is served"),
        [.., last] if !is_secure(last) => {
            bad("redirection-not-to-https", -20, "redirects never reach https")
        }
        [_, first, ..] if !is_secure(first) => {
            let found = "the first redirect is to plain HTTP again";
            bad("redirection-not-to-https-on-initial-redirection", -10, found)
        }
        [start, first, ..] if start.host() != first.host() => {
            let found = "the first redirect leaves the host, which then never sends HSTS";
            bad("redirection-off-host-from-http", -5, found)
        }
        _ => Finding::good(test, "redirection-to-https", 0, "to https on the same host"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(hops: &[&str]) -> (&'static str, i32) {
        let hops = hops.iter().map(|hop| hop.parse().unwrap()).collect();
        let finding = judge(&Way::Hops(hops));
        (finding.result, finding.score)
    }

    #[test]
    fn ways_are_judged_by_their_first_hop_and_their_end() {
        assert_eq!(judge(&Way::NoHttp).result, "redirection-not-needed-no-http");
        assert_eq!(result(&["http://a/"]), ("redirection-missing", -20));
        assert_eq!(result(&["http://a/", "http://b/"]), ("redirection-not-to-https", -20));
        let late = result(&["http://a/", "http://www.a/", "https://www.a/"]);
        assert_eq!(late, ("redirection-not-to-https-on-initial-redirection", -10));
        let away = result(&["http://a/", "https://www.a/"]);
        assert_eq!(away, ("redirection-off-host-from-http", -5));
        assert_eq!(result(&["http://a/", "https://a/"]), ("redirection-to-https", 0));
    }

    #[test]
    fn locations_are_resolved() {
        let here = "http://a:8080/x".parse().unwrap();
        let to = |there| resolve(&here, there).map(|uri| uri.to_string());
        assert_eq!(to("/y").as_deref(), Some("http://a:8080/y"));
        assert_eq!(to("//b/y").as_deref(), Some("http://b/y"));
        assert_eq!(to("https://a/").as_deref(), Some("https://a/"));
        assert_eq!(to("javascript:x"), None);
    }
}

//! From plain HTTP to https: the first hop must stay on the host, or HSTS never reaches it.

use http::Uri;

use super::Finding;

/// Where plain HTTP leads, and whether each certificate on the way is to be trusted; `None` if
/// nobody listens, or nobody said where.
pub(super) fn judge(plain: Option<(&[Uri], bool)>) -> Finding {
    let test = "redirection";
    let Some((hops, trusted)) = plain else {
        let found = "there is no plain HTTP to redirect";
        return Finding::good(test, "redirection-not-needed-no-http", 0, found);
    };
    let remedy = "redirect_http = true of the site, which is the default";
    let is_secure = |uri: &Uri| uri.scheme_str() == Some("https");
    let bad = |result, score, found| Finding::bad(test, result, score, found, remedy);
    match hops {
        _ if !trusted => {
            let (result, found) =
                ("redirection-invalid-cert", "it leads to a certificate that is not trusted");
            let remedy = "issuer = \"acme\" of the site, or its own under [[tls.certificate]]";
            Finding::bad(test, result, -20, found, remedy)
        }
        [] | [_] => bad("redirection-missing", -20, "plain HTTP is served"),
        [.., last] if !is_secure(last) => {
            bad("redirection-not-to-https", -20, "redirects do not end at https")
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
        let hops: Vec<Uri> = hops.iter().map(|hop| hop.parse().unwrap()).collect();
        let finding = judge(Some((&hops, true)));
        (finding.result, finding.score)
    }

    #[test]
    fn ways_are_judged_by_their_first_hop_and_their_end() {
        assert_eq!(judge(None).result, "redirection-not-needed-no-http");
        assert_eq!(judge(Some((&[], false))).score, -20);
        assert_eq!(result(&["http://a/"]), ("redirection-missing", -20));
        assert_eq!(result(&["http://a/", "http://b/"]), ("redirection-not-to-https", -20));
        let back = result(&["http://a/", "https://a/", "http://a/x"]);
        assert_eq!(back, ("redirection-not-to-https", -20));
        let late = result(&["http://a/", "http://www.a/", "https://www.a/"]);
        assert_eq!(late, ("redirection-not-to-https-on-initial-redirection", -10));
        let away = result(&["http://a/", "https://www.a/"]);
        assert_eq!(away, ("redirection-off-host-from-http", -5));
        assert_eq!(result(&["http://a/", "https://a/"]), ("redirection-to-https", 0));
    }
}

//! Headers that tell of the software behind: `headers_remove.json` of the OWASP Secure Headers
//! Project, and those of Kong and DataPower that a later edition has.

use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;

/// In the order of their bytes, to be searched by halves.
const NAMES: [&str; 72] = [
    "$wsep",
    "host-header",
    "k-proxy-request",
    "liferay-portal",
    "oraclecommercecloud-version",
    "pega-host",
    "powered-by",
    "product",
    "server",
    "sourcemap",
    "x-aspnet-version",
    "x-aspnetmvc-version",
    "x-atmosphere-error",
    "x-atmosphere-first-request",
    "x-atmosphere-tracking-id",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-backside-transport",
    "x-beserver",
    "x-calculatedbetarget",
    "x-cf-powered-by",
    "x-cms",
    "x-cocoon-version",
    "x-content-encoded-by",
    "x-diaginfo",
    "x-dtagentid",
    "x-dthealthcheck",
    "x-dtinjectedservlet",
    "x-envoy-attempt-count",
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-envoy-original-dst-host",
    "x-envoy-upstream-service-time",
    "x-feserver",
    "x-framework",
    "x-generated-by",
    "x-generator",
    "x-jitsi-release",
    "x-kong-proxy-latency",
    "x-kong-request-id",
    "x-kong-upstream-latency",
    "x-kubernetes-pf-flowschema-ui",
    "x-kubernetes-pf-prioritylevel-uid",
    "x-litespeed-cache",
    "x-litespeed-cache-control",
    "x-litespeed-purge",
    "x-litespeed-tag",
    "x-litespeed-vary",
    "x-mod-pagespeed",
    "x-nextjs-cache",
    "x-nextjs-matched-path",
    "x-nextjs-page",
    "x-nextjs-redirect",
    "x-old-content-length",
    "x-oneagent-js-injection",
    "x-owa-version",
    "x-page-speed",
    "x-php-version",
    "x-powered-by",
    "x-powered-by-plesk",
    "x-powered-cms",
    "x-redirect-by",
    "x-ruxit-js-agent",
    "x-server-powered-by",
    "x-sourcefiles",
    "x-sourcemap",
    "x-turbo-charged-by",
    "x-umbraco-version",
    "x-varnish-backend",
    "x-varnish-server",
];

/// Whether a header is one of them.
pub(crate) fn discloses(name: &str) -> bool {
    NAMES.binary_search(&name).is_ok()
}

/// Removes them. A response has fewer fields than the list has names, so its fields are looked up.
pub(super) fn apply(headers: &mut HeaderMap) {
    let listed = headers.keys().filter(|name| discloses(name.as_str()));
    let listed: SmallVec<[HeaderName; 4]> = listed.cloned().collect();
    for name in &listed {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_discloses_goes_and_the_rest_stays() {
        assert!(NAMES.is_sorted(), "the search goes by halves");
        let mut headers = HeaderMap::new();
        for name in NAMES.into_iter().chain(["content-type", "x-request-id", "set-cookie"]) {
            headers.insert(HeaderName::from_static(name), "x".parse().unwrap());
        }
        apply(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-type", "set-cookie", "x-request-id"]);
    }
}

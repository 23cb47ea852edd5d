//! Which host a request names.

use super::*;

#[test]
fn hosts_are_normalised_or_refused() {
    for (raw, name) in [
        ("localhost", "localhost"),
        ("LocalHost:8443", "localhost"),
        ("example.com.", "example.com"),
        ("127.0.0.1:8443", "127.0.0.1"),
        ("[::1]:8443", "::1"),
        ("[0:0::1]", "::1"),
        ("example.com:", "example.com"),
    ] {
        assert_eq!(normalise(raw.as_bytes()).as_deref(), Some(name), "{raw}");
    }
    for raw in [
        "",
        "a b",
        "a/../x",
        "user@host",
        "host:99999",
        "host:x",
        "a..b",
        ".a",
        "[::1",
        "[x]",
        "::1",
        "a,b",
    ] {
        assert_eq!(normalise(raw.as_bytes()), None, "{raw}");
    }
}

fn request(uri: &str, hosts: &[&str], version: Version) -> Parts {
    let mut request = http::Request::builder().uri(uri).version(version);
    for host in hosts {
        request = request.header(header::HOST, *host);
    }
    request.body(()).unwrap().into_parts().0
}

#[test]
fn a_request_names_exactly_one_host() {
    let v1 = Version::HTTP_11;
    let a = Some(&b"a"[..]);
    assert_eq!(raw_host(&request("/", &["a"], v1)).unwrap(), a);
    assert_eq!(raw_host(&request("http://a/", &["A"], v1)).unwrap(), a);
    assert_eq!(raw_host(&request("https://a/", &[], Version::HTTP_2)).unwrap(), a);
    assert_eq!(raw_host(&request("/", &[], v1)).unwrap(), None);
    assert!(raw_host(&request("/", &["a", "a"], v1)).is_err());
    assert_eq!(raw_host(&request("http://a/", &["a:80"], v1)).unwrap(), a);
    assert_eq!(raw_host(&request("https://a/", &["a:443"], v1)).unwrap(), a);
    assert_eq!(raw_host(&request("https://a/", &["a:"], v1)).unwrap(), a);
    let ported =
        raw_host(&request("https://[::1]:443/", &["[::1]"], v1)).unwrap().map(<[u8]>::to_vec);
    assert_eq!(ported.as_deref(), Some(&b"[::1]:443"[..]));
    assert!(raw_host(&request("https://a/", &["a:80"], v1)).is_err());
    assert!(raw_host(&request("http://a:443/", &["a"], v1)).is_err());
    assert!(raw_host(&request("a:443", &["a"], v1)).is_err(), "without a scheme");
    assert!(raw_host(&request("http://a/", &["b"], v1)).is_err());
    assert!(raw_host(&request("https://a/", &["b"], Version::HTTP_2)).is_err());
    assert_eq!(raw_host(&request("/", &["a"], Version::HTTP_2)).unwrap(), a);
}

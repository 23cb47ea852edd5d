//! Host confusion: none, two, malformed, or one that something else in the request contradicts (RFC
//! 9112, 3.2; RFC 9113, 8.3.1; RFC 9110, 7.4).

use http::Method;
use http_body_util::Full;

use crate::harness::{TestProxy, TestUpstream};

#[tokio::test]
async fn a_request_names_exactly_one_valid_host() {
    let upstream = TestUpstream::recording().await;
    let proxy = TestProxy::start(&upstream, "");
    for (target, hosts) in [
        ("/", ""),
        ("/", "Host: localhost\r\nHost: localhost\r\n"),
        ("/", "Host: localhost\r\nHost: 127.0.0.1\r\n"),
        ("/", "Host:\r\n"),
        ("/", "Host: localhost, evil\r\n"),
        ("/", "Host: localhost/../x\r\n"),
        ("/", "Host: local host\r\n"),
        ("/", "Host: user@localhost\r\n"),
        ("/", "Host: localhost:99999\r\n"),
        ("/", "Host: localhost:80:80\r\n"),
        ("/", "Host: [::1\r\n"),
        ("https://127.0.0.1/", "Host: localhost\r\n"),
        ("https://localhost:80/", "Host: localhost\r\n"),
        ("https://localhost/", "Host: localhost:80\r\n"),
        ("https://user@localhost/", "Host: localhost\r\n"),
    ] {
        let mut raw = proxy.raw().await;
        raw.write(format!("GET {target} HTTP/1.1\r\n{hosts}\r\n").as_bytes()).await;
        let answer = raw.read_head().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target} {hosts:?}: {answer}");
    }
    assert_eq!(upstream.bytes(), "");
    for record in proxy.finish().await {
        assert_eq!(record["reason"], "host_invalid", "{record}");
    }
}

#[tokio::test]
async fn the_absolute_form_never_chooses_the_upstream() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut raw = proxy.raw().await;
    raw.write(b"GET https://localhost/a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 200 "));
    let seen = upstream.only();
    assert_eq!(
        (seen.uri.to_string(), &seen.headers["host"]),
        ("/a".into(), &"localhost".parse().unwrap())
    );
    let mut raw = proxy.raw().await;
    raw.write(b"GET https://169.254.169.254/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n").await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 421 "));
    proxy.finish().await;
}

#[tokio::test]
async fn over_http_2_host_and_authority_agree() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut client = proxy.client_h2().await;
    for host in ["127.0.0.1", "evil.example", "localhost:80"] {
        let request = client.request(Method::GET, "/").header("host", host);
        assert_eq!(client.send(request.body(Full::default()).unwrap()).await.status, 400, "{host}");
    }
    assert!(upstream.seen().is_empty());
    proxy.finish().await;
}

#[tokio::test]
async fn the_default_port_makes_no_difference() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    for (authority, host) in [("localhost:443", "localhost"), ("LOCALHOST", "localhost:443")] {
        let request = http::Request::get(format!("https://{authority}/")).header("host", host);
        let request = request.body(Full::default()).unwrap();
        for mut client in [proxy.client().await, proxy.client_h2().await] {
            assert_eq!(client.send(request.clone()).await.status, 200, "{authority} {host}");
        }
    }
    let mut plain = proxy.client_plain().await;
    let request = http::Request::get("http://localhost:80/").header("host", "localhost");
    assert_eq!(plain.send(request.body(Full::default()).unwrap()).await.status, 308);
    assert_eq!(upstream.seen()[0].headers["host"], "localhost:443", "as the target has it");
    proxy.finish().await;
}

/// RFC 9110, 7.4; over HTTP/2 see [`crate::http2_framing`].
#[tokio::test]
async fn the_absolute_form_has_the_scheme_that_the_request_came_by() {
    let upstream = TestUpstream::start().await;
    let trusted = "[client]\ntrusted_proxies = [\"127.0.0.1\"]";
    let proxy = TestProxy::start_with(&upstream, trusted, "");
    let get = |scheme: &str, proto: &str| {
        let request = http::Request::get(format!("{scheme}://localhost/"));
        let request = request.header("host", "localhost").header("x-forwarded-proto", proto);
        request.body(Full::default()).unwrap()
    };
    for (scheme, status) in [("https", 200), ("http", 400), ("ftp", 400)] {
        let mut client = proxy.client().await;
        assert_eq!(client.send(get(scheme, "https")).await.status, status, "{scheme}");
    }
    for (scheme, proto, status) in [
        ("http", "http", 308),
        ("https", "http", 400),
        ("ftp", "http", 400),
        // A trusted proxy has ended the TLS.
        ("https", "https", 200),
        ("http", "https", 400),
    ] {
        let mut client = proxy.client_plain().await;
        assert_eq!(client.send(get(scheme, proto)).await.status, status, "{scheme} {proto}");
    }
    let records = proxy.finish().await;
    assert_eq!(records.iter().filter(|record| record["reason"] == "malformed").count(), 5);
}

#[tokio::test]
async fn http_1_0_need_not_name_a_host() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut raw = proxy.raw().await;
    raw.write(b"GET /old HTTP/1.0\r\n\r\n").await;
    let answer = String::from_utf8(raw.read_to_end().await.unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 ") || answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("GET /old"), "{answer}");
    assert_eq!(upstream.only().headers["host"], "localhost");
    proxy.finish().await;
}

#[tokio::test]
async fn a_connection_serves_the_site_that_it_was_made_to() {
    let upstream = TestUpstream::start().await;
    let other = format!(
        "[[site]]\nhosts = [\"other.example\"]\nissuer = \"internal\"\nupstream = \"http://{}\"",
        upstream.address
    );
    let proxy = TestProxy::start(&upstream, &other);
    // The client asks for `localhost` in its handshake.
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        let request = match client.is_h2() {
            true => http::Request::get("https://other.example/"),
            false => http::Request::get("/").header("host", "other.example"),
        };
        let reply = client.send(request.body(Full::default()).unwrap()).await;
        assert_eq!((reply.status.as_u16(), &reply.problem()["status"]), (421, &421.into()));
        // Another host of the same site is no other site.
        let request = match client.is_h2() {
            true => http::Request::get("https://127.0.0.1/"),
            false => http::Request::get("/").header("host", "127.0.0.1"),
        };
        assert_eq!(client.send(request.body(Full::default()).unwrap()).await.status, 200);
    }
    let records = proxy.finish().await;
    assert_eq!(records.iter().filter(|r| r["reason"] == "host_misdirected").count(), 2);
}

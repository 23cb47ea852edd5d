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
        ("http://127.0.0.1/", "Host: localhost\r\n"),
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
    raw.write(b"GET http://localhost/a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 200 "));
    let seen = upstream.only();
    assert_eq!(
        (seen.uri.to_string(), &seen.headers["host"]),
        ("/a".into(), &"localhost".parse().unwrap())
    );
    let mut raw = proxy.raw().await;
    raw.write(b"GET http://169.254.169.254/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n").await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 421 "));
    proxy.finish().await;
}

#[tokio::test]
async fn over_http_2_host_and_authority_agree() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut client = proxy.client_h2().await;
    for host in ["127.0.0.1", "evil.example"] {
        let request = client.request(Method::GET, "/").header("host", host);
        assert_eq!(client.send(request.body(Full::default()).unwrap()).await.status, 400, "{host}");
    }
    assert!(upstream.seen().is_empty());
    proxy.finish().await;
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

//! Switches of protocol that nobody may make: CONNECT, h2c, unknown upgrades (RFC 9110, 7.8 and
//! 9.3.6).

use http::Request;
use http_body_util::Full;

use crate::harness::{TestProxy, TestUpstream};

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn connect_and_trace_are_refused_and_the_connection_closed() {
    let upstream = TestUpstream::recording().await;
    let proxy = TestProxy::start(&upstream, "");
    for head in [
        "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n",
        "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254:80\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut raw = proxy.raw().await;
        raw.write(format!("{head}{HIDDEN}").as_bytes()).await;
        let answers = String::from_utf8(raw.read_to_end().await.unwrap()).unwrap();
        assert!(answers.starts_with("HTTP/1.1 405 "), "{head}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{head}: {answers}");
    }
    let connect = Request::connect("localhost:443").body(Full::default()).unwrap();
    assert_eq!(proxy.client_h2().await.send(connect).await.status, 405);
    assert_eq!(upstream.bytes(), "");
    for record in proxy.finish().await {
        assert_eq!(record["reason"], "method_refused", "{record}");
    }
}

#[tokio::test]
async fn upgrades_are_not_passed_on() {
    for upgrade in [
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\
         Connection: Upgrade, HTTP2-Settings\r\n",
        "Upgrade: TLS/1.0\r\nConnection: upgrade\r\n",
        "Upgrade: anything\r\n",
    ] {
        let upstream = TestUpstream::start().await;
        let proxy = TestProxy::start(&upstream, "");
        let mut raw = proxy.raw().await;
        let head = format!("GET /first HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n");
        raw.write(head.as_bytes()).await;
        assert!(raw.read_head().await.starts_with("HTTP/1.1 200 "), "{upgrade:?}");
        let seen = upstream.only().headers;
        for name in ["upgrade", "connection", "http2-settings"] {
            assert!(!seen.contains_key(name), "{upgrade:?}: {seen:#?}");
        }
        proxy.finish().await;
    }
}

#[tokio::test]
async fn an_upstream_cannot_switch_protocols_that_nobody_asked_for() {
    let upstream = TestUpstream::raw(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nbytes",
    )
    .await;
    let proxy = TestProxy::start(&upstream, "");
    let mut raw = proxy.raw().await;
    raw.write(format!("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n{HIDDEN}").as_bytes()).await;
    let answer = raw.read_head().await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    proxy.finish().await;
}

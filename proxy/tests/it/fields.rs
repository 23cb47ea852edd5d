//! Header fields that would mean to the upstream what they must not (CWE-290, CWE-444): aliases,
//! hop-by-hop fields, trailers, expectations.

use http::Method;
use http_body_util::Full;

use crate::harness::{TestProxy, TestUpstream};

#[tokio::test]
async fn names_that_could_pass_for_others_are_dropped_and_counted() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let names = ["X_Forwarded_For", "X.Real.IP", "Remote_User", "remote.user", "x!y", "a_b", "x~z"];
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        let request = client.request(Method::GET, "/").header("x-plain-1", "kept");
        let request = names.iter().fold(request, |request, name| request.header(*name, "evil"));
        assert_eq!(client.send(request.body(Full::default()).unwrap()).await.status, 200);
    }
    for seen in upstream.seen() {
        assert!(!seen.headers.values().any(|value| value == "evil"), "{:#?}", seen.headers);
        assert_eq!(seen.headers["x-plain-1"], "kept");
    }
    assert_eq!(proxy.metric("fields_dropped_total").await, 14);
    proxy.finish().await;
}

#[tokio::test]
async fn a_connection_option_removes_nothing_that_gatehouse_sets() {
    let upstream = TestUpstream::recording().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut raw = proxy.raw().await;
    raw.write(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: X-Forwarded-For, X-Real-IP, Host, \
          X-Request-Id, Forwarded, Authorization, X-Gone\r\nX-Real-IP: 203.0.113.9\r\n\
          X-Gone: gone\r\nAuthorization: Basic kept\r\n\r\n",
    )
    .await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 200 "));
    let bytes = upstream.bytes().to_ascii_lowercase();
    for kept in
        ["x-forwarded-for: 127.0.0.1\r\n", "host: localhost\r\n", "x-request-id: ", "basic kept"]
    {
        assert!(bytes.contains(kept), "{kept}: {bytes}");
    }
    for gone in ["203.0.113.9", "x-gone", "connection:"] {
        assert!(!bytes.contains(gone), "{gone}: {bytes}");
    }
    proxy.finish().await;
}

#[tokio::test]
async fn trailers_do_not_become_fields() {
    let upstream = TestUpstream::recording().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut raw = proxy.raw().await;
    raw.write(
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nTrailer: X-Forwarded-For\r\n\
          Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Forwarded-For: 203.0.113.9\r\n\
          Content-Length: 5\r\n\r\n",
    )
    .await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 200 "));
    let bytes = upstream.bytes().to_ascii_lowercase();
    assert!(!bytes.contains("203.0.113.9") && !bytes.contains("content-length"), "{bytes}");
    assert!(!bytes.contains("\r\ntrailer:"), "{bytes}");
    proxy.finish().await;
}

#[tokio::test]
async fn only_one_expectation_is_served() {
    let upstream = TestUpstream::recording().await;
    let proxy = TestProxy::start(&upstream, "");
    for expect in ["y 100-continue", "100-continue, y", "200-ok", ""] {
        let mut raw = proxy.raw().await;
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n";
        raw.write(format!("{head}Expect: {expect}\r\n\r\n").as_bytes()).await;
        let answer = raw.read_head().await;
        assert!(answer.starts_with("HTTP/1.1 417 "), "{expect:?}: {answer}");
    }
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        let request = client.request(Method::GET, "/").header("expect", "nonsense");
        assert_eq!(client.send(request.body(Full::default()).unwrap()).await.status, 417);
    }
    assert_eq!(upstream.bytes(), "");
    proxy.finish().await;
}

#[tokio::test]
async fn nothing_of_a_request_splits_a_response() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let path = "/%0d%0aX-Evil:%20yes?%0d%0aX-Evil:%20yes";
    for mut client in [proxy.client().await, proxy.client_h2().await, proxy.client_plain().await] {
        let reply = client.get(path).await;
        assert!(!reply.headers.contains_key("x-evil"), "{:#?}", reply.headers);
        assert!(matches!(reply.status.as_u16(), 400 | 308), "{}", reply.status);
    }
    proxy.finish().await;
}

//! Trailer fields (RFC 9110, 6.5): those that may pass do, to whoever takes them; none of them
//! becomes a field.

use std::time::Duration;

use http::Method;
use http_body_util::{BodyExt as _, Full};

use crate::harness::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, field, frame, request,
};
use crate::harness::{TestProxy, TestUpstream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nTrailer: X-Checksum, Content-Length, Set-Cookie\r\n\
    Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Checksum: abc\r\nContent-Length: 9\r\n\
    Set-Cookie: evil=1\r\nX_Forwarded_For: 203.0.113.9\r\nConnection: x\r\n\r\n";

#[tokio::test]
async fn trailers_of_a_response_reach_a_client_that_takes_them() {
    let upstream = TestUpstream::raw(ANSWER).await;
    let proxy = TestProxy::start(&upstream, "");
    for (te, expected) in [("trailers", Some("abc")), ("deflate", None)] {
        for mut client in [proxy.client().await, proxy.client_h2().await] {
            if te == "deflate" && client.is_h2() {
                continue; // HTTP/2 knows no other (RFC 9113, 8.2.2)
            }
            let get = client.request(Method::GET, "/").header("te", te);
            let response = client.begin(get.body(Full::default()).unwrap()).await.unwrap();
            assert_eq!(response.headers()["trailer"], "x-checksum");
            let body = response.into_body().collect().await.unwrap();
            let trailers = body.trailers().cloned().unwrap_or_default();
            let found = trailers.get("x-checksum").map(|value| value.to_str().unwrap());
            assert_eq!((found, trailers.len()), (expected, usize::from(expected.is_some())));
            assert_eq!(body.to_bytes(), "ok");
        }
    }
    let mut client = proxy.client_h2().await;
    let get = client.request(Method::GET, "/").body(Full::default()).unwrap();
    let body = client.begin(get).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers(), None, "it was not asked for");
    let records = proxy.finish().await;
    assert!(records.iter().all(|record| record.get("aborted").is_none()), "{records:#?}");
}

#[tokio::test]
async fn a_response_with_trailers_leaves_its_link_and_its_connection_in_order() {
    let upstream = TestUpstream::repeating(ANSWER).await;
    let proxy = TestProxy::start(&upstream, "");
    let mut raw = proxy.raw().await;
    for _ in 0..3 {
        raw.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: te\r\n\r\n")
            .await;
        let head = raw.read_head().await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("\r\ntrailer: x-checksum\r\n"));
        let body = "2\r\nok\r\n0\r\nx-checksum: abc\r\n\r\n";
        assert_eq!(raw.read_exactly(body.len()).await, body.as_bytes());
        raw.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        raw.read_head().await;
        let body = "2\r\nok\r\n0\r\n\r\n";
        assert_eq!(raw.read_exactly(body.len()).await, body.as_bytes());
    }
    assert_eq!(upstream.connections(), 1);
    proxy.finish().await;
}

/// Waits until the upstream has been sent all of `text`.
async fn arrived(upstream: &TestUpstream, text: &str) -> String {
    let arrives = async {
        loop {
            let bytes = upstream.bytes().to_ascii_lowercase();
            if bytes.contains(text) {
                return bytes;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(10), arrives).await {
        Ok(bytes) => bytes,
        Err(_) => panic!("{}", upstream.bytes()),
    }
}

#[tokio::test]
async fn trailers_of_a_request_reach_the_upstream_behind_its_body() {
    let upstream = TestUpstream::recording().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut raw = proxy.raw().await;
    raw.write(
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: te\r\n\
          Trailer: X-Checksum, X-Forwarded-For, Authorization\r\nTransfer-Encoding: chunked\r\n\r\n\
          2\r\nok\r\n0\r\nX-Checksum: abc\r\nX-Forwarded-For: 203.0.113.9\r\n\
          Authorization: Basic evil\r\nContent-Length: 5\r\nX_Forwarded_For: 203.0.113.9\r\n\r\n",
    )
    .await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 200 "));
    let bytes = arrived(&upstream, "2\r\nok\r\n0\r\nx-checksum: abc\r\n\r\n").await;
    assert!(bytes.contains("\r\ntrailer: x-checksum\r\n"), "{bytes}");
    assert!(bytes.contains("\r\nte: trailers\r\n") && bytes.contains("\r\nconnection: te\r\n"));
    for gone in ["203.0.113.9", "content-length", "evil"] {
        assert!(!bytes.contains(gone), "{gone}: {bytes}");
    }
    proxy.finish().await;
}

#[tokio::test]
async fn trailers_of_an_http2_request_reach_the_upstream_if_they_were_named() {
    let upstream = TestUpstream::recording().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut frames = Frames::connect(&proxy, b"").await;
    let named = [request("POST", "/"), field("trailer", "x-checksum")].concat();
    let trailers = [field("x-checksum", "abc"), field("content-type", "evil/yes")].concat();
    for (stream, head) in [(1, named), (3, request("POST", "/"))] {
        let bytes = [
            frame(HEADERS, END_HEADERS, stream, &head),
            frame(DATA, 0, stream, b"ok"),
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers),
        ];
        assert!(frames.write(&bytes.concat()).await);
        while !matches!(frames.next().await.unwrap(), (HEADERS, id, _) if id == stream) {}
    }
    let bytes = arrived(&upstream, "2\r\nok\r\n0\r\nx-checksum: abc\r\n\r\n").await;
    assert!(!bytes.contains("evil") && bytes.matches("x-checksum: abc").count() == 1, "{bytes}");
    arrived(&upstream, "2\r\nok\r\n0\r\n\r\n").await;
    proxy.finish().await;
}

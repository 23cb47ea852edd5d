//! The meaning of messages (RFC 9110): responses without bodies, ranges and conditions, clients of
//! HTTP/1.0, streams of events, and answers that come before the request is over.

use std::time::Duration;

use http::Method;
use http_body_util::{BodyExt as _, Full};

use crate::harness::http2::Act;
use crate::harness::{TestProxy, TestUpstream};

const ALL: &str = "compress = [\"zstd\", \"br\", \"gzip\"]";

/// What follows on the same connection if nothing of the response before it is left.
const NEXT: &[u8] = b"GET /bytes/3 HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn responses_without_a_body_have_none() {
    for (method, answer, status, present, absent) in [
        (
            "HEAD",
            &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"a\"\r\n\r\n"[..],
            "200 OK",
            "content-length: 10\r\n",
            "transfer-encoding",
        ),
        (
            "HEAD",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"a\"\r\n\r\n",
            "200 OK",
            "etag: \"a\"\r\n",
            "content-length",
        ),
        (
            "GET",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nETag: \"a\"\r\n\r\n",
            "204 No Content",
            "etag: \"a\"\r\n",
            "content-length",
        ),
        (
            "GET",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nETag: \"a\"\r\n\r\n",
            "304 Not Modified",
            "etag: \"a\"\r\n",
            "transfer-encoding",
        ),
    ] {
        let upstream = TestUpstream::repeating(answer).await;
        let proxy = TestProxy::start(&upstream, ALL);
        let mut raw = proxy.raw().await;
        for turn in 0..3 {
            let request = format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            raw.write(request.as_bytes()).await;
            let head = raw.read_head().await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{turn}: {head}");
            assert!(head.contains(present) && !head.contains(absent), "{absent}: {head}");
        }
        assert_eq!(upstream.connections(), 1, "{status}: the link is in order, too");
        let mut client = proxy.client_h2().await;
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = client.request(method, "/").body(Full::default()).unwrap();
        let reply = client.send(request).await;
        assert!(status.starts_with(reply.status.as_str()) && reply.body.is_empty(), "{reply:?}");
        assert!(!reply.headers.contains_key(absent), "{reply:?}");
        proxy.finish().await;
    }
}

#[tokio::test]
async fn no_content_of_an_upstream_of_http_2_has_no_length() {
    let upstream = TestUpstream::acting(|_, _| Act::Nothing).await;
    let server = format!("[upstream.app]\nservers = [\"h2c://{}\"]", upstream.address);
    let route = "[[site.route]]\npath = \"/{*rest}\"\nupstream = \"app\"";
    let proxy = TestProxy::start_with(&upstream, &server, route);
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        let reply = client.get("/").await;
        assert_eq!((reply.status.as_u16(), reply.header("content-length")), (204, ""));
    }
    proxy.finish().await;
}

#[tokio::test]
async fn ranges_and_conditions_pass_untouched() {
    let answers = [
        "206 Partial Content\r\nContent-Range: bytes 0-4/2000\r\nContent-Type: text/plain\r\n\
         ETag: \"strong\"\r\nAccept-Ranges: bytes\r\nContent-Length: 5\r\n\r\nhello",
        "206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=B\r\n\
         ETag: \"strong\"\r\nAccept-Ranges: bytes\r\nContent-Length: 5\r\n\r\n--B--",
        "416 Range Not Satisfiable\r\nContent-Range: bytes */2000\r\nETag: \"strong\"\r\n\
         Accept-Ranges: bytes\r\nContent-Length: 0\r\n\r\n",
        "304 Not Modified\r\nETag: \"strong\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
         Accept-Ranges: bytes\r\n\r\n",
        "412 Precondition Failed\r\nETag: \"strong\"\r\nAccept-Ranges: bytes\r\n\
         Content-Length: 0\r\n\r\n",
    ];
    let asked = [
        ("range", "bytes=0-4, 10-14"),
        ("if-range", "\"strong\""),
        ("if-match", "\"a\", \"b\""),
        ("if-none-match", "W/\"c\", *"),
        ("if-modified-since", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ("if-unmodified-since", "Tue, 02 Jan 2024 00:00:00 GMT"),
        ("accept-encoding", "zstd, br, gzip"),
    ];
    for answer in answers {
        let answer = format!("HTTP/1.1 {answer}").leak();
        let upstream = TestUpstream::raw(answer.as_bytes()).await;
        let proxy = TestProxy::start(&upstream, ALL);
        for mut client in [proxy.client().await, proxy.client_h2().await] {
            let request = client.request(Method::GET, "/");
            let request = asked.iter().fold(request, |r, (name, value)| r.header(*name, *value));
            let reply = client.send(request.body(Full::default()).unwrap()).await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!(" {} ", reply.status.as_str())), "{reply:?}");
            assert_eq!(reply.body, body);
            for line in head.lines().skip(1) {
                let (name, value) = line.split_once(": ").unwrap();
                assert_eq!(reply.header(&name.to_ascii_lowercase()), value, "{name} of {head}");
            }
            assert_eq!((reply.header("content-encoding"), reply.header("vary")), ("", ""));
        }
        proxy.finish().await;
    }
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, ALL);
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        let request = client.request(Method::GET, "/");
        let request = asked.iter().fold(request, |r, (name, value)| r.header(*name, *value));
        client.send(request.body(Full::default()).unwrap()).await;
    }
    for seen in upstream.seen() {
        for (name, value) in asked {
            let found: Vec<_> = seen.headers.get_all(name).iter().collect();
            assert_eq!(found, [value], "{name}");
        }
    }
    proxy.finish().await;
}

#[tokio::test]
async fn clients_of_http_1_0_are_served() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    // Without a Host, without a keep-alive: the end of the connection ends the body.
    for path in ["/stream/100000", "/bytes/100000"] {
        let mut raw = proxy.raw().await;
        raw.write(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await;
        let head = raw.read_head().await;
        assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
        assert_eq!(raw.read_to_end().await.unwrap(), vec![0; 100_000], "{path}");
    }
    // With both.
    let mut raw = proxy.raw().await;
    for _ in 0..2 {
        raw.write(
            b"POST /bytes/5 HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\
              Content-Length: 4\r\n\r\nbody",
        )
        .await;
        let head = raw.read_head().await.to_ascii_lowercase();
        assert!(head.contains("\r\nconnection: keep-alive\r\n"), "{head}");
        assert!(head.contains("\r\ncontent-length: 5\r\n"), "{head}");
        assert_eq!(raw.read_exactly(5).await, [0; 5]);
    }
    for seen in upstream.seen() {
        assert!(seen.headers["via"].to_str().unwrap().starts_with("1.0 "), "{:?}", seen.headers);
        assert!(seen.headers.contains_key("host"));
    }
    proxy.finish().await;
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    const EVENTS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
        Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
    for compress in ["", ALL] {
        for http2 in [false, true] {
            let (upstream, told) = TestUpstream::told().await;
            let proxy = TestProxy::start(&upstream, compress);
            let mut client = match http2 {
                true => proxy.client_h2().await,
                false => proxy.client().await,
            };
            told.send(EVENTS.to_vec()).unwrap();
            let request = client.request(Method::GET, "/events");
            let request = request.header("accept-encoding", "zstd, br, gzip");
            let response = client.begin(request.body(Full::default()).unwrap()).await.unwrap();
            assert!(!response.headers().contains_key("content-encoding"));
            let mut body = response.into_body();
            for number in 0..20 {
                told.send(format!("9\r\ndata: {}\n\n\r\n", number % 10).into_bytes()).unwrap();
                let next = tokio::time::timeout(Duration::from_secs(10), body.frame());
                let event = next.await.unwrap().unwrap().unwrap().into_data().unwrap();
                assert_eq!(event, format!("data: {}\n\n", number % 10));
            }
            told.send(b"0\r\n\r\n".to_vec()).unwrap();
            assert!(body.collect().await.unwrap().to_bytes().is_empty());
            drop(told);
            let records = proxy.finish().await;
            assert!(records[0].get("aborted").is_none(), "{records:#?}");
        }
    }
}

#[tokio::test]
async fn what_follows_an_early_answer_is_still_the_body() {
    let upstream =
        TestUpstream::early(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let proxy = TestProxy::start(&upstream, "");
    let hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let length = 100_000 + hidden.len();
    for (framing, piece) in [
        (format!("Content-Length: {length}"), hidden.to_owned()),
        ("Transfer-Encoding: chunked".to_owned(), format!("{:x}\r\n{hidden}\r\n", hidden.len())),
    ] {
        let mut raw = proxy.raw().await;
        let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n");
        raw.write(head.as_bytes()).await;
        assert!(raw.read_head().await.starts_with("HTTP/1.1 403 "));
        assert_eq!(raw.read_exactly(2).await, b"no");
        // The connection may be closed by now.
        raw.write_if_open(piece.as_bytes()).await;
        raw.write_if_open(NEXT).await;
        let rest = raw.read_to_end().await.unwrap();
        assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1.1"), "a second answer");
    }
    // The link is not used for another request: half of one is still on it.
    let before = upstream.connections();
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.status, 403);
    assert_eq!(upstream.connections(), before + 1);
    let records = proxy.finish().await;
    assert!(records.iter().all(|record| record["path"] == "/"), "{records:#?}");
}

#[tokio::test]
async fn an_upstream_that_takes_nothing_of_a_body_is_given_up() {
    let upstream = TestUpstream::deaf().await;
    for scheme in ["http", "h2c"] {
        let first = format!(
            "[upstream.app]\nservers = [\"{scheme}://{}\"]\nanswer_timeout = \"500ms\"",
            upstream.address
        );
        let route = "[[site.route]]\npath = \"/{*rest}\"\nupstream = \"app\"";
        let proxy = TestProxy::start_with(&upstream, &first, route);
        let reply = proxy.client_h2().await.post("/", vec![7; 9 << 20]).await;
        assert_eq!(reply.status, 504, "{scheme}");
        proxy.finish().await;
    }
}

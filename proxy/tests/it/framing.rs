//! Request smuggling: every way to state the length of a body in more than one way, as bytes (RFC
//! 9112, 6.1 and 6.3).

use crate::harness::{TestProxy, TestUpstream};

const HEAD: &str = "POST /smuggled HTTP/1.1\r\nHost: localhost\r\n";
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends a request with these fields and this body, another one right behind it, and reads all that
/// comes back.
async fn answers(proxy: &TestProxy, fields: &str, body: &str) -> String {
    let mut raw = proxy.raw().await;
    raw.write(format!("{HEAD}{fields}\r\n{body}{NEXT}").as_bytes()).await;
    String::from_utf8(raw.read_to_end().await.unwrap()).unwrap()
}

#[tokio::test]
async fn ambiguous_framing_is_refused_and_the_connection_closed() {
    let upstream = TestUpstream::recording().await;
    let proxy = TestProxy::start(&upstream, "");
    let chunked = "0\r\n\r\n";
    for (fields, body) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunked),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", chunked),
        ("transfer-encoding: chunked\r\ncONTENT-lENGTH: 5\r\n", chunked),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
        ("Content-Length: 5, 5\r\n", "hello"),
        ("Content-Length: +5\r\n", "hello"),
        ("Content-Length: 0x5\r\n", "hello"),
        ("Content-Length: 5 5\r\n", "hello"),
        ("Content-Length: -1\r\n", ""),
        ("Content-Length: 99999999999999999999\r\n", ""),
        ("Content-Length:\r\n", ""),
        ("Transfer-Encoding: gzip, chunked\r\n", chunked),
        ("Transfer-Encoding: chunked, identity\r\n", chunked),
        ("Transfer-Encoding: identity\r\n", chunked),
        ("Transfer-Encoding: xchunked\r\n", chunked),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", chunked),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", chunked),
        ("Transfer-Encoding : chunked\r\n", chunked),
        (" Transfer-Encoding: chunked\r\n", chunked),
        ("X: y\r\n Transfer-Encoding: chunked\r\n", chunked),
        ("Transfer-Encoding: \x0bchunked\r\n", chunked),
        ("Transfer-Encoding: chunked\n", chunked),
        ("X: y\nTransfer-Encoding: chunked\r\n", chunked),
        ("X: y\n", ""),
        ("X: a\rTransfer-Encoding: chunked\r\n", chunked),
        ("X: a\0b\r\n", ""),
    ] {
        let answers = answers(&proxy, fields, body).await;
        assert!(answers.starts_with("HTTP/1.1 400 "), "{fields:?}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{fields:?}: {answers}");
    }
    assert_eq!(upstream.bytes(), "", "not a byte of it went upstream");
    // What hyper itself cannot parse leaves no record, but it is counted (invariant 1).
    assert_eq!(proxy.metric("requests_malformed_total").await, 18);
    let records = proxy.finish().await;
    assert_eq!(records.len(), 8, "{records:#?}");
    for record in records {
        assert_eq!(
            (&record["status"], &record["reason"]),
            (&400.into(), &"framing_invalid".into())
        );
    }
}

#[tokio::test]
async fn http_1_0_has_no_transfer_coding() {
    let upstream = TestUpstream::recording().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut raw = proxy.raw().await;
    raw.write(b"POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        .await;
    let answer = String::from_utf8(raw.read_to_end().await.unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.0 400 "), "{answer}");
    assert_eq!(upstream.bytes(), "");
    proxy.finish().await;
}

#[tokio::test]
async fn chunks_that_are_none_end_the_request_and_the_connection() {
    for body in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\nhello\r\n0\r\n\r\n",
        "5;x=\"\n\"\r\nhello\r\n0\r\n\r\n",
        "\r\n\r\n",
    ] {
        let upstream = TestUpstream::start().await;
        let proxy = TestProxy::start(&upstream, "");
        let answers = answers(&proxy, "Transfer-Encoding: chunked\r\n", body).await;
        assert!(answers.starts_with("HTTP/1.1 400 "), "{body:?}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{body:?}: {answers}");
        assert!(upstream.seen().iter().all(|seen| seen.uri != "/next"), "{body:?}");
        proxy.finish().await;
    }
}

#[tokio::test]
async fn what_goes_upstream_is_written_anew() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut raw = proxy.raw().await;
    // On one connection: each head is told from the body before it.
    for (fields, body) in [
        ("Transfer-Encoding: Chunked\r\nTrailer: x\r\n", "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Content-Length: 5\r\n", "hello"),
    ] {
        raw.write(format!("{HEAD}{fields}\r\n{body}").as_bytes()).await;
        assert!(raw.read_head().await.starts_with("HTTP/1.1 200 "), "{fields:?}");
        raw.read_exactly("POST /smuggled".len()).await;
    }
    let seen = upstream.seen();
    assert_eq!(seen.len(), 4);
    for seen in seen {
        assert_eq!(seen.body_bytes, 5);
        let framing = ["content-length", "transfer-encoding"]
            .map(|name| seen.headers.get_all(name).iter().count());
        assert_eq!(framing.iter().sum::<usize>(), 1, "{:#?}", seen.headers);
        assert!(!seen.headers.contains_key("x"));
    }
    proxy.finish().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_turn_and_looked_at_each() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut raw = proxy.raw().await;
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    raw.write(format!("{NEXT}{NEXT}{HEAD}{both}").as_bytes()).await;
    let answers = String::from_utf8(raw.read_to_end().await.unwrap()).unwrap();
    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|part| &part[..3]).collect();
    assert_eq!(statuses, ["200", "200", "400"]);
    assert!(upstream.seen().iter().all(|seen| seen.uri == "/next"));
    proxy.finish().await;
}

#[tokio::test]
async fn an_early_answer_leaves_no_half_read_body_behind() {
    let upstream = TestUpstream::recording().await;
    let proxy = TestProxy::start(&upstream, "");
    // Refused at its head; what it announced as its body is another request.
    let mut raw = proxy.raw().await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let length = 100_000 + hidden.len();
    let head =
        format!("POST /a%2fb HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    raw.write(head.as_bytes()).await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 400 "));
    raw.write(hidden.as_bytes()).await;
    let rest = raw.read_to_end().await.unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1.1"), "a second answer");
    assert_eq!(upstream.bytes(), "");
    proxy.finish().await;
}

//! Every bound of `[limits]` that is not a time, reached.

use std::time::Duration;

use http::Method;
use http_body_util::Full;

use crate::harness::{TestProxy, TestUpstream};

#[tokio::test]
async fn a_body_over_the_bound_is_refused_at_once_or_when_it_gets_there() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "body_bytes = \"1KiB\"");
    assert_eq!(proxy.client().await.post("/", vec![0; 1_024]).await.status, 200);
    let reply = proxy.client_h2().await.post("/", vec![0; 1_025]).await;
    assert_eq!((reply.status.as_u16(), &reply.problem()["status"]), (413, &413.into()));
    let mut raw = proxy.raw().await;
    raw.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n")
        .await;
    raw.write(&[b'x'; 0x400]).await;
    raw.write(b"\r\n1\r\nx\r\n").await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 413 "));
    assert!(raw.read_to_end().await.is_some(), "the connection is closed");
    assert_eq!(upstream.seen().iter().filter(|seen| seen.body_bytes > 1_024).count(), 0);
    let records = proxy.finish().await;
    assert_eq!(records.iter().filter(|record| record["reason"] == "body_too_large").count(), 2);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_before_it_sends() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "body_bytes = 10");
    let post = |length: u32| {
        format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    };
    let mut raw = proxy.raw().await;
    raw.write(post(11).as_bytes()).await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 413 "));
    let mut raw = proxy.raw().await;
    raw.write(post(10).as_bytes()).await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 100 "));
    raw.write(b"ten bytes.").await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(upstream.only().body_bytes, 10);
    proxy.finish().await;
}

#[tokio::test]
async fn a_route_may_take_larger_bodies_than_its_site() {
    let upstream = TestUpstream::start().await;
    let more = "body_bytes = 10\n[[site.route]]\npath = \"/upload\"\nbody_bytes = \"1MiB\"";
    let proxy = TestProxy::start(&upstream, more);
    let mut client = proxy.client_h2().await;
    assert_eq!(client.post("/upload", vec![0; 1 << 20]).await.status, 200);
    assert_eq!(client.post("/other", vec![0; 11]).await.status, 413);
    proxy.finish().await;
}

#[tokio::test]
async fn a_head_over_the_bounds_is_refused() {
    let upstream = TestUpstream::start().await;
    let limits = "[limits]\nheader_bytes = \"8KiB\"\nheader_count = 20";
    let proxy = TestProxy::start_with(&upstream, limits, "");
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        let large = client.request(Method::GET, "/").header("x", "y".repeat(9_000));
        assert_eq!(client.send(large.body(Full::default()).unwrap()).await.status, 431);
        let many = client.request(Method::GET, "/");
        let many = (0..21).fold(many, |many, i| many.header("x", i));
        let reply = client.send(many.body(Full::default()).unwrap()).await;
        assert_eq!((reply.status.as_u16(), &reply.problem()["status"]), (431, &431.into()));
    }
    // What hyper refuses before there is a request.
    for fields in [format!("x: {}\r\n", "y".repeat(20_000)), "x: y\r\n".repeat(101)] {
        let mut raw = proxy.raw().await;
        raw.write(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").as_bytes()).await;
        let head = raw.read_head().await;
        assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    }
    assert!(upstream.seen().is_empty());
    proxy.finish().await;
}

#[tokio::test]
async fn the_target_of_a_request_counts_as_its_fields_do() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start_with(&upstream, "[limits]\nheader_bytes = \"8KiB\"", "");
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        for (bytes, status) in [(7_000, 200), (9_000, 431)] {
            let target = format!("/?{}", "y".repeat(bytes));
            assert_eq!(client.get(&target).await.status, status, "{bytes}");
        }
    }
    assert_eq!(upstream.seen().len(), 2);
    let records = proxy.finish().await;
    assert_eq!(records.iter().filter(|record| record["reason"] == "head_too_large").count(), 2);
}

#[tokio::test]
async fn connections_of_one_peer_are_bounded_and_counted_out_again() {
    let upstream = TestUpstream::start().await;
    let limits = "[limits]\nconnections_per_client = 3";
    let proxy = TestProxy::start_with(&upstream, limits, "");
    for _ in 0..2 {
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut client = proxy.client().await;
            assert_eq!(client.get("/").await.status, 200);
            held.push(client);
        }
        let refused = tokio::net::TcpStream::connect(proxy.https()).await.unwrap();
        let mut byte = [0];
        let read = tokio::io::AsyncReadExt::read(&mut { refused }, &mut byte).await;
        assert!(!matches!(read, Ok(1..)), "a fourth connection is closed unread");
        drop(held);
        // The server notices the ends of the three in its own time.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    proxy.finish().await;
}

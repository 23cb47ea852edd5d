//! Interim responses (1xx, RFC 9110, 15.2): those of the upstream reach an HTTP/1.1 client ahead of
//! the response, and never confuse it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{TestProxy, TestUpstream};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn hint(number: usize) -> Vec<u8> {
    format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </{number}.css>; rel=preload\r\nConnection: x-hop\r\n\
         X-Hop: 1\r\n\r\n"
    )
    .into_bytes()
}

fn hinted(number: usize) -> String {
    format!("HTTP/1.1 103 Early Hints\r\nlink: </{number}.css>; rel=preload\r\n\r\n")
}

#[tokio::test]
async fn early_hints_arrive_while_the_response_is_being_made() {
    let (upstream, told) = TestUpstream::told().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut raw = proxy.raw().await;
    raw.write(GET).await;
    for number in 0..3 {
        told.send(hint(number)).unwrap();
        assert_eq!(raw.read_head().await, hinted(number));
    }
    told.send(OK.to_vec()).unwrap();
    let head = raw.read_head().await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("x-frame-options"), "{head}");
    assert_eq!(raw.read_exactly(2).await, b"ok");
    drop(told);
    assert_eq!(proxy.finish().await.len(), 1);
}

#[tokio::test]
async fn pipelined_requests_get_their_own_hints() {
    let answer = [hint(7), OK.to_vec()].concat();
    let upstream = TestUpstream::repeating(answer.leak()).await;
    let proxy = TestProxy::start(&upstream, "");
    let mut raw = proxy.raw().await;
    raw.write(&GET.repeat(20)).await;
    for turn in 0..20 {
        // It came in one packet with the response.
        assert_eq!(raw.read_head().await, hinted(7), "turn {turn}");
        let head = raw.read_head().await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "turn {turn}: {head}");
        assert_eq!(raw.read_exactly(2).await, b"ok", "turn {turn}");
    }
    proxy.finish().await;
}

#[tokio::test]
async fn interim_responses_never_confuse_the_response() {
    let upstream = TestUpstream::raw(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n\
          HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
          HTTP/1.1 199 What\r\nTransfer-Encoding: chunked\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let proxy = TestProxy::start(&upstream, "redirect_http = false");
    for mut client in [proxy.client().await, proxy.client_h2().await, proxy.client_plain().await] {
        for reply in [client.get("/").await, client.post("/", "body").await] {
            assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"ok"[..]));
            assert_eq!(reply.header("link"), "");
        }
    }
    let mut raw = proxy.raw().await;
    raw.write(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
    let answer = String::from_utf8(raw.read_to_end().await.unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "an old client knows none: {answer}");
    let records = proxy.finish().await;
    assert!(records.iter().all(|record| record["status"] == 200), "{records:#?}");
}

#[tokio::test]
async fn an_upstream_that_only_hints_is_given_up() {
    let (upstream, told) = TestUpstream::told().await;
    let first = format!(
        "[upstream.app]\nservers = [\"http://{}\"]\nanswer_timeout = \"300ms\"",
        upstream.address
    );
    let route = "[[site.route]]\npath = \"/{*rest}\"\nupstream = \"app\"";
    let proxy = TestProxy::start_with(&upstream, &first, route);
    let hints = tokio::spawn(async move {
        while told.send(hint(0)).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(proxy.client().await.get("/").await.status, 504);
    hints.abort();
    proxy.finish().await;
}

#[tokio::test]
async fn hints_for_a_client_that_does_not_read_are_dropped() {
    let big = format!("HTTP/1.1 103 Early Hints\r\nX-Large: {}\r\n\r\n", "x".repeat(8_000));
    let (upstream, told) = TestUpstream::told().await;
    let proxy = TestProxy::start(&upstream, "redirect_http = false");
    let mut stream = TcpStream::connect(proxy.http()).await.unwrap();
    stream.write_all(GET).await.unwrap();
    for _ in 0..5_000 {
        told.send(big.clone().into_bytes()).unwrap();
    }
    told.send(OK.to_vec()).unwrap();
    drop(told);
    let (mut bytes, mut buffer) = (0, vec![0; 64 << 10]);
    let mut end = Vec::new();
    while !end.ends_with(b"\r\n\r\nok") {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "{bytes} bytes, and no response");
        bytes += read;
        end.extend_from_slice(&buffer[..read]);
        end.drain(..end.len().saturating_sub(100));
    }
    assert!(bytes < 5_000 * big.len(), "{bytes} bytes");
    drop(stream);
    proxy.finish().await;
}

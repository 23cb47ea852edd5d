//! WebSocket over HTTP/1.1 (RFC 6455) and over HTTP/2 (RFC 8441), and what must not pass for one.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{TestProxy, TestUpstream};

pub(crate) const ASK: &str = "GET /live HTTP/1.1\r\nHost: localhost\r\n\
    Connection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn ten_thousand_messages_pass_across_a_reload() {
    let upstream = TestUpstream::switching("websocket").await;
    let proxy = TestProxy::start(&upstream, "body_bytes = \"1KiB\"");
    let mut raw = proxy.raw().await;
    // A client may not wait for the answer.
    raw.write(format!("{ASK}early").as_bytes()).await;
    let head = raw.read_head().await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for field in [
        "\r\nconnection: upgrade\r\n",
        "\r\nupgrade: websocket\r\n",
        "\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
        "\r\nx-app: yes\r\n",
        "\r\nx-content-type-options: nosniff\r\n",
        "\r\nx-request-id: ",
    ] {
        assert!(head.contains(field), "{field} in {head}");
    }
    assert_eq!(raw.read_exactly(10).await, b"helloearly");
    for turn in 0..10_000 {
        let message = format!("message {turn:05}");
        raw.write(message.as_bytes()).await;
        assert_eq!(raw.read_exactly(message.len()).await, message.as_bytes());
        if turn == 5_000 {
            proxy.edit("body_bytes = \"1KiB\"", "body_bytes = \"2KiB\"");
            proxy.reload().await.unwrap();
        }
    }
    drop(raw);
    let asked = upstream.bytes().to_ascii_lowercase();
    assert!(asked.contains("\r\nsec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n"), "{asked}");
    assert!(asked.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"), "{asked}");
    let records = proxy.finish().await;
    assert_eq!(records.len(), 1);
    assert_eq!((&records[0]["status"], &records[0]["bytes_in"]), (&101.into(), &130_005.into()));
    assert_eq!(records[0]["bytes_out"], 130_010);
}

/// What is answered to a request for a WebSocket over HTTP/2.
async fn connect(proxy: &TestProxy) -> (Response<Incoming>, SendRequest<Empty<Bytes>>) {
    let stream = proxy.tls(b"h2").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let uri = format!("https://localhost:{}/live", proxy.https().port());
    let request = Request::connect(uri)
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(Empty::<Bytes>::new())
        .unwrap();
    // Extended CONNECT is allowed once the server's settings have arrived.
    loop {
        sender.ready().await.unwrap();
        match sender.send_request(request.clone()).await {
            Ok(response) => return (response, sender),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test]
async fn a_stream_of_http_2_switches_too() {
    let upstream = TestUpstream::switching("websocket").await;
    let proxy = TestProxy::start(&upstream, "");
    let (response, _sender) = connect(&proxy).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let mut near = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let mut hello = [0; 5];
    near.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"hello");
    for turn in 0..1_000 {
        let message = format!("message {turn:05}");
        near.write_all(message.as_bytes()).await.unwrap();
        let mut echo = vec![0; message.len()];
        near.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, message.as_bytes());
    }
    near.shutdown().await.unwrap();
    let asked = upstream.bytes().to_ascii_lowercase();
    assert!(asked.starts_with("get /live http/1.1\r\n"), "{asked}");
    for field in
        ["\r\nupgrade: websocket\r\n", "\r\nconnection: upgrade\r\n", "\r\nsec-websocket-key: "]
    {
        assert!(asked.contains(field), "{field} in {asked}");
    }
    drop(near);
    let records = proxy.finish().await;
    assert_eq!((&records[0]["status"], &records[0]["bytes_in"]), (&200.into(), &13_000.into()));
}

#[tokio::test]
async fn nothing_is_raw_before_the_upstream_agrees() {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // It answers like any other request.
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut raw = proxy.raw().await;
    raw.write(format!("{ASK}{hidden}").as_bytes()).await;
    for path in ["GET /live", "GET /hidden"] {
        assert!(raw.read_head().await.starts_with("HTTP/1.1 200 "));
        assert_eq!(raw.read_exactly(path.len()).await, path.as_bytes());
    }
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[1].headers.contains_key("x-forwarded-for"), "the second was looked at as well");
    proxy.finish().await;
    // It switches to something that nobody asked for.
    let upstream = TestUpstream::switching("h2c").await;
    let proxy = TestProxy::start(&upstream, "");
    let mut raw = proxy.raw().await;
    raw.write(ASK.as_bytes()).await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 502 "));
    proxy.finish().await;
    // A request with a body cannot become raw.
    let upstream = TestUpstream::recording().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut raw = proxy.raw().await;
    let with_body = ASK.replace("Upgrade: websocket", "Content-Length: 5\r\nUpgrade: websocket");
    raw.write(format!("{with_body}hello").as_bytes()).await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 400 "));
    assert_eq!(upstream.bytes(), "");
    proxy.finish().await;
}

/// Over HTTP/2 any 2xx would say that it has (RFC 8441, 5).
#[tokio::test]
async fn an_upstream_that_does_not_switch_is_not_taken_for_one_that_does() {
    let forbids = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    for (upstream, status) in
        [(TestUpstream::start().await, 502), (TestUpstream::repeating(forbids).await, 403)]
    {
        let proxy = TestProxy::start(&upstream, "");
        assert_eq!(connect(&proxy).await.0.status(), status);
        assert_eq!(proxy.finish().await[0]["status"], status);
    }
}

#[tokio::test]
async fn a_websocket_that_carries_nothing_is_ended() {
    let upstream = TestUpstream::switching("websocket").await;
    let limits = "[limits]\nwebsocket_idle_timeout = \"1h\"";
    let route = "[[site.route]]\npath = \"/live\"\nwebsocket_idle_timeout = \"500ms\"";
    let proxy = TestProxy::start_with(&upstream, limits, route);
    let mut raw = proxy.raw().await;
    raw.write(ASK.as_bytes()).await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 101 "));
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        raw.write(b"x").await;
    }
    let rest = raw.read_to_end().await.unwrap();
    assert_eq!(rest, b"helloxxxxxxxxxx");
    let records = proxy.finish().await;
    assert_eq!(records[0]["aborted"], true);
}

//! Every bound of `[limits]` that is a time, reached; the time itself is never asserted, only that
//! the end comes.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, WINDOW_UPDATE, frame, request,
};
use crate::harness::{TestProxy, TestUpstream};

const SHORT: &str = "[limits]\n\
                     handshake_timeout = \"300ms\"\n\
                     header_timeout = \"300ms\"\n\
                     idle_timeout = \"300ms\"\n\
                     body_min_rate = \"1KiB\"\nresponse_write_timeout = \"500ms\"";

/// Whether the other end closes within ten seconds.
async fn closes(stream: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes)).await.is_ok()
}

#[tokio::test]
async fn slow_starts_of_every_kind_are_ended() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start_with(&upstream, SHORT, "");
    // No handshake, half a handshake, garbage for a handshake.
    for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = TcpStream::connect(proxy.https()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        assert!(closes(&mut stream).await, "{bytes:?}");
    }
    // No request, half a head: over TLS and in the clear.
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\nHost: loc"] {
        let mut raw = proxy.raw().await;
        raw.write(bytes).await;
        assert!(raw.read_to_end().await.is_some(), "{bytes:?} over TLS");
        let mut stream = TcpStream::connect(proxy.http()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        assert!(closes(&mut stream).await, "{bytes:?} in the clear");
    }
    assert!(upstream.seen().is_empty());
    proxy.finish().await;
}

#[tokio::test]
async fn a_head_that_trickles_in_after_a_rest_is_ended() {
    let upstream = TestUpstream::start().await;
    let limits = "[limits]\nheader_timeout = \"500ms\"\nidle_timeout = \"1h\"";
    let proxy = TestProxy::start_with(&upstream, limits, "");
    let mut raw = proxy.raw().await;
    raw.write(b"GET /status/304 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 304 "));
    raw.write(b"GET / HT").await;
    assert!(raw.read_to_end().await.is_some());
    proxy.finish().await;
}

#[tokio::test]
async fn a_tls_record_that_trickles_in_after_a_rest_is_ended() {
    let upstream = TestUpstream::start().await;
    let limits = "[limits]\nheader_timeout = \"500ms\"\nidle_timeout = \"2s\"";
    let proxy = TestProxy::start_with(&upstream, limits, "");
    let mut raw = proxy.raw().await;
    raw.write(b"GET /status/304 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 304 "));
    tokio::time::sleep(Duration::from_millis(700)).await;
    let mut trickled = 0;
    while trickled < 20 && raw.write_below_tls(&[[0x17, 3, 3, 0x20, 0][trickled.min(4)]]).await {
        trickled += 1;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert!(trickled < 20, "it never gave up");
    proxy.finish().await;
}

#[tokio::test]
async fn a_resting_connection_is_closed() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start_with(&upstream, SHORT, "");
    let mut raw = proxy.raw().await;
    raw.write(b"GET /status/304 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 304 "));
    assert_eq!(raw.read_to_end().await.as_deref(), Some(&b""[..]));
    let mut client = proxy.client_h2().await;
    client.get("/").await;
    let request =
        client.request(http::Method::GET, "/").body(http_body_util::Full::default()).unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(client.begin(request).await.is_err(), "the HTTP/2 connection has been closed");
    proxy.finish().await;
}

#[tokio::test]
async fn a_body_that_trickles_in_is_ended() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start_with(&upstream, SHORT, "");
    let mut raw = proxy.raw().await;
    raw.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nslow").await;
    let head = raw.read_head().await;
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    assert!(raw.read_to_end().await.is_some());
    let records = proxy.finish().await;
    assert_eq!(records[0]["reason"], "body_timeout");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_ended() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start_with(&upstream, SHORT, "");
    let mut raw = proxy.raw().await;
    raw.write(b"GET /bytes/200000000 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    let got = raw.read_to_end().await.unwrap();
    assert!(got.len() < 200_000_000, "{} bytes", got.len());
    let records = proxy.finish().await;
    assert_eq!(records[0]["aborted"], true);
}

#[tokio::test]
async fn an_upstream_that_is_too_slow_is_a_504() {
    let upstream = TestUpstream::start().await;
    let mute = TestUpstream::mute().await;
    let first = format!(
        "[upstream.slow]\nservers = [\"http://{}\"]\nanswer_timeout = \"300ms\"\n\
         [upstream.mute]\nservers = [\"http://{}\"]\nanswer_timeout = \"300ms\"",
        upstream.address, mute.address
    );
    let routes = "[[site.route]]\npath = \"/wait/{ms}\"\nupstream = \"slow\"\n\
                  [[site.route]]\npath = \"/mute\"\nupstream = \"mute\"";
    let proxy = TestProxy::start_with(&upstream, &first, routes);
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        let reply = client.get("/wait/60000").await;
        assert_eq!((reply.status.as_u16(), &reply.problem()["status"]), (504, &504.into()));
        assert_eq!(client.post("/mute", "x").await.status, 504);
        assert_eq!(client.get("/").await.status, 200, "the connection goes on");
    }
    proxy.finish().await;
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_ended() {
    let upstream = TestUpstream::start().await;
    let limits = "[limits]\nheader_timeout = \"1s\"\nresponse_min_rate = \"100MiB\"";
    let proxy = TestProxy::start_with(&upstream, limits, "");
    let mut raw = proxy.raw().await;
    raw.write(b"GET /bytes/400000000 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 200 "));
    let mut got = 0;
    while let Some(bytes) = raw.read_some(64 << 10).await {
        got += bytes;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(got < 400_000_000, "it got all of it");
    // Over HTTP/2 a stream alone can be slow.
    let window = [0, 4, 0, 0, 0, 100]; // SETTINGS_INITIAL_WINDOW_SIZE
    let mut frames = Frames::connect(&proxy, &window).await;
    let get = frame(HEADERS, END_STREAM | END_HEADERS, 1, &request("GET", "/stream/50000000"));
    assert!(frames.write(&get).await);
    loop {
        match frames.next().await.unwrap() {
            (DATA, 1, _) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let update = frame(WINDOW_UPDATE, 0, 1, &100_u32.to_be_bytes());
                assert!(frames.write(&update).await);
            }
            (RST_STREAM, 1, _) => break,
            _ => {}
        }
    }
    assert_eq!(proxy.metric("http2_streams_timed_out_total").await, 1);
    drop(frames);
    let records = proxy.finish().await;
    assert!(records.len() == 2 && records.iter().all(|record| record["aborted"] == true));
}

#[tokio::test]
async fn a_route_may_be_waited_for_longer_than_its_upstream() {
    let upstream = TestUpstream::start().await;
    let address = upstream.address;
    let first =
        format!("[upstream.app]\nservers = [\"http://{address}\"]\nanswer_timeout = \"300ms\"");
    let routes = "answer_timeout = \"20s\"\n\
                  [[site.route]]\npath = \"/wait/{ms}\"\nupstream = \"app\"\n\
                  [[site.route]]\npath = \"/bytes/{*rest}\"\nupstream = \"app\"\n\
                  answer_timeout = \"250ms\"";
    let proxy = TestProxy::start_with(&upstream, &first, routes);
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        assert_eq!(client.get("/wait/1500").await.status, 200);
    }
    proxy.finish().await;
    let mute = TestUpstream::mute().await;
    let first = first.replace(&address.to_string(), &mute.address.to_string());
    let proxy = TestProxy::start_with(&upstream, &first.replace("300ms", "1h"), routes);
    assert_eq!(proxy.client().await.get("/bytes/1").await.status, 504, "or for less long");
    proxy.finish().await;
}

#[tokio::test]
async fn a_route_may_take_slower_bodies() {
    let upstream = TestUpstream::start().await;
    let routes = "[[site.route]]\npath = \"/slow\"\nbody_min_rate = 0";
    let proxy = TestProxy::start_with(&upstream, SHORT, routes);
    for (path, status) in [("/slow", "200"), ("/other", "408")] {
        let mut raw = proxy.raw().await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n");
        raw.write(head.as_bytes()).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        raw.write_if_open(b"8 bytes.").await;
        let head = raw.read_head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
    }
    proxy.finish().await;
}

//! Clients that are still sending when they have their response: what they may lose of it, and how
//! long they are waited for.

use std::time::Duration;

use crate::harness::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, RST_STREAM, field, frame, request,
};
use crate::harness::{TestProxy, TestUpstream};
use crate::shared_limits::until;

/// It would lose a response that it has not read yet.
#[tokio::test]
async fn a_client_that_goes_on_sending_is_not_cut_off() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "body_bytes = \"1MiB\"");
    let more = vec![b'x'; 8 << 20];
    let chunk = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", more.len());
    let chunked = [chunk.as_bytes(), &more[..(1 << 20) + 1]].concat();
    let large = format!("Content-Length: {}\r\n\r\n", more.len());
    let pipelined = format!("Connection: close\r\n\r\n{}", "GET /".repeat(100_000));
    let head = format!("X: {}", "x".repeat(1 << 20));
    for (path, rest, status) in [
        ("/", &chunked[..], 413),
        ("/", large.as_bytes(), 413),
        ("/a%2fb", large.as_bytes(), 400),
        ("/", pipelined.as_bytes(), 200),
        ("/", head.as_bytes(), 431),
        ("/", b"X: \0\r\n\r\n", 400),
    ] {
        let mut raw = proxy.raw().await;
        raw.write(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n").as_bytes()).await;
        raw.write(rest).await;
        let answer = raw.read_head().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        for piece in more.chunks(16 << 10) {
            raw.write(piece).await;
        }
        raw.close().await;
        assert!(raw.read_to_end().await.is_some());
    }
    proxy.finish().await;
}

#[tokio::test]
async fn a_client_that_sends_for_ever_or_falls_silent_is_not_waited_for() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "body_bytes = 10");
    let (mut sends, mut silent) = (proxy.raw().await, proxy.raw().await);
    for raw in [&mut sends, &mut silent] {
        let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n";
        raw.write(head).await;
        assert!(raw.read_head().await.starts_with("HTTP/1.1 413 "));
    }
    let sends = async { while sends.write_below_tls(b"x").await {} };
    assert!(tokio::time::timeout(Duration::from_secs(60), sends).await.is_ok());
    until(&proxy, "connections_open", 0).await;
    drop(silent);
    proxy.finish().await;
}

/// Whether a stream that has its response is reset before a PING, sent now, comes back. It is
/// reset, in any case, in the way that says that nothing is wrong (RFC 9113, 8.1).
async fn is_reset_at_once(frames: &mut Frames, stream: u32) -> bool {
    assert!(frames.write(&frame(PING, 0, 0, &[7; 8])).await);
    let (mut reset, mut pinged) = (false, false);
    while !reset {
        let (kind, on, payload) = frames.next().await.unwrap();
        if (kind, on) == (RST_STREAM, stream) {
            assert_eq!(payload, [0; 4], "not NO_ERROR");
            reset = true;
        }
        pinged |= kind == PING && !reset;
    }
    !pinged
}

#[tokio::test]
async fn a_client_still_sending_over_http_2_may_stop_of_itself() {
    let forbids = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    let (reads, answers) = (TestUpstream::start().await, TestUpstream::early(forbids).await);
    let expects = field("expect", "100-continue");
    for (upstream, method, path, more, last) in [
        (&reads, "POST", "/", &[][..], DATA),
        (&reads, "HEAD", "/a%2fb", &[], HEADERS),
        (&reads, "POST", "/a%2fb", &expects, DATA),
        (&answers, "POST", "/", &[], DATA),
    ] {
        let proxy = TestProxy::start(upstream, "body_bytes = \"1KiB\"");
        let mut frames = Frames::connect(&proxy, b"").await;
        let section = [request(method, path), more.to_vec()].concat();
        let begin = frame(HEADERS, END_HEADERS, 1, &section);
        let length = if path == "/" && upstream.address == reads.address { 2 << 10 } else { 10 };
        assert!(frames.write(&[begin, frame(DATA, 0, 1, &vec![0; length])].concat()).await);
        while frames.next().await.unwrap().0 != last {}
        assert!(!is_reset_at_once(&mut frames, 1).await, "{method} {path}");
        let next = frame(HEADERS, END_HEADERS | END_STREAM, 3, &request("GET", "/"));
        assert!(frames.write(&next).await);
        assert_eq!(frames.next().await.unwrap().0, HEADERS);
        drop(frames);
        proxy.finish().await;
    }
}

#[tokio::test]
async fn a_connection_is_not_waited_for_again_and_again() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut frames = Frames::connect(&proxy, b"").await;
    let upload = |stream, flags| {
        let begin = frame(HEADERS, END_HEADERS, stream, &request("POST", "/a%2fb"));
        [begin, frame(DATA, flags, stream, b"x")].concat()
    };
    // These are not waited for at all, since they have ended.
    let ended = (1..200).step_by(2).map(|stream| (stream, END_STREAM));
    let (first, last) = (201, 201 + 2 * 64);
    let unended = (first..=last).step_by(2).map(|stream| (stream, 0));
    for (stream, flags) in ended.chain(unended) {
        assert!(frames.write(&upload(stream, flags)).await);
        while frames.next().await.unwrap().0 != DATA {}
    }
    assert!(is_reset_at_once(&mut frames, last).await);
    assert!(!is_reset_at_once(&mut frames, first).await);
    drop(frames);
    proxy.finish().await;
}

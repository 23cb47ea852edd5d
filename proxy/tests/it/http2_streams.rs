//! What becomes of a stream of HTTP/2: hints on it, a body that breaks off, a window that does not
//! open, answers that nobody waited for.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{Method, Request, Response};

use crate::harness::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, WINDOW_UPDATE, frame,
    request as section,
};
use crate::harness::{TestProxy, TestUpstream, until};

const HINT: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\
                      Connection: x-hop\r\nX-Hop: 1\r\n\r\n";

fn request(method: Method, path: &str) -> Request<()> {
    let uri = format!("https://localhost{path}");
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

async fn body(response: Response<h2::RecvStream>) -> Result<Vec<u8>, h2::Error> {
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

#[tokio::test]
async fn early_hints_arrive_while_the_response_is_being_made() {
    let (upstream, told) = TestUpstream::told().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut streams = proxy.streams(1 << 16).await;
    let (mut response, _) = streams.send_request(request(Method::GET, "/"), true).unwrap();
    for _ in 0..3 {
        told.send(HINT.to_vec()).unwrap();
        let hint = poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!(hint.status(), 103);
        assert_eq!(hint.headers().len(), 1, "{hint:?}");
        assert_eq!(hint.headers()["link"], "</a.css>; rel=preload");
    }
    told.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers().contains_key("x-frame-options"));
    assert_eq!(body(response).await.unwrap(), b"ok");
    assert_eq!(proxy.finish().await.len(), 1);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_when_its_body_is_wanted() {
    let upstreams = [TestUpstream::start().await, TestUpstream::http2(100).await];
    for (upstream, scheme) in upstreams.into_iter().zip(["http://", "h2c://"]) {
        let proxy = TestProxy::start_edited(&upstream, "http://", scheme);
        let mut streams = proxy.streams(1 << 16).await;
        let ask = |path| {
            let mut request = request(Method::POST, path);
            request.headers_mut().insert("expect", "100-continue".parse().unwrap());
            request
        };
        let (mut response, mut send) = streams.send_request(ask("/"), false).unwrap();
        let told = poll_fn(|cx| response.poll_informational(cx));
        let told = tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
        assert_eq!(told.unwrap().unwrap().status(), 100, "{scheme}");
        send.send_data("hello".into(), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 200, "{scheme}");
        assert_eq!(upstream.only().body_bytes, 5);
        let (mut response, _send) = streams.send_request(ask("/a%2fb"), false).unwrap();
        assert!(poll_fn(|cx| response.poll_informational(cx)).await.is_none(), "not wanted");
        assert_eq!(response.await.unwrap().status(), 400, "{scheme}");
        drop((streams, _send));
        proxy.finish().await;
    }
}

#[tokio::test]
async fn there_is_an_end_to_hints() {
    let (upstream, told) = TestUpstream::told().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut streams = proxy.streams(1 << 16).await;
    let (mut response, _) = streams.send_request(request(Method::GET, "/"), true).unwrap();
    (0..2_000).for_each(|_| told.send(HINT.to_vec()).unwrap());
    let first = poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!(first.status(), 103);
    told.send(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()).unwrap();
    let mut hints = 1;
    while let Some(Ok(_)) = poll_fn(|cx| response.poll_informational(cx)).await {
        hints += 1;
    }
    assert_eq!(response.await.unwrap().status(), 204);
    assert!((2..600).contains(&hints), "{hints}");
    proxy.finish().await;
}

#[tokio::test]
async fn a_body_that_the_client_breaks_off_never_looks_complete() {
    for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
        let upstream = TestUpstream::mute().await;
        let proxy = TestProxy::start(&upstream, "");
        let mut streams = proxy.streams(1 << 16).await;
        let post = request(Method::POST, "/");
        let (response, mut sending) = streams.send_request(post, false).unwrap();
        sending.send_data(Bytes::from_static(b"half"), false).unwrap();
        until(|| upstream.bytes().contains("half")).await;
        sending.send_reset(reason);
        assert!(response.await.is_err());
        until(|| upstream.ended() == 1).await;
        let bytes = upstream.bytes();
        assert!(bytes.ends_with("4\r\nhalf\r\n"), "{reason:?}: {bytes}");
        let records = proxy.finish().await;
        assert_eq!(records[0]["reason"], "body_aborted", "{reason:?}");
    }
}

#[tokio::test]
async fn answers_that_wait_for_nothing_wait_for_the_window() {
    let upstream = TestUpstream::start().await;
    let rule = "[[rate_limit]]\nname = \"none\"\nlimit = 1\nwindow = \"1h\"\n\
                [limits]\nresponse_write_timeout = \"300ms\"";
    let proxy = TestProxy::start(&upstream, rule);
    let window = [0, 4, 0, 0, 0, 0]; // SETTINGS_INITIAL_WINDOW_SIZE
    let mut frames = Frames::connect(&proxy, &window).await;
    for stream in [1, 3, 5] {
        let get = frame(HEADERS, END_STREAM | END_HEADERS, stream, &section("GET", "/"));
        assert!(frames.write(&get).await);
    }
    assert!(frames.write(&frame(WINDOW_UPDATE, 0, 3, &1_000_u32.to_be_bytes())).await);
    let (mut heads, mut whole, mut reset) = (Vec::new(), false, Vec::new());
    while reset.len() < 2 {
        match frames.next().await.unwrap() {
            (HEADERS, stream, _) => heads.push(stream),
            (DATA, stream, _) => whole |= stream == 3,
            (RST_STREAM, stream, _) => reset.push(stream),
            _ => {}
        }
    }
    heads.sort_unstable();
    reset.sort_unstable();
    assert_eq!((heads, reset), (vec![1, 3, 5], vec![1, 5]));
    assert!(whole, "the one that opened its window gets its answer");
    assert_eq!(proxy.metric("http2_streams_timed_out_total").await, 2);
    drop(frames);
    let records = proxy.finish().await;
    assert_eq!(records.iter().filter(|record| record["status"] == 429).count(), 2);
}

#[tokio::test]
async fn answers_that_are_ready_together_leave_together() {
    let upstream = TestUpstream::start().await;
    let rule = "[[rate_limit]]\nname = \"one\"\nlimit = 1\nwindow = \"60s\"";
    let proxy = TestProxy::start(&upstream, rule);
    assert_eq!(proxy.client().await.get("/").await.status, 200);
    let mut frames = Frames::connect(&proxy, b"").await;
    let get = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &section("GET", "/"));
    let requests: Vec<u8> = (0..40).flat_map(|number| get(2 * number + 1)).collect();
    assert!(frames.write(&requests).await);
    // So large that the library would flush after each.
    let body = 256;
    let records = frames.records(40 * body).await;
    assert!(records < 10, "{records} records");
    let mut answered = 0;
    while answered < 40 {
        let (kind, _, payload) = frames.next().await.unwrap();
        assert!(kind != DATA || payload.len() > body, "{} bytes", payload.len());
        answered += u32::from(kind == DATA);
    }
    drop(frames);
    proxy.finish().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_ended_also_when_it_has_broken_the_protocol() {
    let upstream = TestUpstream::start().await;
    let limits = "[limits]\nresponse_write_timeout = \"500ms\"\nidle_timeout = \"10m\"";
    let proxy = TestProxy::start(&upstream, limits);
    let window = [0, 4, 0x7f, 0xff, 0xff, 0xff]; // SETTINGS_INITIAL_WINDOW_SIZE
    let mut silent = Vec::new();
    // One of them has filled what the system takes, and not what the proxy does.
    for kib in (32..640).step_by(32) {
        let mut frames = Frames::connect(&proxy, &window).await;
        frames.narrow();
        assert!(frames.write(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes())).await);
        let path = format!("/bytes/{}", kib << 10);
        let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, &section("GET", &path));
        assert!(frames.write(&get).await);
        silent.push(frames);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for frames in &mut silent {
        frames.write(&frame(DATA, 0, 0, b"no stream")).await;
    }
    crate::shared_limits::until(&proxy, "connections_open", 0).await;
    drop(silent);
    proxy.finish().await;
}

#[tokio::test]
async fn requests_that_come_together_are_all_answered() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "[limits]\nhttp2_streams = 100");
    let mut streams = proxy.streams(1 << 16).await;
    let answers: Vec<_> = (0..100)
        .map(|number| {
            let path = if number % 2 == 0 { "/" } else { "/a%00b" };
            (path, streams.send_request(request(Method::GET, path), true).unwrap().0)
        })
        .collect();
    for (path, response) in answers {
        let response = response.await.unwrap();
        assert_eq!(response.status(), if path == "/" { 200 } else { 400 });
        assert!(response.headers().contains_key("date"));
        assert!(!body(response).await.unwrap().is_empty());
    }
    assert_eq!(proxy.finish().await.len(), 100);
}

//! gRPC, and upstreams that are spoken to over HTTP/2.

use std::future::poll_fn;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, Version};
use http_body_util::Full;

use crate::harness::http2::{Act, message};
use crate::harness::{TestProxy, TestUpstream};

/// Of each stream, at the client (RFC 9113, 6.9.2).
const WINDOW: u32 = 65_535;

/// A Gatehouse that sends everything to an upstream over HTTP/2.
fn in_front_of(upstream: &TestUpstream, more: &str) -> TestProxy {
    let first = format!("[upstream.app]\nservers = [\"h2c://{}\"]\n{more}", upstream.address);
    let route = "[[site.route]]\npath = \"/{*rest}\"\nupstream = \"app\"";
    TestProxy::start_in_front_of("127.0.0.1:1".parse().unwrap(), &first, route)
}

fn call(method: &str) -> Request<()> {
    Request::post(format!("https://localhost/echo.Echo/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

/// So many bytes of a body.
async fn read(body: &mut RecvStream, count: usize) -> Bytes {
    let mut bytes = BytesMut::new();
    while bytes.len() < count {
        let piece = body.data().await.unwrap().unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend_from_slice(&piece);
    }
    bytes.freeze()
}

async fn trailers(body: &mut RecvStream) -> HeaderMap {
    while let Some(piece) = body.data().await {
        assert!(piece.unwrap().is_empty());
    }
    body.trailers().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_call_passes_with_its_trailers() {
    let upstream = TestUpstream::http2(100).await;
    let proxy = in_front_of(&upstream, "");
    let mut sender = proxy.streams(WINDOW).await;
    let (response, mut request) = sender.send_request(call("Unary"), false).unwrap();
    request.send_data(message("hello"), true).unwrap();
    let (head, mut body) = response.await.unwrap().into_parts();
    assert_eq!(
        (head.status.as_u16(), &head.headers["content-type"]),
        (200, &"application/grpc".parse().unwrap())
    );
    assert_eq!(head.headers["x-content-type-options"], "nosniff");
    assert_eq!(read(&mut body, 10).await, message("hello"));
    let trailers = trailers(&mut body).await;
    assert_eq!(
        (&trailers["grpc-status"], trailers.len()),
        (&"0".parse().unwrap(), 2),
        "{trailers:?}"
    );
    assert_eq!(trailers["x-checksum"], "c");
    let seen = upstream.only();
    assert_eq!(
        (seen.version, &seen.headers["te"]),
        (Version::HTTP_2, &"trailers".parse().unwrap())
    );
    assert_eq!(
        (seen.uri.authority().unwrap().as_str(), seen.uri.path()),
        ("localhost", "/echo.Echo/Unary")
    );
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
    // A call that fails at once has its status in the head.
    let (response, mut request) = sender.send_request(call("Fail"), false).unwrap();
    request.send_data(message("hello"), true).unwrap();
    assert_eq!(response.await.unwrap().headers()["grpc-status"], "5");
    let records = proxy.finish().await;
    assert!(records.iter().all(|record| record.get("aborted").is_none()), "{records:#?}");
}

#[tokio::test]
async fn messages_pass_both_ways_as_they_come() {
    let upstream = TestUpstream::http2(100).await;
    let proxy = in_front_of(&upstream, "");
    let mut sender = proxy.streams(WINDOW).await;
    let (response, mut request) = sender.send_request(call("Stream"), false).unwrap();
    request.send_data(message("message 0"), false).unwrap();
    let mut body = response.await.unwrap().into_body();
    for next in 1..20 {
        let expected = message(&format!("message {}", next - 1));
        assert_eq!(read(&mut body, expected.len()).await, expected);
        request.send_data(message(&format!("message {next}")), false).unwrap();
    }
    request.send_data(Bytes::new(), true).unwrap();
    assert_eq!(read(&mut body, 15).await, message("message 19"));
    assert_eq!(trailers(&mut body).await["grpc-status"], "0");
    // One that the client gives up ends upstream, too, and harms no other.
    let (response, mut request) = sender.send_request(call("Stream"), false).unwrap();
    request.send_data(message("hello"), false).unwrap();
    let mut body = response.await.unwrap().into_body();
    read(&mut body, 10).await;
    drop((body, request));
    let mut other = proxy.client().await;
    assert_eq!(other.get("/after").await.status, 200);
    proxy.finish().await;
}

#[tokio::test]
async fn a_client_that_falls_silent_in_its_body_is_told() {
    let upstreams = [TestUpstream::start().await, TestUpstream::http2(100).await];
    for (scheme, upstream) in ["http", "h2c"].into_iter().zip(upstreams) {
        let first = format!(
            "[limits]\nbody_min_rate = \"1KiB\"\nheader_timeout = \"300ms\"\n\
             [upstream.app]\nservers = [\"{scheme}://{}\"]",
            upstream.address
        );
        let route = "[[site.route]]\npath = \"/{*rest}\"\nupstream = \"app\"";
        let proxy = TestProxy::start_with(&upstream, &first, route);
        let mut sender = proxy.streams(WINDOW).await;
        let post = Request::post("https://localhost/").body(()).unwrap();
        let (response, mut body) = sender.send_request(post, false).unwrap();
        body.send_data("half of it".into(), false).unwrap();
        assert_eq!(response.await.unwrap().status(), 408, "{scheme}");
        let records = proxy.finish().await;
        assert_eq!(records[0]["reason"], "body_timeout");
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_an_answer_of_http() {
    let upstream =
        TestUpstream::raw(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = in_front_of(&upstream, "");
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        let reply = client.get("/").await;
        assert_eq!(
            (reply.status.as_u16(), &reply.problem()["status"]),
            (502, &502.into()),
            "no HTTP/2"
        );
    }
    proxy.finish().await;
    let nowhere = "[upstream.app]\nservers = [\"h2c://127.0.0.1:1\"]";
    let route = "[[site.route]]\npath = \"/{*rest}\"\nupstream = \"app\"";
    let proxy = TestProxy::start_with(&upstream, nowhere, route);
    let mut sender = proxy.streams(WINDOW).await;
    let (response, mut request) = sender.send_request(call("Unary"), false).unwrap();
    request.send_data(message("hello"), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 502);
    let records = proxy.finish().await;
    assert_eq!(records[0]["reason"], "upstream_unreachable");
}

/// So many requests at once, each of which takes a while.
async fn wait(client: &SendRequest<Bytes>, count: usize) {
    let mut waiting = Vec::new();
    for _ in 0..count {
        let request = Request::get("https://localhost/wait/300").body(()).unwrap();
        let mut client = client.clone().ready().await.unwrap();
        waiting.push(client.send_request(request, true).unwrap().0);
    }
    for response in waiting {
        assert_eq!(response.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn requests_share_connections_as_far_as_the_server_allows() {
    let upstream = TestUpstream::http2(10).await;
    let proxy = in_front_of(&upstream, "");
    let client = proxy.streams(WINDOW).await;
    wait(&client, 10).await;
    assert_eq!(upstream.connections(), 1);
    wait(&client, 60).await;
    assert!((2..=10).contains(&upstream.connections()), "{}", upstream.connections());
    for _ in 0..20 {
        wait(&client, 1).await;
    }
    assert!(upstream.connections() <= 10);
    proxy.finish().await;
}

#[tokio::test]
async fn bodies_of_any_size_pass_over_http2() {
    let upstream = TestUpstream::http2(100).await;
    let proxy = in_front_of(&upstream, "");
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        assert_eq!(client.post("/", vec![7; 5 << 20]).await.status, 200);
        assert_eq!(client.get("/bytes/3000000").await.body.len(), 3_000_000);
        assert_eq!(client.get("/stream/3000000").await.body.len(), 3_000_000);
        let head = client.request(Method::HEAD, "/bytes/10").body(Full::default()).unwrap();
        let reply = client.send(head).await;
        assert_eq!((reply.body.len(), reply.header("content-length")), (0, "10"));
        assert_eq!(client.get("/status/304").await.status, 304);
    }
    let seen = upstream.seen();
    assert!(seen.iter().any(|seen| seen.body_bytes == 5 << 20));
    assert!(seen.iter().all(|seen| !seen.headers.contains_key("connection")));
    assert!(upstream.connections() <= 2, "one for each worker");
    proxy.finish().await;
}

/// Sends requests with and without a body, one after the other; all must be answered.
async fn all_answered(act: fn(usize, usize) -> Act) -> TestUpstream {
    let upstream = TestUpstream::acting(act).await;
    let proxy = in_front_of(&upstream, "");
    let mut clients = [proxy.client().await, proxy.client_h2().await];
    for turn in 0..6 {
        for client in &mut clients {
            let status = match turn % 2 {
                0 => client.get("/").await.status,
                _ => client.post("/", "a body that is sent again").await.status,
            };
            assert_eq!(status, 200, "turn {turn}");
            // A connection that has ended is known to have.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let records = proxy.finish().await;
    assert!(records.iter().all(|record| record["status"] == 200), "{records:#?}");
    upstream
}

#[tokio::test]
async fn what_a_server_refuses_is_sent_again() {
    let upstream = all_answered(|connection, request| match (connection, request) {
        (0, _) | (_, 1) => Act::Refuse,
        _ => Act::Answer,
    })
    .await;
    assert!(upstream.bytes().contains("a body that is sent again"));
}

#[tokio::test]
async fn so_much_of_a_body_is_kept_to_be_sent_again() {
    for (length, expected) in [(60_000, 200), (200_000, 502)] {
        let upstream = TestUpstream::acting(|connection, _| match connection {
            0 => Act::Refuse,
            _ => Act::Answer,
        })
        .await;
        let proxy = in_front_of(&upstream, "");
        let reply = proxy.client().await.post("/", vec![b'x'; length]).await;
        assert_eq!(reply.status, expected, "{length} bytes");
        proxy.finish().await;
    }
}

#[tokio::test]
async fn a_connection_carries_a_hundred_requests_at_once() {
    let upstream = TestUpstream::http2(1_000).await;
    let more = "[limits]\nhttp2_streams = 300";
    let proxy = in_front_of(&upstream, more);
    let client = proxy.streams(WINDOW).await;
    wait(&client, 1).await;
    wait(&client, 150).await;
    assert_eq!(upstream.connections(), 2);
    proxy.finish().await;
}

#[tokio::test]
async fn what_a_leaving_server_has_not_seen_is_sent_again() {
    all_answered(|connection, request| match (connection, request) {
        (0, _) | (_, 1) => Act::Leave,
        _ => Act::Answer,
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_has_ended_costs_no_error() {
    all_answered(|_, _| Act::AnswerAndClose).await;
    all_answered(|_, _| Act::AnswerAndLeave).await;
}

#[tokio::test]
async fn interim_responses_over_http2_are_passed_on_and_never_confuse_the_response() {
    let upstream = all_answered(|_, _| Act::Hint).await;
    assert!(upstream.connections() <= 2, "one for each worker");
    let proxy = in_front_of(&upstream, "retries = 0");
    let mut streams = proxy.streams(WINDOW).await;
    let get = Request::get("https://localhost/").body(()).unwrap();
    let (mut response, _) = streams.send_request(get, true).unwrap();
    for _ in 0..2 {
        let hint = poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!(hint.status(), 103);
    }
    assert_eq!(response.await.unwrap().status(), 200);
    proxy.finish().await;
}

#[tokio::test]
async fn a_response_that_is_broken_off_never_looks_complete() {
    let upstream = TestUpstream::acting(|_, _| Act::Half).await;
    let proxy = in_front_of(&upstream, "retries = 0");
    let mut streams = proxy.streams(WINDOW).await;
    let get = Request::get("https://localhost/").body(()).unwrap();
    let response = streams.send_request(get, true).unwrap().0;
    let whole = async {
        let mut body = response.await?.into_body();
        while let Some(data) = body.data().await {
            _ = data?;
        }
        Ok::<_, h2::Error>(())
    };
    assert!(whole.await.unwrap_err().is_reset(), "not ended");
    let mut raw = proxy.raw().await;
    raw.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    let answer = raw.read_to_end().await.unwrap_or_default();
    assert!(!answer.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&answer));
    let records = proxy.finish().await;
    assert!(records.iter().all(|record| record["aborted"] == true), "{records:#?}");
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_twice() {
    let upstream = TestUpstream::acting(|connection, _| match connection {
        0 | 1 => Act::Break,
        _ => Act::Answer,
    })
    .await;
    let proxy = in_front_of(&upstream, "retries = 2");
    let reply = proxy.client().await.post("/", "once").await;
    assert_eq!(reply.status, 502);
    assert_eq!(upstream.bytes().matches("once").count(), 1);
    // Doing this twice is doing it once.
    assert_eq!(proxy.client().await.get("/").await.status, 200);
    proxy.finish().await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_and_not_used_again() {
    let mute = TestUpstream::mute().await;
    let proxy = in_front_of(&mute, "answer_timeout = \"300ms\"");
    let mut client = proxy.client().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.status, 504);
    }
    assert_eq!(mute.connections(), 2);
    proxy.finish().await;
}

#[tokio::test]
async fn health_is_asked_over_http2() {
    let upstream = TestUpstream::http2(100).await;
    upstream.set_healthy(false);
    let check = "health = { path = \"/healthy\", interval = \"100ms\", unhealthy_after = 1 }";
    let proxy = in_front_of(&upstream, check);
    let mut client = proxy.client().await;
    for (healthy, status) in [(false, 503), (true, 200)] {
        upstream.set_healthy(healthy);
        let told = async {
            while client.get("/").await.status != status {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
    }
    proxy.finish().await;
}

#[tokio::test]
async fn a_websocket_is_not_spoken_over_http2() {
    let upstream = TestUpstream::http2(100).await;
    let proxy = in_front_of(&upstream, "");
    let mut raw = proxy.raw().await;
    raw.write(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 200 "), "the application does not switch");
    assert!(!upstream.only().headers.contains_key("upgrade"));
    proxy.finish().await;
}

#[tokio::test]
async fn a_group_that_is_no_longer_active_is_left_without_a_loss() {
    let (blue, green) = (TestUpstream::http2(100).await, TestUpstream::http2(100).await);
    let first = format!(
        "[upstream.app]\ngroups = {{ blue = [\"h2c://{}\"], green = [\"h2c://{}\"] }}",
        blue.address, green.address
    );
    let route = "[[site.route]]\npath = \"/{*rest}\"\nupstream = \"app\"";
    let proxy = TestProxy::start_with(&blue, &first, route);
    let client = proxy.streams(WINDOW).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { wait(&client, 20).await }
    });
    wait(&client, 1).await;
    crate::admin::post(proxy.admin(), "/api/upstreams/app/activate?group=green").await;
    waiting.await.unwrap();
    wait(&client, 1).await;
    let left = async {
        while blue.ended() < blue.connections() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), left).await.unwrap();
    assert!(green.ended() < green.connections());
    proxy.finish().await;
}

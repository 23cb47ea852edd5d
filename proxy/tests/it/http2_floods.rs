//! HTTP/2 clients that make Gatehouse work for nothing, or hold what they do not take: the
//! connection (or the stream) ends, and other clients are served.

use crate::harness::frames::{
    Answer, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, frame, request,
};
use crate::harness::{TestProxy, TestUpstream};

/// The memory of this process, which Gatehouse runs in, in bytes.
fn memory() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &request("GET", path))
}

/// ENHANCE_YOUR_CALM (RFC 9113, 7).
const CALM: Option<u32> = Some(11);

/// Sends `opening` and then whatever `flood` makes for ever, while another client is served. The
/// connection must end; the error code that it ends with.
async fn flood(proxy: &TestProxy, opening: &[u8], flood: impl Fn(u32) -> Vec<u8>) -> Option<u32> {
    const MOST: u32 = 400_000;
    let mut other = proxy.client_h2().await;
    let mut frames = Frames::connect(proxy, b"").await;
    assert!(frames.write(opening).await);
    let before = memory();
    for step in 0..MOST {
        if !frames.write(&flood(step)).await {
            assert_eq!(other.get("/").await.status, 200);
            assert!(memory() < before + (64 << 20), "memory grew from {before} to {}", memory());
            return frames.ends().await;
        }
        if step % 64 == 0 {
            assert_eq!(other.get("/").await.status, 200);
        }
    }
    panic!("{MOST} steps were taken without complaint");
}

#[tokio::test]
async fn control_frames_are_bounded() {
    let upstream = TestUpstream::start().await;
    let limits = "[limits]\nhttp2_control_frames = 500";
    let proxy = TestProxy::start_with(&upstream, limits, "");
    assert_eq!(flood(&proxy, b"", |_| frame(PING, 0, 0, &[0; 8])).await, CALM);
    assert_eq!(flood(&proxy, b"", |_| frame(SETTINGS, 0, 0, b"")).await, CALM);
    assert_eq!(flood(&proxy, b"", |_| frame(0xee, 0, 0, b"unknown")).await, CALM);
    assert_eq!(proxy.metric("http2_floods_total").await, 3);
    // The library may be the first to lose patience with these.
    let post = frame(HEADERS, END_HEADERS, 1, &request("POST", "/"));
    flood(&proxy, &post, |_| frame(DATA, 0, 1, b"")).await;
    let open = frame(HEADERS, 0, 1, &request("GET", "/"));
    flood(&proxy, &open, |_| frame(CONTINUATION, 0, 1, b"")).await;
    assert_eq!(proxy.metric("http2_floods_total").await, 5);
    assert_eq!(proxy.metric("panics_total").await, 0);
    proxy.finish().await;
}

#[tokio::test]
async fn resets_are_bounded_whoever_sends_them() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start_with(&upstream, "[limits]\nhttp2_resets = 15", "");
    // Rapid reset (CVE-2023-44487).
    let ended = flood(&proxy, b"", |step| {
        let stream = 2 * step + 1;
        [get(stream, "/wait/100"), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    assert_eq!(ended.await, CALM);
    assert_eq!(proxy.metric("http2_floods_total").await, 1);
    // MadeYouReset (CVE-2025-8671): a window's update by nothing is an error of the stream.
    flood(&proxy, b"", |step| {
        let stream = 2 * step + 1;
        [get(stream, "/wait/100"), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    })
    .await;
    let records = proxy.finish().await;
    let waited = records.iter().filter(|record| record["path"] == "/wait/100").count();
    assert!(waited <= 200, "{waited} requests were begun");
}

#[tokio::test]
async fn a_stream_whose_client_takes_nothing_is_reset() {
    let upstream = TestUpstream::start().await;
    let limits = "[limits]\nresponse_write_timeout = \"1s\"";
    let proxy = TestProxy::start_with(&upstream, limits, "");
    let no_window = [0, 4, 0, 0, 0, 0]; // SETTINGS_INITIAL_WINDOW_SIZE = 0
    let mut frames = Frames::connect(&proxy, &no_window).await;
    assert!(frames.write(&get(1, "/stream/50000000")).await);
    // One that is answered late is not stalled.
    assert!(frames.write(&get(3, "/wait/2500")).await);
    let (mut reset, mut head) = (false, false);
    while !(reset && head) {
        match frames.next().await.unwrap() {
            (RST_STREAM, 1, _) => reset = true,
            (RST_STREAM, stream, _) => panic!("stream {stream} was reset"),
            (HEADERS, 3, _) => head = true,
            _ => {}
        }
    }
    assert!(frames.write(&frame(WINDOW_UPDATE, 0, 3, &100_u32.to_be_bytes())).await);
    while !matches!(frames.next().await.unwrap(), (DATA, 3, _)) {}
    assert_eq!(proxy.metric("http2_streams_timed_out_total").await, 1);
    drop(frames);
    let records = proxy.finish().await;
    let stalled = records.iter().find(|record| record["path"] == "/stream/50000000").unwrap();
    assert_eq!(stalled["aborted"], true);
}

#[tokio::test]
async fn half_a_frame_does_not_hold_a_connection() {
    let upstream = TestUpstream::start().await;
    let limits = "[limits]\nheader_timeout = \"1s\"\nidle_timeout = \"1s\"";
    let proxy = TestProxy::start_with(&upstream, limits, "");
    for opening in [Vec::new(), get(1, "/")] {
        for half in [frame(PING, 0, 0, &[0; 8]), get(3, "/")] {
            let mut frames = Frames::connect(&proxy, b"").await;
            assert!(frames.write(&opening).await);
            assert!(frames.write(&half[..half.len() - 3]).await);
            frames.ends().await;
        }
    }
    assert_eq!(proxy.metric("connections_timed_out_total").await, 4);
    proxy.finish().await;
}

#[tokio::test]
async fn requests_in_flight_on_a_connection_are_bounded_also_those_that_it_has_reset() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start_with(&upstream, "[limits]\nhttp2_streams = 4", "");
    let mut frames = Frames::connect(&proxy, b"").await;
    // In one write, and so begun before the first of them can be given up.
    let burst = (0..15).flat_map(|step| {
        let stream = 2 * step + 1;
        [get(stream, "/wait/100"), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    assert!(frames.write(&burst.collect::<Vec<u8>>()).await);
    assert!(frames.write(&get(99, "/")).await);
    while !matches!(frames.next().await.unwrap(), (HEADERS, 99, _)) {}
    assert!(upstream.seen().len() <= 9, "{}", upstream.seen().len());
    drop(frames);
    let records = proxy.finish().await;
    let refused = records.iter().filter(|record| record["reason"] == "connection_saturated");
    assert!(refused.count() >= 7);
}

/// A field line of the static table's `cookie` or of a name of its own, into the dynamic table (RFC
/// 7541, 6.2.1).
fn remembered(name: &str, value: usize) -> Vec<u8> {
    let mut line = vec![0x40, u8::try_from(name.len()).unwrap()];
    line.extend_from_slice(name.as_bytes());
    let mut length = value - 127;
    line.push(127);
    while length >= 128 {
        line.push(u8::try_from(length % 128).unwrap() | 128);
        length /= 128;
    }
    line.push(u8::try_from(length).unwrap());
    line.extend(std::iter::repeat_n(b'x', value));
    line
}

/// The newest line of the dynamic table, again.
const AGAIN: u8 = 0x80 | 62;

#[tokio::test]
async fn a_head_that_unfolds_to_many_times_its_size_is_refused_and_memory_stays_flat() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut other = proxy.client_h2().await;
    let before = memory();
    for line in [remembered("x", 3_900), remembered("cookie", 200)] {
        // A few kilobytes that mean some megabytes; then a few hundred that mean gigabytes.
        for frames in [1, 20] {
            let mut client = Frames::connect(&proxy, b"").await;
            let section = [request("GET", "/"), line.clone(), vec![AGAIN; 8_000]].concat();
            let mut bytes = frame(HEADERS, END_STREAM, 1, &section);
            for _ in 1..frames {
                bytes.extend(frame(CONTINUATION, 0, 1, &[AGAIN; 16_000]));
            }
            bytes.extend(frame(CONTINUATION, END_HEADERS, 1, &[AGAIN]));
            client.write(&bytes).await;
            let answer = client.answer().await;
            assert!(matches!(answer, Answer::Status(0) | Answer::Ended(_)), "{answer:?}");
        }
    }
    // As large as may be, on as many streams as may be, all of which wait.
    let mut client = Frames::connect(&proxy, b"").await;
    let first = [request("GET", "/wait/1000"), remembered("x", 3_900)].concat();
    let next = [request("GET", "/wait/1000"), vec![AGAIN; 7]].concat();
    for number in 0..100 {
        let section = if number == 0 { &first } else { &next };
        let head = frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, section);
        assert!(client.write(&head).await);
    }
    assert_eq!(client.answer().await, Answer::Status(200));
    assert!(memory() < before + (64 << 20), "memory grew from {before} to {}", memory());
    assert_eq!(other.get("/").await.status, 200);
    drop(client);
    let records = proxy.finish().await;
    let refused = records.iter().filter(|record| record["status"] == 431);
    assert!(refused.clone().all(|record| record["reason"] == "head_too_large"));
}

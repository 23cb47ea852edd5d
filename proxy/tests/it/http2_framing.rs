//! HTTP/2 requests that are none, as frames: lengths that disagree, fields that cannot be, heads
//! that another protocol would read differently (RFC 9113, 8.1.1 to 8.3, 8.5).

use crate::harness::frames::{
    Answer, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, field, frame, request,
};
use crate::harness::{TestProxy, TestUpstream};

const REQUEST: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")];

fn section<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    fields.into_iter().flat_map(|(name, value)| field(name, value)).collect()
}

fn head(section: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, section)
}

/// What becomes of a request of these bytes, on a connection of its own.
async fn answer(proxy: &TestProxy, bytes: &[u8]) -> Answer {
    let mut frames = Frames::connect(proxy, b"").await;
    assert!(frames.write(bytes).await);
    frames.answer().await
}

/// A request with one more field.
fn with<'a>(name: &'a str, value: &'a str) -> Vec<u8> {
    section(REQUEST.into_iter().chain([(name, value)]))
}

/// A request with another value for a field, or without it.
fn but(name: &str, value: Option<&str>) -> Vec<u8> {
    let other = |(key, usual)| if key == name { Some((key, value?)) } else { Some((key, usual)) };
    section(REQUEST.into_iter().filter_map(other))
}

/// A request that names its host as HTTP/1.1 does.
fn without_authority<'a>(path: &'a str, hosts: &[&'a str]) -> Vec<u8> {
    let fields =
        REQUEST.map(|(name, value)| if name == ":path" { (name, path) } else { (name, value) });
    let fields = fields.into_iter().filter(|(name, _)| *name != ":authority");
    section(fields.chain(hosts.iter().map(|host| ("host", *host))))
}

const REFUSED: Answer = Answer::Status(400);
const PROTOCOL_ERROR: Answer = Answer::Ended(Some(1));

/// Fields too many.
const ADDED: [(&str, &str, Answer); 28] = [
    // Doubled, of a response, of no protocol that is known.
    (":method", "GET", Answer::Reset),
    (":path", "/other", Answer::Reset),
    (":scheme", "https", Answer::Reset),
    (":authority", "localhost", Answer::Reset),
    (":status", "200", Answer::Reset),
    (":protocol", "websocket", Answer::Reset),
    (":unknown", "x", PROTOCOL_ERROR),
    // Of a connection, which HTTP/2 does not have (8.2.2).
    ("connection", "close", Answer::Reset),
    ("transfer-encoding", "chunked", Answer::Reset),
    ("upgrade", "h2c", Answer::Reset),
    ("keep-alive", "timeout=5", Answer::Reset),
    ("proxy-connection", "keep-alive", Answer::Reset),
    ("te", "gzip", Answer::Reset),
    // Names and values that would be something else in HTTP/1.1 (8.2.1).
    ("X-Upper", "y", PROTOCOL_ERROR),
    ("x y", "z", PROTOCOL_ERROR),
    ("x:", "z", PROTOCOL_ERROR),
    ("", "z", PROTOCOL_ERROR),
    ("x\r\ny", "z", PROTOCOL_ERROR),
    ("x", "y\r\nGET /smuggled HTTP/1.1", PROTOCOL_ERROR),
    ("x", "y\nz", PROTOCOL_ERROR),
    ("x", "y\0z", PROTOCOL_ERROR),
    ("x", " y", REFUSED),
    ("x", "y\t", REFUSED),
    // Hosts and lengths that disagree.
    ("host", "127.0.0.1", REFUSED),
    ("host", "evil", REFUSED),
    ("content-length", "5", Answer::Reset),
    ("content-length", "+0", Answer::Reset),
    ("content-length", "0, 0", Answer::Reset),
];

/// Fields with a value that they cannot have, or without one.
const CHANGED: [(&str, Option<&str>, Answer); 25] = [
    (":method", None, Answer::Reset),
    (":scheme", None, Answer::Reset),
    (":path", None, Answer::Reset),
    (":authority", None, REFUSED),
    (":method", Some(""), PROTOCOL_ERROR),
    (":method", Some("GET /smuggled"), PROTOCOL_ERROR),
    (":method", Some("GET\r\n"), PROTOCOL_ERROR),
    (":method", Some("CONNECT"), Answer::Reset),
    (":path", Some(""), Answer::Reset),
    (":path", Some("/a b"), Answer::Reset),
    (":path", Some("/\r\nx: y"), Answer::Reset),
    (":path", Some("/\u{1}"), Answer::Reset),
    (":path", Some("relative"), Answer::Reset),
    (":path", Some("@evil/"), Answer::Reset),
    (":path", Some("http://evil/"), Answer::Reset),
    (":path", Some("*"), REFUSED),
    (":scheme", Some("http"), REFUSED),
    (":scheme", Some("ftp"), REFUSED),
    (":scheme", Some(""), REFUSED),
    (":scheme", Some("http s"), Answer::Reset),
    (":authority", Some(""), Answer::Reset),
    (":authority", Some("user@localhost"), REFUSED),
    (":authority", Some("local host"), Answer::Reset),
    (":authority", Some("localhost/x"), Answer::Reset),
    (":authority", Some("localhost,evil"), REFUSED),
];

/// Paths and hosts of requests without an authority.
const CONVERTED: [(&str, &[&str], Answer); 9] = [
    ("/", &[], REFUSED),
    ("/", &["localhost", "localhost"], REFUSED),
    ("/", &["user@localhost"], REFUSED),
    ("/", &["localhost:99999"], REFUSED),
    ("/", &[""], REFUSED),
    ("*", &["localhost"], REFUSED),
    ("relative", &["localhost"], Answer::Reset),
    ("@evil/", &["localhost"], Answer::Reset),
    ("http://evil/", &["localhost"], Answer::Reset),
];

#[tokio::test]
async fn malformed_heads_are_refused_and_not_a_byte_goes_upstream() {
    let upstream = TestUpstream::recording().await;
    let proxy = TestProxy::start(&upstream, "");
    let late = section([("x", "y")].into_iter().chain(REQUEST));
    let bare = [(late, Answer::Reset), (Vec::new(), Answer::Reset)].into_iter();
    let added = ADDED.into_iter().map(|(name, value, expected)| (with(name, value), expected));
    let changed = CHANGED.into_iter().map(|(name, value, expected)| (but(name, value), expected));
    let converted = CONVERTED
        .into_iter()
        .map(|(path, hosts, expected)| (without_authority(path, hosts), expected));
    let mut reset = 0;
    for (section, expected) in bare.chain(added).chain(changed).chain(converted) {
        let answer = answer(&proxy, &head(&section)).await;
        assert_eq!(answer, expected, "{}", String::from_utf8_lossy(&section));
        reset += u64::from(answer == Answer::Reset);
    }
    assert_eq!(upstream.bytes(), "");
    // What is reset before there is a request leaves no record.
    assert_eq!(proxy.metric("requests_malformed_total").await, reset);
    for record in proxy.finish().await {
        let reason = record["reason"].as_str().unwrap();
        assert!(matches!(reason, "host_invalid" | "malformed" | "path_ambiguous"), "{record:#}");
    }
}

#[tokio::test]
async fn what_is_merely_unusual_is_written_anew() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    for section in [
        but(":path", Some("/a#fragment")),
        with("http2-settings", "AAMAAABkAAQAAP__"),
        with("host", "localhost"),
        without_authority("/", &["localhost"]),
        with("te", "trailers"),
        section([("cookie", "a=1"), ("cookie", "b=2")].into_iter().fold(
            REQUEST.to_vec(),
            |mut fields, crumb| {
                fields.push(crumb);
                fields
            },
        )),
    ] {
        let answer = answer(&proxy, &head(&section)).await;
        assert_eq!(answer, Answer::Status(200), "{}", String::from_utf8_lossy(&section));
    }
    let seen = upstream.seen();
    assert_eq!((seen.len(), seen[0].uri.to_string()), (6, "/a".to_owned()));
    for seen in &seen {
        let hosts: Vec<_> = seen.headers.get_all("host").iter().collect();
        assert_eq!(hosts, ["localhost"]);
        assert!(!seen.headers.contains_key("http2-settings"));
    }
    assert_eq!(seen[5].headers["cookie"], "a=1; b=2");
    proxy.finish().await;
}

#[tokio::test]
async fn a_length_that_disagrees_with_the_data_never_looks_complete() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let post = |length: &str| {
        let fields = REQUEST.map(|(name, value)| (name, value.replace("GET", "POST")));
        let mut section: Vec<u8> =
            fields.iter().flat_map(|(name, value)| field(name, value)).collect();
        if !length.is_empty() {
            section.extend(field("content-length", length));
        }
        frame(HEADERS, END_HEADERS, 1, &section)
    };
    let data = |flags, text: &str| frame(DATA, flags, 1, text.as_bytes());
    // In one write, and so that the head has gone upstream before.
    for pause in [false, true] {
        for (length, frames, whole) in [
            ("", vec![data(END_STREAM, "hello")], true),
            ("5", vec![data(0, "hel"), data(END_STREAM, "lo")], true),
            ("3", vec![data(END_STREAM, "hello")], false),
            ("3", vec![data(0, "hel"), data(END_STREAM, "lo")], false),
            ("10", vec![data(END_STREAM, "hello")], false),
            ("10", vec![data(0, "hello"), data(END_STREAM, "")], false),
        ] {
            let before = upstream.seen().len();
            let mut client = Frames::connect(&proxy, b"").await;
            let mut bytes = post(length);
            if pause {
                assert!(client.write(&std::mem::take(&mut bytes)).await);
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            bytes.extend(frames.concat());
            assert!(client.write(&bytes).await);
            let answer = client.answer().await;
            assert_eq!(answer == Answer::Status(200), whole, "{length} {pause}: {answer:?}");
            if !whole {
                let bytes = upstream.seen().iter().skip(before).map(|seen| seen.body_bytes).max();
                assert_ne!(bytes.unwrap_or(0).to_string(), length, "{pause}");
            }
        }
    }
    proxy.finish().await;
}

#[tokio::test]
async fn trailers_are_no_second_head() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let post = frame(HEADERS, END_HEADERS, 1, &request("POST", "/"));
    let data = frame(DATA, 0, 1, b"body");
    let trailers =
        |flags, fields: &[(&str, &str)]| frame(HEADERS, flags, 1, &section(fields.iter().copied()));
    for (last, whole) in [
        (trailers(END_STREAM | END_HEADERS, &[("x", "y")]), true),
        (trailers(END_HEADERS, &[("x", "y")]), false),
        // Another stream's frame, or another kind, in the middle of a field section (6.10).
        (
            [trailers(END_STREAM, &[("x", "y")]), frame(CONTINUATION, END_HEADERS, 3, b"")]
                .concat(),
            false,
        ),
        ([trailers(END_STREAM, &[("x", "y")]), frame(DATA, END_STREAM, 1, b"")].concat(), false),
    ] {
        let answer = answer(&proxy, &[&post[..], &data, &last].concat()).await;
        assert_eq!(answer == Answer::Status(200), whole, "{last:?}: {answer:?}");
    }
    proxy.finish().await;
}

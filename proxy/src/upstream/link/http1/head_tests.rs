//! Heads that servers send, whole, in pieces and wrong.

use super::*;

fn parse_all(text: &str) -> Result<Option<Head>, Broken> {
    parse(&mut BytesMut::from(text), &mut 0)
}

fn head(text: &str) -> Head {
    parse_all(text).unwrap().unwrap_or_else(|| panic!("{text:?} is not whole"))
}

#[test]
fn a_head_is_taken_and_what_follows_stays() {
    let text = "HTTP/1.1 200 OK\r\nA: 1\r\nb:  x y \r\nA: 2\r\nE:\r\n\r\nbody";
    let mut unread = BytesMut::from(text);
    let Head { response, keeps_alive } = parse(&mut unread, &mut 0).unwrap().unwrap();
    assert_eq!((response.status(), &unread[..], keeps_alive), (StatusCode::OK, &b"body"[..], true));
    let fields = response.headers().iter();
    let fields: Vec<_> = fields.map(|(n, v)| format!("{n}={}", v.to_str().unwrap())).collect();
    assert_eq!(fields, ["a=1", "a=2", "b=x y", "e="]);
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let text = "HTTP/1.1 404 Nowhere\r\ncontent-length: 0\r\n\r\n";
    let (mut unread, mut looked_at) = (BytesMut::new(), 0);
    for (at, byte) in text.bytes().enumerate() {
        unread.extend_from_slice(&[byte]);
        let head = parse(&mut unread, &mut looked_at).unwrap();
        assert_eq!(head.is_some(), at + 1 == text.len(), "after {at} bytes");
        if let Some(head) = head {
            let reason = head.response.extensions().get::<ReasonPhrase>().unwrap();
            assert_eq!(
                (head.response.status(), reason.as_bytes()),
                (StatusCode::NOT_FOUND, &b"Nowhere"[..])
            );
        }
    }
    assert!(unread.is_empty());
}

#[test]
fn what_is_no_head_is_refused() {
    for text in [
        "\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "SMTP ready\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nspace : 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: 1\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: \u{1}\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: 1\r\n\r\n",
    ] {
        assert!(parse_all(text).is_err(), "{text:?}");
    }
}

#[test]
fn heads_are_bounded_in_bytes_and_fields() {
    let fields = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: 1\r\n".repeat(count));
    assert_eq!(head(&fields(FIELDS)).response.headers().len(), FIELDS);
    assert!(parse_all(&fields(FIELDS + 1)).is_err());
    let begun = |bytes: usize| format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(bytes));
    assert!(parse_all(&begun(Worker::BUFFER / 2)).unwrap().is_none());
    assert!(matches!(parse_all(&begun(Worker::BUFFER)), Err(Broken::TooLarge)));
    let whole = begun(Worker::BUFFER) + "\r\n\r\n";
    assert!(matches!(parse_all(&whole), Err(Broken::TooLarge)), "even if it comes at once");
}

#[test]
fn the_connection_lives_on_as_the_head_says() {
    for (text, lives_on) in [
        ("HTTP/1.1 200 OK\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nconnection: x, Close\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nconnection: close\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\n\r\n", true),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n", false),
        ("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", false),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n", true),
    ] {
        assert_eq!(head(text).keeps_alive, lives_on, "{text:?}");
    }
}

#[test]
fn the_end_of_a_body_is_known_as_rfc_9112_has_it() {
    let told = |method: Method, version: &str, rest: &str| {
        let head = head(&format!("HTTP/{version} {rest}\r\n\r\n"));
        match framing(&method, &head.response) {
            Ok(Framing::Length(length)) => format!("{length}"),
            Ok(Framing::Chunked(_)) => "chunked".to_owned(),
            Ok(Framing::Close) => "close".to_owned(),
            Err(_) => "refused".to_owned(),
        }
    };
    for (rest, expected) in [
        ("200 OK", "close"),
        ("200 OK\r\ncontent-length: 7", "7"),
        ("200 OK\r\ncontent-length: 7\r\ncontent-length: 7, 7", "7"),
        ("200 OK\r\ncontent-length: 7\r\ncontent-length: 8", "refused"),
        ("200 OK\r\ncontent-length: +7", "refused"),
        ("200 OK\r\ncontent-length: 7 7", "refused"),
        ("200 OK\r\ncontent-length:", "refused"),
        ("200 OK\r\ncontent-length: 18446744073709551616", "refused"),
        ("200 OK\r\ntransfer-encoding: Chunked", "chunked"),
        ("200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 7", "chunked"),
        ("200 OK\r\ntransfer-encoding: gzip, chunked", "refused"),
        ("200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked", "refused"),
        ("200 OK\r\ntransfer-encoding: identity", "refused"),
        ("204 No Content\r\ncontent-length: 7", "0"),
        ("304 Not Modified\r\ntransfer-encoding: chunked", "0"),
        ("101 Switching Protocols\r\nupgrade: websocket", "0"),
    ] {
        assert_eq!(told(Method::GET, "1.1", rest), expected, "{rest:?}");
    }
    assert_eq!(told(Method::HEAD, "1.1", "200 OK\r\ncontent-length: 7"), "0");
    assert_eq!(told(Method::GET, "1.0", "200 OK\r\ntransfer-encoding: chunked"), "refused");
    assert!(is_interim(StatusCode::EARLY_HINTS) && !is_interim(StatusCode::SWITCHING_PROTOCOLS));
}

//! Which responses are compressed, and what their fields say.

use http::Response;

use super::*;

fn head(fields: &[(&'static str, &'static str)]) -> Parts {
    let (mut head, ()) = Response::new(()).into_parts();
    for (name, value) in fields {
        head.headers.append(*name, HeaderValue::from_static(value));
    }
    head
}

fn room() -> Rc<Room> {
    Room::new(&Arc::default())
}

fn gzip(room: &Rc<Room>) -> Choice {
    Choice { coding: Some(Coding::Gzip), padding: false, room: Rc::clone(room) }
}

const LARGE: [(&str, &str); 2] = [("content-type", "text/html"), ("content-length", "5000")];

#[test]
fn only_what_shrinks_and_may_be_changed_is_a_candidate() {
    for (fields, candidate) in [
        (&LARGE[..], true),
        (&[("content-type", "text/html; charset=utf-8")], true),
        (&[("content-type", "APPLICATION/JSON")], true),
        (&[("content-type", "application/problem+json")], true),
        (&[("content-type", "application/grpc")], false),
        (&[("content-type", "image/png")], false),
        (&[("content-type", "text/event-stream; charset=utf-8")], false),
        (&[], false),
        (&[LARGE[0], ("content-length", "1023")], false),
        (&[LARGE[0], ("content-length", "nonsense")], false),
        (&[LARGE[0], ("content-encoding", "br")], false),
        (&[LARGE[0], ("content-range", "bytes 0-1/9000")], false),
        (&[LARGE[0], ("content-digest", "sha-256=:x:")], false),
        (&[LARGE[0], ("cache-control", "max-age=5, No-Transform")], false),
        (&[LARGE[0], ("cache-control", "no-transformation")], true),
    ] {
        assert_eq!(is_candidate(&head(fields)), candidate, "{fields:?}");
    }
    for status in [204, 205, 206, 304] {
        let mut head = head(&LARGE);
        head.status = StatusCode::from_u16(status).unwrap();
        assert!(!is_candidate(&head), "{status}");
    }
}

#[test]
fn the_fields_say_what_became_of_the_body() {
    let mut head = head(&[
        LARGE[0],
        LARGE[1],
        ("etag", "\"a\""),
        ("accept-ranges", "bytes"),
        ("vary", "origin"),
    ]);
    assert!(gzip(&room()).apply(&mut head).is_some());
    let fields = &head.headers;
    assert_eq!(fields.get("content-encoding").unwrap(), "gzip");
    assert_eq!(fields.get("etag").unwrap(), "W/\"a\"");
    assert!(!fields.contains_key("content-length") && !fields.contains_key("accept-ranges"));
    let vary: Vec<_> = fields.get_all("vary").iter().collect();
    assert_eq!(vary, ["origin", "accept-encoding"]);
}

#[test]
fn a_candidate_varies_even_for_a_client_that_takes_no_coding() {
    let none = || Choice { coding: None, padding: false, room: room() };
    let mut candidate = head(&LARGE);
    assert!(none().apply(&mut candidate).is_none());
    assert_eq!(candidate.headers.get("vary").unwrap(), "accept-encoding");
    assert_eq!(candidate.headers.get("content-length").unwrap(), "5000");
    for said in ["*", "Accept-Encoding, origin"] {
        let mut other = head(&[LARGE[0], ("vary", said)]);
        _ = none().apply(&mut other);
        assert_eq!(other.headers.get_all("vary").iter().count(), 1, "{said}");
    }
}

#[test]
fn a_worker_without_room_for_another_encoder_compresses_no_more() {
    let counters = Arc::<Counters>::default();
    let room = Room::new(&counters);
    let mut encodings: Vec<_> =
        (0..Room::ENCODERS).map(|_| gzip(&room).apply(&mut head(&LARGE)).unwrap()).collect();
    let mut plain = head(&LARGE);
    assert!(gzip(&room).apply(&mut plain).is_none());
    assert!(!plain.headers.contains_key("content-encoding"));
    assert_eq!(counters.compression_refused.get(), 1);
    encodings.pop();
    assert!(gzip(&room).apply(&mut head(&LARGE)).is_some());
}

#[test]
fn padded_routes_do_without_brotli() {
    let accepts =
        |value| HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]);
    let route = Compression { codings: vec![Coding::Brotli, Coding::Gzip], padding: true };
    let choose = |value| route.choose(&accepts(value), &room()).unwrap().coding;
    assert_eq!((choose("br, gzip"), choose("br")), (Some(Coding::Gzip), None));
    let off = Compression::default();
    assert!(off.choose(&accepts("gzip"), &room()).is_none());
}

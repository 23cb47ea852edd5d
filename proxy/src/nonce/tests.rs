//! Which responses are pages, what their fields say then, and how they are decoded.

use std::io::Write as _;

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::*;

fn head(fields: &[(&'static str, &str)]) -> Parts {
    let mut head = Response::new(()).into_parts().0;
    for (name, value) in fields {
        head.headers.append(*name, value.parse().unwrap());
    }
    head
}

#[test]
fn a_page_is_whole_html_in_ascii_tags() {
    for (content_type, page) in [
        ("text/html", true),
        ("TEXT/HTML; charset=iso-8859-1", true),
        ("text/html;charset=UTF-16LE", false),
        ("text/html;charset=Unicode", false),
        ("text/html;charset=csISO2022JP", false),
        ("application/xhtml+xml", false),
        ("text/htmlx", false),
        ("application/json", false),
    ] {
        assert_eq!(is_page(&head(&[("content-type", content_type)])), page, "{content_type}");
    }
    assert!(!is_page(&head(&[])));
    for (status, page) in [(200, true), (404, true), (204, false), (206, false), (304, false)] {
        let mut head = head(&[("content-type", "text/html")]);
        head.status = StatusCode::from_u16(status).unwrap();
        assert_eq!(is_page(&head), page, "{status}");
    }
}

#[test]
fn no_shared_cache_keeps_a_page_with_a_nonce() {
    for (before, after) in [
        (&[][..], "private"),
        (&["public, max-age=60, s-maxage=600"], "private, max-age=60"),
        (&["max-age=60", "private, must-revalidate"], "private, max-age=60, must-revalidate"),
        (&["no-store, public"], "no-store, public"),
    ] {
        let mut fields = HeaderMap::new();
        for value in before {
            fields.append(header::CACHE_CONTROL, value.parse().unwrap());
        }
        mark(&mut fields, false);
        assert_eq!(fields[header::CACHE_CONTROL], after, "{before:?}");
    }
    let mut fields = HeaderMap::new();
    for name in OF_THE_BYTES.iter().chain(&OF_SHARED_CACHES) {
        fields.insert(name, "1".parse().unwrap());
    }
    fields.insert(header::CONTENT_ENCODING, "br".parse().unwrap());
    mark(&mut fields, true);
    assert_eq!(fields.keys().collect::<Vec<_>>(), [header::CACHE_CONTROL]);
}

fn coded(coding: Coding, text: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Brotli => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4_096, 5, 22);
            encoder.write_all(text).unwrap();
            encoder.into_inner()
        }
        Coding::Zstd => zstd::stream::encode_all(text, 3).unwrap(),
    }
}

/// Feeds `bytes` in pieces, and the most that came out of one piece.
fn decode(coding: Coding, bytes: &[u8], piece: usize) -> std::io::Result<Vec<u8>> {
    let mut decoder = Decoder::new(coding)?;
    let (mut out, mut buffer) = (Vec::new(), [0; 1_000]);
    for piece in bytes.chunks(piece) {
        decoder.feed(Bytes::copy_from_slice(piece));
        while let Some(length) = decoder.read(&mut buffer)? {
            if length == 0 {
                break;
            }
            out.extend_from_slice(&buffer[..length]);
        }
    }
    decoder.end();
    loop {
        match decoder.read(&mut buffer)? {
            None | Some(0) => return Ok(out),
            Some(length) => out.extend_from_slice(&buffer[..length]),
        }
    }
}

#[test]
fn pages_are_decoded_however_they_are_cut() {
    let text: Vec<u8> =
        (0..20_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for coding in Coding::ALL {
        let bytes = coded(coding, &text);
        for piece in [1, 7, 4_096, bytes.len()] {
            assert!(decode(coding, &bytes, piece).unwrap() == text, "{coding:?} by {piece}");
        }
        assert!(decode(coding, &bytes[..bytes.len() / 2], 100).is_err(), "{coding:?} cut off");
        assert!(decode(coding, b"<!doctype html>", 100).is_err(), "{coding:?} that is none");
    }
}

#[test]
fn a_window_larger_than_browsers_take_is_refused() {
    let parameters = brotli::enc::BrotliEncoderParams {
        large_window: true,
        lgwin: 30,
        quality: 2,
        ..Default::default()
    };
    let mut encoder = brotli::CompressorWriter::with_params(Vec::new(), 4_096, &parameters);
    encoder.write_all(&[b'x'; 10_000]).unwrap();
    let bytes = encoder.into_inner();
    for piece in [1, bytes.len()] {
        assert!(decode(Coding::Brotli, &bytes, piece).is_err());
    }
}

#[test]
fn rewriters_and_decoders_have_a_bound() {
    let counters = Arc::new(Counters::default());
    let room = Room::new(&counters);
    let decoders: Vec<_> = (0..64).map(|_| Slot::take(&room, true)).collect();
    assert!(decoders.iter().all(Option::is_some));
    assert!(Slot::take(&room, false).is_none());
    assert_eq!(counters.nonces_refused.get(), 1);
    drop(decoders);
    assert!(Slot::take(&room, false).is_some());
}

#[test]
fn only_requests_for_pages_lose_their_conditions() {
    let mut draft = crate::policy::headers::Draft::new(crate::policy::headers::Preset::None);
    draft.set(header::CONTENT_SECURITY_POLICY, "script-src 'nonce'").unwrap();
    let policy = draft.compile();
    for (method, accept, kept) in [
        (Method::GET, "text/html,*/*;q=0.8", false),
        (Method::GET, "*/*", true),
        (Method::PUT, "text/html", true),
    ] {
        let mut fields = HeaderMap::new();
        fields.insert(header::ACCEPT, accept.parse().unwrap());
        fields.insert(header::IF_NONE_MATCH, "\"a\"".parse().unwrap());
        make_unconditional(&policy, &method, &mut fields);
        assert_eq!(fields.contains_key(header::IF_NONE_MATCH), kept, "{method} {accept}");
    }
}

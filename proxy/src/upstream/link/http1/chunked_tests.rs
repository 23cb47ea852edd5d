//! Chunked bodies, whole and cut anywhere.

use proptest::prelude::*;

use super::*;

/// The data, the number of trailers, and what is left over.
type Read = (Vec<u8>, usize, Vec<u8>);

/// Reads a body that comes in pieces of so many bytes; `None` if its end is missing.
fn read(text: &[u8], piece: usize) -> Result<Option<Read>, Broken> {
    let (mut chunked, mut unread) = (Chunked::default(), BytesMut::new());
    let (mut data, mut trailers) = (Vec::new(), 0);
    let mut rest = text.chunks(piece.max(1));
    loop {
        match chunked.next(&mut unread)? {
            Step::End => break,
            Step::More => match rest.next() {
                Some(more) => unread.extend_from_slice(more),
                None => return Ok(None),
            },
            Step::Piece(frame) => match frame.into_data() {
                Ok(bytes) => data.extend_from_slice(&bytes),
                Err(frame) => trailers = frame.trailers_ref().unwrap().len(),
            },
        }
    }
    assert!(chunked.is_over());
    unread.extend_from_slice(&rest.collect::<Vec<_>>().concat());
    Ok(Some((data, trailers, unread.to_vec())))
}

#[test]
fn chunks_are_put_together() {
    for (text, data, trailers, left) in [
        ("0\r\n\r\n", "", 0, ""),
        ("3\r\nabc\r\n0\r\n\r\n", "abc", 0, ""),
        ("3\r\nabc\r\n0A;x=\"1;2\"\r\n0123456789\r\n00\r\n\r\nHTTP", "abc0123456789", 0, "HTTP"),
        ("1 ;a\r\n\n\r\n0\r\na: 1\r\nb: 2\r\n\r\n\r\n", "\n", 2, "\r\n"),
    ] {
        for piece in [1, 2, 3, 5, 1_000] {
            let read = read(text.as_bytes(), piece).unwrap().unwrap_or_else(|| panic!("{text:?}"));
            let expected = (data.as_bytes().to_vec(), trailers, left.as_bytes().to_vec());
            assert_eq!(read, expected, "{text:?} by {piece}");
        }
    }
}

#[test]
fn what_is_not_chunked_is_refused() {
    for text in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "0x1\r\n",
        "3\nabc",
        "3 3\r\nabc\r\n",
        "3\r\r\nabc\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc0\r\n",
        "10000000000000000\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\na : 1\r\n\r\n",
    ] {
        for piece in [1, 1_000] {
            assert!(read(text.as_bytes(), piece).is_err(), "{text:?} by {piece}");
        }
    }
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let long = |bytes: usize| format!("0;{}\r\n\r\n", "x".repeat(bytes));
    assert!(read(long(EXTENSIONS - 1).as_bytes(), 1_000).unwrap().is_some());
    assert!(read(long(EXTENSIONS).as_bytes(), 1_000).is_err());
    let many = "1;abc\r\nx\r\n".repeat(EXTENSIONS / 4 + 1);
    assert!(read(many.as_bytes(), 1_000).is_err(), "many short ones");
    let endless = vec![b'1'; EXTENSIONS * 2];
    assert!(read(&endless, 1_000).is_err(), "a size without end");
    let trailers = |bytes: usize| format!("0\r\na: {}\r\n\r\n", "x".repeat(bytes));
    assert!(read(trailers(TRAILERS - 100).as_bytes(), 1_000).unwrap().is_some());
    assert!(read(trailers(TRAILERS * 2).as_bytes(), 1_000).is_err());
}

proptest! {
    #[test]
    fn any_body_cut_anywhere_comes_whole(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
        piece in 1_usize..400,
        cut in 0_usize..40,
    ) {
        let mut text = Vec::new();
        for chunk in &chunks {
            text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            text.extend_from_slice(chunk);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"0\r\n\r\n");
        prop_assert_eq!(read(&text, piece).unwrap(), Some((chunks.concat(), 0, Vec::new())));
        let cut = cut.min(text.len() - 1);
        prop_assert_eq!(read(&text[..cut], piece).unwrap(), None, "cut after {}", cut);
    }
}

//! The path that patterns match: percent-decoded, free of dot segments and of doubled slashes (RFC
//! 3986, 6.2.2).
//!
//! The original is what goes upstream. Cleaning more than a particular backend does can only make a
//! rule hold more requests, never fewer; what two programs could read as different paths is
//! refused, unless the site takes it: then all are read as the backend that decodes the most.

use std::borrow::Cow;

use crate::rejection::Rejection;

/// The path cannot be cleaned without guessing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;

impl From<Ambiguous> for Rejection {
    fn from(Ambiguous: Ambiguous) -> Self {
        Self::PathAmbiguous
    }
}

/// Cleans a raw path. Borrows it when it is clean already, as nearly all are.
///
/// `lenient` takes what is ambiguous, with encoded separators as separators, and ends `..` at the
/// root. An escape that is none stays refused.
pub(crate) fn clean(raw: &str, lenient: bool) -> Result<Cow<'_, str>, Ambiguous> {
    if raw == "*" {
        return Ok(Cow::Borrowed(raw)); // OPTIONS, asterisk-form (RFC 9112, 3.2.4)
    }
    if !raw.starts_with('/') {
        return Err(Ambiguous);
    }
    let mut decoded = decode(raw, lenient)?;
    if decoded.contains('\\') {
        decoded = Cow::Owned(decoded.replace('\\', "/"));
    }
    if decoded.contains("//") || decoded.contains("/.") {
        return without_dots(&decoded, lenient).map(Cow::Owned);
    }
    Ok(decoded)
}

/// Refuses escapes that are none and, unless `lenient`, encoded `/`, `\` and controls, and raw `\`.
fn decode(raw: &str, lenient: bool) -> Result<Cow<'_, str>, Ambiguous> {
    let mut bytes = raw.bytes();
    let mut escaped = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (Some(high), Some(low)) = (bytes.next(), bytes.next()) else {
                    return Err(Ambiguous);
                };
                let digit = |b: u8| char::from(b).to_digit(16).ok_or(Ambiguous);
                let value = digit(high)? * 16 + digit(low)?;
                if !lenient && matches!(value, 0x2f | 0x5c | 0x7f | 0..0x20) {
                    return Err(Ambiguous);
                }
                escaped = true;
            }
            b'\\' | 0x7f | 0..0x20 if !lenient => return Err(Ambiguous),
            _ => {}
        }
    }
    if !escaped {
        return Ok(Cow::Borrowed(raw));
    }
    Ok(percent_encoding::percent_decode_str(raw).decode_utf8_lossy())
}

fn without_dots(path: &str, lenient: bool) -> Result<String, Ambiguous> {
    let mut segments: Vec<&str> = Vec::new();
    let mut directory = true;
    for segment in path.split('/') {
        directory = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." if segments.pop().is_none() && !lenient => return Err(Ambiguous),
            ".." => {}
            _ => segments.push(segment),
        }
    }
    let mut clean = String::with_capacity(path.len());
    for segment in &segments {
        clean.push('/');
        clean.push_str(segment);
    }
    if directory {
        clean.push('/');
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_cleaned_or_refused() {
        for (raw, expected) in [
            ("/", "/"),
            ("*", "*"),
            ("/api/projects", "/api/projects"),
            ("/api/auth/log%69n", "/api/auth/login"),
            ("/api//auth/./login", "/api/auth/login"),
            ("/api/x/../auth/login", "/api/auth/login"),
            ("/api/%2e%2e/auth", "/auth"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("//", "/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a%252fb", "/a%2fb"),
            ("/caf%C3%A9", "/café"),
        ] {
            assert_eq!(clean(raw, false).as_deref(), Ok(expected), "{raw}");
        }
        for raw in [
            "",
            "a",
            "/..",
            "/a/../../b",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/%",
            "/%4",
            "/%zz",
        ] {
            assert_eq!(clean(raw, false), Err(Ambiguous), "{raw}");
        }
    }

    #[test]
    fn a_lenient_site_reads_as_much_as_any_backend() {
        for (raw, expected) in
            [("/a%2fb", "/a/b"), ("/a%5C..\\b", "/b"), ("/..%2f../a", "/a"), ("/a%252fb", "/a%2fb")]
        {
            assert_eq!(clean(raw, true).as_deref(), Ok(expected), "{raw}");
        }
        assert_eq!(clean("/%zz", true), Err(Ambiguous));
    }

    proptest! {
        /// Whatever comes in, what comes out has nothing left to clean.
        #[test]
        fn a_clean_path_is_absolute_and_has_no_dots(
            raw in r"(/([a-z./\\]|%2e|%2f|%5C|%25){0,6}){1,6}",
            lenient: bool,
        ) {
            let cleaned = clean(&raw, lenient);
            prop_assert!(cleaned.is_ok() || !lenient);
            if let Ok(path) = cleaned {
                prop_assert!(path.starts_with('/'));
                prop_assert!(!path.contains("//"));
                prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
            }
        }
    }
}

//! The path that patterns match: percent-decoded, free of dot segments and of doubled slashes (RFC
//! 3986, 6.2.2).
//!
//! The original is what goes upstream. Cleaning more than a particular backend does can only make a
//! rule hold more requests, never fewer; what two programs could read as different paths is
//! refused.

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
pub(crate) fn clean(raw: &str) -> Result<Cow<'_, str>, Ambiguous> {
    if raw == "*" {
        return Ok(Cow::Borrowed(raw)); // OPTIONS, asterisk-form (RFC 9112, 3.2.4)
    }
    if !raw.starts_with('/') {
        return Err(Ambiguous);
    }
    let decoded = decode(raw)?;
    if decoded.contains("//") || decoded.contains("/.") {
        return without_dots(&decoded).map(Cow::Owned);
    }
    Ok(decoded)
}

/// Refuses encoded `/`, `\` and controls, raw `\`, and escapes that are none.
fn decode(raw: &str) -> Result<Cow<'_, str>, Ambiguous> {
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
                if matches!(value, 0x2f | 0x5c | 0x7f | 0..0x20) {
                    return Err(Ambiguous);
                }
                escaped = true;
            }
            b'\\' | 0x7f | 0..0x20 => return Err(Ambiguous),
            _ => {}
        }
    }
    if !escaped {
        return Ok(Cow::Borrowed(raw));
    }
    Ok(percent_encoding::percent_decode_str(raw).decode_utf8_lossy())
}

fn without_dots(path: &str) -> Result<String, Ambiguous> {
    let mut segments: Vec<&str> = Vec::new();
    let mut directory = true;
    for segment in path.split('/') {
        directory = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => _ = segments.pop().ok_or(Ambiguous)?,
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
            assert_eq!(clean(raw).as_deref(), Ok(expected), "{raw}");
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
            assert_eq!(clean(raw), Err(Ambiguous), "{raw}");
        }
    }

    proptest! {
        /// Whatever comes in, what comes out has nothing left to clean.
        #[test]
        fn a_clean_path_is_absolute_and_has_no_dots(raw in "(/[a-z.%25/]{0,6}){1,6}") {
            if let Ok(path) = clean(&raw) {
                prop_assert!(path.starts_with('/'));
                prop_assert!(!path.contains("//"));
                prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
            }
        }
    }
}

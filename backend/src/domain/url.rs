//! What a URL of the web must be, as far as it is checked: a scheme, and a host that names one
//! (RFC 3986, 3.2). Whether anybody is there is for the browser to find out.
//!
//! # Not here
//! User names and passwords before the host (RFC 3986, 3.2.1, calls them deprecated): a URL is
//! shown to whoever may see the project.

use std::net::Ipv6Addr;

/// The same rule for readers of the OpenAPI document. It leaves out IPv6 addresses, which are
/// accepted where they are whole.
macro_rules! pattern {
    ($scheme:literal, $host:literal, $rest:literal) => {
        concat!(
            "^",
            $scheme,
            "://",
            $host,
            "+(:([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}",
            "|655[0-2][0-9]|6553[0-5]))?([/?#]",
            $rest,
            "*)?$"
        )
    };
}

/// Of URLs in ASCII.
pub const ASCII_PATTERN: &str = pattern!("https?", "[A-Za-z0-9._-]", "[!-~]");
/// Of URLs as a browser's address line takes them.
pub const PATTERN: &str = pattern!(
    "[Hh][Tt][Tt][Pp][Ss]?",
    r"[^\s\u0000-,/:-@\[-^`{-\u00a0]",
    r"[^\s\u0000-\u001f\u007f-\u009f]"
);

/// Whether what follows `http://` begins with a host, and perhaps a port.
pub(super) fn has_host(after_scheme: &str) -> bool {
    let authority = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some((address, port)) = authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
        let port = port.strip_prefix(':');
        return address.parse::<Ipv6Addr>().is_ok()
            && (authority.ends_with(']') || port.is_some_and(is_port));
    }
    let (host, port) = authority.split_once(':').map_or((authority, None), |(h, p)| (h, Some(p)));
    let allowed = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '-' | '.' | '_')
            || (c > '\u{a0}' && !c.is_whitespace())
    };
    !host.is_empty() && host.chars().all(allowed) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::has_host;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for sound in ["a", "a.b-c_d:80/x", "127.0.0.1", "[::1]", "[::1]:65535/", "mañana.example?x"]
        {
            assert!(has_host(sound), "{sound}");
        }
        for wrong in
            ["", "/", ":80", "a:", "a:x", "a:65536", "[", "[UpnJYa%", "[::1", "[::1]x", "u@a", "a%"]
        {
            assert!(!has_host(wrong), "{wrong}");
        }
    }
}

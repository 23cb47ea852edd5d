//! The name in a `Host` or an authority (RFC 9110, 7.2), in the one form that is compared.

/// `Example.com:443` becomes `example.com`, `[::1]:8443` becomes `::1`. `None` for anything else
/// than a name or an address with an optional port: userinfo, an empty label, a space, a path.
pub(super) fn normalise(raw: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(raw).ok()?;
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address: std::net::Ipv6Addr = address.parse().ok()?;
        (address.to_string(), port)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (name, port) = text.split_at(end);
        let name = name.strip_suffix('.').unwrap_or(name);
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() > 253 || !name.split('.').all(label) {
            return None;
        }
        (name.to_ascii_lowercase(), port)
    };
    let port = port.strip_prefix(':').unwrap_or(port);
    let valid = port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    (valid && (port.is_empty() || port.parse::<u16>().is_ok())).then(|| name.into())
}

/// Whether two hosts are the same as they are written, but for case and for the port that their
/// scheme implies (RFC 9110, 4.2.3).
pub(super) fn are_equal(one: &[u8], other: &[u8], scheme: Option<&str>) -> bool {
    let implied: &[u8] = match scheme {
        Some("https") => b":443",
        Some("http") => b":80",
        _ => b"",
    };
    let [one, other] = [one, other]
        .map(|host| host.strip_suffix(implied).or_else(|| host.strip_suffix(b":")).unwrap_or(host));
    one.eq_ignore_ascii_case(other)
}

//! Hosts of sites, servers of upstreams, and addresses of listeners.

use std::net::{IpAddr, SocketAddr};

use super::model::{Scheme, Server};

/// The longest DNS name in characters (RFC 1035, 2.3.4).
const LONGEST_NAME: usize = 253;

/// The longest label of a DNS name in characters (RFC 1035, 2.3.4).
const LONGEST_LABEL: usize = 63;

/// Reads a host: a DNS name, folded to lower case, or an IP address without brackets, in its
/// canonical form.
pub(super) fn host(text: &str) -> Result<String, String> {
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match bracketed {
        Some(address) => address.parse().map(IpAddr::V6),
        None => text.parse(),
    };
    if let Ok(address) = address {
        return Ok(address.to_string());
    }
    if text.contains("://") {
        return Err("write the host alone, without the scheme".to_owned());
    }
    if text.contains('/') {
        return Err("write the host alone; a path belongs to a [[site.route]]".to_owned());
    }
    if text.contains(':') {
        return Err("write the host alone; the port belongs to [listen]".to_owned());
    }
    if text.contains('*') {
        return Err("a wildcard stands for the first label of a site's host only".to_owned());
    }
    name(text)
}

/// Reads a DNS name. Underscores are no part of host names, but Docker's networks are full of them.
fn name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("write a DNS name or an IP address".to_owned());
    }
    if !text.is_ascii() {
        return Err("write the name's ASCII form (xn--…)".to_owned());
    }
    if text.ends_with('.') {
        return Err("leave out the final dot".to_owned());
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > LONGEST_NAME || !text.split('.').all(label) {
        return Err("labels have 1 to 63 letters, digits and inner hyphens".to_owned());
    }
    let last = text.rsplit('.').next().unwrap_or(text);
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("this is neither a DNS name nor an IP address".to_owned());
    }
    Ok(text.to_ascii_lowercase())
}

/// The same, or a wildcard: `*.` in place of one label.
pub(super) fn host_or_wildcard(text: &str) -> Result<String, String> {
    match text.strip_prefix("*.") {
        Some(rest) if rest.contains('.') && rest.parse::<IpAddr>().is_err() => {
            host(rest).map(|rest| format!("*.{rest}"))
        }
        Some(_) => Err("write a domain after the wildcard: \"*.example.com\"".to_owned()),
        None => host(text),
    }
}

/// Reads the URL of a server. The port defaults to 80.
pub(super) fn server(url: &str) -> Result<Server, String> {
    const SUPPORTED: &str =
        "write http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT, or unix:/PATH";
    if let Some(path) = url.strip_prefix("unix:") {
        return match path.starts_with('/') {
            true => Ok(Server::Unix(path.into())),
            false => Err("write the absolute path of the socket: unix:/run/app.sock".to_owned()),
        };
    }
    let schemes = [("http://", Scheme::Http), ("https://", Scheme::Https), ("h2c://", Scheme::H2c)];
    let mut schemes = schemes.into_iter();
    let found = schemes.find_map(|(prefix, scheme)| Some((url.strip_prefix(prefix)?, scheme)));
    let (rest, scheme) = found.ok_or(SUPPORTED)?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@']) {
        return Err(SUPPORTED.to_owned());
    }
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (authority, None),
    };
    let port = match port {
        None if scheme == Scheme::Https => 443,
        None => 80,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0).ok_or("the port is 1 to 65535")?
        }
        Some(_) => return Err(SUPPORTED.to_owned()),
    };
    if name.contains(':') && !name.starts_with('[') {
        return Err("put an IPv6 address in brackets: http://[::1]:3000".to_owned());
    }
    Ok(Server::Tcp { host: host(name)?, port, scheme })
}

/// Reads the address of a listener.
pub(super) fn listener(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| match text {
        _ if text.starts_with("unix:") => "clients come over IP: \"[::]:443\"".to_owned(),
        _ if text.parse::<IpAddr>().is_ok() => "add the port: \"127.0.0.1:443\"".to_owned(),
        _ if text.parse::<u16>().is_ok() => format!("add the address: \"[::]:{text}\""),
        _ if text.starts_with(':') => format!("add the address: \"[::]{text}\""),
        _ => "write an IP address and a port: \"127.0.0.1:443\", \"[::]:443\"".to_owned(),
    })
}

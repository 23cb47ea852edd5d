//! Who may ask the admin listener.
//!
//! Whoever has the token, where one is configured. Without one only this machine can reach the
//! listener, but so can every page that a browser on it shows: such a page cannot hide the name it
//! was loaded from, so a name that only DNS can give, or another page's origin, is refused.

use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::config::Admin;

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// RFC 6750, section 3.
    #[error("a bearer token is required")]
    Token,
    #[error("this is the admin listener: ask it by address, as localhost, or set a token")]
    Host,
    #[error("pages of other origins may not ask this")]
    Origin,
}

impl Refused {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin => StatusCode::FORBIDDEN,
        }
    }
}

/// Whether a request with these fields may be answered.
pub(super) fn check(admin: &Admin, fields: &HeaderMap) -> Result<(), Refused> {
    let field = |name| fields.get(name).map_or(&b""[..], HeaderValue::as_bytes);
    let host = field(header::HOST);
    let origin = field(header::ORIGIN);
    if !origin.is_empty() && origin.strip_prefix(b"http://") != Some(host) {
        return Err(Refused::Origin);
    }
    match &admin.token {
        Some(token) => {
            let given = field(header::AUTHORIZATION).strip_prefix(b"Bearer ");
            let same =
                given.is_some_and(|given| verify_slices_are_equal(given, token.as_bytes()).is_ok());
            same.then_some(()).ok_or(Refused::Token)
        }
        None => is_local(host).then_some(()).ok_or(Refused::Host),
    }
}

/// An address, or a name of one label, which nobody can own in the DNS.
fn is_local(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    };
    name.parse::<IpAddr>().is_ok() || !name.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_of(token: Option<&str>, fields: &[(header::HeaderName, &str)]) -> Result<(), Refused> {
        let admin = Admin { token: token.map(Into::into) };
        let fields = fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        check(&admin, &fields.collect())
    }

    #[test]
    fn a_name_from_the_dns_is_refused_where_there_is_no_token() {
        for host in ["127.0.0.1:9180", "[::1]:9180", "localhost:9180", "localhost", "admin", ""] {
            assert_eq!(check_of(None, &[(header::HOST, host)]), Ok(()), "{host}");
        }
        for host in ["rebound.example:9180", "127.0.0.1.example", "localhost.example"] {
            assert_eq!(check_of(None, &[(header::HOST, host)]), Err(Refused::Host), "{host}");
        }
    }

    #[test]
    fn another_origin_is_refused_whatever_it_knows() {
        let with = |origin| {
            let fields = [
                (header::HOST, "localhost:9180"),
                (header::ORIGIN, origin),
                (header::AUTHORIZATION, "Bearer secret"),
            ];
            (check_of(None, &fields), check_of(Some("secret"), &fields))
        };
        assert_eq!(with("http://localhost:9180"), (Ok(()), Ok(())));
        for origin in ["https://example.com", "http://localhost:3000", "null"] {
            let refused = Err(Refused::Origin);
            assert_eq!(with(origin), (refused, refused), "{origin}");
        }
    }

    #[test]
    fn a_token_is_compared_whole() {
        let with = |value| check_of(Some("secret"), &[(header::AUTHORIZATION, value)]);
        assert_eq!(with("Bearer secret"), Ok(()));
        for value in ["Bearer secre", "Bearer secrets", "Bearer Secret", "secret", "Basic secret"] {
            assert_eq!(with(value), Err(Refused::Token), "{value}");
        }
    }
}

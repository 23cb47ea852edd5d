//! Plain HTTP: 308 to the same host, path and query over https (RFC 9110, 15.4.9).

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::response::Answer;
use crate::site::Host;

/// The redirect of a request for `host`, whose site is served at `port`.
pub(crate) fn to_https(host: &Host, path: Option<&PathAndQuery>, port: u16) -> Answer {
    let name = &host.name;
    let bracket = if name.contains(':') { ("[", "]") } else { ("", "") };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let path = path.map_or("/", PathAndQuery::as_str);
    let slash = if path.starts_with('/') { "" } else { "/" };
    let path = if path == "*" { "" } else { path };
    let location = format!("https://{}{name}{}{port}{slash}{path}", bracket.0, bracket.1);
    let mut fields = HeaderMap::new();
    if let Ok(location) = HeaderValue::try_from(location) {
        fields.insert(header::LOCATION, location);
    }
    Answer::Own(StatusCode::PERMANENT_REDIRECT, fields)
}

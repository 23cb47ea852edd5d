//! `CORS_ORIGIN`: whose pages may call the API.

use axum::http::{HeaderValue, Uri};

use super::Environment;

/// Reads the list; what is no origin is a fault.
pub(super) fn read(env: &mut Environment<'_>) -> Vec<HeaderValue> {
    let list = env.text("CORS_ORIGIN").unwrap_or_default();
    let mut origins = Vec::new();
    for origin in list.split(',').map(str::trim).filter(|origin| !origin.is_empty()) {
        match parse_origin(origin) {
            Some(value) => origins.push(value),
            None => env.fault(
                "CORS_ORIGIN",
                format!("has {origin:?}, which is no origin"),
                "scheme, host and port as a browser sends them, without a path: \
                 https://app.example.com, several separated by commas; * is not accepted, name the \
                 origins",
            ),
        }
    }
    origins
}

/// Accepts `scheme://host[:port]` and nothing after it: anything else would never equal what a
/// browser sends.
fn parse_origin(origin: &str) -> Option<HeaderValue> {
    let uri: Uri = origin.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    (format!("{scheme}://{authority}") == origin).then(|| origin.parse().ok()).flatten()
}

//! `GET /` of the admin listener: the numbers of the API, for people.
//!
//! The page holds no number itself, so whoever may not ask the API sees an empty one; its script
//! asks for the token where one is needed.

use http::{HeaderValue, StatusCode, header};

use super::api::{Answer, whole};

/// Nothing but its own script and style, no frame, nowhere to send a form.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The parts of the dashboard: path, media type, content.
const PARTS: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("dashboard/page.html")),
    ("/dashboard.css", "text/css; charset=utf-8", include_str!("dashboard/dashboard.css")),
    ("/dashboard.js", "text/javascript; charset=utf-8", include_str!("dashboard/dashboard.js")),
];

/// A part of the dashboard.
pub(super) fn part(path: &str) -> Option<Answer> {
    let (_, media_type, content) = PARTS.iter().find(|(part, ..)| *part == path)?;
    let mut answer = whole(StatusCode::OK, media_type, (*content).to_owned());
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(answer)
}

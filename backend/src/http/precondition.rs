//! Changes that are only wanted if nobody else changed anything since (RFC 9110, 13.1).
//!
//! The tag of a record is its version, which every change counts up. `If-Match` compares strongly,
//! so a weak tag never matches.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;

use super::problem::Problem;

/// The tag of a version.
pub(super) fn etag(version: i32) -> String {
    format!("\"{version}\"")
}

/// Whether the client says that it has this version already.
pub(super) fn is_known(headers: &HeaderMap, version: i32) -> bool {
    let tag = etag(version);
    let mut tags = tags(headers, &IF_NONE_MATCH);
    tags.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

/// What `If-Match` says; `None` when it says nothing.
pub(super) struct Precondition(Option<Vec<String>>);

impl<S: Sync> FromRequestParts<S> for Precondition {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let given = parts.headers.contains_key(IF_MATCH);
        let tags = || tags(&parts.headers, &IF_MATCH).map(str::to_owned).collect();
        Ok(Self(given.then(tags)))
    }
}

impl Precondition {
    /// Whether there is one.
    pub(super) const fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a record of this version meets it.
    pub(super) fn check(&self, version: i32) -> Result<(), Problem> {
        let tag = etag(version);
        match &self.0 {
            Some(tags) if !tags.iter().any(|t| *t == "*" || *t == tag) => Err(Problem::stale()),
            _ => Ok(()),
        }
    }
}

fn tags<'a>(
    headers: &'a HeaderMap,
    name: &axum::http::HeaderName,
) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',').map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_needs_one_of_the_tags_and_never_a_weak_one() {
        let given = |tags: &[&str]| Precondition(Some(tags.iter().map(|&t| t.into()).collect()));
        assert!(Precondition(None).check(3).is_ok());
        assert!(given(&["*"]).check(3).is_ok());
        assert!(given(&["\"2\"", "\"3\""]).check(3).is_ok());
        for stale in [&["\"2\""][..], &["W/\"3\""], &["3"], &[]] {
            assert!(given(stale).check(3).is_err(), "{stale:?}");
        }
    }
}

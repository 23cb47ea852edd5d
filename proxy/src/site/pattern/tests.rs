//! Tables of patterns and paths, and the laws of covering.

use proptest::prelude::*;

use super::Pattern;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

#[test]
fn patterns_match() {
    for (text, matching, others) in [
        ("/", &["/"][..], &["", "//", "/a", "*"][..]),
        ("/exact", &["/exact"], &["/exact/", "/Exact", "/exac", "/exact/x", "exact"]),
        ("/a/", &["/a/"], &["/a", "/a/b", "/a//"]),
        (
            "/projects/{id}",
            &["/projects/7", "/projects/ü ö"],
            &["/projects/", "/projects", "/projects/7/", "/projects/7/edit"],
        ),
        ("/{a}/x/{b}", &["/1/x/2"], &["/1/y/2", "//x/2", "/1/x/"]),
        (
            "/health/{*rest}",
            &["/health/", "/health/x", "/health/x/y", "/health//"],
            &["/health", "/healthy/x"],
        ),
        ("/u/{id}/{*rest}", &["/u/7/", "/u/7/x/y"], &["/u/7", "/u//x"]),
        ("/{*rest}", &["/", "/a", "/a/b", "//"], &["", "*"]),
    ] {
        for path in matching {
            assert!(pattern(text).matches(path), "{text} must match {path}");
        }
        for path in others {
            assert!(!pattern(text).matches(path), "{text} must not match {path}");
        }
    }
}

#[test]
fn bad_patterns_are_refused() {
    for text in [
        "",
        "a",
        "*",
        "{a}",
        "/a?b",
        "/a#b",
        "/a%20b",
        "/a\\b",
        "/a\nb",
        "/.",
        "/a/../b",
        "/{*rest}/a",
        "/{*a}/{*b}",
        "/a{b}",
        "/{a}b",
        "/{}",
        "/{*}",
        "/a//b",
        "//",
        "//{*rest}",
        "/{a b}",
        "/{**a}",
        "/{a}/{a}",
        "/{a}/{*a}",
        "/*",
        "/a*",
        "/:id",
        "/{a",
        "/a}",
    ] {
        assert!(Pattern::parse(text).is_err(), "{text}");
    }
}

/// Patterns of a small alphabet, so that two of them often have to do with each other.
fn patterns() -> impl Strategy<Value = Pattern> {
    let segment = prop_oneof![Just("a"), Just("b"), Just("{}")];
    let rest = prop_oneof![Just(""), Just("/"), Just("/{*rest}")];
    (prop::collection::vec(segment, 0..4), rest).prop_map(|(segments, rest)| {
        let mut text = String::new();
        for (index, segment) in segments.iter().enumerate() {
            text.push('/');
            text.push_str(&segment.replace("{}", &format!("{{v{index}}}")));
        }
        text.push_str(rest);
        if text.is_empty() {
            text.push('/');
        }
        pattern(&text)
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>(), path in any::<String>()) {
        if let Ok(pattern) = Pattern::parse(&text) {
            let _ = pattern.matches(&path);
            prop_assert!(pattern.covers(&pattern));
        }
    }

    #[test]
    fn a_literal_matches_itself(path in "(/[a-zé.]{1,3}b){0,4}/?") {
        prop_assume!(path.starts_with('/'));
        prop_assert!(pattern(&path).matches(&path));
    }

    #[test]
    fn what_is_covered_is_matched(
        one in patterns(), other in patterns(), path in "(/[abc]?){1,5}",
    ) {
        if one.covers(&other) && other.matches(&path) {
            prop_assert!(one.matches(&path));
        }
    }

    /// The converse needs a path that stands for all: each segment and rest filled with
    /// characters that stand in no pattern.
    #[test]
    fn what_is_not_covered_has_a_witness(one in patterns(), other in patterns()) {
        let fill = |rest: &str| {
            let text = other.as_str().replace("{*rest}", rest);
            let parts = text.split('/').map(|part| match part.starts_with('{') {
                true => "z",
                false => part,
            });
            parts.collect::<Vec<_>>().join("/")
        };
        let witnesses = [fill(""), fill("z"), fill("z/z/z/z/z")];
        prop_assert!(witnesses.iter().all(|path| other.matches(path)));
        let all = witnesses.iter().all(|path| one.matches(path));
        prop_assert_eq!(all, one.covers(&other));
    }
}

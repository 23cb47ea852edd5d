//! What becomes of `Cache-Control` where both sides set it (RFC 9111, 5.2.2).

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};

use super::merge::members;

/// What keeps caches from something; `no-store` keeps them from all.
const FORBID: [&str; 5] =
    ["private", "no-cache", "must-revalidate", "proxy-revalidate", "no-transform"];

/// For whom an age holds: all caches, or shared ones before the other.
const AGES: [&str; 2] = ["max-age", "s-maxage"];

/// One directive, without its spaces.
#[derive(Clone, Copy)]
struct Directive<'h> {
    whole: &'h [u8],
    name: &'h [u8],
}

impl<'h> Directive<'h> {
    fn new(whole: &'h [u8]) -> Self {
        let name = whole.split(|byte| *byte == b'=').next().unwrap_or_default();
        Self { whole, name: name.trim_ascii() }
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// A number of seconds; what is none is stale at once (RFC 9111, 4.2.1).
    fn age(&self) -> u64 {
        let (_, value) = self.whole.split_at(self.name.len());
        let digits = value.iter().skip_while(|byte| matches!(byte, b'=' | b' ' | b'"'));
        let digits = digits.take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |age: u64, digit| {
            age.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
        })
    }
}

/// How long caches may keep something: all of them, and the shared ones.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ages {
    any: Option<u64>,
    shared: Option<u64>,
}

impl Ages {
    fn of(directives: &[Directive<'_>]) -> Self {
        let of = |name| {
            let ages = directives.iter().filter(|directive| directive.is(name));
            ages.map(Directive::age).min()
        };
        let [any, shared] = AGES.map(of);
        Self { any, shared }
    }

    /// The shorter of two; what one side does not say, the other does.
    fn shorter(self, other: Self) -> Self {
        let least = |one: Option<u64>, two: Option<u64>| one.into_iter().chain(two).min();
        // A shared cache takes the age of all, where it has none of its own.
        let shared = least(self.shared.or(self.any), other.shared.or(other.any));
        let says_shared = self.shared.is_some() || other.shared.is_some();
        Self { any: least(self.any, other.any), shared: shared.filter(|_| says_shared) }
    }
}

/// Ours with what the upstream keeps caches from; `None` if that is ours.
pub(super) fn tighten(headers: &HeaderMap, ours: &HeaderValue) -> Option<HeaderValue> {
    let theirs: Vec<_> = members(headers, &CACHE_CONTROL).map(Directive::new).collect();
    let ours = ours.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let ours: Vec<_> = ours.map(Directive::new).collect();
    let has = |directives: &[Directive<'_>], name| directives.iter().any(|d| d.is(name));
    if has(&ours, "no-store") {
        return None;
    }
    if has(&theirs, "no-store") {
        return Some(HeaderValue::from_static("no-store"));
    }
    let missing = FORBID.into_iter().filter(|name| has(&theirs, name) && !has(&ours, name));
    let missing: Vec<&str> = missing.collect();
    let own = Ages::of(&ours);
    // What is asked for again each time has no age.
    let ages = match ours.iter().any(|directive| directive.whole.eq_ignore_ascii_case(b"no-cache"))
    {
        true => own,
        false => own.shorter(Ages::of(&theirs)),
    };
    if missing.is_empty() && ages == own {
        return None;
    }
    let is_private = has(&ours, "private") || missing.contains(&"private");
    let mut both: Vec<Vec<u8>> = missing.iter().map(|name| name.as_bytes().to_vec()).collect();
    let kept = |directive: &&Directive<'_>| {
        let is_age = AGES.iter().any(|name| directive.is(name));
        !(is_age || is_private && directive.is("public"))
    };
    both.extend(ours.iter().filter(kept).map(|directive| directive.whole.to_vec()));
    for (name, age) in AGES.into_iter().zip([ages.any, ages.shared.filter(|_| !is_private)]) {
        both.extend(age.map(|age| format!("{name}={age}").into_bytes()));
    }
    HeaderValue::from_bytes(&both.join(&b", "[..])).ok()
}

//! Names and values that are kept until the process ends.
//!
//! # Why
//!
//! A policy puts some fifteen fields on every response. A copy of one that is counted writes to the
//! count when it is made and when it is dropped, which all workers would do to the same cache line;
//! a copy of one that lives for ever is two words.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

/// What has been kept. It grows with the texts that differ in all configurations that were ever
/// loaded, and not with how often they were.
static KEPT: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

fn keep(text: &str) -> &'static str {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(text) {
        return known;
    }
    let text = Box::leak(Box::<str>::from(text));
    kept.insert(text);
    text
}

/// The same name, kept.
pub(super) fn name(name: &HeaderName) -> HeaderName {
    HeaderName::from_static(keep(name.as_str()))
}

/// The same value, kept. One that is not ASCII is counted, as values are.
pub(crate) fn value(value: &HeaderValue) -> HeaderValue {
    let kept = value.to_str().ok().and_then(|text| {
        HeaderValue::from_maybe_shared(Bytes::from_static(keep(text).as_bytes())).ok()
    });
    kept.unwrap_or_else(|| value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_twice_is_kept_once() {
        let text = || HeaderValue::try_from("kept: ".to_owned() + "once").unwrap();
        let (one, two) = (value(&text()), value(&text()));
        assert_eq!((&one, one.as_bytes().as_ptr()), (&text(), two.as_bytes().as_ptr()));
        let custom: HeaderName = "X-Kept".parse().unwrap();
        assert_eq!(name(&custom), custom);
        let opaque = HeaderValue::from_bytes(b"\xff").unwrap();
        assert_eq!(value(&opaque), opaque);
    }
}

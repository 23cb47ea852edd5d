//! What becomes of a header that both the policy and the upstream set.
//!
//! `tighten` never allows what either side forbids: two Content-Security-Policies go out as two,
//! and browsers hold both; of two values that can be compared the stricter one goes out, or the
//! strictest that is below both. Where nothing is stricter than anything else, the policy's value
//! does. What of the upstream's value browsers would not understand counts as nothing.
//!
//! Two values of `Cross-Origin-Opener-Policy` have nothing below both: `same-origin`, which takes
//! more from a page, goes before `noopener-allow-popups`. Of caches, `Expires` is not looked at.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::frames::Framing;
use super::hsts::Hsts;
use super::{caching, permissions, structured};

/// How a policy meets the headers of the upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Merge {
    /// The stricter of the two; of two CSPs, both.
    #[default]
    Tighten,
    /// The policy's.
    Override,
    /// The upstream's, if there is one.
    IfAbsent,
}

impl Merge {
    /// The names in a configuration.
    pub(crate) const NAMES: [&str; 3] = ["tighten", "override", "if_absent"];

    /// The one of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "tighten" => Some(Self::Tighten),
            "override" => Some(Self::Override),
            "if_absent" => Some(Self::IfAbsent),
            _ => None,
        }
    }
}

/// How two values of a header are made one that is as strict as both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nothing is stricter than anything else: the policy's.
    Ours,
    /// Both, for browsers hold every one of them.
    Both,
    /// Both, unless browsers would then read neither.
    Endpoints,
    /// What both let frame a page.
    Frames,
    /// The one that stands earlier in this list.
    Strictest(&'static [&'static str]),
    /// What both let a referrer say.
    Referrer,
    /// What both allow of each feature.
    Permissions,
    /// What both let caches do.
    Caching,
}

impl Rule {
    /// The rule of a header.
    pub(super) fn of(name: &HeaderName) -> Self {
        match name.as_str() {
            "cache-control" => Self::Caching,
            "content-security-policy" | "content-security-policy-report-only" => Self::Both,
            "cross-origin-embedder-policy" => {
                Self::Strictest(&["require-corp", "credentialless", "unsafe-none"])
            }
            "cross-origin-opener-policy" => Self::Strictest(&[
                "same-origin",
                "noopener-allow-popups",
                "same-origin-allow-popups",
                "unsafe-none",
            ]),
            "cross-origin-resource-policy" => {
                Self::Strictest(&["same-origin", "same-site", "cross-origin"])
            }
            "origin-agent-cluster" => Self::Strictest(&["?1", "?0"]),
            "permissions-policy" => Self::Permissions,
            "referrer-policy" => Self::Referrer,
            "reporting-endpoints" => Self::Endpoints,
            "x-dns-prefetch-control" => Self::Strictest(&["off", "on"]),
            "x-frame-options" => Self::Frames,
            "x-permitted-cross-domain-policies" => Self::Strictest(&[
                "none",
                "none-this-response",
                "master-only",
                "by-content-type",
                "by-ftp-filename",
                "all",
            ]),
            _ => Self::Ours,
        }
    }

    /// Puts `ours` beside, before or in the place of what the upstream has set.
    pub(super) fn tighten(self, headers: &mut HeaderMap, name: &HeaderName, ours: &HeaderValue) {
        let stricter = match self {
            Self::Both => return both(headers, name, ours),
            Self::Endpoints => {
                if structured::dictionary(&joined(headers, name)).is_none() {
                    headers.remove(name);
                }
                return both(headers, name, ours);
            }
            Self::Ours => None,
            _ if !headers.contains_key(name) => None,
            Self::Frames => frames(headers, ours),
            Self::Strictest(order) => strictest(order, headers, name, ours),
            Self::Referrer => referrer(headers, name, ours),
            Self::Permissions => permissions(headers, name, ours),
            Self::Caching => caching::tighten(headers, ours),
        };
        headers.insert(name, stricter.unwrap_or_else(|| ours.clone()));
    }
}

/// Beside what is there, once.
fn both(headers: &mut HeaderMap, name: &HeaderName, ours: &HeaderValue) {
    if headers.get_all(name).iter().all(|theirs| theirs != ours) {
        headers.append(name, ours.clone());
    }
}

/// Every member of every value of a header. A byte that is not ASCII spoils its member and no
/// other, as in browsers.
pub(super) fn members<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'h [u8]> {
    let values = headers.get_all(name).into_iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii))
}

/// All values of a header as one; those that are empty count in no browser.
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.filter(|value| !value.trim().is_empty()).collect::<Vec<_>>().join(", ")
}

/// The upstream's value, if it is stricter. Several count as the strictest of them.
fn strictest(
    order: &'static [&'static str],
    headers: &HeaderMap,
    name: &HeaderName,
    ours: &HeaderValue,
) -> Option<HeaderValue> {
    let place = |text: &[u8]| {
        let text = text.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        order.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(text))
    };
    let theirs = members(headers, name).filter_map(place).min()?;
    let ours = place(ours.as_bytes()).unwrap_or(order.len());
    order.get(theirs).filter(|_| theirs < ours).map(|text| HeaderValue::from_static(text))
}

/// The upstream's value, if it is stricter.
fn frames(headers: &HeaderMap, ours: &HeaderValue) -> Option<HeaderValue> {
    let theirs = Framing::of(headers)?;
    Framing::one(ours).is_none_or(|ours| theirs < ours).then(|| theirs.value())
}

/// What a referrer says to the same origin, to another one, and to one without TLS: nothing (0),
/// the origin (1), the whole URL (2). The strictest come last.
const REFERRERS: [(&str, [u8; 3]); 8] = [
    ("unsafe-url", [2, 2, 2]),
    ("no-referrer-when-downgrade", [2, 2, 0]),
    ("origin-when-cross-origin", [2, 1, 1]),
    ("strict-origin-when-cross-origin", [2, 1, 0]),
    ("origin", [1, 1, 1]),
    ("strict-origin", [1, 1, 0]),
    ("same-origin", [2, 0, 0]),
    ("no-referrer", [0, 0, 0]),
];

/// The most that both policies let through, if it is less than ours. Browsers take the last policy
/// of a list that they know.
fn referrer(headers: &HeaderMap, name: &HeaderName, ours: &HeaderValue) -> Option<HeaderValue> {
    let says = |text: &[u8]| {
        let text = text.trim_ascii();
        let known = REFERRERS.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(text));
        known.map(|(_, says)| *says)
    };
    let theirs = members(headers, name).filter_map(says).last()?;
    let ours = ours.as_bytes().split(|byte| *byte == b',').filter_map(says).next_back()?;
    let within = |says: &[u8; 3]| {
        let both = theirs.iter().zip(&ours).map(|(theirs, ours)| theirs.min(ours));
        says.iter().zip(both).all(|(says, most)| says <= most)
    };
    let (best, says) = REFERRERS.iter().find(|(_, says)| within(says))?;
    (*says != ours).then(|| HeaderValue::from_static(best))
}

fn permissions(headers: &HeaderMap, name: &HeaderName, ours: &HeaderValue) -> Option<HeaderValue> {
    let theirs = joined(headers, name);
    HeaderValue::try_from(permissions::intersect(ours.to_str().ok()?, &theirs)?).ok()
}

/// The longer age of two, with all that either promises. Browsers read the first value only (RFC
/// 6797, 8.1).
pub(super) fn hsts(ours: Hsts, theirs: Option<&HeaderValue>) -> Option<HeaderValue> {
    let theirs = Hsts::received(&String::from_utf8_lossy(theirs?.as_bytes()))?;
    let both = Hsts {
        max_age: ours.max_age.max(theirs.max_age),
        include_subdomains: ours.include_subdomains || theirs.include_subdomains,
        preload: ours.preload || theirs.preload,
        ramp: ours.ramp,
    };
    // An age of nothing takes back what was promised: then the rest of it promises nothing.
    (both != ours && !theirs.max_age.is_zero()).then(|| both.value())
}

//! What becomes of a header that both the policy and the upstream set.
//!
//! `tighten` never allows what either side forbids: two Content-Security-Policies go out as two,
//! and browsers hold both; of two values that can be compared the stricter one goes out, or the
//! strictest that is below both. Where nothing is stricter than anything else, the policy's value
//! does. What of the upstream's value browsers would not understand counts as nothing.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::hsts::Hsts;
use super::permissions;

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
            "content-security-policy"
            | "content-security-policy-report-only"
            | "reporting-endpoints" => Self::Both,
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
            "x-dns-prefetch-control" => Self::Strictest(&["off", "on"]),
            "x-frame-options" => Self::Strictest(&["DENY", "SAMEORIGIN"]),
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
            Self::Both => {
                if headers.get_all(name).iter().all(|theirs| theirs != ours) {
                    headers.append(name, ours.clone());
                }
                return;
            }
            Self::Ours => None,
            _ if !headers.contains_key(name) => None,
            Self::Strictest(order) => strictest(order, headers, name, ours),
            Self::Referrer => referrer(headers, name, ours),
            Self::Permissions => permissions(headers, name, ours),
            Self::Caching => caching(headers, name, ours),
        };
        headers.insert(name, stricter.unwrap_or_else(|| ours.clone()));
    }
}

/// Every member of every value of a header.
fn members<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).into_iter();
    values.flat_map(|value| value.to_str().unwrap_or_default().split(',').map(str::trim))
}

/// The upstream's value, if it is stricter. Several count as the strictest of them.
fn strictest(
    order: &'static [&'static str],
    headers: &HeaderMap,
    name: &HeaderName,
    ours: &HeaderValue,
) -> Option<HeaderValue> {
    let place = |text: &str| {
        let text = text.split(';').next().unwrap_or_default().trim();
        order.iter().position(|known| known.eq_ignore_ascii_case(text))
    };
    let theirs = members(headers, name).filter_map(place).min()?;
    let ours = ours.to_str().ok().and_then(place).unwrap_or(order.len());
    order.get(theirs).filter(|_| theirs < ours).map(|text| HeaderValue::from_static(text))
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
    let says = |text: &str| {
        let known = REFERRERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(text));
        known.map(|(_, says)| *says)
    };
    let theirs = members(headers, name).filter_map(says).last()?;
    let ours = ours.to_str().ok()?.split(',').map(str::trim).filter_map(says).next_back()?;
    let within = |says: &[u8; 3]| {
        let both = theirs.iter().zip(&ours).map(|(theirs, ours)| theirs.min(ours));
        says.iter().zip(both).all(|(says, most)| says <= most)
    };
    let (best, says) = REFERRERS.iter().find(|(_, says)| within(says))?;
    (*says != ours).then(|| HeaderValue::from_static(best))
}

fn permissions(headers: &HeaderMap, name: &HeaderName, ours: &HeaderValue) -> Option<HeaderValue> {
    let theirs = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let theirs = theirs.collect::<Vec<_>>().join(", ");
    HeaderValue::try_from(permissions::intersect(ours.to_str().ok()?, &theirs)?).ok()
}

/// Ours with what the upstream keeps caches from, if that is more (RFC 9111, 5.2.2).
fn caching(headers: &HeaderMap, name: &HeaderName, ours: &HeaderValue) -> Option<HeaderValue> {
    let is = |member: &str, directive: &str| {
        let (name, _) = member.split_once('=').unwrap_or((member, ""));
        name.trim().eq_ignore_ascii_case(directive)
    };
    let ours: Vec<&str> = ours.to_str().ok()?.split(',').map(str::trim).collect();
    let has = |directive| ours.iter().any(|member| is(member, directive));
    let forbid = |directive| members(headers, name).any(|member| is(member, directive));
    if has("no-store") {
        return None;
    }
    if forbid("no-store") {
        return Some(HeaderValue::from_static("no-store"));
    }
    let missing = ["private", "no-cache"].into_iter().filter(|word| forbid(word) && !has(word));
    let mut both: Vec<&str> = missing.collect();
    if both.is_empty() {
        return None;
    }
    let is_private = both.contains(&"private");
    let kept = |member: &&&str| !is_private || !(is(member, "public") || is(member, "s-maxage"));
    both.extend(ours.iter().filter(kept));
    HeaderValue::try_from(both.join(", ")).ok()
}

/// The longer age of two, with all that either promises. Browsers read the first value only (RFC
/// 6797, 8.1).
pub(super) fn hsts(ours: Hsts, theirs: Option<&HeaderValue>) -> Option<HeaderValue> {
    let theirs = Hsts::received(theirs?.to_str().ok()?)?;
    let both = Hsts {
        max_age: ours.max_age.max(theirs.max_age),
        include_subdomains: ours.include_subdomains || theirs.include_subdomains,
        preload: ours.preload || theirs.preload,
        ramp: ours.ramp,
    };
    // An age of nothing takes back what was promised: then the rest of it promises nothing.
    (both != ours && !theirs.max_age.is_zero()).then(|| both.value())
}

//! What merging makes of two values, and that it never allows what either side forbids.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{Draft, Merge, Preset};

/// What goes out of `name` where the policy says `ours` and the upstream `theirs`.
fn merged(merge: Merge, name: &str, ours: &str, theirs: &[&str]) -> Vec<String> {
    let name: HeaderName = name.parse().unwrap();
    let mut draft = Draft::new(Preset::None);
    draft.merge(merge);
    draft.set(name.clone(), ours).unwrap();
    let mut headers = HeaderMap::new();
    for value in theirs {
        headers.append(&name, HeaderValue::from_str(value).unwrap());
    }
    draft.compile().apply(&mut headers, true);
    let values = headers.get_all(&name).iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// A field, our value, those of the upstream, and what goes out.
const STRICTER: &[(&str, &str, &[&str], &str)] = &[
    ("x-frame-options", "SAMEORIGIN", &["deny"], "DENY"),
    ("x-frame-options", "DENY", &["SAMEORIGIN"], "DENY"),
    ("x-frame-options", "SAMEORIGIN", &["ALLOWALL", "SAMEORIGIN, DENY"], "DENY"),
    ("x-frame-options", "SAMEORIGIN", &["ALLOW-FROM https://a.example"], "SAMEORIGIN"),
    ("x-content-type-options", "nosniff", &["sniff"], "nosniff"),
    ("referrer-policy", "no-referrer", &["unsafe-url"], "no-referrer"),
    ("referrer-policy", "unsafe-url", &["nonsense, origin"], "origin"),
    ("referrer-policy", "same-origin", &["strict-origin"], "no-referrer"),
    (
        "referrer-policy",
        "origin-when-cross-origin",
        &["no-referrer-when-downgrade"],
        "strict-origin-when-cross-origin",
    ),
    ("referrer-policy", "no-referrer, same-origin", &["same-origin"], "no-referrer, same-origin"),
    ("cross-origin-opener-policy", "unsafe-none", &["same-origin; report-to=\"x\""], "same-origin"),
    ("cross-origin-embedder-policy", "credentialless", &["unsafe-none"], "credentialless"),
    ("cross-origin-resource-policy", "cross-origin", &["same-site"], "same-site"),
    ("origin-agent-cluster", "?0", &["?1"], "?1"),
    ("x-dns-prefetch-control", "on", &["off"], "off"),
    ("x-permitted-cross-domain-policies", "all", &["none"], "none"),
    (
        "strict-transport-security",
        "max-age=60",
        &["max-age=90; includeSubDomains"],
        "max-age=90; includeSubDomains",
    ),
    ("strict-transport-security", "max-age=90", &["max-age=60; preload"], "max-age=90; preload"),
    ("strict-transport-security", "max-age=60", &["max-age=0; includeSubDomains"], "max-age=60"),
    ("strict-transport-security", "max-age=60", &["nonsense"], "max-age=60"),
    (
        "strict-transport-security",
        "max-age=60",
        &["MAX-AGE=\"90\" ; new=1; IncludeSubDomains"],
        "max-age=90; includeSubDomains",
    ),
    ("strict-transport-security", "max-age=60", &["max-age=90; max-age=99"], "max-age=60"),
    ("permissions-policy", "camera=(self)", &["camera=*, usb=()"], "camera=(self), usb=()"),
    (
        "permissions-policy",
        "camera=(self \"https://a.example\")",
        &["camera=(\"https://a.example\")"],
        "camera=(\"https://a.example\")",
    ),
    ("permissions-policy", "camera=*", &["camera=(self)", "usb=*"], "camera=(self), usb=*"),
    ("permissions-policy", "camera=(self)", &["camera=("], "camera=(self)"),
    ("permissions-policy", "camera=self", &["camera=()"], "camera=()"),
    (
        "permissions-policy",
        "usb=()",
        &["camera=();report-to=x, midi=*, midi=?0", "geolocation=(self 1.5)"],
        "usb=(), camera=(), midi=(), geolocation=(self)",
    ),
    ("permissions-policy", "usb=()", &["camera='none'"], "usb=()"),
    ("cache-control", "public, max-age=9", &["no-store"], "no-store"),
    ("cache-control", "no-store, max-age=0", &["private"], "no-store, max-age=0"),
    ("cache-control", "no-cache", &["max-age=9, public"], "no-cache"),
    (
        "cache-control",
        "public, max-age=9, s-maxage=99",
        &["max-age=1", "Private=\"x\", no-cache"],
        "private, no-cache, max-age=9",
    ),
    ("x-served-by", "ours", &["theirs"], "ours"),
];

#[test]
fn the_stricter_of_two_values_goes_out() {
    for (name, ours, theirs, expected) in STRICTER.iter().copied() {
        let found = merged(Merge::Tighten, name, ours, theirs);
        assert_eq!(found, [expected], "{name}: {ours} with {theirs:?}");
        assert_eq!(merged(Merge::Override, name, ours, theirs), [ours]);
        assert_eq!(merged(Merge::IfAbsent, name, ours, theirs), theirs);
        assert_eq!(merged(Merge::IfAbsent, name, ours, &[]), [ours]);
    }
}

#[test]
fn two_policies_go_out_as_two_and_a_nonce_survives() {
    let theirs = "script-src 'nonce-cmFuZG9t'";
    let found = merged(Merge::Tighten, "content-security-policy", "default-src 'self'", &[theirs]);
    assert_eq!(found, [theirs, "default-src 'self'"]);
    let found = merged(Merge::Tighten, "content-security-policy", "img-src *", &["img-src *"]);
    assert_eq!(found, ["img-src *"], "once is enough");
}

/// A browser, as far as CSP says what may be loaded: every policy must allow it.
fn allows(policies: &[String], directive: &str, source: &str) -> bool {
    policies.iter().flat_map(|value| value.split(',')).all(|policy| {
        let directives = policy.split(';').map(str::trim);
        let find = |wanted: &str| {
            directives.clone().find_map(|text| {
                let (name, sources) = text.split_once(' ').unwrap_or((text, ""));
                (name == wanted).then_some(sources)
            })
        };
        let sources = find(directive).or_else(|| find("default-src"));
        sources.is_none_or(|sources| {
            let sources: Vec<&str> = sources.split(' ').collect();
            let is_host = !source.starts_with('\'');
            sources.contains(&source) || (is_host && sources.contains(&"*"))
        })
    })
}

const SOURCES: [&str; 6] =
    ["'self'", "'unsafe-inline'", "'sha256-YQ=='", "*", "https://a.example", "https://b.example"];
const LOADS: [&str; 3] = ["script-src", "img-src", "style-src"];

fn policy() -> impl Strategy<Value = String> {
    let sources = proptest::sample::subsequence(SOURCES.to_vec(), 1..SOURCES.len());
    let directive = prop_oneof![Just("default-src"), proptest::sample::select(LOADS.to_vec())];
    let directive = (directive, sources).prop_map(|(name, s)| format!("{name} {}", s.join(" ")));
    proptest::collection::vec(directive, 1..4).prop_map(|mut directives| {
        directives.sort();
        directives.dedup_by(|a, b| a.split(' ').next() == b.split(' ').next());
        directives.join("; ")
    })
}

/// A header with values in the order of their strictness, where there is one.
const RANKED: [(&str, &[&str]); 5] = [
    ("x-frame-options", &["DENY", "SAMEORIGIN"]),
    ("cross-origin-embedder-policy", &["require-corp", "credentialless", "unsafe-none"]),
    ("cross-origin-resource-policy", &["same-origin", "same-site", "cross-origin"]),
    ("origin-agent-cluster", &["?1", "?0"]),
    ("x-dns-prefetch-control", &["off", "on"]),
];

const FEATURES: [&str; 3] = ["camera", "usb", "midi"];
const ORIGINS: [&str; 3] = ["self", "\"https://a.example\"", "\"https://b.example\""];

/// Allowlists, and which of [`ORIGINS`] they let in.
const ALLOWLISTS: [(&str, [bool; 3]); 6] = [
    ("*", [true, true, true]),
    ("()", [false, false, false]),
    ("self", [true, false, false]),
    ("(self \"https://a.example\")", [true, true, false]),
    ("(\"https://b.example\" \"https://a.example\")", [false, true, true]),
    ("(* self)", [true, true, true]),
];

/// What may stand behind a member and changes nothing.
const NOISE: [&str; 4] = ["", ";report-to=x", " ", ", future=(self 1 ?1)"];

proptest! {
    #[test]
    fn a_merged_policy_never_allows_what_either_side_forbids(
        ours in policy(),
        theirs in proptest::collection::vec(policy(), 0..3),
    ) {
        let lines: Vec<&str> = theirs.iter().map(String::as_str).collect();
        let found = merged(Merge::Tighten, "content-security-policy", &ours, &lines);
        for load in LOADS {
            for source in SOURCES {
                let by = |policies: &[String]| allows(policies, load, source);
                let both = by(std::slice::from_ref(&ours)) && by(&theirs);
                prop_assert_eq!(by(&found), both, "{} {}", load, source);
            }
        }
    }

    #[test]
    fn a_merged_value_is_as_strict_as_both(
        header in 0..RANKED.len(),
        ours in 0..3_usize,
        theirs in 0..3_usize,
        noise in "z[a-z]{0,4}",
    ) {
        let (name, order) = RANKED[header];
        let (ours, theirs) = (ours % order.len(), theirs % order.len());
        let found = merged(Merge::Tighten, name, order[ours], &[order[theirs], &noise]);
        prop_assert_eq!(found, [order[ours.min(theirs)]]);
    }

    #[test]
    fn a_feature_is_allowed_where_both_sides_allow_it(
        ours in proptest::collection::vec((0..3_usize, 0..6_usize), 1..4),
        theirs in proptest::collection::vec((0..3_usize, 0..6_usize, 0..4_usize), 0..6),
    ) {
        let mut seen = std::collections::HashSet::new();
        let ours: Vec<_> = ours.into_iter().filter(|(feature, _)| seen.insert(*feature)).collect();
        let text = |(feature, list): (usize, usize)| {
            format!("{}={}", FEATURES[feature], ALLOWLISTS[list].0)
        };
        let policy: Vec<_> = ours.iter().copied().map(text).collect();
        let line: Vec<_> = theirs
            .iter()
            .map(|(feature, list, noise)| text((*feature, *list)) + NOISE[*noise])
            .collect();
        let line = line.join(", ");
        let found = merged(Merge::Tighten, "permissions-policy", &policy.join(", "), &[&line]);
        let found = super::structured::dictionary(&found[0]).unwrap();
        for (feature, name) in FEATURES.iter().enumerate() {
            let of_ours = ours.iter().find(|(of, _)| *of == feature).map(|(_, list)| *list);
            // The last of several holds.
            let of_theirs = theirs.iter().rfind(|(of, ..)| *of == feature);
            let of_theirs = of_theirs.map(|(_, list, _)| *list);
            let merged = found.iter().find(|(known, _)| known == name).map(|(_, items)| items);
            for (place, origin) in ORIGINS.iter().enumerate() {
                let by = |list: Option<usize>| list.is_none_or(|list| ALLOWLISTS[list].1[place]);
                let now = merged.is_none_or(|items| items.contains(&"*") || items.contains(origin));
                prop_assert_eq!(now, by(of_ours) && by(of_theirs), "{} for {}", name, origin);
            }
        }
    }

    #[test]
    fn hsts_is_as_long_and_as_wide_as_either(
        ours in (1..1_000_u64, any::<bool>()),
        theirs in (1..1_000_u64, any::<bool>(), any::<bool>()),
    ) {
        let text = |age: u64, wide: bool| {
            format!("max-age={age}{}", if wide { "; includeSubDomains" } else { "" })
        };
        let noise = if theirs.2 { "; future=\"1\"" } else { "" };
        let line = text(theirs.0, theirs.1) + noise;
        let name = "strict-transport-security";
        let found = merged(Merge::Tighten, name, &text(ours.0, ours.1), &[&line]);
        prop_assert_eq!(found, [text(ours.0.max(theirs.0), ours.1 || theirs.1)]);
    }

    #[test]
    fn a_referrer_never_says_more_than_either_lets_it(ours in 0..8_usize, theirs in 0..8_usize) {
        // To the same origin, to another, to one without TLS: nothing, the origin, or all.
        let policies = [
            ("no-referrer", [0, 0, 0]), ("same-origin", [2, 0, 0]), ("strict-origin", [1, 1, 0]),
            ("origin", [1, 1, 1]), ("strict-origin-when-cross-origin", [2, 1, 0]),
            ("origin-when-cross-origin", [2, 1, 1]), ("no-referrer-when-downgrade", [2, 2, 0]),
            ("unsafe-url", [2, 2, 2]),
        ];
        let (ours, theirs) = (policies[ours], policies[theirs]);
        let found = merged(Merge::Tighten, "referrer-policy", ours.0, &[theirs.0]);
        let (_, says) = policies.iter().find(|(name, _)| *name == found[0]).unwrap();
        let both = ours.1.iter().zip(theirs.1).map(|(ours, theirs)| *ours.min(&theirs));
        prop_assert!(says.iter().zip(both).all(|(says, most)| *says <= most), "{}", found[0]);
    }
}

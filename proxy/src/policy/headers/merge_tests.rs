//! What merging makes of two values, and that it never allows what either side forbids.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{Draft, Merge, Preset};

/// Fields and their values, in order.
type Fields<'a> = [(&'a str, &'a str)];

/// What goes out where the policy says `ours` and the upstream `theirs`.
fn mixed(merge: Merge, ours: &Fields<'_>, theirs: &Fields<'_>) -> HeaderMap {
    let mut draft = Draft::new(Preset::None);
    draft.merge(merge);
    for (name, value) in ours {
        draft.set(name.parse().unwrap(), value).unwrap();
    }
    let mut headers = HeaderMap::new();
    for (name, value) in theirs {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    draft.compile().apply(&mut headers, true);
    headers
}

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

/// The same of one field.
fn merged(merge: Merge, name: &str, ours: &str, theirs: &[&str]) -> Vec<String> {
    let theirs: Vec<_> = theirs.iter().map(|value| (name, *value)).collect();
    values(&mixed(merge, &[(name, ours)], &theirs), name)
}

/// A field, our value, those of the upstream, and what goes out.
const STRICTER: &[(&str, &str, &[&str], &str)] = &[
    ("x-frame-options", "SAMEORIGIN", &["deny"], "DENY"),
    ("x-frame-options", "DENY", &["SAMEORIGIN"], "DENY"),
    ("x-frame-options", "SAMEORIGIN", &["ALLOWALL", "SAMEORIGIN, DENY"], "DENY"),
    ("x-frame-options", "SAMEORIGIN", &["ALLOW-FROM https://a.example"], "SAMEORIGIN"),
    // Browsers forbid what is said in two ways.
    ("x-frame-options", "SAMEORIGIN", &["SAMEORIGIN", "ALLOWALL"], "DENY"),
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
    ("referrer-policy", "unsafe-url", &["é, no-referrer"], "no-referrer"),
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
    ("strict-transport-security", "max-age=60", &["max-age=+90"], "max-age=60"),
    ("strict-transport-security", "max-age=60", &["x=\"é; max-age=1;\"; max-age=90"], "max-age=90"),
    (
        "strict-transport-security",
        "max-age=60",
        &["max-age=99999999999999999999999"],
        "max-age=2147483648",
    ),
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
    ("permissions-policy", "usb=()", &["", "camera=()", " "], "usb=(), camera=()"),
    ("cache-control", "public, max-age=9", &["no-store"], "no-store"),
    ("cache-control", "no-store, max-age=0", &["private"], "no-store, max-age=0"),
    ("cache-control", "no-cache", &["max-age=9, public"], "no-cache"),
    (
        "cache-control",
        "public, max-age=9, s-maxage=99",
        &["max-age=1", "Private=\"x\", no-cache"],
        "private, no-cache, max-age=1",
    ),
    ("cache-control", "public", &["é, no-store"], "no-store"),
    (
        "cache-control",
        "public, max-age=9",
        &["max-age=99, s-maxage=5, must-revalidate"],
        "must-revalidate, public, max-age=9, s-maxage=5",
    ),
    ("cache-control", "s-maxage=9", &["max-age = \"7\""], "max-age=7, s-maxage=7"),
    ("cache-control", "public, max-age=9", &["max-age=soon"], "public, max-age=0"),
    ("reporting-endpoints", "a=\"/a\"", &["b=\"/b"], "a=\"/a\""),
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

/// Our fields, those of the upstream, and the policy that is added for them.
const FRAMED: &[(&Fields<'_>, &Fields<'_>, Option<&str>)] = &[
    (&[(CSP, "frame-ancestors 'self'")], &[(XFO, "DENY")], Some("frame-ancestors 'none'")),
    (
        &[(CSP, "frame-ancestors https://a.example"), (XFO, "SAMEORIGIN")],
        &[(CSP, "default-src *"), (XFO, "sameorigin")],
        Some("frame-ancestors 'self'"),
    ),
    (&[(CSP, "frame-ancestors 'none'")], &[(XFO, "DENY")], None),
    (&[(CSP, "frame-ancestors 'self'")], &[(XFO, "SAMEORIGIN")], None),
    (&[(CSP, "default-src 'self'")], &[(XFO, "DENY")], None),
    (&[(CSP, "frame-ancestors *")], &[(XFO, "DENY"), (CSP, "frame-ancestors 'self'")], None),
    (&[(CSP, "frame-ancestors *")], &[(XFO, "ALLOWALL")], None),
    (&[(XFO, "DENY")], &[(CSP, "frame-ancestors *")], Some("frame-ancestors 'none'")),
    (
        &[(XFO, "SAMEORIGIN"), (CSP, "img-src *")],
        &[(CSP, "img-src *, frame-ancestors https://a.example")],
        Some("frame-ancestors 'self'"),
    ),
    (&[(XFO, "DENY")], &[("content-security-policy-report-only", "frame-ancestors *")], None),
];

const CSP: &str = "content-security-policy";
const XFO: &str = "x-frame-options";

#[test]
fn what_one_side_says_of_frames_is_not_taken_back_by_the_other_header() {
    for (ours, theirs, added) in FRAMED.iter().copied() {
        let found = values(&mixed(Merge::Tighten, ours, theirs), CSP);
        let stated = ours.iter().chain(theirs).filter(|(name, _)| *name == CSP);
        let mut stated: Vec<_> = stated.map(|(_, value)| *value).chain(added).collect();
        let mut found: Vec<_> = found.iter().map(String::as_str).collect();
        stated.sort_unstable();
        stated.dedup();
        found.sort_unstable();
        assert_eq!(found, stated, "{ours:?} with {theirs:?}");
    }
    // The preset has it in small letters.
    let mut draft = Draft::new(Preset::Owasp);
    draft.drop_csp();
    let mut headers = HeaderMap::new();
    for (name, value) in [(CSP, "frame-ancestors *"), (XFO, "DENY")] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    draft.compile().apply(&mut headers, true);
    assert_eq!(values(&headers, CSP), ["frame-ancestors *", "frame-ancestors 'none'"]);
    assert_eq!(values(&headers, XFO), ["deny"]);
    let (ours, theirs) = ([(CSP, "frame-ancestors *")], [(XFO, "DENY")]);
    let added = ["frame-ancestors *", "frame-ancestors 'none'"];
    assert_eq!(values(&mixed(Merge::IfAbsent, &ours, &theirs), CSP), added);
    assert_eq!(values(&mixed(Merge::Override, &ours, &theirs), CSP), &added[..1]);
    let found = mixed(Merge::IfAbsent, &[(XFO, "DENY")], &[(CSP, "frame-ancestors *")]);
    assert_eq!(values(&found, CSP), &added[..1], "where the upstream has spoken");
}

/// A browser, as far as frames go (HTML, 7.6.3): whether the page's own origin, and another one,
/// may hold it in a frame.
fn frames(headers: &HeaderMap) -> [bool; 2] {
    let policies = values(headers, CSP);
    let policies = policies.iter().flat_map(|value| value.split([',', ';'])).map(str::trim);
    let ancestors = policies.filter_map(|directive| directive.strip_prefix("frame-ancestors "));
    let ancestors: Vec<_> = ancestors.collect();
    if !ancestors.is_empty() {
        let by = |known: &[&str]| ancestors.iter().all(|sources| known.contains(sources));
        return [by(&["'self'", "*"]), by(&["*", "https://a.example"])];
    }
    let options = values(headers, XFO).join(",").to_ascii_lowercase();
    let mut options: Vec<_> = options.split(',').map(str::trim).collect();
    options.sort_unstable();
    options.dedup();
    let is_known = |value: &&str| ["deny", "sameorigin", "allowall"].contains(value);
    match options[..] {
        ["deny"] => [false, false],
        ["sameorigin"] => [true, false],
        [_] => [true, true],
        _ => [!options.iter().any(is_known); 2],
    }
}

/// Of each header, what a side may say; the upstream any of it.
const FRAME_OPTIONS: [&str; 5] = ["DENY", "SAMEORIGIN", "AllowAll", "", "sameorigin, deny"];
const ANCESTORS: [&str; 4] = ["'none'", "'self'", "*", "https://a.example"];

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
const RANKED: [(&str, &[&str]); 4] = [
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
    fn nobody_frames_what_either_side_forbids(
        ours in (proptest::option::of(0..2_usize), proptest::option::of(0..4_usize)),
        theirs in (
            proptest::collection::vec(0..5_usize, 0..3),
            proptest::option::of(0..4_usize),
        ),
    ) {
        let option = ours.0.map(|place| (XFO, FRAME_OPTIONS[place]));
        let policy = |place: usize| format!("img-src *; frame-ancestors {}", ANCESTORS[place]);
        let (our_policy, their_policy) = (ours.1.map(policy), theirs.1.map(policy));
        let our_policy = our_policy.iter().map(|policy| (CSP, policy.as_str()));
        let ours: Vec<_> = option.into_iter().chain(our_policy).collect();
        let options = theirs.0.iter().map(|place| (XFO, FRAME_OPTIONS[*place]));
        let their_policy = their_policy.iter().map(|policy| (CSP, policy.as_str()));
        let theirs: Vec<_> = options.chain(their_policy).collect();
        let by = |ours: &Fields<'_>, theirs: &Fields<'_>| {
            frames(&mixed(Merge::Tighten, ours, theirs))
        };
        let (alone, other) = (by(&ours, &[]), by(&[], &theirs));
        let both = by(&ours, &theirs);
        for (place, origin) in ["its own", "another"].iter().enumerate() {
            prop_assert!(!both[place] || alone[place] && other[place], "{} origin", origin);
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

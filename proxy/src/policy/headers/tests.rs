//! Every preset byte for byte, what a configuration makes of one, and what applying it does.

use std::path::Path;

use http::HeaderMap;
use http::header::{SET_COOKIE, STRICT_TRANSPORT_SECURITY};

use super::{Circumstances, FIELDS, HeaderPolicy, Preset, permissions};
use crate::config;

/// What a policy makes of an empty response over TLS, sorted by name.
fn headers(policy: &HeaderPolicy) -> Vec<(String, String)> {
    let mut map = HeaderMap::new();
    policy.apply(&mut map, true);
    let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let mut headers: Vec<_> = map.iter().map(text).collect();
    headers.sort();
    headers
}

fn assert_headers(policy: &HeaderPolicy, expected: &[(&str, &str)]) {
    let expected: Vec<_> =
        expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    assert_eq!(headers(policy), expected);
}

/// The policy of the only site of a configuration with this `[headers.site]`.
fn configured(section: &str) -> HeaderPolicy {
    let text = format!(
        "[headers.site]\n{section}\n[[site]]\nhosts = [\"a.example.com\"]\n\
         upstream = \"http://127.0.0.1:1\"\nheaders = \"site\"\n"
    );
    let config = config::load_text(Path::new("test.toml"), &text, &|_| None);
    let config = config.unwrap_or_else(|faults| panic!("{faults}"));
    HeaderPolicy::clone(&config.sites[0].default.headers)
}

const HELMET: [(&str, &str); 12] = [
    (
        "content-security-policy",
        "default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self';\
         frame-ancestors 'self';img-src 'self' data:;object-src 'none';script-src 'self';\
         script-src-attr 'none';style-src 'self' https: 'unsafe-inline';upgrade-insecure-requests",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("origin-agent-cluster", "?1"),
    ("referrer-policy", "no-referrer"),
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("x-dns-prefetch-control", "off"),
    ("x-download-options", "noopen"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-permitted-cross-domain-policies", "none"),
    ("x-xss-protection", "0"),
];

#[test]
fn helmet_is_helmet_byte_for_byte() {
    assert_headers(&HeaderPolicy::preset(Preset::Helmet), &HELMET);
    assert_headers(&configured(""), &HELMET);
}

#[test]
fn owasp_is_the_published_set_without_clear_site_data() {
    let expected = [
        ("cache-control", "no-store, max-age=0"),
        (
            "content-security-policy",
            "default-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'; \
             frame-ancestors 'none'; upgrade-insecure-requests",
        ),
        ("cross-origin-embedder-policy", "require-corp"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "permissions-policy",
            "accelerometer=(), autoplay=(), camera=(), cross-origin-isolated=(), \
             display-capture=(), encrypted-media=(), fullscreen=(), geolocation=(), gyroscope=(), \
             keyboard-map=(), magnetometer=(), microphone=(), midi=(), payment=(), \
             picture-in-picture=(), publickey-credentials-get=(), screen-wake-lock=(), \
             sync-xhr=(self), usb=(), web-share=(), xr-spatial-tracking=(), clipboard-read=(), \
             clipboard-write=(), gamepad=(), hid=(), idle-detection=(), interest-cohort=(), \
             serial=(), unload=()",
        ),
        ("referrer-policy", "no-referrer"),
        ("strict-transport-security", "max-age=63072000; includeSubDomains"),
        ("x-content-type-options", "nosniff"),
        ("x-dns-prefetch-control", "off"),
        ("x-frame-options", "deny"),
        ("x-permitted-cross-domain-policies", "none"),
    ];
    assert_headers(&HeaderPolicy::preset(Preset::Owasp), &expected);
}

#[test]
fn api_allows_nothing() {
    let expected = [
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("strict-transport-security", "max-age=31536000; includeSubDomains"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("x-permitted-cross-domain-policies", "none"),
    ];
    assert_headers(&HeaderPolicy::preset(Preset::Api), &expected);
}

#[test]
fn none_changes_nothing() {
    assert_headers(&HeaderPolicy::preset(Preset::None), &[]);
}

#[test]
fn the_hardened_configuration_changes_helmet_as_the_seed_does() {
    let path = Path::new("tests/config/valid/hardened.toml");
    let config = config::load(path, &|_| None).unwrap();
    let mut expected = HELMET;
    expected[0].1 = "default-src 'self';base-uri 'self';font-src 'self' https: data:;\
        form-action 'self';frame-ancestors 'self';img-src 'self' data: https:;object-src 'none';\
        script-src 'self';script-src-attr 'none';style-src 'self' 'unsafe-inline';\
        upgrade-insecure-requests";
    for (name, value) in &mut expected {
        match *name {
            "referrer-policy" => *value = "strict-origin-when-cross-origin",
            "strict-transport-security" => {
                *value = "max-age=31536000; includeSubDomains; preload";
            }
            "x-frame-options" => *value = "DENY",
            _ => {}
        }
    }
    assert_headers(&config.sites[0].default.headers, &expected);
}

#[test]
fn a_section_changes_what_it_names() {
    let policy = configured(
        "preset = \"none\"\ncsp.script-src = [\"'self'\"]\ncsp.img-src = \"https:\"\n\
         csp.upgrade-insecure-requests = []\nhsts = { max_age = \"1h\" }\n\
         permissions-policy = \"camera=(), fullscreen=(self \\\"https://a.example\\\")\"\n\
         cross-origin-resource-policy = \"Same-Site\"\nset = { X-Served-By = \"gatehouse\" }",
    );
    let expected = [
        ("content-security-policy", "script-src 'self'; img-src https:; upgrade-insecure-requests"),
        ("cross-origin-resource-policy", "same-site"),
        ("permissions-policy", "camera=(), fullscreen=(self \"https://a.example\")"),
        ("strict-transport-security", "max-age=3600; includeSubDomains"),
        ("x-served-by", "gatehouse"),
    ];
    assert_headers(&policy, &expected);
}

#[test]
fn set_takes_whole_values_and_hsts_stays_off_plain_http() {
    let policy = configured(
        "preset = \"helmet\"\nset = { content-security-policy = \"default-src 'none'; img-src *\", \
         Strict-Transport-Security = \"max-age=60\", x-frame-options = \"deny\" }",
    );
    let found = headers(&policy);
    for (name, value) in [
        ("content-security-policy", "default-src 'none'; img-src *"),
        ("strict-transport-security", "max-age=60"),
        ("x-frame-options", "DENY"),
    ] {
        assert!(found.contains(&(name.to_owned(), value.to_owned())), "{name} in {found:?}");
    }
    let mut plain = HeaderMap::new();
    policy.apply(&mut plain, false);
    assert!(!plain.contains_key(STRICT_TRANSPORT_SECURITY));
}

#[test]
fn a_route_inherits_what_its_policy_does_not_name() {
    let text = "[headers.site]\npreset = \"owasp\"\ncsp.img-src = [\"data:\"]\n\
        set = { x-a = \"site\", x-b = \"site\" }\nhsts = { max_age = \"1d\" }\n\
        [headers.embed]\ncsp.frame-ancestors = [\"https://a.example\"]\n\
        x-frame-options = false\nset = { x-a = \"route\" }\nremove = [\"x-b\"]\n\
        hsts = { include_subdomains = false }\n\
        [headers.bare]\npreset = \"none\"\nset = { x-a = \"bare\" }\n\
        [[site]]\nhosts = [\"a.example\"]\nupstream = \"http://127.0.0.1:1\"\nheaders = \"site\"\n\
        [[site.route]]\npath = \"/embed\"\nheaders = \"embed\"\n\
        [[site.route]]\npath = \"/bare\"\nheaders = \"bare\"\n";
    let config = config::load_text(Path::new("test.toml"), text, &|_| None).unwrap();
    let site = headers(&config.sites[0].default.headers);
    let mut expected = site.clone();
    for (name, value) in &mut expected {
        match name.as_str() {
            "content-security-policy" => {
                *value =
                    value.replace("frame-ancestors 'none'", "frame-ancestors https://a.example");
            }
            "strict-transport-security" => *value = "max-age=86400".to_owned(),
            "x-a" => *value = "route".to_owned(),
            _ => {}
        }
    }
    expected.retain(|(name, _)| !matches!(name.as_str(), "x-b" | "x-frame-options"));
    let [(_, embed), (_, bare)] = &config.sites[0].routes[..] else { panic!() };
    assert_eq!(headers(&embed.headers), expected);
    assert!(site.len() > expected.len() && site != expected);
    assert_headers(&bare.headers, &[("x-a", "bare")]);
}

#[test]
fn what_discloses_the_software_is_stripped() {
    let policy = configured("strip = \"owasp\"\nset = { x-generator = \"ours\" }");
    let mut map = HeaderMap::new();
    for name in ["server", "x-varnish-server", "x-generator", "x-app"] {
        map.insert(name, "theirs".parse().unwrap());
    }
    policy.apply(&mut map, true);
    assert!(!map.contains_key("server") && !map.contains_key("x-varnish-server"));
    assert_eq!(
        (&map["x-generator"], &map["x-app"]),
        (&"ours".parse().unwrap(), &"theirs".parse().unwrap())
    );
}

#[test]
fn false_leaves_a_header_to_the_upstream() {
    let fields: String = FIELDS.iter().map(|field| format!("{} = false\n", field.name)).collect();
    let policy = configured(&format!("{fields}csp = false\nhsts = false"));
    let mut map = HeaderMap::new();
    map.insert("x-frame-options", "DENY".parse().unwrap());
    map.insert(STRICT_TRANSPORT_SECURITY, "max-age=1".parse().unwrap());
    let before = map.clone();
    policy.apply(&mut map, true);
    assert_eq!(map, before);

    let policy = configured("csp.style-src = false\ncsp.upgrade-insecure-requests = false");
    let csp = &headers(&policy)[0].1;
    assert!(csp.ends_with("script-src 'self';script-src-attr 'none'"), "{csp}");
}

#[test]
fn hsts_never_goes_out_over_plain_http() {
    for policy in [Preset::Helmet, Preset::None].map(HeaderPolicy::preset) {
        let mut map = HeaderMap::new();
        map.insert(STRICT_TRANSPORT_SECURITY, "max-age=1".parse().unwrap());
        policy.apply(&mut map, false);
        assert!(!map.contains_key(STRICT_TRANSPORT_SECURITY));
    }
}

#[test]
fn a_policy_overrides_what_the_upstream_sets_and_removes_what_it_discloses() {
    let policy = configured("merge = \"override\"\nremove = [\"Server\"]");
    let mut map = HeaderMap::new();
    for (name, value) in [
        ("content-security-policy", "default-src *"),
        ("content-security-policy", "img-src *"),
        ("x-powered-by", "Express"),
        ("server", "nginx"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ] {
        map.append(name, value.parse().unwrap());
    }
    policy.apply(&mut map, true);
    let csp: Vec<_> = map.get_all("content-security-policy").iter().collect();
    assert_eq!(csp, [HELMET[0].1]);
    assert!(!map.contains_key("x-powered-by") && !map.contains_key("server"));
    assert_eq!(map.get_all(SET_COOKIE).iter().count(), 2);
}

#[test]
fn no_policy_has_shared_caches_keep_a_nonce() {
    let name = "cache-control";
    for (merge, section, before, after) in [
        (
            "override",
            "set = { cache-control = \"public, max-age=60\" }",
            "private",
            "private, max-age=60",
        ),
        ("tighten", "set = { cache-control = \"s-maxage=60\" }", "private", "private"),
        ("if_absent", "set = { cache-control = \"public\" }", "private", "private"),
        ("override", "set = { cdn-cache-control = \"max-age=60\" }", "private", "private"),
        ("override", "remove = [\"cache-control\"]", "no-store", "no-store"),
    ] {
        let policy =
            configured(&format!("merge = \"{merge}\"\n{section}\ncsp.script-src = [\"'nonce'\"]"));
        let mut map = HeaderMap::new();
        map.insert(name, before.parse().unwrap());
        let nonces = Some("'nonce-abc'");
        let with = Circumstances { own: false, secure: true, nonces, climbed: 0 };
        policy.apply_with(&mut map, with);
        assert_eq!(map[name], after, "{merge} {section}");
        assert!(!map.contains_key("cdn-cache-control"));
        assert!(map["content-security-policy"].to_str().unwrap().contains("'nonce-abc'"));
    }
}

#[test]
fn permissions_policies() {
    for good in [
        "camera=()",
        "camera=(), geolocation=*",
        "fullscreen=(self \"https://a.example\"), usb=self",
        "ch-ua-platform=(self)",
    ] {
        assert_eq!(permissions::check(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "camera",
        "camera=",
        "camera 'self'",
        "camera=('self')",
        "camera=(self",
        "camera=(),",
        "camera=(https://a.example)",
        "camera=\"a.example\"",
        "camera=(), camera=*",
    ] {
        assert!(permissions::check(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_static_policy_allocates_nothing() {
    let own = [("content-type", "text/css"), ("etag", "\"a\""), ("x-app", "yes")];
    let own = own.map(|(name, value)| {
        (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
    });
    for preset in [Preset::Helmet, Preset::Owasp, Preset::Api] {
        let policy = HeaderPolicy::preset(preset);
        // A map that has room, as that of a connection's last message has.
        let mut fields = HeaderMap::with_capacity(32);
        let mut dress = || {
            fields.clear();
            own.iter().for_each(|(name, value)| _ = fields.insert(name, value.clone()));
            policy.apply(&mut fields, true);
        };
        let counted = allocation_counter::measure(|| (0..1_000).for_each(|_| dress()));
        assert_eq!(counted.count_total, 0, "{preset:?}: {counted:?}");
        assert!(fields.len() > own.len());
    }
}

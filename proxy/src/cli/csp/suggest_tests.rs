//! What is suggested for reports, and what is refused.

use std::path::Path;

use super::*;
use crate::config;

const CONFIG: &str = "[headers.site]\npreset = \"none\"\ncsp.default-src = [\"'self'\"]\n\
    csp.script-src = [\"'none'\"]\ncsp.style-src = [\"'self'\"]\n\
    [headers.other]\ncsp.img-src = [\"data:\"]\n\
    [[site]]\nhosts = [\"a.example\"]\nupstream = \"http://127.0.0.1:1\"\n\
    headers = \"site\"\n\
    [[site.route]]\npath = \"/other/{*rest}\"\nheaders = \"other\"\n";

fn report((page, directive, blocked): &(&str, &str, &str)) -> Report {
    Report {
        site: "a.example".to_owned(),
        page: (*page).to_owned(),
        directive: (*directive).to_owned(),
        blocked: (*blocked).to_owned(),
        count: 2,
    }
}

fn suggest(reports: &[(&str, &str, &str)]) -> String {
    let config = config::load_text(Path::new("test.toml"), CONFIG, &|_| None).unwrap();
    let reports: Vec<_> = reports.iter().map(report).collect();
    Suggestions::new(&config, &reports).render(false)
}

#[test]
fn the_smallest_change_is_suggested() {
    let found = suggest(&[
        ("/", "img-src", "https://cdn.example/a.png"),
        ("/b", "img-src", "https://CDN.example/b.png"),
        ("/", "img-src", "data"),
        ("/", "script-src-elem", "inline"),
        ("/", "script-src-elem", "/x.js"),
        ("/other/x", "img-src", "https://img.example:8443/y"),
        ("/", "img-src", "chrome-extension"),
    ]);
    let expected = "# 2 reports of csp.img-src\n[headers.other]\n\
        -csp.img-src = [\"data:\"]\n\
        +csp.img-src = [\"data:\", \"https://img.example:8443\"]\n\n\
        # 6 reports of csp.img-src\n[headers.site]\n-csp.img-src = [\"'self'\"]\n\
        +csp.img-src = [\"'self'\", \"https://cdn.example\", \"data:\"]\n\n\
        # 4 reports of csp.script-src\n[headers.site]\n-csp.script-src = [\"'none'\"]\n\
        +csp.script-src = [\"'nonce'\", \"'self'\"]\n";
    assert_eq!(found, expected);
    assert!(suggest(&[]).starts_with("nothing to change"));
}

#[test]
fn what_the_policy_allows_by_now_is_not_suggested_again() {
    assert!(suggest(&[("/", "style-src-elem", "/own.css")]).starts_with("nothing to change"));
    let text = CONFIG.replace("csp.style-src = [\"'self'\"]", "csp.style-src = [\"'nonce'\"]");
    let config = config::load_text(Path::new("test.toml"), &text, &|_| None).unwrap();
    let report = report(&("/", "style-src-elem", "inline"));
    let found = Suggestions::new(&config, &[report]).render(false);
    assert!(found.starts_with("# refused") && found.contains("it had no nonce"), "{found}");
}

#[test]
fn what_would_make_a_policy_worthless_is_refused() {
    for (directive, blocked) in [
        ("script-src", "eval"),
        ("script-src", "data"),
        ("script-src-elem", "blob:https://a.example/1"),
        ("script-src-attr", "inline"),
        ("script-src-elem", "http://cdn.example/x.js"),
        ("frame-ancestors", "https://evil.example"),
        ("base-uri", "https://evil.example"),
        ("img-src", "https://a.example;b/x"),
        ("object-src", "data"),
        ("img-src", "gopher://x"),
    ] {
        let found = suggest(&[("/", directive, blocked)]);
        assert!(found.starts_with("# refused"), "{directive} {blocked}: {found}");
    }
}

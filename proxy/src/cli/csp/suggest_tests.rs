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
        enforced: true,
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
    let expected = "# Anybody can send a report: take over what you know to be yours.\n\
        # 2 reports of csp.img-src\n[headers.other]\n\
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
fn what_is_tried_out_is_changed_where_it_stands() {
    let text = CONFIG.replace(
        "[headers.other]",
        "csp_trial.script-src = [\"'nonce'\"]\ncsp_trial.font-src = [\"'self'\"]\n\
         csp_report = { collect = true }\n[headers.other]",
    );
    let config = config::load_text(Path::new("test.toml"), &text, &|_| None).unwrap();
    let mut reports = [
        ("/", "script-src-elem", "https://cdn.example/a.js"),
        ("/", "font-src", "https://fonts.example/a"),
        ("/", "style-src-elem", "https://cdn.example/a.css"),
    ]
    .map(|of| report(&of));
    reports.iter_mut().for_each(|report| report.enforced = false);
    let expected = "\
        # 2 reports of csp.style-src\n[headers.site]\n-csp.style-src = [\"'self'\"]\n\
        +csp.style-src = [\"'self'\", \"https://cdn.example\"]\n\n\
        # 2 reports of csp_trial.font-src\n[headers.site]\n-csp_trial.font-src = [\"'self'\"]\n\
        +csp_trial.font-src = [\"'self'\", \"https://fonts.example\"]\n\n\
        # 2 reports of csp_trial.script-src\n[headers.site]\n\
        -csp_trial.script-src = [\"'nonce'\"]\n\
        +csp_trial.script-src = [\"'nonce'\", \"https://cdn.example\"]\n";
    let found = Suggestions::new(&config, &reports).render(false);
    assert_eq!(found.split_once('\n').unwrap().1, expected);
}

#[test]
fn a_host_beside_strict_dynamic_is_refused() {
    let text = CONFIG.replace("[\"'none'\"]", "[\"'nonce'\", \"'strict-dynamic'\"]");
    let config = config::load_text(Path::new("test.toml"), &text, &|_| None).unwrap();
    let report = report(&("/", "script-src-elem", "https://cdn.example/a.js"));
    let found = Suggestions::new(&config, &[report]).render(false);
    assert!(found.starts_with("# refused") && found.contains("give its tag a nonce"), "{found}");
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
        ("img-src", "https://*/x"),
        ("img-src", "https://*.example"),
        ("img-src", "https://a.example:*"),
        ("img-src", "https://[::1]/"),
        ("img-src", "https://user@evil.example/"),
        ("img-src", "https:"),
        ("img-src", "*"),
        ("img-src", "inline"),
        ("img-src", "'unsafe-inline'"),
        ("style-src-elem", "data"),
        ("worker-src", "blob"),
    ] {
        let found = suggest(&[("/", directive, blocked)]);
        assert!(found.starts_with("# refused"), "{directive} {blocked}: {found}");
    }
}

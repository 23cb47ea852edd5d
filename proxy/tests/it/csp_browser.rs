//! From a policy that stops too much to one that stops what was injected, with a real browser and
//! what the command line makes of its reports.

use std::process::Command;

use http::Method;
use serde_json::Value;

use crate::harness::{Browser, TestProxy, TestUpstream};
use crate::reports::reports;

/// A policy that is too strict for the page: it has a script and a style inline, and a picture in
/// itself.
const POLICY: &str = "[headers.site]\npreset = \"none\"\ncsp.default-src = [\"'self'\"]\n\
    csp.script-src = [\"'self'\"]\ncsp.style-src = [\"'self'\"]\ncsp.img-src = [\"'self'\"]\n\
    csp_report = { collect = true }";

/// The page tells the application what has run, and then does what an attacker would.
const PAGE: &str = "<!doctype html><title>t</title><style>p { color: red }</style><body>\
    <img src='data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs='><script>\
    fetch('/own' + location.pathname, { method: 'POST' });\
    var script = document.createElement('script');\
    script.textContent = \"fetch('/injected', { method: 'POST' })\";\
    document.body.appendChild(script);\
    </script></body>";

/// What `gatehouse csp` prints, for the configuration of a running instance.
async fn csp(proxy: &TestProxy, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    command.arg("csp").args(arguments).args(["--admin", &proxy.admin().to_string()]);
    command.arg("--config").arg(proxy.file());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The directives that pages of a path were reported for, sorted.
fn of_page<'d>(document: &'d Value, page: &str) -> Vec<(&'d str, &'d str)> {
    let reports = document["reports"].as_array().unwrap().iter();
    let of_page = reports.filter(|report| report["page"] == page);
    let text = |report: &'d Value, key: &str| report[key].as_str().unwrap();
    let mut found: Vec<_> =
        of_page.map(|report| (text(report, "directive"), text(report, "blocked"))).collect();
    found.sort_unstable();
    found
}

/// The paths that scripts have posted to.
fn posted(upstream: &TestUpstream) -> Vec<String> {
    let seen = upstream.seen().into_iter().filter(|seen| seen.method == Method::POST);
    seen.map(|seen| seen.uri.path().to_owned()).collect()
}

#[tokio::test]
async fn what_a_browser_reports_is_suggested_until_only_the_injected_is_left() {
    let upstream = TestUpstream::page(PAGE).await;
    let proxy = TestProxy::start_with(&upstream, POLICY, "headers = \"site\"");
    let browser = Browser::find();

    let open = browser.stay(&proxy, "/strict").await;
    let alarms = [("img-src", "data"), ("script-src-elem", "inline"), ("style-src-elem", "inline")];
    reports(&proxy, |document| of_page(document, "/strict") == alarms).await;
    drop(open);
    assert!(posted(&upstream).is_empty(), "no script ran");
    let listed = csp(&proxy, &["reports"]).await;
    for part in ["script-src-elem  enforced inline", "img-src          enforced data", "/strict"] {
        assert!(listed.contains(part), "{part} in {listed}");
    }

    // What is suggested is put into the configuration as it stands.
    let text = csp(&proxy, &["suggest"]).await;
    assert!(text.contains("\n[headers.site]\n-csp.script-src = [\"'self'\"]\n+csp."), "{text}");
    let suggested: Value =
        serde_json::from_str(&csp(&proxy, &["suggest", "--json"]).await).unwrap();
    for change in suggested["changes"].as_array().unwrap() {
        let key = change["key"].as_str().unwrap();
        let before = format!("{key} = [\"'self'\"]");
        proxy.edit(&before, &format!("{key} = {}", change["after"]));
    }
    proxy.reload().await.unwrap();

    // Reports come in the order of the page: once the last is there, no other will be.
    let open = browser.stay(&proxy, "/mended").await;
    let injected = [("script-src-elem", "inline")];
    reports(&proxy, |document| of_page(document, "/mended") == injected).await;
    drop(open);
    assert_eq!(posted(&upstream), ["/own/mended"], "the page's own script runs, and no other");
    let suggested: Value =
        serde_json::from_str(&csp(&proxy, &["suggest", "--json"]).await).unwrap();
    assert_eq!(suggested["changes"], serde_json::json!([]), "{suggested:#}");
    assert_eq!(suggested["refused"][0]["blocked"], "inline", "{suggested:#}");
    proxy.finish().await;
}

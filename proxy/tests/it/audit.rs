//! `gatehouse audit` of a site that Gatehouse serves, and of one that has nothing.

use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{TestProxy, TestUpstream};

/// Audits `proxy`, with further arguments.
pub(crate) async fn audit(proxy: &TestProxy, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    command
        .args(["audit", &format!("localhost:{}", proxy.https().port())])
        .args(["--http-port", &proxy.http().port().to_string()])
        .args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The report, by test.
pub(crate) fn findings(output: &Output) -> (Value, impl Fn(&str) -> Value) {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].clone();
    let find = move |test: &str| {
        let mut all = findings.as_array().unwrap().iter();
        all.find(|finding| finding["test"] == test).unwrap_or_else(|| panic!("{test}")).clone()
    };
    (report, find)
}

#[tokio::test]
async fn the_defaults_of_gatehouse_are_a_plus() {
    let upstream = TestUpstream::start().await;
    let first = "[headers.site]\nstrip = \"owasp\"";
    let proxy = TestProxy::start_with(&upstream, first, "headers = \"site\"");
    let root = proxy.root().display().to_string();
    let output = audit(&proxy, &["--ca", &root, "--json", "--at-least", "A+"]).await;
    let (report, find) = findings(&output);
    assert_eq!((output.status.code(), &report["grade"]), (Some(0), &"A+".into()), "{report:#}");
    assert_eq!(find("redirection")["result"], "redirection-to-https");
    assert_eq!(find("certificate")["result"], "certificate-trusted");
    assert_eq!(find("tls")["found"], "TLS 1.3, 1.2");
    assert_eq!(find("key-exchange")["found"], "X25519MLKEM768");
    assert_eq!(find("http2")["found"], "offered");
    let csp = find("content-security-policy");
    assert_eq!(csp["result"], "csp-implemented-with-unsafe-inline-in-style-src-only");
    proxy.finish().await;
}

#[tokio::test]
async fn what_is_missing_is_named_with_what_to_write() {
    let upstream = TestUpstream::start().await;
    let first = "[headers.bare]\npreset = \"none\"";
    let more = "redirect_http = false\nheaders = \"bare\"";
    let proxy = TestProxy::start_with(&upstream, first, more);
    let output = audit(&proxy, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    for line in ["F  (", "not trusted for localhost", "write: issuer = \"acme\"", "redirect_http"] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains('\u{1b}'), "no colours in a pipe");
    let output = audit(&proxy, &["--json", "--at-least", "F"]).await;
    let (report, find) = findings(&output);
    assert_eq!((output.status.code(), &report["score"]), (Some(1), &10.into()), "{report:#}");
    assert_eq!(find("redirection")["score"], -20);
    assert_eq!(find("strict-transport-security")["result"], "hsts-invalid-cert");
    proxy.finish().await;
}

#[tokio::test]
async fn a_site_that_is_not_there_is_said_so() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let address = format!("localhost:{}", proxy.http().port());
    proxy.finish().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    command.args(["audit", &address]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.starts_with(&format!("error: cannot connect to {address}: ")), "{message}");
}

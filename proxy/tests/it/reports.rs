//! What browsers report, from the page to the suggestion.

use std::time::{Duration, Instant};

use http::Method;
use http_body_util::Full;
use serde_json::Value;

use crate::harness::{TestProxy, TestUpstream};

const POLICY: &str = "[headers.site]\npreset = \"none\"\ncsp.img-src = [\"'self'\"]\n\
    csp_report = { collect = true }\nremove = [\"x-powered-by\"]";

const SITE: &str = "headers = \"site\"";

const PATH: &str = "/.gatehouse/reports";

/// What is known, once it satisfies.
pub(crate) async fn reports(proxy: &TestProxy, satisfies: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = crate::admin::get(proxy.admin(), "/api/csp", "").await;
        let document = answer.split_once("\r\n\r\n").map_or(answer.as_str(), |(_, body)| body);
        let document: Value = serde_json::from_str(document).unwrap();
        if satisfies(&document) {
            return document;
        }
        assert!(Instant::now() < deadline, "{document:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn count(document: &Value) -> u64 {
    let reports = document["reports"].as_array().unwrap();
    reports.iter().map(|report| report["count"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn reports_are_taken_where_a_policy_collects_them() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start_with(&upstream, POLICY, SITE);
    let mut client = proxy.client().await.unchecked();
    let reply = client.get("/").await;
    assert_eq!(
        reply.header("content-security-policy"),
        "img-src 'self'; report-uri /.gatehouse/reports; report-to gatehouse"
    );
    assert_eq!(reply.header("reporting-endpoints"), "gatehouse=\"/.gatehouse/reports\"");
    let port = proxy.https().port();
    let report = format!(
        "{{\"csp-report\":{{\"document-uri\":\"https://localhost:{port}/p?token=x\",\
         \"blocked-uri\":\"https://b.example/i?s=1\",\"effective-directive\":\"img-src\"}}}}"
    );
    for (kind, body, status) in [
        ("application/csp-report", report.clone(), 204),
        ("application/reports+json", "[]".to_owned(), 204),
        ("application/csp-report", "{".to_owned(), 400),
        ("application/csp-report", "[".repeat(60_000), 400),
        ("application/csp-report", "{\"csp-report\":7}".to_owned(), 400),
        ("application/reports+json", "[{\"type\":\"csp-violation\",\"body\":7}]".to_owned(), 400),
        ("application/reports+json", "null".to_owned(), 400),
        ("text/plain", report.clone(), 415),
        ("application/csp-report", "x".repeat(70_000), 413),
    ] {
        let mut client = proxy.client_h2().await.unchecked();
        let request = client.request(Method::POST, PATH).header("content-type", kind);
        let reply = client.send(request.body(Full::new(body.into())).unwrap()).await;
        assert_eq!(reply.status, status, "{kind}");
    }
    let document = reports(&proxy, |document| count(document) == 1).await;
    let entry = &document["reports"][0];
    assert_eq!((&entry["page"], &entry["blocked"]), (&"/p".into(), &"https://b.example/i".into()));
    assert_eq!((&entry["site"], &entry["enforced"]), (&"localhost".into(), &true.into()));
    assert_eq!(upstream.seen().len(), 1, "no report is forwarded");

    // They outlive the process.
    let proxy = proxy.restart().await;
    reports(&proxy, |document| count(document) == 1).await;
    // The path is the application's where nothing is collected, and for whatever is no report.
    assert_eq!(proxy.client().await.unchecked().get(PATH).await.status, 200);
    proxy.finish().await;
}

#[tokio::test]
async fn without_a_collector_the_path_is_the_applications() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    assert_eq!(proxy.client().await.post(PATH, "x").await.status, 200);
    assert_eq!(upstream.only().uri.path(), PATH);
    proxy.finish().await;
}

#[tokio::test]
async fn a_policy_on_trial_is_reported_beside_the_enforced_one() {
    let upstream = TestUpstream::start().await;
    let section = format!("{POLICY}\ncsp_trial.img-src = [\"'none'\"]");
    let proxy = TestProxy::start_with(&upstream, &section, SITE);
    let reply = proxy.client().await.unchecked().get("/").await;
    let reporting = "report-uri /.gatehouse/reports; report-to gatehouse";
    assert_eq!(reply.header("content-security-policy"), format!("img-src 'self'; {reporting}"));
    assert_eq!(
        reply.header("content-security-policy-report-only"),
        format!("img-src 'none'; {reporting}")
    );
    proxy.finish().await;
}

//! The admin listener.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{TestProxy, TestUpstream};

/// A GET to the admin listener; the answer with its head.
pub(crate) async fn get(admin: SocketAddr, path: &str, fields: &str) -> String {
    ask(admin, "GET", path, fields).await
}

/// A POST without a body.
pub(crate) async fn post(admin: SocketAddr, path: &str) -> String {
    ask(admin, "POST", path, "Content-Length: 0\r\n").await
}

async fn ask(admin: SocketAddr, method: &str, path: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n");
    let request = format!("{head}{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn health_metrics_and_status_say_what_happened() {
    let upstream = TestUpstream::start().await;
    let proxy =
        TestProxy::start(&upstream, "[[rate_limit]]\nname = \"one\"\nlimit = 1\nwindow = \"1h\"");
    let mut client = proxy.client().await;
    client.get("/").await;
    client.get("/").await;
    for path in ["/healthz", "/readyz"] {
        assert!(get(proxy.admin(), path, "").await.starts_with("HTTP/1.1 200 "));
    }
    let metrics = get(proxy.admin(), "/metrics", "").await;
    for line in [
        "gatehouse_responses_total{status=\"2xx\"} 1",
        "gatehouse_responses_total{status=\"4xx\"} 1",
        "gatehouse_rejections_total{reason=\"rate_limited\"} 1",
        "gatehouse_rate_limit_keys 1",
        "gatehouse_connections_open 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in {metrics}");
    }
    let status = get(proxy.admin(), "/api/status", "").await;
    let (_, body) = status.split_once("\r\n\r\n").unwrap();
    let status: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(status["rejections"]["rate_limited"], 1);
    assert!(get(proxy.admin(), "/nothing", "").await.starts_with("HTTP/1.1 404 "));
    proxy.finish().await;
}

#[tokio::test]
async fn a_token_is_asked_for_where_one_is_set() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start_with(&upstream, "[admin]\ntoken = \"a-long-enough-token\"", "");
    let admin = proxy.admin();
    assert!(get(admin, "/healthz", "").await.starts_with("HTTP/1.1 200 "));
    for fields in
        ["", "Authorization: Bearer wrong\r\n", "Authorization: Bearer a-long-enough-tokex\r\n"]
    {
        assert!(get(admin, "/metrics", fields).await.starts_with("HTTP/1.1 401 "), "{fields}");
    }
    let fields = "Authorization: Bearer a-long-enough-token\r\n";
    assert!(get(admin, "/metrics", fields).await.starts_with("HTTP/1.1 200 "));
    proxy.finish().await;
}

#[tokio::test]
async fn the_dashboard_is_an_empty_page_until_the_api_fills_it() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start_with(&upstream, "[admin]\ntoken = \"a-long-enough-token\"", "");
    for (path, media_type, content) in [
        ("/", "text/html", "<script src=\"/dashboard.js\" defer>"),
        ("/dashboard.css", "text/css", "body {"),
        ("/dashboard.js", "text/javascript", "fetch("),
    ] {
        let answer = get(proxy.admin(), path, "").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains(&format!("content-type: {media_type}")), "{answer}");
        assert!(answer.contains("content-security-policy: default-src 'none';"), "{answer}");
        assert!(answer.contains(content), "{answer}");
    }
    proxy.finish().await;
}

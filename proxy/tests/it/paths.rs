//! Paths that two programs could read differently: refused, or matched as the decoded path that
//! every backend would arrive at (CWE-22, CWE-180).

use crate::harness::{TestProxy, TestUpstream};

#[tokio::test]
async fn ambiguous_paths_are_refused() {
    let upstream = TestUpstream::recording().await;
    let proxy = TestProxy::start(&upstream, "");
    for path in [
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/a%00",
        "/..",
        "/../a",
        "/a/../../b",
        "/%2e%2e/a",
        "/a/%2e%2e/%2e%2e/b",
        "/..%2fa",
        "/%",
        "/%zz",
        "/a%0d%0ab",
    ] {
        let mut raw = proxy.raw().await;
        raw.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await;
        let answer = raw.read_head().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
    }
    let mut client = proxy.client_h2().await;
    for path in ["/a%2fb", "/a%5cb", "/../a", "/%2e%2e/a"] {
        assert_eq!(client.get(path).await.status, 400, "{path}");
    }
    assert_eq!(upstream.bytes(), "");
    for record in proxy.finish().await {
        assert_eq!(record["reason"], "path_ambiguous", "{record}");
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_escapes_its_rule() {
    let upstream = TestUpstream::start().await;
    let rule = "[[rate_limit]]\nname = \"login\"\nlimit = 1\nwindow = \"1h\"\n\
                match = { path = \"/api/auth/login\" }";
    let proxy = TestProxy::start(&upstream, rule);
    let mut client = proxy.client().await;
    assert_eq!(client.get("/api/auth/login").await.status, 200);
    for path in [
        "/api/auth/login",
        "/api/auth/login?x=1",
        "/api/auth/log%69n",
        "/%61pi/auth/login",
        "//api/auth/login",
        "/api//auth/login",
        "/api/./auth/login",
        "/api/x/../auth/login",
        "/api/%2e/auth/login",
        "/x/%2e%2e/api/auth/login",
    ] {
        assert_eq!(client.get(path).await.status, 429, "{path}");
    }
    proxy.finish().await;
}

#[tokio::test]
async fn a_site_may_take_them_but_not_past_its_rules() {
    let upstream = TestUpstream::start().await;
    let more = "ambiguous_paths = true\n[[rate_limit]]\nname = \"a\"\nlimit = 1\nwindow = \"1h\"\n\
                match = { path = \"/a/b\" }";
    let proxy = TestProxy::start(&upstream, more);
    let mut client = proxy.client().await;
    assert_eq!(client.get("/a%2Fb").await.status, 200);
    assert_eq!(upstream.seen()[0].uri, "/a%2Fb", "as it was written");
    for path in ["/a/b", "/a%2fb", "/a%5cb", "/..%2f../a/b", "/../a/b", "/a%2f..%2fa/b"] {
        assert_eq!(client.get(path).await.status, 429, "{path}");
    }
    assert_eq!(client.get("/a%00").await.status, 200);
    assert_eq!(client.get("/%zz").await.status, 400);
    proxy.finish().await;
}

//! What goes upstream and what comes back.

use bytes::Bytes;
use http::{Method, Version};
use http_body_util::Full;

use crate::harness::{TestProxy, TestUpstream};

#[tokio::test]
async fn requests_are_forwarded_over_both_versions() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        let reply = client.post("/a/b?c=d", "body").await;
        assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"POST /a/b?c=d"[..]));
        assert_eq!(reply.header("x-app"), "yes");
    }
    for seen in upstream.seen() {
        assert_eq!(
            (seen.method, seen.version, seen.body_bytes),
            (Method::POST, Version::HTTP_11, 4)
        );
        assert_eq!(seen.uri, "/a/b?c=d");
    }
    let records = proxy.finish().await;
    let protocols: Vec<_> =
        records.iter().map(|record| record["protocol"].as_str().unwrap()).collect();
    assert_eq!((records.len(), protocols.contains(&"HTTP/2")), (2, true));
    let record = &records[0];
    assert_eq!(record["path"], "/a/b?c", "the query's values are not logged");
    assert_eq!((&record["method"], &record["host"]), (&"POST".into(), &"localhost".into()));
    assert_eq!((&record["bytes_in"], &record["bytes_out"]), (&4.into(), &13.into()));
    assert_eq!((&record["tls"], &record["client"]), (&"1.3".into(), &"127.0.0.1".into()));
    assert!(record["upstream_ms"].as_f64().unwrap() <= record["duration_ms"].as_f64().unwrap());
}

#[tokio::test]
async fn claims_of_the_client_do_not_reach_the_upstream() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut client = proxy.client().await;
    let names = [
        "X-Forwarded-For",
        "X_Forwarded_For",
        "Forwarded",
        "X-Real-IP",
        "X-Forwarded-User",
        "X-Request-Id",
    ];
    let mut request =
        client.request(Method::GET, "/").header("connection", "x-forwarded-for, x-hop");
    for name in names {
        request = request.header(name, "203.0.113.9");
    }
    let reply = client.send(request.header("x-hop", "1").body(Full::default()).unwrap()).await;
    let seen = upstream.only().headers;
    assert!(!seen.values().any(|value| value == "203.0.113.9"), "{seen:#?}");
    assert!(!seen.contains_key("x-hop") && !seen.contains_key("connection"), "{seen:#?}");
    let host = format!("localhost:{}", proxy.https().port());
    for (name, value) in [
        ("host", host.as_str()),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", &host),
        ("x-forwarded-proto", "https"),
        ("forwarded", &format!("for=127.0.0.1;host=\"{host}\";proto=https")),
        ("x-request-id", reply.header("x-request-id")),
    ] {
        assert_eq!(seen.get_all(name).iter().collect::<Vec<_>>(), [value], "{name}");
    }
    proxy.finish().await;
}

#[tokio::test]
async fn cookie_crumbs_become_one_cookie() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut client = proxy.client_h2().await;
    let request = client.request(Method::GET, "/").header("cookie", "a=1").header("cookie", "b=2");
    client.send(request.body(Full::default()).unwrap()).await;
    assert_eq!(upstream.only().headers["cookie"], "a=1; b=2");
    proxy.finish().await;
}

#[tokio::test]
async fn routes_choose_the_upstream() {
    let (site, api) = (TestUpstream::start().await, TestUpstream::start().await);
    let first = format!("[upstream.api]\nservers = [\"http://{}\"]", api.address);
    let route = "[[site.route]]\npath = \"/api/{*rest}\"\nupstream = \"api\"";
    let proxy = TestProxy::start_with(&site, &first, route);
    let mut client = proxy.client().await;
    client.get("/api/x").await;
    client.get("/x/..//api/./y").await;
    client.get("/x").await;
    let paths = |upstream: &TestUpstream| -> Vec<_> {
        upstream.seen().iter().map(|seen| seen.uri.to_string()).collect()
    };
    assert_eq!(paths(&api), ["/api/x", "/x/..//api/./y"], "matched clean, forwarded as written");
    assert_eq!(paths(&site), ["/x"]);
    let routes: Vec<_> =
        proxy.finish().await.iter().map(|record| record["route"].clone()).collect();
    assert_eq!(routes, ["/api/{*rest}", "/api/{*rest}", "*"]);
}

#[tokio::test]
async fn bodies_of_responses_keep_their_framing() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        let reply = client.get("/bytes/3000000").await;
        assert_eq!((reply.body.len(), reply.header("content-length")), (3_000_000, "3000000"));
        let reply = client.get("/stream/3000000").await;
        assert_eq!((reply.body.len(), reply.header("content-length")), (3_000_000, ""));
        let head = client.request(Method::HEAD, "/bytes/10").body(Full::default()).unwrap();
        let reply = client.send(head).await;
        assert_eq!((reply.body.len(), reply.header("content-length")), (0, "10"));
        assert_eq!(client.get("/status/204").await.status, 204);
        assert_eq!(client.get("/status/304").await.status, 304);
    }
    proxy.finish().await;
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let body = Bytes::from(vec![7; 9 << 20]);
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        assert_eq!(client.post("/", body.clone()).await.status, 200);
    }
    assert!(upstream.seen().iter().all(|seen| seen.body_bytes == 9 << 20));
    proxy.finish().await;
}

#[tokio::test]
async fn links_to_the_upstream_are_reused() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut client = proxy.client().await;
    for _ in 0..20 {
        client.get("/").await;
        client.get("/stream/100000").await;
        client.post("/", "x").await;
        client.get("/status/304").await;
    }
    assert_eq!(upstream.connections(), 1);
    proxy.finish().await;
}

#[tokio::test]
async fn plain_http_is_redirected_without_hsts() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut client = proxy.client_plain().await; // holds every reply to carry no HSTS
    let reply = client.get("/a%20b/c?d=e&f").await;
    let location = format!("https://localhost:{}/a%20b/c?d=e&f", proxy.https().port());
    assert_eq!((reply.status.as_u16(), reply.header("location")), (308, location.as_str()));
    let bare = http::Request::get("http://localhost?x=1").header("host", "localhost");
    let reply = client.send(bare.body(Full::default()).unwrap()).await;
    let location = format!("https://localhost:{}/?x=1", proxy.https().port());
    assert_eq!(reply.header("location"), location);
    assert!(upstream.seen().is_empty());
    proxy.finish().await;
}

#[tokio::test]
async fn plain_http_is_served_where_the_site_says_so() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "redirect_http = false");
    let mut client = proxy.client_plain().await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(upstream.only().headers["x-forwarded-proto"], "http");
    let records = proxy.finish().await;
    assert!(records[0].get("tls").is_none());
}

//! Limits as a client meets them.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::Full;

use crate::harness::{TestProxy, TestUpstream};

/// The limits of `hardened.toml`.
const RULES: &str = "\
[[rate_limit]]
name   = \"global\"
limit  = 100
window = \"60s\"
match  = { not_path = [\"/health\", \"/health/{*rest}\"] }
[[rate_limit]]
name   = \"login\"
match  = { methods = [\"POST\"], path = \"/api/auth/login\" }
limit  = 5
window = \"60s\"
[[rate_limit]]
name   = \"register\"
match  = { methods = [\"POST\"], path = \"/api/auth/register\" }
limit  = 3
window = \"1h\"
";

#[tokio::test]
async fn the_101st_request_of_a_minute_is_rejected_with_a_true_retry_after() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, RULES);
    // Connections of both versions land on both workers; the count is one.
    let mut clients = [proxy.client().await, proxy.client_h2().await, proxy.client().await];
    let started = std::time::Instant::now();
    for i in 0..100 {
        let reply = clients[i % 3].get("/").await;
        assert_eq!(reply.status, 200, "request {i}");
        assert_eq!(reply.header("ratelimit-policy"), "\"global\";q=100;w=60");
        let left = format!("\"global\";r={};", 99 - i);
        assert!(reply.header("ratelimit").starts_with(&left), "{}", reply.header("ratelimit"));
    }
    let reply = clients[0].get("/").await;
    assert_eq!(reply.status, 429);
    let retry_after: u64 = reply.header("retry-after").parse().unwrap();
    assert!(
        retry_after <= 60 && retry_after + started.elapsed().as_secs() + 1 >= 60,
        "{retry_after}"
    );
    assert_eq!(reply.header("ratelimit"), format!("\"global\";r=0;t={retry_after}"));
    let problem = reply.problem();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["violated-policies"], serde_json::json!(["global"]));
    assert_eq!(clients[0].get("/health").await.status, 200);
    assert_eq!(upstream.seen().len(), 101);
    let records = proxy.finish().await;
    let rejected = records.iter().find(|record| record["status"] == 429).unwrap();
    assert_eq!(
        (&rejected["rule"], &rejected["reason"]),
        (&"global".into(), &"rate_limited".into())
    );
}

#[tokio::test]
async fn the_sixth_login_and_the_fourth_registration_are_rejected() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, RULES);
    for (path, limit, rule) in
        [("/api/auth/login", 5, "login"), ("/api/auth/register", 3, "register")]
    {
        let mut client = proxy.client_h2().await;
        for _ in 0..limit {
            assert_eq!(client.post(path, "{}").await.status, 200);
        }
        let reply = client.post(path, "{}").await;
        assert_eq!(reply.status, 429, "{path}");
        assert!(reply.header("ratelimit").starts_with(&format!("\"{rule}\";r=0;")));
        // Another spelling of the path is the same path, and another method another rule.
        assert_eq!(client.post(&path.replace("/auth", "//auth"), "{}").await.status, 429);
        assert_eq!(client.post(&path.replace("auth", "%61uth"), "{}").await.status, 429);
        assert_eq!(client.get(path).await.status, 200);
    }
    proxy.finish().await;
}

#[tokio::test]
async fn a_rejected_upload_leaves_the_connection_usable() {
    let upstream = TestUpstream::start().await;
    let rule = "[[rate_limit]]\nname = \"one\"\nlimit = 1\nwindow = \"1h\"\n\
                match = { methods = [\"POST\"] }";
    let proxy = TestProxy::start(&upstream, rule);
    for (mut client, first) in [(proxy.client().await, 200), (proxy.client_h2().await, 429)] {
        assert_eq!(client.post("/", vec![0; 60_000]).await.status, first);
        assert_eq!(client.post("/", vec![0; 60_000]).await.status, 429);
        assert_eq!(client.get("/").await.status, 200);
    }
    proxy.finish().await;
}

#[tokio::test]
async fn what_a_client_claims_to_be_does_not_change_its_bucket() {
    let upstream = TestUpstream::start().await;
    let proxy =
        TestProxy::start(&upstream, "[[rate_limit]]\nname = \"ten\"\nlimit = 10\nwindow = \"1h\"");
    let mut client = proxy.client().await;
    for i in 0..200 {
        let request: Request<Full<_>> = client
            .request(Method::GET, "/")
            .header("x-forwarded-for", format!("203.0.113.{i}"))
            .header("forwarded", format!("for=203.0.113.{i}"))
            .body(Full::default())
            .unwrap();
        let expected = if i < 10 { 200 } else { 429 };
        assert_eq!(client.send(request).await.status, expected, "request {i}");
    }
    proxy.finish().await;
}

#[tokio::test]
async fn failed_logins_count_and_others_do_not() {
    let upstream = TestUpstream::start().await;
    let rule = "[[rate_limit]]\nname = \"login-failures\"\nlimit = 3\nwindow = \"1h\"\n\
                count = { status = [401, 403] }\nban = { after = 2, for = \"2h\" }";
    let proxy = TestProxy::start(&upstream, rule);
    let mut clients = [proxy.client().await, proxy.client_h2().await];
    for i in 0..10 {
        assert_eq!(clients[i % 2].get("/").await.status, 200);
    }
    for (i, status) in [401, 403, 401].into_iter().enumerate() {
        let reply = clients[i % 2].get(&format!("/status/{status}")).await;
        assert_eq!(reply.status, status);
    }
    let seconds = |text: &str| text.parse::<u64>().unwrap();
    let reply = clients[0].get("/").await;
    assert_eq!(reply.status, 429);
    assert!((3_590..=3_600).contains(&seconds(reply.header("retry-after"))));
    let reply = clients[1].get("/").await;
    assert!((7_190..=7_200).contains(&seconds(reply.header("retry-after"))), "banned");
    proxy.finish().await;
}

#[tokio::test]
async fn a_request_is_in_flight_until_its_body_has_ended_or_its_client_has_vanished() {
    let upstream = TestUpstream::start().await;
    let rule = "[[rate_limit]]\nname = \"at-once\"\nin_flight = 1";
    let proxy = TestProxy::start(&upstream, rule);
    for h2 in [false, true] {
        let mut first = if h2 { proxy.client_h2().await } else { proxy.client().await };
        let mut second = proxy.client().await;
        let large = first.request(Method::GET, "/bytes/50000000").body(Full::default()).unwrap();
        let response = first.begin(large).await.unwrap();
        let reply = second.get("/").await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, "1"));
        drop((response, first));
        let passes = async { while second.get("/").await.status != 200 {} };
        tokio::time::timeout(Duration::from_secs(20), passes).await.unwrap();
        // Its end is what the next request may overtake, but not what it waits for.
        let again = async { while second.get("/").await.status != 200 {} };
        tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
    }
    proxy.finish().await;
}

#[tokio::test]
async fn rules_of_a_site_or_a_route_leave_others_alone() {
    let upstream = TestUpstream::start().await;
    let at = format!("upstream = \"http://{}\"", upstream.address);
    let more = format!(
        "[[site.route]]\npath = \"/upload\"\n[[site.route.rate_limit]]\nname = \"route\"\n\
         limit = 1\nwindow = \"1h\"\n\
         [[site]]\nhosts = [\"b.example\"]\nissuer = \"internal\"\n{at}\n\
         [[site.rate_limit]]\nname = \"site\"\nlimit = 1\nwindow = \"1h\"\n\
         [[rate_limit]]\nname = \"all\"\nlimit = 99\nwindow = \"1h\"\nmode = \"shadow\"\n\
         [[rate_limit]]\nname = \"none\"\nlimit = 1\nwindow = \"1h\"\nmode = \"shadow\"",
    );
    let proxy = TestProxy::start(&upstream, &more);
    let mut client = proxy.client().await;
    for (path, status) in [("/upload", 200), ("/upload", 429), ("/", 200), ("/", 200)] {
        let reply = client.get(path).await;
        assert_eq!(reply.status, status, "{path}");
        let policy = if path == "/" { "" } else { "\"route\";q=1;w=3600" };
        assert_eq!(reply.header("ratelimit-policy"), policy);
    }
    let records = proxy.finish().await;
    let shadowed: Vec<_> = records.iter().map(|record| record["shadowed"].clone()).collect();
    let none = serde_json::json!(["none"]);
    assert_eq!(shadowed, [serde_json::Value::Null, none.clone(), none.clone(), none]);
}

#[tokio::test]
async fn counts_outlive_a_reload() {
    let upstream = TestUpstream::start().await;
    let rule = "[[rate_limit]]\nname = \"two\"\nlimit = 2\nwindow = \"1h\"";
    let proxy = TestProxy::start(&upstream, rule);
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.status, 200);
    proxy.edit("[[rate_limit]]", "[rate_limits]\nfields = \"legacy\"\n[[rate_limit]]");
    proxy.reload().await.unwrap();
    let reply = client.get("/").await;
    assert_eq!((reply.status.as_u16(), reply.header("x-ratelimit-remaining")), (200, "0"));
    assert_eq!(client.get("/").await.status, 429);
    proxy.finish().await;
}

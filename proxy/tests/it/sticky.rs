//! Clients that keep their server, by a cookie that only Gatehouse can make.

use std::time::Duration;

use http::Method;
use http_body_util::Full;

use crate::harness::{TestClient, TestProxy, TestUpstream};

fn proxy(upstreams: &[TestUpstream; 2], keys: &str) -> TestProxy {
    let [one, other] = upstreams.each_ref().map(|upstream| upstream.address);
    let upstream = format!(
        "[upstream.app]\nservers = [\"http://{one}\", \"http://{other}\"]\n\
         balance = \"round_robin\"\n{keys}"
    );
    let route = "[[site.route]]\npath = \"/{*rest}\"\nupstream = \"app\"";
    TestProxy::start_in_front_of(one, &upstream, route)
}

async fn upstreams() -> [TestUpstream; 2] {
    [TestUpstream::start().await, TestUpstream::start().await]
}

/// Asks with a cookie; which upstream answered, and the cookie that the answer sets.
async fn ask(
    client: &mut TestClient,
    upstreams: &[TestUpstream; 2],
    cookie: &str,
) -> (usize, String) {
    let before = upstreams.each_ref().map(|upstream| upstream.seen().len());
    let request = client.request(Method::GET, "/").header("cookie", "a=b");
    let request = request.header("cookie", cookie).body(Full::default()).unwrap();
    let reply = client.send(request).await;
    assert_eq!(reply.status, 200);
    let by = (0..2).find(|at| upstreams[*at].seen().len() > before[*at]).unwrap();
    (by, reply.header("set-cookie").to_owned())
}

fn pair(field: &str) -> &str {
    field.split(';').next().unwrap()
}

#[tokio::test]
async fn a_client_keeps_its_server_across_connections_reloads_and_restarts() {
    let upstreams = upstreams().await;
    let mut proxy = proxy(&upstreams, "sticky = {}");
    let mut client = proxy.client().await;
    let (first, field) = ask(&mut client, &upstreams, "x=y").await;
    let (second, other) = ask(&mut client, &upstreams, "x=y").await;
    assert!(first != second && field != other, "without a cookie each has its turn");
    for attribute in ["; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"] {
        assert!(field.contains(attribute), "{field}");
    }
    let port = upstreams[first].address.port().to_string();
    assert!(!pair(&field).contains(&port) && !field.contains("Max-Age"), "{field}");
    for turn in 0..3 {
        for mut client in [proxy.client().await, proxy.client_h2().await] {
            for (server, field) in [(first, &field), (second, &other)] {
                for _ in 0..3 {
                    let answer = ask(&mut client, &upstreams, pair(field)).await;
                    assert_eq!(answer, (server, String::new()));
                }
            }
        }
        match turn {
            0 => drop(proxy.reload().await.unwrap()),
            1 => proxy = proxy.restart().await,
            _ => {}
        }
    }
    let key = std::fs::metadata(proxy.store("sticky.key")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
    proxy.finish().await;
}

#[tokio::test]
async fn a_cookie_that_somebody_else_made_is_replaced() {
    let upstreams = upstreams().await;
    let secret =
        |last| format!("sticky = {{ secret = \"0123456789012345678901234567890{last}\" }}");
    let (proxy, same, other) = (
        proxy(&upstreams, &secret(1)),
        proxy(&upstreams, &secret(1)),
        proxy(&upstreams, &secret(2)),
    );
    assert!(!proxy.store("sticky.key").exists(), "it has a secret of its own");
    let mut client = proxy.client_h2().await;
    let (server, field) = ask(&mut client, &upstreams, "x=y").await;
    let cookie = pair(&field);
    for _ in 0..2 {
        let mut client = same.client().await;
        let answer = ask(&mut client, &upstreams, cookie).await;
        assert_eq!(answer, (server, String::new()), "another instance with the same secret");
    }
    let (_, set) = ask(&mut other.client().await, &upstreams, cookie).await;
    assert!(set.starts_with("gatehouse=") && pair(&set) != cookie, "{set}");
    let mut forged = cookie.to_owned();
    let last = if forged.ends_with('A') { 'B' } else { 'A' };
    forged.replace_range(forged.len() - 1.., &last.to_string());
    for cookie in [&*forged, "gatehouse=", "gatehouse=127.0.0.1"] {
        let (_, set) = ask(&mut client, &upstreams, cookie).await;
        assert!(set.starts_with("gatehouse="), "{cookie}: {set}");
    }
    for proxy in [proxy, same, other] {
        proxy.finish().await;
    }
}

#[tokio::test]
async fn a_client_whose_server_is_down_gets_another_to_keep() {
    let upstreams = upstreams().await;
    let keys = "sticky = { cookie = \"srv\", max_age = \"1h\" }\n\
                health = { path = \"/healthy\", interval = \"100ms\" }";
    let proxy = proxy(&upstreams, keys);
    let mut client = proxy.client().await;
    let (server, field) = ask(&mut client, &upstreams, "x=y").await;
    assert!(field.starts_with("srv=") && field.contains("; Max-Age=3600; "), "{field}");
    upstreams[server].set_healthy(false);
    let moved = async {
        loop {
            let (by, set) = ask(&mut client, &upstreams, pair(&field)).await;
            if by != server {
                return set;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let set = tokio::time::timeout(Duration::from_secs(20), moved).await.unwrap();
    assert!(set.starts_with("srv="));
    let answer = ask(&mut client, &upstreams, pair(&set)).await;
    assert_eq!(answer, (1 - server, String::new()));
    proxy.finish().await;
}

//! What an upstream takes at once, and what waits for it.

use std::time::Duration;

use crate::harness::{TestProxy, TestUpstream, until};

/// A Gatehouse of one worker, so that all connections share one bound; with keys of the upstream.
fn proxy(upstream: &TestUpstream, keys: &str) -> TestProxy {
    let first = format!("[upstream.app]\nservers = [\"http://{}\"]\n{keys}", upstream.address);
    let route = "[[site.route]]\npath = \"/{*rest}\"\nupstream = \"app\"";
    TestProxy::start_single(upstream, &first, route)
}

/// Sends a request and comes back once the upstream has it.
async fn begin(
    proxy: &TestProxy,
    upstream: &TestUpstream,
    path: &'static str,
) -> tokio::task::JoinHandle<u16> {
    let before = upstream.seen().len();
    let mut client = proxy.client().await;
    let request = tokio::spawn(async move { client.get(path).await.status.as_u16() });
    until(|| upstream.seen().len() > before).await;
    request
}

#[tokio::test]
async fn requests_over_the_bound_wait_their_turn_and_none_is_lost() {
    let upstream = TestUpstream::start().await;
    let proxy = proxy(&upstream, "max_in_flight = 2\nqueue_timeout = \"30s\"");
    let mut loads = Vec::new();
    for number in 0..20 {
        let h2 = number % 2 == 0;
        let mut client = if h2 { proxy.client_h2().await } else { proxy.client().await };
        loads.push(tokio::spawn(async move {
            for _ in 0..5 {
                assert_eq!(client.get("/wait/10").await.status, 200);
            }
        }));
    }
    for load in loads {
        load.await.unwrap();
    }
    assert_eq!(upstream.seen().len(), 100);
    assert!(upstream.connections() <= 2, "{} links at once", upstream.connections());
    proxy.finish().await;
}

#[tokio::test]
async fn a_request_that_waits_for_too_long_or_behind_too_many_is_refused() {
    let upstream = TestUpstream::start().await;
    let keys = "max_in_flight = 1\nmax_queued = 1\nqueue_timeout = \"1s\"";
    let proxy = proxy(&upstream, keys);
    let held = begin(&proxy, &upstream, "/wait/6000").await;
    let mut waits = proxy.client().await;
    let waits = tokio::spawn(async move { waits.get("/").await });
    // Whichever comes second finds the one place taken; it may be either.
    let mut second = proxy.client_h2().await;
    let refused = second.get("/").await;
    let waited = waits.await.unwrap();
    for reply in [&refused, &waited] {
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"));
    }
    assert_eq!(held.await.unwrap(), 200);
    assert_eq!(upstream.seen().len(), 1, "neither has reached the upstream");
    let records = proxy.finish().await;
    let saturated = |record: &&serde_json::Value| record["reason"] == "upstream_saturated";
    assert_eq!(records.iter().filter(saturated).count(), 2);
}

#[tokio::test]
async fn nothing_waits_where_no_queue_is() {
    let upstream = TestUpstream::start().await;
    let keys = "max_in_flight = 1\nmax_queued = 0\nqueue_timeout = \"1h\"";
    let proxy = proxy(&upstream, keys);
    let held = begin(&proxy, &upstream, "/wait/1500").await;
    assert_eq!(proxy.client().await.get("/").await.status, 503);
    assert_eq!(held.await.unwrap(), 200);
    assert_eq!(proxy.client().await.get("/").await.status, 200);
    proxy.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_leaves_its_place() {
    let upstream = TestUpstream::start().await;
    let keys = "max_in_flight = 1\nmax_queued = 1\nqueue_timeout = \"1h\"";
    let proxy = proxy(&upstream, keys);
    let held = begin(&proxy, &upstream, "/wait/2000").await;
    for _ in 0..3 {
        let mut leaves = proxy.raw().await;
        leaves.write(b"GET /left HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(leaves);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(proxy.client().await.get("/stays").await.status, 200);
    assert_eq!(held.await.unwrap(), 200);
    let paths: Vec<_> = upstream.seen().iter().map(|seen| seen.uri.to_string()).collect();
    assert_eq!(paths, ["/wait/2000", "/stays"]);
    proxy.finish().await;
}

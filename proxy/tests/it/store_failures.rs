//! The store is late, gone, read-only or full, while requests go on: none of them fails for it.

use std::time::Duration;

use crate::harness::{Redis, TestProxy, TestUpstream, free};
use crate::shared_limits::{flood, rule, store, until};

/// What both instances together may admit.
const LIMIT: usize = 60;

/// Longer than any request may take while the store does not answer; without a deadline it would
/// take for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two instances count together, then alone while the store is broken, then together again.
async fn outage(breaks: impl FnOnce(&mut Redis), mends: impl FnOnce(&mut Redis)) {
    let (mut redis, upstream) = (Redis::start(), TestUpstream::start().await);
    let store = store(&redis.url(), "timeout = \"1s\"");
    let start = || TestProxy::start_with(&upstream, &store, &rule(60, "1h"));
    let proxies = [start(), start()];
    for proxy in &proxies {
        until(proxy, "store_instances", 2).await;
        until(proxy, "store_up", 1).await;
    }
    assert_eq!(flood(&proxies, 10).await, (20, 0));
    breaks(&mut redis);
    // Each has its half of the limit, of which it has admitted ten.
    let alone = tokio::time::timeout(PATIENCE, flood(&proxies, 100)).await.unwrap();
    assert_eq!(alone, (LIMIT - 20, 200 - (LIMIT - 20)));
    for proxy in &proxies {
        assert_ne!(proxy.metric("store_failures_total").await, 0);
        until(proxy, "store_up", 0).await;
    }
    mends(&mut redis);
    for proxy in &proxies {
        until(proxy, "store_up", 1).await;
    }
    // A link that nobody asked may not know yet that its connection is gone: its next beat tells.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for proxy in &proxies {
        until(proxy, "store_up", 1).await;
    }
    let answers = proxies[0].metric("store_answers_total").await;
    let (passed, _) = flood(&proxies, 200).await;
    assert!(LIMIT + passed <= 2 * LIMIT, "{passed} more");
    assert!(passed >= LIMIT - 30, "{passed} more: the store had counted 20 and what was late");
    assert!(proxies[0].metric("store_answers_total").await > answers, "it is asked again");
    for proxy in proxies {
        proxy.finish().await;
    }
}

#[tokio::test]
async fn a_store_that_hangs() {
    outage(|redis| redis.signal("STOP"), |redis| redis.signal("CONT")).await;
}

#[tokio::test]
async fn a_store_that_is_killed() {
    outage(Redis::kill, Redis::restart).await;
}

#[tokio::test]
async fn a_store_without_the_replicas_that_writes_need() {
    let needs = |redis: &mut Redis, count: &str| {
        let answer = redis.command(&["CONFIG", "SET", "min-replicas-to-write", count]);
        assert_eq!(answer, "+OK");
    };
    outage(|redis| needs(redis, "1"), |redis| needs(redis, "0")).await;
}

#[tokio::test]
async fn a_store_that_has_become_a_replica() {
    let follows = |redis: &mut Redis, host: &str, port: &str| {
        assert_eq!(redis.command(&["REPLICAOF", host, port]), "+OK");
    };
    outage(|redis| follows(redis, "127.0.0.1", "1"), |redis| follows(redis, "NO", "ONE")).await;
}

#[tokio::test]
async fn a_store_that_is_full() {
    let takes = |redis: &mut Redis, bytes: &str| {
        assert_eq!(redis.command(&["CONFIG", "SET", "maxmemory", bytes]), "+OK");
    };
    outage(|redis| takes(redis, "1"), |redis| takes(redis, "0")).await;
}

#[tokio::test]
async fn a_store_that_is_not_there_yet() {
    let ([port], upstream) = (free(), TestUpstream::start().await);
    let store = store(&format!("redis://127.0.0.1:{port}"), "");
    let proxy = TestProxy::start_with(&upstream, &store, &rule(10, "1h"));
    let proxies = [proxy];
    assert_eq!(flood(&proxies, 20).await, (10, 10));
    let _redis = Redis::start_on(port);
    until(&proxies[0], "store_up", 1).await;
    assert_eq!(flood(&proxies, 20).await, (10, 10), "the store has counted nothing yet");
    for proxy in proxies {
        proxy.finish().await;
    }
}

#[tokio::test]
async fn a_store_that_forgets_the_script() {
    let (redis, upstream) = (Redis::start(), TestUpstream::start().await);
    let store = store(&redis.url(), "timeout = \"1s\"");
    let proxy = TestProxy::start_with(&upstream, &store, &rule(10, "1h"));
    until(&proxy, "store_up", 1).await;
    let mut client = proxy.client().await;
    for _ in 0..10 {
        assert_eq!(redis.command(&["SCRIPT", "FLUSH"]), "+OK");
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(client.get("/").await.status, 429);
    assert_eq!(proxy.metric("store_failures_total").await, 0);
    proxy.finish().await;
}

#[tokio::test]
async fn rules_say_what_they_do_without_a_store() {
    let ([port], upstream) = (free(), TestUpstream::start().await);
    let store = store(&format!("redis://127.0.0.1:{port}"), "on_failure = \"allow\"");
    let more = rule(1, "1h")
        + "match = { not_path = [\"/denied\", \"/counted\"] }\n\
           [[rate_limit]]\nname = \"denies\"\nlimit = 9\nwindow = \"1h\"\non_failure = \"deny\"\n\
           match = { path = \"/denied\" }\n\
           [[rate_limit]]\nname = \"counts\"\nlimit = 2\nwindow = \"1h\"\non_failure = \"local\"\n\
           match = { path = \"/counted\" }\n";
    let proxy = TestProxy::start_with(&upstream, &store, &more);
    let mut client = proxy.client().await;
    for _ in 0..5 {
        let reply = client.get("/").await;
        assert_eq!((reply.status.as_u16(), reply.header("ratelimit")), (200, ""));
    }
    for status in [200, 200, 429] {
        let reply = client.get("/counted").await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("ratelimit-policy"), "\"counts\";q=2;w=3600");
    }
    let reply = client.get("/denied").await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"));
    assert_eq!(reply.problem()["status"], 503);
    let records = proxy.finish().await;
    assert_eq!(records.last().unwrap()["reason"], "limits_unavailable");
}

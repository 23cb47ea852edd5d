//! Several instances count on one Redis, in every form that it comes in.

use std::time::Duration;

use crate::harness::{Redis, TestProxy, TestUpstream};

/// `[store]` with this URL.
pub(crate) fn store(url: &str, more: &str) -> String {
    format!("[store]\nredis = \"{url}\"\n{more}\n")
}

/// A rule for all requests of a client.
pub(crate) fn rule(limit: u64, window: &str) -> String {
    format!("[[rate_limit]]\nname = \"all\"\nlimit = {limit}\nwindow = \"{window}\"\n")
}

/// Sends so many requests to each instance at once; says how many got 200 and how many 429.
pub(crate) async fn flood(proxies: &[TestProxy], each: usize) -> (usize, usize) {
    let mut tasks = Vec::new();
    for proxy in proxies {
        for mut client in [proxy.client().await, proxy.client_h2().await] {
            tasks.push(async move {
                let (mut passed, mut rejected) = (0, 0);
                for _ in 0..each / 2 {
                    match client.get("/").await.status.as_u16() {
                        200 => passed += 1,
                        429 => rejected += 1,
                        other => panic!("status {other}"),
                    }
                }
                (passed, rejected)
            });
        }
    }
    let mut sum = (0, 0);
    for task in tasks.into_iter().map(tokio::spawn).collect::<Vec<_>>() {
        let (passed, rejected) = task.await.unwrap();
        sum = (sum.0 + passed, sum.1 + rejected);
    }
    sum
}

/// Waits until `/metrics` says so.
pub(crate) async fn until(proxy: &TestProxy, metric: &str, wanted: u64) {
    let waiting = async {
        while proxy.metric(metric).await != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(waited.is_ok(), "{metric} is {}", proxy.metric(metric).await);
}

async fn admit_together(url: &str, more: &str, instances: usize) {
    let upstream = TestUpstream::start().await;
    let store = store(url, &format!("timeout = \"1s\"\n{more}"));
    let start = || TestProxy::start_with(&upstream, &store, &rule(50, "1h"));
    let proxies: Vec<_> = (0..instances).map(|_| start()).collect();
    for proxy in &proxies {
        until(proxy, "store_up", 1).await;
    }
    let (passed, rejected) = flood(&proxies, 40).await;
    assert_eq!((passed, rejected), (50, 40 * instances - 50));
    for proxy in proxies {
        assert_eq!(proxy.metric("store_failures_total").await, 0);
        proxy.finish().await;
    }
}

#[tokio::test]
async fn two_instances_admit_exactly_the_limit_together() {
    admit_together(&Redis::start().url(), "", 2).await;
}

#[tokio::test]
async fn five_instances_admit_exactly_the_limit_together() {
    admit_together(&Redis::start().url(), "", 5).await;
}

#[tokio::test]
async fn a_store_may_ask_for_a_password() {
    let redis = Redis::start_with(&["--requirepass", "s3cret"]);
    admit_together(&redis.url().replace("//", "//:s3cret@"), "", 2).await;
}

#[tokio::test]
async fn a_store_may_speak_tls() {
    let (redis, ca) = over_tls();
    admit_together(&redis.url().replace("redis:", "rediss:"), &ca, 2).await;
}

/// A server that speaks TLS only, and the key of `[store]` by which it is known.
pub(crate) fn over_tls() -> (Redis, String) {
    let directory = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let own = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let (certificate, private) =
        (directory.path().join("redis.pem"), directory.path().join("redis.key"));
    std::fs::write(&certificate, own.pem()).unwrap();
    std::fs::write(&private, key.serialize_pem()).unwrap();
    let redis = Redis::start_in(
        directory,
        &["--port", "0", "--tls-port", "PORT", "--tls-cert-file", "DIRECTORY/redis.pem"]
            .into_iter()
            .chain(["--tls-key-file", "DIRECTORY/redis.key", "--tls-auth-clients", "no"])
            .collect::<Vec<_>>(),
    );
    (redis, format!("ca = \"{}\"", certificate.display()))
}

#[tokio::test]
async fn sentinels_say_which_server_is_the_master() {
    let (_master, sentinel) = sentinel();
    let url = format!("redis+sentinel://127.0.0.1:{}/main/0", sentinel.port);
    admit_together(&url, "", 2).await;
}

/// A server, and a sentinel that says it is the master `main`.
pub(crate) fn sentinel() -> (Redis, Redis) {
    let master = Redis::start();
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("sentinel.conf");
    let monitor = format!("sentinel monitor main 127.0.0.1 {} 1\n", master.port);
    std::fs::write(&config, monitor).unwrap();
    let file = config.display().to_string();
    let sentinel = Redis::start_in(directory, &[&file, "--sentinel"]);
    (master, sentinel)
}

#[tokio::test]
async fn a_cluster_keeps_the_counts_of_a_request_together() {
    let nodes: Vec<Redis> = (0..3)
        .map(|_| Redis::start_with(&["--cluster-enabled", "yes", "--cluster-port", "BUS"]))
        .collect();
    cluster(&nodes).await;
    let all: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    admit_together(&format!("redis+cluster://{}", all.join(",")), "", 2).await;
}

/// Makes masters of all slots of these nodes.
pub(crate) async fn cluster(nodes: &[Redis]) {
    let share = 16_384 / nodes.len();
    for (index, node) in nodes.iter().enumerate() {
        let last = if index + 1 == nodes.len() { 16_383 } else { (index + 1) * share - 1 };
        let (first, last) = ((index * share).to_string(), last.to_string());
        assert_eq!(node.command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]), "+OK");
        let (port, bus) = (nodes[0].port.to_string(), nodes[0].bus.to_string());
        assert_eq!(node.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]), "+OK");
    }
    let whole = async {
        for node in nodes {
            while !node.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), whole).await.unwrap();
}

#[tokio::test]
async fn a_flood_costs_the_store_nothing_and_fields_are_as_without_it() {
    let (redis, upstream) = (Redis::start(), TestUpstream::start().await);
    let more = rule(3, "1h")
        + "[[rate_limit]]\nname = \"watch\"\nlimit = 1\nwindow = \"1h\"\n\
                                mode = \"shadow\"\n";
    let proxy = TestProxy::start_with(&upstream, &store(&redis.url(), "timeout = \"1s\""), &more);
    until(&proxy, "store_up", 1).await;
    let mut client = proxy.client().await;
    for left in [2, 1, 0] {
        let reply = client.get("/").await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("ratelimit-policy"), "\"all\";q=3;w=3600");
        let field = reply.header("ratelimit");
        assert!(field.starts_with(&format!("\"all\";r={left};t=3")), "{field}");
    }
    let reply = client.get("/").await;
    assert_eq!(
        (reply.status.as_u16(), reply.problem()["violated-policies"][0].as_str()),
        (429, Some("all"))
    );
    let retry_after: u64 = reply.header("retry-after").parse().unwrap();
    assert!((3_500..=3_600).contains(&retry_after), "{retry_after}");
    let asked = proxy.metric("store_answers_total").await;
    assert_eq!(asked, 4);
    for _ in 0..50 {
        let reply = client.get("/").await;
        assert_eq!(reply.status, 429);
        assert_eq!(reply.header("ratelimit-policy"), "\"all\";q=3;w=3600");
    }
    assert_eq!(proxy.metric("store_answers_total").await, asked);
    assert_eq!(proxy.metric("store_failures_total").await, 0);
    let records = proxy.finish().await;
    assert_eq!(records.iter().filter(|record| record["shadowed"][0] == "watch").count(), 3);
}

#[tokio::test]
async fn a_client_that_waits_as_told_is_admitted() {
    let (redis, upstream) = (Redis::start(), TestUpstream::start().await);
    let store = store(&redis.url(), "timeout = \"1s\"");
    let proxy = TestProxy::start_with(&upstream, &store, &rule(2, "2s"));
    until(&proxy, "store_up", 1).await;
    let mut client = proxy.client().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.status, 200);
    }
    for _ in 0..2 {
        let reply = client.get("/").await;
        assert_eq!(reply.status, 429);
        let seconds: u64 = reply.header("retry-after").parse().unwrap();
        assert!((1..=2).contains(&seconds));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        assert_eq!(client.get("/").await.status, 200);
        assert_eq!(client.get("/").await.status, 200);
    }
    proxy.finish().await;
}

#[tokio::test]
async fn answers_that_count_are_charged_for_all_instances() {
    let (redis, upstream) = (Redis::start(), TestUpstream::start().await);
    let more = rule(3, "1h") + "count = { status = [404] }\n";
    let store = store(&redis.url(), "timeout = \"1s\"");
    let start = || TestProxy::start_with(&upstream, &store, &more);
    let proxies = [start(), start()];
    for proxy in &proxies {
        until(proxy, "store_up", 1).await;
    }
    let mut clients = [proxies[0].client().await, proxies[1].client().await];
    for i in 0..20 {
        assert_eq!(clients[i % 2].get("/").await.status, 200, "an answer that does not count");
    }
    for i in 0..3 {
        assert_eq!(clients[i % 2].get("/status/404").await.status, 404);
        let stored = || redis.command(&["EVAL", COUNTED, "0"]);
        let waiting = async {
            while stored() != format!(":{}", i + 1) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.get("/").await.status, 429);
    }
    for proxy in proxies {
        proxy.finish().await;
    }
}

/// The stamps of all lists in the store.
const COUNTED: &str = "local n=0;for _,k in ipairs(redis.call('KEYS','*')) do if \
                       redis.call('TYPE',k).ok=='list' then n=n+redis.call('LLEN',k) end end;\
                       return n";

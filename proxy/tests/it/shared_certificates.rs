//! Certificates, challenges, the development CA and sessions that instances share over Redis.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::acme::{certs, text_with};
use crate::harness::certificate::{self, openssl, until};
use crate::harness::{Balancer, Fate, Front, Pebble, Redis, TestProxy, TestUpstream, free};
use crate::shared_limits::{cluster, over_tls, sentinel};
use crate::tls::{config, visit};

/// The configuration of a test of certificates, with any ports, on this Redis.
pub(crate) fn text(redis: &str, pebble: &Pebble, upstream: &TestUpstream, acme: &str) -> String {
    let text = text_with(pebble, upstream, acme);
    let (http, https) = (pebble.http().to_string(), pebble.https().to_string());
    share(&text.replace(&http, "127.0.0.1:0").replace(&https, "127.0.0.1:0"), redis)
}

/// The same configuration with certificates in Redis instead of a directory.
fn share(text: &str, redis: &str) -> String {
    let (before, rest) = text.split_once("[tls]\nstore = ").unwrap();
    let shared = "[tls]\nstore = \"redis\"\ndirectory = ";
    format!("{before}{shared}{rest}\n[store]\nredis = \"{redis}\"\n")
}

#[tokio::test]
async fn any_instance_answers_any_challenge() {
    for kind in ["http-01", "tls-alpn-01"] {
        let (pebble, redis) = (Pebble::start(3_600), Redis::start());
        let (front, upstream) = (Front::start(&pebble), TestUpstream::start().await);
        let acme = format!("{}challenges = \"{kind}\"", front.keys());
        let text = text(&redis.url(), &pebble, &upstream, &acme);
        let balancers = [pebble.http(), pebble.https()].map(Balancer::start);
        let leader = TestProxy::start_text(&text);
        balancers[0].set(&[leader.http()]);
        balancers[1].set(&[leader.https()]);
        let first = until(&leader, |of| of["issued"] == true).await;
        let other = TestProxy::start_text(&text);
        until(&other, |of| of["obtained_at"] == first["obtained_at"]).await;
        // The CA meets nobody but the other.
        balancers[0].set(&[other.http()]);
        balancers[1].set(&[other.https()]);
        assert!(certs(&leader, &["renew"]).0);
        let second = until(&leader, |of| of["obtained_at"] != first["obtained_at"]).await;
        assert_eq!(second["failures"], 0, "{kind}: {second:#}");
        until(&other, |of| of["obtained_at"] == second["obtained_at"]).await;
        assert_eq!(front.done("/sign-me-up"), 1, "one account");
        let root = pebble.root().await;
        assert!(openssl(other.https(), &root, "app.example.com", &[]).0);
        leader.finish().await;
        other.finish().await;
    }
}

async fn share_a_ca_and_sessions(url: &str, more: &str) {
    let upstream = TestUpstream::start().await;
    let start = || TestProxy::start_shared(&upstream, url, more);
    let (one, other) = (start(), start());
    let root = |proxy: &TestProxy| std::fs::read(proxy.root()).unwrap();
    assert_eq!(root(&one), root(&other), "one CA");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = config(&one, version);
        for (proxy, resumed) in [(&one, false), (&other, true), (&one, true), (&other, true)] {
            assert_eq!(visit(proxy, &config, "localhost").await.unwrap().1, resumed);
        }
    }
    one.finish().await;
    other.finish().await;
}

#[tokio::test]
async fn the_development_ca_and_sessions_are_shared() {
    share_a_ca_and_sessions(&Redis::start().url(), "").await;
}

const SECRET: &str = "encryption_key = \"a secret that all instances share\"";

#[tokio::test]
async fn another_secret_of_tickets_is_taken_over() {
    let (redis, upstream) = (Redis::start(), TestUpstream::start().await);
    let start = || TestProxy::start_shared(&upstream, &redis.url(), "");
    let one = start();
    // As if the store had lost it, and an instance that knew of none had made another.
    let set = "redis.call('HSET', KEYS[1] .. 'values', 'tickets.key', string.rep('5a', 32))
               local version = redis.call('HINCRBY', KEYS[1] .. 'meta', 'version', 1)
               return redis.call('ZADD', KEYS[1] .. 'changes', version, 'tickets.key')";
    let set = redis.command(&["EVAL", set, "1", "{gatehouse}:certificates:plain:"]);
    assert_eq!(set, ":0");
    let other = start();
    let resumes = async {
        loop {
            let config = config(&one, &rustls::version::TLS13);
            assert!(!visit(&one, &config, "localhost").await.unwrap().1);
            if visit(&other, &config, "localhost").await.unwrap().1 {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), resumes).await.unwrap();
    one.finish().await;
    other.finish().await;
}

#[tokio::test]
async fn they_are_shared_over_a_server_that_asks_for_a_password() {
    let redis = Redis::start_with(&["--requirepass", "s3cret"]);
    share_a_ca_and_sessions(&redis.url().replace("//", "//:s3cret@"), SECRET).await;
}

#[tokio::test]
async fn they_are_shared_over_a_server_that_speaks_tls_and_is_known_by_its_own_ca() {
    let (redis, ca) = over_tls();
    let url = redis.url().replace("redis:", "rediss:");
    share_a_ca_and_sessions(&url, &format!("{ca}\n{SECRET}")).await;
    // By no other: then each has a development CA of its own, and says why.
    let upstream = TestUpstream::start().await;
    let other = TestProxy::start_shared(&upstream, &url, SECRET);
    assert_eq!(other.metric("certificate_store_up").await, 0);
    other.finish().await;
}

#[tokio::test]
async fn whoever_stops_in_the_middle_of_an_order_leaves_it_to_the_others_at_once() {
    let (pebble, redis) = (Pebble::start(3_600), Redis::start());
    let (front, upstream) = (Front::start(&pebble), TestUpstream::start().await);
    let text = text(&redis.url(), &pebble, &upstream, &front.keys());
    let balancers = [pebble.http(), pebble.https()].map(Balancer::start);
    front.decide(|asked| match asked.path.starts_with("/finalize-order/") {
        true => Fate::Hang,
        false => Fate::Pass,
    });
    let leader = TestProxy::start_text(&text);
    balancers[0].set(&[leader.http()]);
    balancers[1].set(&[leader.https()]);
    crate::harness::until(|| !front.asked("/finalize-order/").is_empty()).await;
    let leases = || redis.command(&["KEYS", "*:lease:*"]);
    assert!(leases().contains("app.example.com"), "{}", leases());
    leader.finish().await;
    assert_eq!(leases(), "*0");
    front.decide(|_| Fate::Pass);
    let next = TestProxy::start_text(&text);
    until(&next, |of| of["issued"] == true).await;
    assert_eq!([front.done("/sign-me-up"), front.done("/order-plz")], [1, 1], "the same order");
    next.finish().await;
}

#[tokio::test]
async fn they_are_shared_over_the_master_that_sentinels_name() {
    let (master, sentinel) = sentinel();
    share_a_ca_and_sessions(
        &format!("redis+sentinel://127.0.0.1:{}/main/0", sentinel.port),
        SECRET,
    )
    .await;
    assert!(master.command(&["KEYS", "*:values"]).contains("certificates"));
}

#[tokio::test]
async fn they_are_shared_over_a_cluster() {
    let nodes: Vec<Redis> = (0..3)
        .map(|_| Redis::start_with(&["--cluster-enabled", "yes", "--cluster-port", "BUS"]))
        .collect();
    cluster(&nodes).await;
    let all: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    share_a_ca_and_sessions(&format!("redis+cluster://{}", all.join(",")), SECRET).await;
}

/// A request by `openssl s_client` that keeps its session in a file, or begins with it: whether it
/// was resumed.
fn resumes(proxy: &TestProxy, version: &str, option: &str, file: &std::path::Path) -> bool {
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &proxy.https().to_string(), "-servername", "localhost"])
        .args(["-ign_eof", version, option])
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    client.stdin.take().unwrap().write_all(request).unwrap();
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("HTTP/1.1 200 "), "{said}");
    said.contains("Reused, TLS")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_independent_client_resumes_at_another_instance() {
    let (redis, upstream) = (Redis::start(), TestUpstream::start().await);
    let start = |more| TestProxy::start_shared(&upstream, &redis.url(), more);
    let (one, other, stranger) = (start(""), start(""), start(SECRET));
    let folder = tempfile::tempdir().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let file = folder.path().join(version);
        assert!(!resumes(&one, version, "-sess_out", &file));
        assert!(resumes(&other, version, "-sess_in", &file), "{version}");
        assert!(!resumes(&stranger, version, "-sess_in", &file), "{version}");
    }
    for proxy in [one, other, stranger] {
        proxy.finish().await;
    }
}

#[tokio::test]
async fn while_the_store_is_away_certificates_are_served_and_none_is_renewed() {
    let (pebble, mut redis) = (Pebble::start(3_600), Redis::start());
    let (front, upstream) = (Front::start(&pebble), TestUpstream::start().await);
    let text = text(&redis.url(), &pebble, &upstream, &front.keys());
    let balancers = [pebble.http(), pebble.https()].map(Balancer::start);
    let proxy = TestProxy::start_text(&text);
    balancers[0].set(&[proxy.http()]);
    balancers[1].set(&[proxy.https()]);
    let first = until(&proxy, |of| of["issued"] == true).await;
    let root = pebble.root().await;
    redis.kill();
    assert!(certs(&proxy, &["renew"]).0);
    let away = until(&proxy, |of| of["failures"] != 0).await;
    assert!(away["error"].as_str().unwrap().contains("the shared store does not answer"), "{away}");
    assert_eq!((&away["issued"], &away["not_after"]), (&json!(true), &first["not_after"]));
    assert_eq!(proxy.metric("certificate_store_up").await, 0);
    assert!(openssl(proxy.https(), &root, "app.example.com", &[]).0);
    assert_eq!(front.done("/order-plz"), 1, "none is ordered");
    redis.restart(); // empty
    let second = until(&proxy, |of| of["obtained_at"] != first["obtained_at"]).await;
    assert_eq!(second["failures"], 0, "{second:#}");
    assert_eq!(proxy.metric("certificate_store_up").await, 1);
    assert_eq!(front.done("/sign-me-up"), 1, "the account was given back");
    let again = TestProxy::start_text(&text);
    assert_eq!(certificate::get(&again).await["issued"], true, "as was the certificate");
    again.finish().await;
    proxy.finish().await;
}

#[tokio::test]
async fn a_store_that_hangs_in_the_middle_of_an_order_costs_no_certificate() {
    let (pebble, redis) = (Pebble::start(3_600), Redis::start());
    let (front, upstream) = (Front::start(&pebble), TestUpstream::start().await);
    let text = text(&redis.url(), &pebble, &upstream, &front.keys());
    let balancers = [pebble.http(), pebble.https()].map(Balancer::start);
    let proxy = TestProxy::start_text(&text);
    balancers[0].set(&[proxy.http()]);
    balancers[1].set(&[proxy.https()]);
    let first = until(&proxy, |of| of["issued"] == true).await;
    let redis = std::sync::Arc::new(redis);
    let stopping = std::sync::Arc::clone(&redis);
    front.decide(move |asked| {
        if asked.path.starts_with("/certZ/") {
            stopping.signal("STOP");
        }
        Fate::Pass
    });
    assert!(certs(&proxy, &["renew"]).0);
    let stuck = until(&proxy, |of| of["failures"] != 0).await;
    assert!(stuck["error"].as_str().unwrap().contains("the shared store"), "{stuck:#}");
    front.decide(|_| Fate::Pass);
    redis.signal("CONT");
    assert!(certs(&proxy, &["renew"]).0);
    until(&proxy, |of| of["obtained_at"] != first["obtained_at"] && of["failures"] == 0).await;
    assert!(openssl(proxy.https(), &pebble.root().await, "app.example.com", &[]).0);
    proxy.finish().await;
}

#[tokio::test]
async fn a_start_without_the_store_is_served_by_a_ca_of_its_own_and_recovers() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let [port] = free();
    let text = text(&format!("redis://127.0.0.1:{port}"), &pebble, &upstream, &pebble.keys());
    let balancers = [pebble.http(), pebble.https()].map(Balancer::start);
    let proxy = TestProxy::start_text(&text);
    balancers[0].set(&[proxy.http()]);
    balancers[1].set(&[proxy.https()]);
    let (_, said) = openssl(proxy.https(), &pebble.root().await, "app.example.com", &[]);
    assert!(said.contains("Gatehouse development CA"), "{said}");
    let away = until(&proxy, |of| of["failures"] != 0).await;
    assert!(away["error"].as_str().unwrap().contains("the shared store does not answer"), "{away}");
    let _redis = Redis::start_on(port);
    until(&proxy, |of| of["issued"] == true && of["failures"] == 0).await;
    assert!(openssl(proxy.https(), &pebble.root().await, "app.example.com", &[]).0);
    proxy.finish().await;
}

#[tokio::test]
async fn a_certificate_is_imported_for_all_and_taken_up_without_a_reload() {
    let (pebble, redis) = (Pebble::start(3_600), Redis::start());
    let upstream = TestUpstream::start().await;
    let text = text(&redis.url(), &pebble, &upstream, &pebble.keys());
    // Nobody comes by here for the CA: nothing is issued.
    let proxies = [TestProxy::start_text(&text), TestProxy::start_text(&text)];
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["app.example.com".to_owned()]).unwrap();
    params.not_before = (std::time::SystemTime::now() - Duration::from_secs(60)).into();
    params.not_after = (std::time::SystemTime::now() + Duration::from_secs(86_400)).into();
    let own = params.self_signed(&key).unwrap().pem();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("imported.pem");
    std::fs::write(&file, format!("{}{own}", key.serialize_pem())).unwrap();
    let mut import = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    import.args(["certs", "import"]).arg(&file).arg("--config").arg(proxies[1].file());
    let output = import.output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && said.contains("within seconds"), "{said}");
    for proxy in proxies {
        until(&proxy, |of: &Value| of["issued"] == true).await;
        let (verified, said) = openssl(proxy.https(), &file, "app.example.com", &[]);
        assert!(verified, "{said}");
        proxy.finish().await;
    }
}

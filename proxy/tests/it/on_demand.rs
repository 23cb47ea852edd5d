//! Hosts that no site lists: asked for, issued a certificate, given up; and what a server that
//! answers badly, or clients who make names up, can do about it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::acme::{certs, text_with};
use crate::harness::ask::{NO, YES};
use crate::harness::certificate::{self, openssl, until_all};
use crate::harness::{Ask, Balancer, Fate, Front, Pebble, Redis, TestProxy, TestUpstream};
use crate::shared_certificates;

/// The smallest configuration, with a site that has hosts on demand.
fn text(pebble: &Pebble, upstream: &TestUpstream, acme: &str, on_demand: &str) -> String {
    let text = text_with(pebble, upstream, acme);
    text.replace("[[site]]\n", &format!("[[site]]\n{on_demand}"))
}

/// The certificate of a host on demand.
fn of<'a>(all: &'a [Value], host: &str) -> Option<&'a Value> {
    all.iter().find(|of| of["name"] == host && of["on_demand"] == true)
}

fn issued(all: &[Value], host: &str) -> bool {
    of(all, host).is_some_and(|of| of["issued"] == true)
}

/// A ClientHello for a name, from one of this machine's addresses; waits for what comes of it.
async fn knock(address: SocketAddr, from: [u8; 4], name: &str) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let stream = socket.connect(address).await.unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    assert!(connector.connect(name, stream).await.is_err(), "nothing is trusted");
}

/// Knocks until what comes of it is there.
async fn knock_until(proxy: &TestProxy, host: &str, wanted: impl Fn(&[Value]) -> bool) {
    let knocking = async {
        while !wanted(&certificate::all(proxy).await) {
            knock(proxy.https(), [127, 0, 0, 1], host).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), knocking).await;
    assert!(waited.is_ok(), "{host}: {:#?}", certificate::all(proxy).await);
}

/// The status of a request over plain HTTP.
async fn plain(proxy: &TestProxy, host: &str) -> String {
    let mut stream = TcpStream::connect(proxy.http()).await.unwrap();
    let request = format!("GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

async fn answers(proxy: &TestProxy, kind: &str) -> u64 {
    let metrics = crate::admin::get(proxy.admin(), "/metrics", "").await;
    let sample = format!("gatehouse_on_demand_answers_total{{answer=\"{kind}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&sample));
    value.map_or(0, |value| value.parse().unwrap())
}

const SHOP: &str = "shop.customer.net";
const OTHER: &str = "other.customer.net";

#[tokio::test]
async fn an_approved_host_is_served_found_again_and_given_up_when_it_is_refused() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let ask = Ask::start(|host| if host == SHOP { YES } else { NO }).await;
    let kinds = format!("{}key_types = [\"ecdsa-p256\", \"rsa-2048\"]", pebble.keys());
    let proxy = TestProxy::start_text(&text(&pebble, &upstream, &kinds, &ask.key("")));
    assert_eq!(plain(&proxy, OTHER).await, "421");
    let (verified, said) = openssl(proxy.https(), &proxy.root(), SHOP, &[]);
    assert!(!verified && said.contains("no peer certificate available"), "{said}");
    let all = until_all(&proxy, |all| {
        let kinds = all.iter().filter(|of| of["name"] == SHOP && of["issued"] == true);
        kinds.count() == 2
    })
    .await;
    assert_eq!(all[0]["on_demand"], false, "{all:#?}");
    let root = pebble.root().await;
    for more in [&[][..], &["-sigalgs", "rsa_pss_rsae_sha256"]] {
        let (verified, said) = openssl(proxy.https(), &root, SHOP, more);
        assert!(verified, "{said}");
    }
    certificate::visit(proxy.https(), &root, SHOP).await.unwrap();
    assert_eq!(plain(&proxy, SHOP).await, "308");
    // The other was refused, which holds.
    for _ in 0..3 {
        assert_eq!(plain(&proxy, OTHER).await, "421");
        assert!(!openssl(proxy.https(), &root, OTHER, &[]).0);
    }
    assert_eq!((ask.asked(SHOP), ask.asked(OTHER)), (1, 1));
    assert_eq!((answers(&proxy, "yes").await, answers(&proxy, "no").await), (1, 1));
    assert_eq!(proxy.metric("on_demand_hosts").await, 1);
    let metrics = crate::admin::get(proxy.admin(), "/metrics", "").await;
    let ends = format!("gatehouse_certificate_not_after_seconds{{name=\"{SHOP}\"}} ");
    assert!(metrics.contains(&ends), "{metrics}");
    let (listed, said) = certs(&proxy, &["list"]);
    assert!(listed && said.contains(SHOP) && !said.contains(OTHER), "{said}");
    // The next start serves it at once, and renews it without asking: it was asked lately.
    let proxy = proxy.restart().await;
    assert!(openssl(proxy.https(), &root, SHOP, &[]).0);
    let (renewed, said) = certs(&proxy, &["renew", SHOP]);
    assert!(renewed && said.contains("renewing 2"), "{said}");
    let before = all.iter().find(|of| of["name"] == SHOP).unwrap()["obtained_at"].clone();
    until_all(&proxy, |all| {
        let mut of_shop = all.iter().filter(|of| of["name"] == SHOP);
        of_shop.all(|of| of["obtained_at"] != before && of["issued"] == true)
    })
    .await;
    assert_eq!(ask.asked(SHOP), 1);
    // Later it is asked again; while nobody answers, the old certificate goes on being served.
    std::fs::write(
        proxy.store("on-demand.json"),
        format!("{{\"{SHOP}\": \"2026-01-01T00:00:00Z\"}}"),
    )
    .unwrap();
    ask.decide(|_| "HTTP/1.1 500 Oh\r\n\r\n");
    let proxy = proxy.restart().await;
    assert!(certs(&proxy, &["renew", SHOP]).0);
    let all = until_all(&proxy, |all| of(all, SHOP).is_some_and(|of| of["failures"] != 0)).await;
    let error = of(&all, SHOP).unwrap()["error"].as_str().unwrap();
    assert!(error.contains("it answers 500"), "{error}");
    let metrics = crate::admin::get(proxy.admin(), "/metrics", "").await;
    let failures = format!("gatehouse_certificate_failures_total{{name=\"{SHOP}\"}} ");
    assert!(metrics.contains(&failures), "{metrics}");
    assert!(openssl(proxy.https(), &root, SHOP, &[]).0);
    // Refused, it is given up, and nothing is left of it.
    ask.decide(|_| NO);
    assert!(certs(&proxy, &["renew", SHOP]).0);
    until_all(&proxy, |all| of(all, SHOP).is_none()).await;
    crate::harness::until(|| !openssl(proxy.https(), &root, SHOP, &[]).0).await;
    assert_eq!(plain(&proxy, SHOP).await, "421");
    let files = std::fs::read_dir(proxy.store("")).unwrap();
    let mut files = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!files.any(|name| name.starts_with(SHOP)));
    let metrics = crate::admin::get(proxy.admin(), "/metrics", "").await;
    assert!(!metrics.contains(SHOP), "{metrics}");
    proxy.finish().await;
}

#[tokio::test]
async fn a_server_that_is_asked_and_answers_badly_approves_and_refuses_nobody() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let ask = Ask::start(|_| NO).await;
    let front = Front::start(&pebble);
    let proxy = TestProxy::start_text(&text(&pebble, &upstream, &front.keys(), &ask.key("")));
    until_all(&proxy, |all| all[0]["issued"] == true).await;
    let orders = front.asked("/order-plz").len();
    let elsewhere = Ask::start(|_| YES).await;
    let redirect =
        format!("HTTP/1.1 302 Found\r\nLocation: http://{}/may\r\n\r\n", elsewhere.address());
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let bad: [&'static str; 8] = [
        "HTTP/1.1 500 Oh\r\n\r\n",
        "HTTP/1.1 429 Later\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "\x15\x03\x01\x00\x02",
        " ",
        redirect.leak(),
        long.leak(),
        "", // and nothing more
    ];
    for (number, answer) in bad.into_iter().enumerate() {
        ask.decide(move |_| answer);
        let host = format!("n{number}.customer.net");
        knock(proxy.https(), [127, 0, 0, 1], &host).await;
        let counted = async {
            while answers(&proxy, "none").await != number as u64 + 1 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let counted = tokio::time::timeout(Duration::from_secs(60), counted).await;
        assert!(counted.is_ok(), "{answer:.40}");
        assert_eq!(ask.asked(&host), 1, "{answer:.40}");
        assert_eq!(plain(&proxy, &host).await, "421");
    }
    assert_eq!((elsewhere.asked_in_all(), answers(&proxy, "yes").await), (0, 0));
    assert!(certificate::all(&proxy).await.iter().all(|of| of["on_demand"] == false));
    assert_eq!(front.asked("/order-plz").len(), orders, "the CA was told of none of them");
    // What got no answer is asked for again.
    ask.decide(|_| YES);
    knock_until(&proxy, "n0.customer.net", |all| issued(all, "n0.customer.net")).await;
    proxy.finish().await;
}

#[tokio::test]
async fn the_server_that_is_asked_is_verified() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let ask = Ask::start_tls(&pebble).await;
    let ca = format!(", ca = \"{}\"", pebble.own("ca.pem").display());
    let other = pebble.root().await;
    let other = format!(", ca = \"{}\"", other.display());
    let text = text(&pebble, &upstream, &pebble.keys(), &ask.key_tls(&other));
    let proxy = TestProxy::start_text(&text);
    knock(proxy.https(), [127, 0, 0, 1], SHOP).await;
    let counted = async {
        while answers(&proxy, "none").await != 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), counted).await.unwrap();
    assert_eq!(ask.asked_in_all(), 0, "it is somebody else");
    proxy.edit(&other, &ca);
    proxy.reload().await.unwrap();
    knock_until(&proxy, SHOP, |all| issued(all, SHOP)).await;
    proxy.finish().await;
}

#[tokio::test]
async fn a_flood_of_names_reaches_no_ca_and_holds_up_no_honest_one() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let ask = Ask::start(|host| if host == SHOP { YES } else { NO }).await;
    let front = Front::start(&pebble);
    let proxy = TestProxy::start_text(&text(&pebble, &upstream, &front.keys(), &ask.key("")));
    until_all(&proxy, |all| all[0]["issued"] == true).await;
    let address = proxy.https();
    let flood = tokio::spawn(async move {
        for number in 0..u64::MAX {
            knock(address, [127, 0, 0, 2], &format!("n{number}.customer.net")).await;
        }
    });
    let turned_away = async {
        while proxy.metric("on_demand_turned_away_total").await < 100 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), turned_away).await.unwrap();
    knock_until(&proxy, SHOP, |all| issued(all, SHOP)).await;
    flood.abort();
    assert!(openssl(proxy.https(), &pebble.root().await, SHOP, &[]).0);
    let all = certificate::all(&proxy).await;
    assert_eq!(all.len(), 2, "{all:#?}");
    let orders = front.asked("/order-plz");
    let made_up = |asked: &crate::harness::Asked| asked.payload.to_string().contains("\"n");
    assert!(!orders.iter().any(made_up), "{orders:?}");
    proxy.finish().await;
}

#[tokio::test]
async fn instances_that_share_certificates_share_approvals() {
    let (pebble, redis) = (Pebble::start(3_600), Redis::start());
    let upstream = TestUpstream::start().await;
    let ask = Ask::start(|_| YES).await;
    let text = shared_certificates::text(&redis.url(), &pebble, &upstream, &pebble.keys());
    let text = text.replace("[[site]]\n", &format!("[[site]]\n{}", ask.key("")));
    let balancers = [pebble.http(), pebble.https()].map(Balancer::start);
    let (one, other) = (TestProxy::start_text(&text), TestProxy::start_text(&text));
    // The CA meets only the one that nobody knocks at.
    balancers[0].set(&[other.http()]);
    balancers[1].set(&[other.https()]);
    knock_until(&one, SHOP, |all| issued(all, SHOP)).await;
    until_all(&other, |all| issued(all, SHOP)).await;
    let root = pebble.root().await;
    let serves = |proxy: &TestProxy| openssl(proxy.https(), &root, SHOP, &[]).0;
    assert!(serves(&one) && serves(&other));
    let other = other.restart().await;
    until_all(&other, |all| issued(all, SHOP)).await;
    crate::harness::until(|| serves(&other)).await;
    assert_eq!(ask.asked(SHOP), 1);
    one.finish().await;
    other.finish().await;
}

#[tokio::test]
async fn a_host_that_one_instance_gives_up_is_given_up_by_all() {
    let (pebble, redis) = (Pebble::start(3_600), Redis::start());
    let upstream = TestUpstream::start().await;
    let ask = Ask::start(|_| YES).await;
    let front = Front::start(&pebble);
    let text = shared_certificates::text(&redis.url(), &pebble, &upstream, &front.keys());
    let text = text.replace("[[site]]\n", &format!("[[site]]\n{}", ask.key(", hosts = 1")));
    let balancers = [pebble.http(), pebble.https()].map(Balancer::start);
    let (one, other) = (TestProxy::start_text(&text), TestProxy::start_text(&text));
    balancers[0].set(&[one.http(), other.http()]);
    balancers[1].set(&[one.https(), other.https()]);
    front.decide(|asked| match asked.payload.to_string().contains(SHOP) {
        true => Fate::Say(403, Vec::new(), "{\"detail\": \"not this one\"}".to_owned()),
        false => Fate::Pass,
    });
    let failed = |all: &[Value]| of(all, SHOP).is_some_and(|of| of["failures"] != 0);
    knock_until(&one, SHOP, failed).await;
    until_all(&other, |all| of(all, SHOP).is_some()).await;
    // There is one place, which another takes.
    knock_until(&one, OTHER, |all| issued(all, OTHER)).await;
    until_all(&other, |all| of(all, SHOP).is_none() && issued(all, OTHER)).await;
    assert_eq!(ask.asked(SHOP), 1);
    one.finish().await;
    other.finish().await;
}

#[tokio::test]
async fn hosts_and_their_first_certificates_are_bounded_and_who_only_fails_gives_way() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let ask = Ask::start(|_| YES).await;
    let front = Front::start(&pebble);
    let bounds = ", hosts = 2, limit = 1, window = \"1h\"";
    let text = text(&pebble, &upstream, &front.keys(), &ask.key(bounds));
    let proxy = TestProxy::start_text(&text);
    knock_until(&proxy, "a.customer.net", |all| issued(all, "a.customer.net")).await;
    knock_until(&proxy, "b.customer.net", |all| of(all, "b.customer.net").is_some()).await;
    // No certificate is left for it in this hour: the development CA stands in.
    let stand_in = async {
        while !openssl(proxy.https(), &proxy.root(), "b.customer.net", &[]).0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), stand_in).await.unwrap();
    certificate::visit(proxy.https(), &proxy.root(), "b.customer.net").await.unwrap();
    // And there is no place for a third.
    knock(proxy.https(), [127, 0, 0, 1], "c.customer.net").await;
    let turned_away = async {
        while proxy.metric("on_demand_turned_away_total").await == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), turned_away).await.unwrap();
    let all = certificate::all(&proxy).await;
    assert_eq!(all.len(), 3, "{all:#?}");
    let (waiting, ordered) = (of(&all, "b.customer.net").unwrap(), front.asked("/order-plz"));
    assert_eq!((&waiting["issued"], &waiting["failures"]), (&false.into(), &0.into()));
    assert!(!ordered.iter().any(|asked| asked.payload.to_string().contains("b.customer.net")));
    // Now it may be ordered, and fails.
    front.decide(|asked| match asked.payload.to_string().contains("b.customer.net") {
        true => Fate::Say(403, Vec::new(), "{\"detail\": \"not this one\"}".to_owned()),
        false => Fate::Pass,
    });
    proxy.edit("limit = 1", "limit = 100");
    proxy.reload().await.unwrap();
    let failed = |all: &[Value]| of(all, "b.customer.net").is_some_and(|of| of["failures"] != 0);
    until_all(&proxy, failed).await;
    knock_until(&proxy, "c.customer.net", |all| issued(all, "c.customer.net")).await;
    let all = certificate::all(&proxy).await;
    assert!(of(&all, "b.customer.net").is_none() && issued(&all, "a.customer.net"), "{all:#?}");
    proxy.finish().await;
}

#[tokio::test]
async fn who_has_failed_for_half_a_day_is_let_go_and_does_not_begin_anew_with_the_ca() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let ask = Ask::start(|_| YES).await;
    let front = Front::start(&pebble);
    let of_shop = |asked: &crate::harness::Asked| asked.payload.to_string().contains(SHOP);
    front.decide(move |asked| match of_shop(asked) {
        true => Fate::Say(403, Vec::new(), "{\"detail\": \"not this one\"}".to_owned()),
        false => Fate::Pass,
    });
    let proxy = TestProxy::start_text(&text(&pebble, &upstream, &front.keys(), &ask.key("")));
    let failed =
        |times: u64| move |all: &[Value]| of(all, SHOP).is_some_and(|of| of["failures"] == times);
    knock_until(&proxy, SHOP, failed(1)).await;
    // Hours later.
    let file = proxy.store(&format!("{SHOP}.certificate.json"));
    let mut life: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    life["failures"] = 7.into();
    life["retry_at"] = Value::Null;
    std::fs::write(&file, life.to_string()).unwrap();
    let proxy = proxy.restart().await;
    let gone = |all: &[Value]| of(all, SHOP).is_none();
    until_all(&proxy, gone).await;
    assert_eq!(proxy.metric("on_demand_hosts").await, 0);
    let proxy = proxy.restart().await;
    assert!(gone(&certificate::all(&proxy).await), "nobody has wanted it since");
    let orders =
        |front: &Front| front.asked("/order-plz").iter().filter(|asked| of_shop(asked)).count();
    let before = orders(&front);
    knock_until(&proxy, SHOP, failed(8)).await;
    let all = certificate::all(&proxy).await;
    let retry_at = of(&all, SHOP).unwrap()["retry_at"].as_str().unwrap();
    let wait = retry_at.parse::<jiff::Timestamp>().unwrap() - jiff::Timestamp::now();
    assert!(wait.as_hours() >= 5, "{all:#?}");
    assert_eq!(orders(&front), before);
    proxy.finish().await;
}

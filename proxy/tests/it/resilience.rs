//! An upstream of several servers, some of which fail.

use std::net::SocketAddr;
use std::time::Duration;

use crate::harness::{TestProxy, TestUpstream};

/// Where nobody listens.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A Gatehouse that sends everything to an upstream of these servers.
fn proxy(servers: &[SocketAddr], more: &str) -> TestProxy {
    let servers: Vec<_> = servers.iter().map(|server| format!("\"http://{server}\"")).collect();
    let upstream = format!("[upstream.app]\nservers = [{}]\n{more}", servers.join(", "));
    let route = "[[site.route]]\npath = \"/{*rest}\"\nupstream = \"app\"";
    TestProxy::start_in_front_of(NOWHERE, &upstream, route)
}

#[tokio::test]
async fn a_server_that_refuses_connections_costs_no_request() {
    let upstream = TestUpstream::start().await;
    let proxy = proxy(&[NOWHERE, upstream.address], "balance = \"round_robin\"");
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        for _ in 0..20 {
            assert_eq!(client.get("/").await.status, 200);
            assert_eq!(client.post("/", "body").await.status, 200);
        }
    }
    assert_eq!(upstream.seen().len(), 80);
    proxy.finish().await;
}

#[tokio::test]
async fn requests_go_where_the_fewest_are() {
    let (one, other) = (TestUpstream::start().await, TestUpstream::start().await);
    let proxy = proxy(&[one.address, other.address], "");
    let client = proxy.client_h2().await;
    let waits = client.request(http::Method::GET, "/wait/3000").body(Default::default()).unwrap();
    let waiting = tokio::spawn(async move {
        let mut client = client;
        let first = client.send(waits).await.status;
        (client, first)
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    // A connection may be another worker's, which does not know; one in two is not.
    let mut busy = usize::MAX;
    for _ in 0..50 {
        let mut client = proxy.client().await;
        let before = [one.seen().len(), other.seen().len()];
        for _ in 0..10 {
            client.get("/").await;
        }
        let after = [one.seen().len(), other.seen().len()];
        busy = busy.min(after[0] - before[0]).min(after[1] - before[1]);
        if busy == 0 {
            break;
        }
    }
    assert_eq!(busy, 0, "a worker that knows of a waiting request sends none after it");
    assert_eq!(waiting.await.unwrap().1, 200);
    proxy.finish().await;
}

#[tokio::test]
async fn what_may_go_again_does() {
    let (dies, upstream) = (TestUpstream::raw(b"").await, TestUpstream::start().await);
    let proxy = proxy(&[dies.address, upstream.address], "balance = \"round_robin\"");
    let mut client = proxy.client().await;
    for _ in 0..4 {
        assert_eq!(client.get("/").await.status, 200, "a GET goes to the next");
    }
    proxy.finish().await;
    let proxy = self::proxy(&[dies.address], "retries = 3");
    let before = dies.connections();
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.status, 502);
    assert_eq!(dies.connections() - before, 4, "the only server is asked again, three times");
    assert_eq!(client.post("/", "body").await.status, 502);
    assert_eq!(dies.connections() - before, 5, "a body is not sent twice");
    proxy.finish().await;
    let proxy = self::proxy(&[dies.address], "retries = 0");
    let before = dies.connections();
    assert_eq!(proxy.client().await.get("/").await.status, 502);
    assert_eq!(dies.connections() - before, 1);
    proxy.finish().await;
}

#[tokio::test]
async fn a_request_that_crosses_with_the_closing_of_an_idle_link_goes_again_if_it_may() {
    let upstream = TestUpstream::closing(OK, Duration::ZERO).await;
    for (retries, crossed) in [(1, 200), (0, 502)] {
        let proxy = proxy(&[upstream.address], &format!("retries = {retries}"));
        for mut client in [proxy.client().await, proxy.client_h2().await] {
            let before = upstream.connections();
            // More than the budget of retries would cover.
            for count in 0..60 {
                let wanted = if count % 2 == 0 { 200 } else { crossed };
                assert_eq!(client.get("/").await.status, wanted, "{count}, {retries} retries");
            }
            let links = upstream.connections() - before;
            assert_eq!(links, if retries > 0 { 60 } else { 30 });
            if retries > 0 {
                // The last link has answered, and is closed at this one, which may not go again.
                assert_eq!(client.post("/", "body").await.status, 502);
            }
        }
        proxy.finish().await;
    }
}

#[tokio::test]
async fn what_a_server_died_over_is_not_what_crossed_with_the_closing_of_a_link() {
    let upstream = TestUpstream::closing(OK, Duration::from_secs(2)).await;
    let proxy = proxy(&[upstream.address], "");
    let mut asking = Vec::new();
    for _ in 0..100 {
        let mut client = proxy.client().await;
        asking.push(tokio::spawn(async move {
            [client.get("/").await.status, client.get("/").await.status]
        }));
    }
    let mut statuses = Vec::new();
    for asking in asking {
        statuses.extend(asking.await.unwrap());
    }
    let died = statuses.iter().filter(|status| status.as_u16() == 502).count();
    let again = upstream.died().checked_sub(died).unwrap();
    // Ten go again on each worker, and a tenth of all requests.
    assert!(died > 30 && again <= 40, "{died} died, {again} went again");
    proxy.finish().await;
}

#[tokio::test]
async fn retries_are_a_tenth_of_all_requests_at_most() {
    let dies = TestUpstream::raw(b"").await;
    let proxy = proxy(&[dies.address], "retries = 10");
    let mut client = proxy.client().await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.status, 502);
    }
    let again = dies.connections() - 50;
    assert!((10..=16).contains(&again), "{again} retries of 50 requests");
    proxy.finish().await;
}

#[tokio::test]
async fn checks_take_servers_out_and_bring_them_back() {
    let (one, other) = (TestUpstream::start().await, TestUpstream::start().await);
    let health = "health = { path = \"/healthy\", interval = \"100ms\" }";
    let proxy = proxy(&[one.address, other.address], health);
    let served = async |status: u16, by: Option<&TestUpstream>| {
        let settled = async {
            loop {
                let before = by.map_or(0, |upstream| upstream.seen().len());
                let mut right = 0;
                for _ in 0..4 {
                    let mut client = proxy.client().await;
                    right += usize::from(client.get("/").await.status == status);
                }
                if right == 4 && by.is_none_or(|upstream| upstream.seen().len() == before + 4) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), settled).await.unwrap();
    };
    one.set_healthy(false);
    served(200, Some(&other)).await;
    other.set_healthy(false);
    served(503, None).await;
    one.set_healthy(true);
    served(200, Some(&one)).await;
    let metrics = crate::admin::get(proxy.admin(), "/metrics", "").await;
    for (upstream, up) in [(&one, 1), (&other, 0)] {
        let labels = format!("{{upstream=\"app\",server=\"{}\"}}", upstream.address);
        let sample = format!("gatehouse_upstream_server_up{labels} {up}\n");
        assert!(metrics.contains(&sample), "{sample} in {metrics}");
    }
    let records = proxy.finish().await;
    assert!(records.iter().any(|record| record["reason"] == "upstream_down"));
}

#[tokio::test]
async fn a_server_that_returns_starts_slowly() {
    let (one, other) = (TestUpstream::start().await, TestUpstream::start().await);
    let keys = "balance = \"round_robin\"\nslow_start = \"1h\"\n\
                health = { path = \"/healthy\", interval = \"100ms\" }";
    let proxy = proxy(&[one.address, other.address], keys);
    for (healthy, up) in [(false, 0), (true, 1)] {
        one.set_healthy(healthy);
        let labels = format!("{{upstream=\"app\",server=\"{}\"}}", one.address);
        let sample = format!("gatehouse_upstream_server_up{labels} {up}\n");
        let noticed = async {
            while !crate::admin::get(proxy.admin(), "/metrics", "").await.contains(&sample) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), noticed).await.unwrap();
    }
    let before = one.seen().len();
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        for _ in 0..100 {
            assert_eq!(client.get("/").await.status, 200);
        }
    }
    let got = one.seen().len() - before;
    assert!((1..=20).contains(&got), "{got} of 200");
    proxy.finish().await;
}

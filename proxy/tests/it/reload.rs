//! A new configuration while serving: nothing is lost, and what is faulty changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use http_body_util::{BodyExt as _, Full};
use tokio::net::TcpStream;

use crate::harness::{TestProxy, TestUpstream};

/// Everything that a test changes is behind this line.
const MORE: &str = "body_bytes = \"1KiB\"\n\
    [[rate_limit]]\nname = \"kept\"\nlimit = 1000000\nwindow = \"1h\"\n\
    match = { path = \"/kept\" }";

#[tokio::test]
async fn open_connections_live_on_and_follow() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, MORE);
    let mut clients = [proxy.client().await, proxy.client_h2().await];
    for client in &mut clients {
        assert_eq!(client.post("/", vec![0; 2_000]).await.status, 413);
    }
    // A refusal of a body ends an HTTP/1.1 connection; that of HTTP/2 lives.
    clients[0] = proxy.client().await;
    assert_eq!(clients[0].get("/").await.status, 200);
    // In flight across the reload: a request that waits, and a body that is half read.
    let mut waiting = proxy.client_h2().await;
    let waiting = tokio::spawn(async move { waiting.get("/wait/600").await.status });
    let mut reading = proxy.client().await;
    let request = reading.request(Method::GET, "/bytes/30000000").body(Full::default()).unwrap();
    let download = reading.begin(request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;

    proxy.edit("body_bytes = \"1KiB\"", "body_bytes = \"1MiB\"");
    assert_eq!(proxy.reload().await.unwrap().generation, 1);

    for client in &mut clients {
        assert_eq!(client.post("/", vec![0; 2_000]).await.status, 200);
    }
    assert_eq!(waiting.await.unwrap(), 200);
    assert_eq!(download.into_body().collect().await.unwrap().to_bytes().len(), 30_000_000);
    proxy.finish().await;
}

#[tokio::test]
async fn a_faulty_configuration_is_refused_with_its_faults() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, MORE);
    proxy.edit("body_bytes = \"1KiB\"", "body_bytes = \"1MB\"\nupsteam = \"x\"");
    let faults = proxy.reload().await.unwrap_err().to_string();
    assert!(faults.contains("did you mean `upstream`?") && faults.contains("1MB"), "{faults}");
    assert_eq!(proxy.client().await.post("/", vec![0; 2_000]).await.status, 413);
    // An address that is taken is found before anything is swapped.
    proxy.edit("body_bytes = \"1MB\"\nupsteam = \"x\"", "body_bytes = \"1MiB\"");
    proxy.edit("http = [\"127.0.0.1:0\"]", &format!("http = [\"{}\"]", upstream.address));
    let refused = proxy.reload().await.unwrap_err().to_string();
    assert!(refused.contains("another program"), "{refused}");
    assert_eq!(proxy.client().await.post("/", vec![0; 2_000]).await.status, 413);
    assert_eq!(proxy.client_plain().await.get("/").await.status, 308);
    proxy.finish().await;
}

#[tokio::test]
async fn requests_under_way_do_not_notice_two_hundred_reloads() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, MORE);
    let stop = Arc::new(AtomicBool::new(false));
    let mut loads = Vec::new();
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        let stop = Arc::clone(&stop);
        loads.push(tokio::spawn(async move {
            let mut answered = 0;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(client.get("/kept").await.status, 200);
                answered += 1;
            }
            (client, answered)
        }));
    }
    for turn in 0..200 {
        let (before, after) = [("1KiB", "2KiB"), ("2KiB", "1KiB")][turn % 2];
        proxy.edit(&format!("\"{before}\""), &format!("\"{after}\""));
        proxy.reload().await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let mut total = 0;
    for load in loads {
        let (mut client, answered) = load.await.unwrap();
        assert!(answered > 10, "{answered}");
        total += answered + 1;
        // The rule did not change, so its counts went on.
        let reply = client.get("/kept").await;
        let quota = reply.header("ratelimit");
        let left: u64 = quota.split([';', '=']).nth(2).unwrap().parse().unwrap();
        assert!(left <= 1_000_000 - total, "{quota} after {total}");
    }
    assert_eq!(upstream.connections().min(3), upstream.connections(), "links were kept");
    proxy.finish().await;
}

#[tokio::test]
async fn listeners_come_and_go() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, MORE);
    let mut kept = proxy.client_plain().await;
    assert_eq!(kept.get("/").await.status, 308);
    // A free port: taken and let go of, it may be taken again by somebody else; then try another.
    let added = loop {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        proxy.edit("http = [\"127.0.0.1:0\"]", &format!("http = [\"{free}\"]"));
        if proxy.reload().await.is_ok() {
            break free;
        }
        proxy.edit(&format!("http = [\"{free}\"]"), "http = [\"127.0.0.1:0\"]");
    };
    assert!(TcpStream::connect(added).await.is_ok(), "the new listener is open");
    assert!(TcpStream::connect(proxy.http()).await.is_err(), "the old one is closed");
    let reply = kept.get("/").await;
    assert_eq!(reply.status, 308, "what came in through it lives on");
    proxy.finish().await;
}

#[tokio::test]
async fn a_changed_file_is_noticed_once_it_has_settled() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, MORE);
    proxy.edit("body_bytes = \"1KiB\"", "body_bytes = \"1MiB\"");
    let noticed = async {
        while proxy.client().await.post("/", vec![0; 2_000]).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noticed).await.unwrap();
    proxy.finish().await;
}

#[tokio::test]
async fn the_access_log_is_opened_anew() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, MORE);
    proxy.client().await.get("/first").await;
    let moved = proxy.log().with_extension("1");
    std::fs::rename(proxy.log(), &moved).unwrap();
    proxy.reload().await.unwrap();
    proxy.client().await.get("/second").await;
    let log = proxy.log();
    let written = async {
        while !std::fs::read_to_string(&log).unwrap().contains("/second") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), written).await.unwrap();
    // Put together again, for the check that every response has its record.
    let whole = std::fs::read_to_string(&moved).unwrap() + &std::fs::read_to_string(&log).unwrap();
    assert!(whole.contains("/first"));
    std::fs::write(&log, whole).unwrap();
    proxy.finish().await;
}

#[tokio::test]
async fn a_refused_reload_leaves_the_old_log_in_use() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, MORE);
    let other = proxy.log().with_extension("other");
    proxy.edit("access.log", "access.other");
    proxy.edit("http = [\"127.0.0.1:0\"]", &format!("http = [\"{}\"]", upstream.address));
    let refused = proxy.reload().await.unwrap_err().to_string();
    assert!(refused.contains("another program"), "{refused}");
    assert_eq!(proxy.client().await.get("/").await.status, 200);
    assert_eq!(proxy.finish().await.len(), 1, "the record is in the old log");
    assert_eq!(std::fs::read_to_string(other).unwrap_or_default(), "");
}

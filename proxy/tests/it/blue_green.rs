//! An upstream of two groups, of which one is used at a time: nothing is lost on the way from one
//! to the other.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use crate::admin;
use crate::harness::{TestProxy, TestUpstream, until};

const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

const ROUTE: &str = "[[site.route]]\npath = \"/{*rest}\"\nupstream = \"app\"";

fn proxy(blue: SocketAddr, green: SocketAddr, keys: &str) -> TestProxy {
    let upstream = format!(
        "[upstream.app]\n\
         groups = {{ blue = [\"http://{blue}\"], green = [\"http://{green}\"] }}\n{keys}"
    );
    TestProxy::start_in_front_of(NOWHERE, &upstream, ROUTE)
}

/// Activates a group: the status and the document.
async fn activate(proxy: &TestProxy, query: &str) -> (u16, Value) {
    let path = format!("/api/upstreams/app/activate?{query}");
    let answer = admin::post(proxy.admin(), &path).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

async fn active(proxy: &TestProxy) -> Value {
    let status = admin::get(proxy.admin(), "/api/status", "").await;
    let (_, body) = status.split_once("\r\n\r\n").unwrap();
    let status: Value = serde_json::from_str(body).unwrap();
    status["upstreams"]["app"]["active"].clone()
}

/// Clients that ask one thing after another.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<Vec<AtomicUsize>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    async fn start(proxy: &TestProxy) -> Self {
        const CLIENTS: usize = 8;
        let answered: Arc<Vec<_>> = Arc::new((0..CLIENTS).map(|_| AtomicUsize::new(0)).collect());
        let (stop, mut clients) = (Arc::new(AtomicBool::new(false)), Vec::new());
        for number in 0..CLIENTS {
            let h2 = number % 2 == 0;
            let mut client = if h2 { proxy.client_h2().await } else { proxy.client().await };
            let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
            clients.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let reply = match answered[number].load(Ordering::Relaxed) % 2 {
                        0 => client.get("/wait/2").await,
                        _ => client.post("/", "a body").await,
                    };
                    assert_eq!(reply.status, 200);
                    answered[number].fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        Self { stop, answered, clients }
    }

    /// Waits until each client has been answered two more times: what was in flight is over then.
    async fn goes_on(&self) {
        let now = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let before: Vec<_> = self.answered.iter().map(now).collect();
        until(|| self.answered.iter().zip(&before).all(|(count, before)| now(count) >= before + 2))
            .await;
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

#[tokio::test]
async fn under_load_no_request_is_lost_in_either_direction() {
    let (blue, green) = (TestUpstream::start().await, TestUpstream::start().await);
    let proxy = proxy(blue.address, green.address, "");
    let load = Load::start(&proxy).await;
    load.goes_on().await;
    assert!(green.seen().is_empty(), "the first group is active until another is activated");
    for (from, to, group) in
        [(&blue, &green, "green"), (&green, &blue, "blue"), (&blue, &green, "green")]
    {
        let mut slow = proxy.client().await;
        let slow = tokio::spawn(async move { slow.get("/wait/1500?slow").await.status });
        let slow_at = |upstream: &TestUpstream| {
            upstream.seen().iter().filter(|seen| seen.uri.query() == Some("slow")).count()
        };
        let before = slow_at(from);
        until(|| slow_at(from) > before).await;
        let (status, document) = activate(&proxy, &format!("group={group}")).await;
        assert_eq!((status, &document["active"]), (200, &group.into()), "{document:#}");
        load.goes_on().await;
        let (left, taken) = (from.seen().len(), to.seen().len());
        load.goes_on().await;
        assert_eq!(from.seen().len(), left, "nothing new comes to the old group");
        assert!(to.seen().len() > taken);
        assert_eq!(active(&proxy).await, group);
        assert_eq!(slow.await.unwrap(), 200, "what was in flight ends where it began");
    }
    load.stop().await;
    let records = proxy.finish().await;
    assert!(records.iter().all(|record| record["status"] == 200));
}

#[tokio::test]
async fn a_websocket_lives_on_in_its_group() {
    let (blue, green) = (TestUpstream::switching("websocket").await, TestUpstream::start().await);
    let proxy = proxy(blue.address, green.address, "");
    let mut raw = proxy.raw().await;
    raw.write(crate::websockets::ASK.as_bytes()).await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(raw.read_exactly(5).await, b"hello");
    assert_eq!(activate(&proxy, "group=green").await.0, 200);
    assert_eq!(proxy.client().await.get("/new").await.body, "GET /new");
    for message in [b"one", b"two"] {
        raw.write(message).await;
        assert_eq!(raw.read_exactly(3).await, message);
    }
    // Whoever wants to stop the old server can see that it is still in use.
    let sample = format!(
        "gatehouse_upstream_requests_in_flight{{upstream=\"app\",server=\"{}\"}}",
        blue.address
    );
    for count in [1, 0] {
        let line = format!("{sample} {count}");
        let told = async {
            while !admin::get(proxy.admin(), "/metrics", "").await.lines().any(|l| l == line) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
        raw.close().await;
    }
    proxy.finish().await;
}

#[tokio::test]
async fn an_unhealthy_group_is_refused_unless_forced() {
    let (blue, green) = (TestUpstream::start().await, TestUpstream::start().await);
    let health = "health = { path = \"/healthy\", interval = \"1h\" }";
    for (target, keys) in [(NOWHERE, ""), (green.address, health)] {
        green.set_healthy(false);
        let proxy = proxy(blue.address, target, keys);
        let (status, document) = activate(&proxy, "group=green").await;
        let message = document["message"].as_str().unwrap();
        assert!(status == 409 && message.contains(&target.to_string()), "{status} {message}");
        assert_eq!(active(&proxy).await, "blue");
        assert_eq!(proxy.client().await.get("/").await.status, 200);
        assert_eq!(activate(&proxy, "group=green&force=true").await.0, 200);
        assert_eq!(active(&proxy).await, "green");
        assert_eq!(activate(&proxy, "group=blue").await.0, 200);
        assert_eq!(proxy.client().await.get("/").await.status, 200);
        proxy.finish().await;
    }
    let proxy = proxy(blue.address, green.address, "");
    for (query, status) in [("group=red", 404), ("", 400), ("group=green&force=maybe", 200)] {
        assert_eq!(activate(&proxy, query).await.0, status, "{query}");
    }
    let path = "/api/upstreams/other/activate?group=green";
    assert!(admin::post(proxy.admin(), path).await.starts_with("HTTP/1.1 404 "));
    assert!(admin::get(proxy.admin(), path, "").await.starts_with("HTTP/1.1 405 "));
    proxy.finish().await;
}

#[tokio::test]
async fn the_choice_outlives_reloads_and_restarts_until_the_file_names_another() {
    let (blue, green) = (TestUpstream::start().await, TestUpstream::start().await);
    let proxy = proxy(blue.address, green.address, "active = \"blue\"\nretries = 1");
    assert_eq!(activate(&proxy, "group=green").await.0, 200);
    // The upstream itself changes, then something else does.
    for (piece, by) in [("retries = 1", "retries = 2"), ("5s", "6s")] {
        proxy.edit(piece, by);
        proxy.reload().await.unwrap();
        assert_eq!(active(&proxy).await, "green", "{by}");
        assert_eq!(proxy.client().await.get("/").await.status, 200);
    }
    let proxy = proxy.restart().await;
    assert_eq!(active(&proxy).await, "green");
    for _ in 0..4 {
        assert_eq!(proxy.client().await.get("/").await.status, 200);
    }
    assert!(blue.seen().is_empty(), "it was never used");
    for group in ["green", "blue"] {
        let other = if group == "blue" { "green" } else { "blue" };
        proxy.edit(&format!("active = \"{other}\""), &format!("active = \"{group}\""));
        proxy.reload().await.unwrap();
        assert_eq!(active(&proxy).await, group, "the file says so now");
    }
    let proxy = proxy.restart().await;
    assert_eq!(active(&proxy).await, "blue");
    assert_eq!(proxy.client().await.get("/").await.status, 200);
    assert_eq!(blue.seen().len(), 1);
    proxy.finish().await;
}

#[tokio::test]
async fn the_command_line_says_it_too() {
    let (blue, green) = (TestUpstream::start().await, TestUpstream::start().await);
    let proxy = proxy(blue.address, green.address, "");
    let admin = proxy.admin().to_string();
    let gatehouse = async |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
        command.args(arguments).args(["--admin", &admin]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    };
    let (code, said) = gatehouse(&["activate", "app", "green"]).await;
    assert_eq!((code, &*said), (0, "app: new requests go to green (before: blue)\n"));
    let (code, said) = gatehouse(&["status"]).await;
    let line = said.lines().find(|line| line.starts_with("upstreams.app.active ")).unwrap();
    assert!(code == 0 && line.ends_with(" green"), "{said}");
    let (code, said) = gatehouse(&["activate", "app", "purple"]).await;
    assert!(code == 1 && said.contains("there is blue, green"), "{said}");
    proxy.finish().await;
}

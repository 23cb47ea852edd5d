//! What the operator sees of the limits, and takes back.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Redis, TestProxy, TestUpstream};
use crate::shared_limits::{store, until};

const RULES: &str = "\
[[rate_limit]]
name   = \"a/b\"
limit  = 2
window = \"1h\"
[[rate_limit]]
name   = \"shadow\"
limit  = 1
window = \"1h\"
key    = [\"path\", \"header:x-api-key\"]
mode   = \"shadow\"
";

/// One request to the admin listener: status and document.
async fn ask(admin: SocketAddr, method: &str, path: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test]
async fn rules_and_their_busiest_keys_are_listed() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, RULES);
    let mut client = proxy.client().await;
    for _ in 0..3 {
        client.get("/x").await;
    }
    let (status, document) = ask(proxy.admin(), "GET", "/api/rate-limits").await;
    assert_eq!((status, &document["memory"]["keys"]), (200, &2.into()));
    let [rule, shadow] = [0, 1].map(|index| &document["rules"][index]);
    let counts = |rule: &Value| {
        ["keys", "admitted", "rejected", "shadowed"].map(|name| rule[name].as_u64().unwrap())
    };
    assert_eq!((&rule["name"], &rule["limit"]), (&"a/b".into(), &2.into()));
    assert_eq!((counts(rule), counts(shadow)), ([1, 2, 1, 0], [1, 1, 0, 2]));
    assert_eq!(rule["busiest"][0]["key"], "127.0.0.1");
    assert_eq!(rule["busiest"][0]["used"], 2);
    assert_eq!(shadow["key_of"], serde_json::json!(["path", "header:x-api-key"]));
    assert_eq!(shadow["busiest"][0]["key"], "/x 127.0.0.1 (without)");
    assert_eq!(shadow["busiest"][0]["id"].as_str().unwrap().len(), 32);
    proxy.finish().await;
}

#[tokio::test]
async fn what_was_counted_can_be_taken_back() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, RULES);
    let mut client = proxy.client().await;
    let admin = proxy.admin();
    let (_, document) = ask(admin, "GET", "/api/rate-limits").await;
    assert_eq!(document["rules"][0]["busiest"], serde_json::json!([]));
    for by in ["&key=127.0.0.1", "ID", ""] {
        while client.get("/").await.status == 200 {}
        let (_, document) = ask(admin, "GET", "/api/rate-limits").await;
        let id = document["rules"][0]["busiest"][0]["id"].as_str().unwrap();
        let key = by.replace("ID", &format!("&key={id}"));
        let path = format!("/api/rate-limits?rule=a%2Fb{key}");
        let (status, document) = ask(admin, "DELETE", &path).await;
        assert_eq!((status, &document["reset"]), (200, &1.into()), "{by}");
        assert_eq!(client.get("/").await.status, 200, "{by}");
    }
    for (path, expected) in [
        ("/api/rate-limits", 400),
        ("/api/rate-limits?rule=none", 404),
        ("/api/rate-limits?rule=a/b&key=192.0.2.1", 404),
        ("/api/rate-limits?rule=a/b&key=00000000000000000000000000000000", 404),
        ("/api/rejections", 405),
    ] {
        assert_eq!(ask(admin, "DELETE", path).await.0, expected, "{path}");
    }
    proxy.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_shared_store_has_counted_is_not_taken_back() {
    let (redis, upstream) = (Redis::start(), TestUpstream::start().await);
    let proxy = TestProxy::start_with(&upstream, &store(&redis.url(), "timeout = \"1s\""), RULES);
    until(&proxy, "store_up", 1).await;
    let mut client = proxy.client().await;
    for path in ["/a", "/b"] {
        assert_eq!(client.get(path).await.status, 200);
    }
    let admin = proxy.admin().to_string();
    let arguments = ["limits", "reset", "shadow", "--admin", &admin];
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    let output = command.args(arguments).env_clear().output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let note = "counts in the shared store stay until their window has passed";
    assert_eq!(text, format!("forgot 2 keys\n{note}\n"));
    proxy.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_and_resets() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, RULES);
    let mut client = proxy.client().await;
    while client.get("/").await.status == 200 {}
    let admin = proxy.admin().to_string();
    let gatehouse = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
        let output = command.args(arguments).args(["--admin", &admin]).env_clear().output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, list) = gatehouse(&["limits", "list"]);
    assert_eq!(code, Some(0));
    assert!(list.contains("a/b") && list.contains("127.0.0.1"), "{list}");
    let (code, text) = gatehouse(&["limits", "reset", "a/b", "127.0.0.1"]);
    assert_eq!((code, &*text), (Some(0), "forgot 1 key\n"));
    assert_eq!(gatehouse(&["limits", "reset", "c"]).0, Some(1));
    assert_eq!(client.get("/").await.status, 200);
    proxy.finish().await;
}

//! Upstreams that are down, that close, that lie.

use std::time::Duration;

use http::Method;
use http_body_util::{BodyExt as _, Full};

use crate::harness::{TestProxy, TestUpstream};

#[tokio::test]
async fn an_upstream_that_is_down_is_a_502_and_comes_back_by_itself() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down =
        format!("[upstream.down]\nservers = [\"http://{}\"]", listener.local_addr().unwrap());
    drop(listener);
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start_with(
        &upstream,
        &down,
        "[[site.route]]\npath = \"/down\"\nupstream = \"down\"",
    );
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        let reply = client.post("/down", "body").await;
        assert_eq!((reply.status.as_u16(), &reply.problem()["status"]), (502, &502.into()));
        assert_eq!(client.get("/").await.status, 200);
    }
    let records = proxy.finish().await;
    assert_eq!(records.iter().filter(|r| r["reason"] == "upstream_unreachable").count(), 2);
}

#[tokio::test]
async fn a_server_that_is_down_is_passed_over() {
    let upstream = TestUpstream::start().await;
    let two = format!(
        "[upstream.two]\nservers = [\"http://127.0.0.1:1\", \"http://{}\"]",
        upstream.address
    );
    let proxy = TestProxy::start_with(
        &upstream,
        &two,
        "[[site.route]]\npath = \"/{*rest}\"\nupstream = \"two\"",
    );
    let mut client = proxy.client().await;
    for _ in 0..4 {
        assert_eq!(client.post("/", "body").await.status, 200);
    }
    proxy.finish().await;
}

#[tokio::test]
async fn new_links_go_to_the_servers_in_turn() {
    let (one, other) = (TestUpstream::start().await, TestUpstream::start().await);
    let two = format!(
        "[upstream.two]\nservers = [\"http://{}\", \"http://{}\"]",
        one.address, other.address
    );
    let route = "[[site.route]]\npath = \"/{*rest}\"\nupstream = \"two\"";
    let proxy = TestProxy::start_with(&one, &two, route);
    // More at once than there are workers, so that one of them needs two links.
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut client = proxy.client().await;
        waiting.push(tokio::spawn(async move { client.get("/wait/500").await.status }));
    }
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), 200);
    }
    assert!(one.connections() > 0 && other.connections() > 0);
    proxy.finish().await;
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_502() {
    for answer in [
        &b"garbage\r\n\r\n"[..],
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let upstream = TestUpstream::raw(answer).await;
        let proxy = TestProxy::start(&upstream, "");
        let reply = proxy.client().await.get("/").await;
        assert_eq!(reply.status, 502, "{}", String::from_utf8_lossy(answer));
        let records = proxy.finish().await;
        assert_eq!(records[0]["reason"], "upstream_invalid");
    }
}

#[tokio::test]
async fn an_answer_that_ends_early_never_looks_complete() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfive!\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfive!\r\nnonsense\r\n",
    ] {
        let upstream = TestUpstream::raw(answer).await;
        let proxy = TestProxy::start(&upstream, "");
        for mut client in [proxy.client().await, proxy.client_h2().await] {
            let request = client.request(Method::GET, "/").body(Full::default()).unwrap();
            // What there is of it goes out, though it comes together with its break.
            let response = client.begin(request).await.unwrap();
            assert_eq!(response.status(), 200, "{}", String::from_utf8_lossy(answer));
            let complete = response.into_body().collect().await.is_ok();
            assert!(!complete, "{}", String::from_utf8_lossy(answer));
        }
        let records = proxy.finish().await;
        assert!(
            records.len() == 2 && records.iter().all(|record| record["aborted"] == true),
            "{records:#?}"
        );
    }
}

#[tokio::test]
async fn a_length_beside_a_transfer_coding_does_not_cut_the_body() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
           5\r\nwhole\r\n0\r\n\r\n"[..],
        b"HTTP/1.0 200 OK\r\n\r\nwhole",
    ] {
        let upstream = TestUpstream::raw(answer).await;
        let proxy = TestProxy::start(&upstream, "");
        for mut client in [proxy.client().await, proxy.client_h2().await] {
            let reply = client.get("/").await;
            assert_eq!((&reply.body[..], reply.header("content-length")), (&b"whole"[..], ""));
        }
        let records = proxy.finish().await;
        assert!(records.iter().all(|record| record.get("aborted").is_none()), "{records:#?}");
    }
}

#[tokio::test]
async fn more_than_the_declared_length_is_not_passed_on_nor_reused() {
    let upstream = TestUpstream::raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\
          HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
    )
    .await;
    let proxy = TestProxy::start(&upstream, "");
    let mut client = proxy.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.body, "ok");
    }
    assert_eq!(upstream.connections(), 3);
    proxy.finish().await;
}

#[tokio::test]
async fn an_idle_link_that_the_upstream_closed_costs_no_error() {
    let upstream = TestUpstream::raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let proxy = TestProxy::start(&upstream, "");
    let mut client = proxy.client().await;
    for _ in 0..5 {
        assert_eq!(client.get("/").await.body, "ok");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    proxy.finish().await;
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_is_passed_on() {
    let upstream = TestUpstream::early(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let proxy = TestProxy::start(&upstream, "");
    let reply = proxy.client_h2().await.post("/", vec![0; 4 << 20]).await;
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"ok"[..]));
    proxy.finish().await;
}

#[tokio::test]
async fn a_client_that_vanishes_harms_nobody() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut other = proxy.client().await;
    for bytes in [
        &b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf"[..],
        b"GET /wait/300 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /bytes/100000000 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut raw = proxy.raw().await;
        raw.write(bytes).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(raw);
        assert_eq!(other.get("/").await.status, 200);
    }
    let records = proxy.finish().await;
    assert_eq!(records.len(), 6, "{records:#?}");
    let gone = |record: &&serde_json::Value| {
        record["status"].is_null() && record["reason"] == "client_gone" && record["aborted"] == true
    };
    assert_eq!(records.iter().filter(gone).count(), 1, "{records:#?}");
}

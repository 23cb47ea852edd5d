//! Compressed responses, as clients of every coding read them.

use std::io::Read;
use std::time::Duration;

use http::Method;
use http_body_util::{BodyExt as _, Full};

use crate::harness::{TestClient, TestProxy, TestUpstream};

/// What can be decoded of a body, which may still go on.
fn decoded(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut reader: Box<dyn Read + '_> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(body)),
        "br" => Box::new(brotli::Decompressor::new(body, 4_096)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(body).unwrap()),
        _ => Box::new(body),
    };
    let (mut text, mut byte) = (Vec::new(), [0]);
    while matches!(reader.read(&mut byte), Ok(1)) {
        text.push(byte[0]);
    }
    text
}

fn html(more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n{more}\r\n{body}"
    )
    .into_bytes()
}

/// A page that shrinks, but not to nothing.
fn page() -> String {
    (0..20_000).map(|n| format!("<p>{}</p>", n * 7_919 % 10_007)).collect()
}

const ALL: &str = "compress = [\"zstd\", \"br\", \"gzip\"]";

async fn clients(proxy: &TestProxy) -> [TestClient; 2] {
    [proxy.client().await, proxy.client_h2().await]
}

#[tokio::test]
async fn every_coding_is_read_back_whole_over_both_protocols() {
    let page = page();
    let upstream = TestUpstream::raw(html("ETag: \"a\"\r\n", &page).leak()).await;
    let proxy = TestProxy::start(&upstream, ALL);
    for mut client in clients(&proxy).await {
        for coding in ["gzip", "br", "zstd"] {
            let request = client.request(Method::GET, "/").header("accept-encoding", coding);
            let reply = client.send(request.body(Full::default()).unwrap()).await;
            assert_eq!(reply.header("content-encoding"), coding);
            assert_eq!(reply.header("vary"), "accept-encoding");
            assert_eq!(reply.header("etag"), "W/\"a\"");
            assert_eq!(reply.header("content-length"), "");
            assert!(reply.body.len() < page.len() / 2, "{} bytes", reply.body.len());
            assert_eq!(decoded(coding, &reply.body), page.as_bytes());
            let head = client.request(Method::HEAD, "/").header("accept-encoding", coding);
            let of_head = client.send(head.body(Full::default()).unwrap()).await;
            assert_eq!(of_head.header("content-encoding"), coding, "a HEAD says what a GET would");
            assert_eq!(of_head.header("content-length"), "");
            assert!(of_head.body.is_empty());
        }
        let plain = client.get("/").await;
        assert_eq!(
            (plain.header("content-encoding"), plain.header("vary")),
            ("", "accept-encoding")
        );
        assert_eq!((plain.header("etag"), plain.body.len()), ("\"a\"", page.len()));
    }
    let records = proxy.finish().await;
    let sizes = records.iter().map(|record| record["bytes_out"].as_u64().unwrap());
    assert_eq!(sizes.filter(|size| (1..page.len() as u64 / 2).contains(size)).count(), 6);
    assert!(records.iter().all(|record| record["aborted"].is_null()), "{records:#?}");
}

#[tokio::test]
async fn a_slow_stream_arrives_as_it_is_made() {
    for coding in ["gzip", "br", "zstd"] {
        let (upstream, told) = TestUpstream::told().await;
        let proxy = TestProxy::start(&upstream, ALL);
        let mut client = proxy.client().await;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        told.send(format!("{head}6\r\nfirst\n\r\n").into_bytes()).unwrap();
        let request = client.request(Method::GET, "/").header("accept-encoding", coding);
        let request = request.body(Full::default()).unwrap();
        let mut body = client.begin(request).await.unwrap().into_body();
        let mut read = Vec::new();
        for (sent, text) in [(None, "first\n"), (Some("7\r\nsecond\n\r\n"), "first\nsecond\n")] {
            if let Some(sent) = sent {
                told.send(sent.as_bytes().to_vec()).unwrap();
            }
            while decoded(coding, &read) != text.as_bytes() {
                let frame = tokio::time::timeout(Duration::from_secs(10), body.frame());
                let frame = frame.await.expect("the stream stands still").unwrap().unwrap();
                read.extend_from_slice(frame.data_ref().unwrap());
            }
        }
        told.send(b"0\r\n\r\n".to_vec()).unwrap();
        read.extend_from_slice(&body.collect().await.unwrap().to_bytes());
        assert_eq!(decoded(coding, &read), b"first\nsecond\n");
        proxy.finish().await;
    }
}

#[tokio::test]
async fn what_must_not_be_changed_is_not() {
    let page = page();
    for fields in [
        "Content-Encoding: br\r\n",
        "Cache-Control: no-transform\r\n",
        "Content-Digest: sha-256=:x:\r\n",
    ] {
        let upstream = TestUpstream::raw(html(fields, &page).leak()).await;
        let proxy = TestProxy::start(&upstream, ALL);
        let mut client = proxy.client().await;
        let request = client.request(Method::GET, "/").header("accept-encoding", "gzip");
        let reply = client.send(request.body(Full::default()).unwrap()).await;
        assert_ne!(reply.header("content-encoding"), "gzip", "{fields}");
        assert_eq!(reply.body, page.as_bytes(), "{fields}");
        proxy.finish().await;
    }
}

#[tokio::test]
async fn a_route_switches_compression_off_or_blurs_it() {
    let page = page();
    let upstream = TestUpstream::raw(html("", &page).leak()).await;
    let routes = format!(
        "{ALL}\n[[site.route]]\npath = \"/secret\"\ncompress = []\n\
         [[site.route]]\npath = \"/padded\"\ncompress_padding = true\n"
    );
    let proxy = TestProxy::start(&upstream, &routes);
    let mut client = proxy.client().await;
    for (path, accepted, coding) in [
        ("/", "br", "br"),
        ("/secret", "br", ""),
        ("/padded", "br", ""),
        ("/padded", "gzip, br", "gzip"),
        ("/padded", "zstd, br", "zstd"),
    ] {
        let mut lengths = Vec::new();
        for _ in 0..8 {
            let request = client.request(Method::GET, path).header("accept-encoding", accepted);
            let reply = client.send(request.body(Full::default()).unwrap()).await;
            assert_eq!(reply.header("content-encoding"), coding, "{path} {accepted}");
            assert_eq!(decoded(coding, &reply.body), page.as_bytes());
            lengths.push(reply.body.len());
        }
        lengths.dedup();
        let blurred = path == "/padded" && !coding.is_empty();
        assert_eq!(lengths.len() > 1, blurred, "{path} {accepted}: {lengths:?}");
    }
    proxy.finish().await;
}

#[tokio::test]
async fn a_broken_response_stays_broken() {
    let (upstream, told) = TestUpstream::told().await;
    let proxy = TestProxy::start(&upstream, ALL);
    let mut client = proxy.client().await;
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9000\r\n\r\nonly this";
    told.send(head.as_bytes().to_vec()).unwrap();
    let request = client.request(Method::GET, "/").header("accept-encoding", "gzip");
    let response = client.begin(request.body(Full::default()).unwrap()).await.unwrap();
    drop(told);
    assert!(response.into_body().collect().await.is_err(), "a cut body must not look complete");
    let records = proxy.finish().await;
    assert_eq!(records[0]["aborted"], true);
}

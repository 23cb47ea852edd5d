//! A nonce for each page, as clients and a real browser meet it.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::Method;
use http_body_util::Full;

use crate::harness::{Browser, TestProxy, TestUpstream};

const POLICY: &str = "[headers.site]\npreset = \"helmet\"\n\
    csp.script-src = [\"'self'\", \"'nonce'\"]\ncsp.style-src = [\"'nonce'\"]";

const SITE: &str = "headers = \"site\"";

const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\
    ETag: \"a\"\r\nLast-Modified: Tue, 24 Nov 2026 00:00:00 GMT\r\nContent-Length: 96\r\n\
    Cache-Control: public, max-age=60\r\n\r\n\
    <!doctype html><link rel=icon href=x><STYLE nonce=old>p{}</STYLE>\
    <script>a<b</script><p>&lt;</p>";

/// What a policy lets scripts have as a nonce.
fn nonce(csp: &str) -> String {
    let (_, rest) = csp.split_once("script-src 'self' 'nonce-").unwrap_or_else(|| panic!("{csp}"));
    rest.split('\'').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_page_gets_a_nonce_of_its_own() {
    let upstream = TestUpstream::raw(PAGE).await;
    let proxy = TestProxy::start_with(&upstream, POLICY, SITE);
    let mut seen = std::collections::HashSet::new();
    for client in [proxy.client().await, proxy.client_h2().await] {
        let mut client = client.unchecked();
        for _ in 0..3 {
            let reply = client.get("/").await;
            let nonce = nonce(reply.header("content-security-policy"));
            let expected = format!(
                "<!doctype html><link rel=icon href=x nonce=\"{nonce}\">\
                 <STYLE nonce=\"{nonce}\">p{{}}</STYLE>\
                 <script nonce=\"{nonce}\">a<b</script><p>&lt;</p>"
            );
            assert_eq!(reply.body, expected);
            assert!(
                reply
                    .header("content-security-policy")
                    .contains(&format!("style-src 'nonce-{nonce}'"))
            );
            assert_eq!(reply.header("cache-control"), "private, max-age=60");
            for gone in ["etag", "last-modified"] {
                assert_eq!(reply.header(gone), "", "{gone}");
            }
            let length = reply.header("content-length");
            assert!(length.is_empty() || length == reply.body.len().to_string());
            assert!(seen.insert(nonce), "two responses share a nonce");
        }
        let head = client.request(Method::HEAD, "/").body(Full::default()).unwrap();
        let head = client.send(head).await;
        assert!(seen.insert(nonce(head.header("content-security-policy"))));
        assert_eq!((head.header("content-length"), head.header("etag")), ("", ""));
    }
    proxy.finish().await;
}

#[tokio::test]
async fn a_page_that_the_upstream_compressed_is_coded_again() {
    let page = format!("<!doctype html>{}<script>1</script>", "<p>text</p>".repeat(5_000));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(page.as_bytes()).unwrap();
    let body = encoder.finish().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let answer: &'static [u8] = Box::leak([head.as_bytes(), &body].concat().into_boxed_slice());
    let upstream = TestUpstream::raw(answer).await;
    let proxy = TestProxy::start_with(&upstream, POLICY, SITE);
    let mut client = proxy.client().await.unchecked();
    let reply = client.get("/").await;
    assert_eq!(reply.header("content-encoding"), "gzip");
    let mut text = String::new();
    GzDecoder::new(&*reply.body).read_to_string(&mut text).unwrap();
    let nonce = nonce(reply.header("content-security-policy"));
    assert_eq!(text, page.replace("<script>", &format!("<script nonce=\"{nonce}\">")));
    proxy.finish().await;
}

#[tokio::test]
async fn what_is_no_page_goes_out_without_a_nonce() {
    for answer in [
        "200 OK\r\nContent-Type: text/css\r\nETag: \"a\"\r\nContent-Length: 8\r\n\r\n<script>",
        "200 OK\r\nContent-Type: text/html\r\nContent-Encoding: x-own\r\nContent-Length: 8\r\n\r\n\
         <script>",
        "200 OK\r\nContent-Type: text/html\r\nCache-Control: no-transform\r\nContent-Length: 8\r\n\
         \r\n<script>",
        "206 Partial Content\r\nContent-Type: text/html\r\nContent-Range: bytes 0-7/9\r\n\
         Content-Length: 8\r\n\r\n<script>",
        "304 Not Modified\r\nContent-Type: text/html\r\nETag: \"a\"\r\n\r\n",
    ] {
        let raw: &'static str = Box::leak(format!("HTTP/1.1 {answer}").into_boxed_str());
        let upstream = TestUpstream::raw(raw.as_bytes()).await;
        let proxy = TestProxy::start_with(&upstream, POLICY, SITE);
        let mut client = proxy.client().await.unchecked();
        let reply = client.get("/").await;
        let csp = reply.header("content-security-policy");
        assert!(csp.contains("script-src 'self';") && !csp.contains("nonce"), "{csp}");
        assert!(csp.contains("style-src 'none'"), "{csp}");
        assert_eq!(reply.header("etag").is_empty(), !answer.contains("ETag"));
        assert!(reply.body.is_empty() || reply.body == "<script>");
        proxy.finish().await;
    }
}

#[tokio::test]
async fn an_applications_own_nonce_survives() {
    let upstream = TestUpstream::raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\
          Content-Security-Policy: script-src 'nonce-dGhlaXJz'\r\nContent-Length: 46\r\n\r\n\
          <script nonce=dGhlaXJz>1</script><script>2</sc",
    )
    .await;
    let proxy = TestProxy::start_with(&upstream, POLICY, SITE);
    let mut client = proxy.client().await.unchecked();
    let reply = client.get("/").await;
    assert_eq!(reply.body, "<script nonce=dGhlaXJz>1</script><script>2</sc");
    let policies: Vec<_> = reply.headers.get_all("content-security-policy").iter().collect();
    assert_eq!(policies[0], "script-src 'nonce-dGhlaXJz'");
    assert_eq!(nonce(policies[1].to_str().unwrap()), "dGhlaXJz");
    proxy.finish().await;
}

#[tokio::test]
async fn a_tag_too_long_for_the_rewriter_goes_out_as_it_came() {
    let long = format!("<link href=\"{}\"><script>1</script>", "x".repeat(200_000));
    let image = format!("<script>0</script><img src=\"{}\">", "x".repeat(200_000));
    let page = format!("{image}<script>1</script>{long}");
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{page}");
    let upstream = TestUpstream::raw(Box::leak(answer.into_boxed_str()).as_bytes()).await;
    let proxy = TestProxy::start_with(&upstream, POLICY, SITE);
    let mut client = proxy.client().await.unchecked();
    let reply = client.get("/").await;
    let given = format!("<script nonce=\"{}\">", nonce(reply.header("content-security-policy")));
    let (rewritten, _) = page.split_at(page.len() - long.len());
    assert!(reply.body == format!("{}{long}", rewritten.replace("<script>", &given)));
    proxy.finish().await;
}

/// What the page's own script may do, and what it injects may not.
const SCRIPTED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n\
    <!doctype html><title>t</title><body><p id=own></p><p id=injected></p><p id=handler></p>\
    <div id=sink></div><script>\
    document.getElementById('own').textContent = 'ran';\
    var script = document.createElement('script');\
    script.textContent = \"document.getElementById('injected').textContent = 'ran'\";\
    document.body.appendChild(script);\
    document.getElementById('sink').innerHTML = \"<img src=x: onerror=\\\"\
    document.getElementById('handler').textContent = 'ran'\\\">\";\
    </script></body>";

#[tokio::test]
async fn a_browser_runs_the_pages_scripts_and_no_injected_one() {
    let upstream = TestUpstream::raw(SCRIPTED).await;
    let browser = Browser::find();
    // Without a policy, the browser runs all three: then it is the policy that stops two of them.
    let open = TestProxy::start_with(&upstream, "[headers.site]\npreset = \"none\"", SITE);
    let page = browser.open(&open).await;
    for id in ["own", "injected", "handler"] {
        assert!(page.contains(&format!("<p id=\"{id}\">ran</p>")), "{id} in {page}");
    }
    let proxy = TestProxy::start_with(&upstream, POLICY, SITE);
    let page = browser.open(&proxy).await;
    assert!(page.contains("<p id=\"own\">ran</p>"), "{page}");
    for id in ["injected", "handler"] {
        assert!(page.contains(&format!("<p id=\"{id}\"></p>")), "{id} in {page}");
    }
    proxy.finish().await;
}

//! The security headers on every class of response. The test client checks the whole set on each
//! reply that it reads; these tests make each class appear.

use bytes::Bytes;
use http::Method;
use http_body_util::Full;

use crate::harness::{Browser, HELMET, TestProxy, TestUpstream};

#[tokio::test]
async fn every_class_of_response_carries_the_headers() {
    let upstream = TestUpstream::start().await;
    let first = "[upstream.down]\nservers = [\"http://127.0.0.1:1\"]";
    let more = "body_bytes = 10\n\
                [[site.route]]\npath = \"/down\"\nupstream = \"down\"\n\
                [[rate_limit]]\nname = \"one\"\nlimit = 1\nwindow = \"1h\"\n\
                match = { path = \"/once\" }";
    let proxy = TestProxy::start_with(&upstream, first, more);
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        for (path, status) in [
            ("/status/200", 200),
            ("/status/206", 206),
            ("/status/304", 304),
            ("/status/404", 404),
            ("/status/500", 500),
            ("/down", 502),
            ("/a%2fb", 400),
        ] {
            assert_eq!(client.get(path).await.status, status, "{path}");
        }
        client.get("/once").await;
        assert_eq!(client.get("/once").await.status, 429);
        let trace = client.request(Method::TRACE, "/").body(Full::default()).unwrap();
        let reply = client.send(trace).await;
        assert_eq!((reply.status.as_u16(), reply.header("allow").is_empty()), (405, false));
    }
    // The trace was the end of its connection.
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        assert_eq!(client.post("/", "eleven bytes").await.status, 413);
    }
    let mut client = proxy.client().await;
    let foreign =
        http::Request::get("/").header("host", "other.example").body(Full::default()).unwrap();
    let reply = client.send(foreign).await;
    assert_eq!(reply.status, 421);
    assert_eq!(reply.problem()["status"], 421);
    proxy.finish().await;
}

#[tokio::test]
async fn a_browser_gets_a_page_and_a_program_a_problem() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut client = proxy.client().await;
    let problem = client.get("/%00").await;
    assert_eq!((problem.status.as_u16(), &problem.problem()["status"]), (400, &400.into()));
    let request = client.request(Method::GET, "/%00").header("accept", "text/html,*/*;q=0.8");
    let page = client.send(request.body(Full::<Bytes>::default()).unwrap()).await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.body.starts_with(b"<!doctype html>"));
    let reasons: Vec<_> =
        proxy.finish().await.iter().map(|record| record["reason"].clone()).collect();
    assert_eq!(reasons, ["path_ambiguous", "path_ambiguous"]);
}

#[tokio::test]
async fn what_the_upstream_sets_makes_a_policy_no_looser() {
    let upstream = TestUpstream::raw(
        b"HTTP/1.1 200 OK\r\nX-Frame-Options: ALLOWALL\r\nX-Frame-Options: allowall\r\n\
          X-Powered-By: x\r\n\
          Strict-Transport-Security: max-age=0\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let proxy = TestProxy::start(&upstream, "");
    assert_eq!(proxy.client().await.get("/").await.body, "ok");
    proxy.finish().await;
}

/// A page that tries to frame itself, and says what came of it.
const FRAMES: &str = "Content-Type: text/html\r\nConnection: close\r\n\r\n\
    <!doctype html><p id=out></p><script>\
    if (window === top) {\
      const frame = document.createElement('iframe');\
      frame.onload = () => { let inner = null; try { inner = frame.contentDocument; } catch {}\
        const framed = inner && inner.getElementById('out');\
        document.getElementById('out').textContent = framed ? 'framed' : 'refused'; };\
      frame.src = '/inner'; document.body.append(frame);\
    }</script>";

#[tokio::test]
async fn a_browser_frames_no_page_that_either_side_wants_in_no_frame() {
    let (ancestors, options) = ("csp.frame-ancestors = [\"'self'\"]", "x-frame-options = \"DENY\"");
    for (ours, theirs, expected) in [
        (ancestors, "", "framed"),
        (ancestors, "X-Frame-Options: SAMEORIGIN\r\n", "framed"),
        (ancestors, "X-Frame-Options: DENY\r\n", "refused"),
        (options, "Content-Security-Policy: frame-ancestors *\r\n", "refused"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{theirs}{FRAMES}");
        let upstream = TestUpstream::raw(Box::leak(answer.into_boxed_str()).as_bytes()).await;
        let section = format!("[headers.site]\npreset = \"none\"\n{ours}");
        let proxy = TestProxy::start_with(&upstream, &section, "headers = \"site\"");
        let page = Browser::find().open(&proxy).await;
        assert!(page.contains(&format!("<p id=\"out\">{expected}</p>")), "{theirs}{page}");
        proxy.finish().await;
    }
}

#[tokio::test]
async fn a_response_is_as_strict_as_site_and_upstream_want_it() {
    let upstream = TestUpstream::raw(
        b"HTTP/1.1 200 OK\r\nContent-Security-Policy: script-src 'nonce-abc'\r\n\
          Strict-Transport-Security: max-age=99999999\r\nServer: x\r\nX-Generator: x\r\n\
          Set-Cookie: a=b\r\nSet-Cookie: seen=1; SameSite=None\r\n\
          Referrer-Policy: no-referrer\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let section = "[headers.site]\nreferrer-policy = \"origin\"\nstrip = \"owasp\"\n\
                   cookies = { exempt = [\"seen\"] }";
    let proxy = TestProxy::start_with(&upstream, section, "headers = \"site\"");
    let mut client = proxy.client().await.unchecked();
    let reply = client.get("/").await;
    let all = |name: &str| {
        reply.headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>()
    };
    let csp = HELMET[0].1;
    assert_eq!(all("content-security-policy"), ["script-src 'nonce-abc'", csp]);
    assert_eq!(all("strict-transport-security"), ["max-age=99999999; includeSubDomains"]);
    assert_eq!(all("referrer-policy"), ["no-referrer"]);
    assert_eq!(all("set-cookie"), ["a=b; Secure; HttpOnly; SameSite=Lax", "seen=1; SameSite=None"]);
    assert!(all("server").is_empty() && all("x-generator").is_empty());
    proxy.finish().await;
}

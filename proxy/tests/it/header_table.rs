//! Every class of response under every preset, over HTTP/1.1 and HTTP/2: exactly the set that the
//! preset stands for, neither more nor less.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{Empty, Full};
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use socket2::{Domain, Socket, Type};

use crate::error_pages::{HTML, REFUSED, refusing, request};
use crate::harness::certificate;
use crate::harness::{HELMET, Pebble, Relay, TestClient, TestProxy, TestUpstream, free, until};

type Set = &'static [(&'static str, &'static str)];

const OWASP: Set = &[
    ("cache-control", "no-store, max-age=0"),
    (
        "content-security-policy",
        "default-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'; \
         frame-ancestors 'none'; upgrade-insecure-requests",
    ),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "accelerometer=(), autoplay=(), camera=(), cross-origin-isolated=(), display-capture=(), \
         encrypted-media=(), fullscreen=(), geolocation=(), gyroscope=(), keyboard-map=(), \
         magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), \
         publickey-credentials-get=(), screen-wake-lock=(), sync-xhr=(self), usb=(), web-share=(), \
         xr-spatial-tracking=(), clipboard-read=(), clipboard-write=(), gamepad=(), hid=(), \
         idle-detection=(), interest-cohort=(), serial=(), unload=()",
    ),
    ("referrer-policy", "no-referrer"),
    ("strict-transport-security", "max-age=63072000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("x-dns-prefetch-control", "off"),
    ("x-frame-options", "deny"),
    ("x-permitted-cross-domain-policies", "none"),
];

const API: Set = &[
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("x-permitted-cross-domain-policies", "none"),
];

const PRESETS: [(&str, Set); 4] =
    [("helmet", &HELMET), ("owasp", OWASP), ("api", API), ("none", &[])];

/// Holds the head of a response against a set.
fn hold(headers: &HeaderMap, set: Set, secure: bool, what: &str) {
    let names = PRESETS.iter().flat_map(|(_, set)| set.iter().map(|(name, _)| *name));
    for name in names {
        let found: Vec<_> = headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect();
        let of_set = set.iter().filter(|(known, _)| *known == name).map(|(_, value)| *value);
        let expected: Vec<_> =
            of_set.filter(|_| secure || name != "strict-transport-security").collect();
        // Errors forbid to be stored by themselves.
        if name != "cache-control" || !expected.is_empty() {
            assert_eq!(found, expected, "{name} of {what}");
        }
    }
    assert!(headers.contains_key("x-request-id"), "{what}");
}

/// What the application itself answers: method, path, status.
const ANSWERED: [(Method, &str, u16); 7] = [
    (Method::GET, "/", 200),
    (Method::HEAD, "/", 200),
    (Method::POST, "/", 200),
    (Method::GET, "/status/206", 206),
    (Method::GET, "/status/304", 304),
    (Method::GET, "/status/404", 404),
    (Method::GET, "/status/500", 500),
];

/// What no client of HTTP would send, and the status of the answer.
const MALFORMED: [(&str, u16); 4] = [
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n\r\n", 400),
    (
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nslow", 408),
];

/// The keys that all presets are tried with; and a store that nobody can reach, so that what must
/// be counted there is refused.
fn section(preset: &str) -> String {
    let [port] = free();
    format!(
        "[store]\nredis = \"redis://127.0.0.1:{port}\"\non_failure = \"local\"\n\
         [headers.site]\npreset = \"{preset}\"\nremove = [\"x-powered-by\"]\n\
         [[rate_limit]]\nname = \"denies\"\nlimit = 9\nwindow = \"1h\"\non_failure = \"deny\"\n\
         match = {{ path = \"/counted\" }}\n\
         [[site]]\nhosts = [\"other.example\"]\nissuer = \"internal\"\n\
         upstream = \"http://127.0.0.1:1\"\nheaders = \"site\""
    )
}

/// A Gatehouse under a preset, with further keys of its site.
async fn start(preset: &str, upstream: &TestUpstream, site: &str) -> TestProxy {
    refusing(upstream, &section(preset), &format!("headers = \"site\"\n{site}")).await
}

async fn clients(proxy: &TestProxy) -> [TestClient; 2] {
    [proxy.client().await.unchecked(), proxy.client_h2().await.unchecked()]
}

/// The fields of a head.
fn parse(head: &str) -> HeaderMap {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let parse = |(name, value): (&str, &str)| {
        (name.parse::<http::HeaderName>().unwrap(), value.trim().parse().unwrap())
    };
    fields.map(parse).collect()
}

#[tokio::test]
async fn every_class_of_response_has_exactly_the_set_of_its_preset() {
    let upstream = TestUpstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("own.html");
    std::fs::write(&page, "a page of the site's own").unwrap();
    let pages = format!("error_pages = {{ 4xx = {page:?}, 5xx = {page:?} }}");
    // Most of the time is waited, so all presets are tried at once.
    let tables = PRESETS.map(|(preset, set)| {
        let (upstream, pages) = (upstream.clone(), pages.clone());
        tokio::spawn(async move { table(&upstream, preset, set, &pages).await })
    });
    for table in tables {
        table.await.unwrap();
    }
}

/// All classes of responses but switches of protocols and answers to a CA; `pages` are a site's own
/// for errors.
async fn table(upstream: &TestUpstream, preset: &str, set: Set, pages: &str) {
    let proxy = start(preset, upstream, "").await;
    for (method, path, status) in ANSWERED {
        for mut client in clients(&proxy).await {
            let request = client.request(method.clone(), path).body(Full::default()).unwrap();
            let reply = client.send(request).await;
            assert_eq!(reply.status, status, "{path}");
            hold(&reply.headers, set, true, &format!("{method} {path} under {preset}"));
        }
    }
    rejections(&proxy, set, &["*/*", HTML], preset).await;
    hosts(&proxy, set, preset).await;
    for (bytes, status) in MALFORMED {
        let mut raw = proxy.raw().await;
        raw.write(bytes.as_bytes()).await;
        let head = raw.read_head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        hold(&parse(&head), set, true, &format!("{bytes} under {preset}"));
    }
    let mut plain = proxy.client_plain().await.unchecked();
    let redirect = plain.get("/").await;
    assert_eq!(redirect.status, 308);
    hold(&redirect.headers, set, false, &format!("the redirect under {preset}"));
    proxy.finish().await;

    let with_pages = start(preset, upstream, pages).await;
    rejections(&with_pages, set, &[HTML], preset).await;
    with_pages.finish().await;
    let site = "headers = \"site\"\nmaintenance = { active = true }";
    let closed = TestProxy::start_with(upstream, &section(preset), site);
    for mut client in clients(&closed).await {
        let reply = client.get("/").await;
        assert_eq!(reply.status, 503);
        hold(&reply.headers, set, true, &format!("maintenance under {preset}"));
    }
    closed.finish().await;
}

/// Every rejection that a client of HTTP can bring about, as a program and as a browser asks.
async fn rejections(proxy: &TestProxy, set: Set, accepts: &[&str], preset: &str) {
    let counted = (Method::GET, "/counted", ("x", "y"), 0, 503, "limits_unavailable");
    for refused in REFUSED.iter().chain([&counted]) {
        for accept in accepts {
            for mut client in clients(proxy).await {
                let reply = client.send(request(&client, refused, accept)).await;
                assert_eq!(reply.status, refused.4, "{refused:?}");
                hold(&reply.headers, set, true, &format!("{refused:?} under {preset}"));
            }
        }
    }
}

/// Hosts of no site, of another site than the certificate, and two that differ.
async fn hosts(proxy: &TestProxy, set: Set, preset: &str) {
    for host in ["nobody.example", "other.example"] {
        for mut client in clients(proxy).await {
            let request = match client.is_h2() {
                true => Request::get(format!("https://{host}/")),
                false => Request::get("/").header("host", host),
            };
            let reply = client.send(request.body(Full::default()).unwrap()).await;
            assert_eq!(reply.status, 421);
            hold(&reply.headers, set, true, &format!("{host} under {preset}"));
        }
    }
    let mut client = proxy.client_h2().await.unchecked();
    let differing = client.request(Method::GET, "/").header("host", "nobody.example");
    let reply = client.send(differing.body(Full::default()).unwrap()).await;
    assert_eq!(reply.status, 400);
    hold(&reply.headers, set, true, &format!("two hosts under {preset}"));
}

/// A server that takes no more connections: those that wait to be accepted are too many.
fn full() -> (Vec<Socket>, SocketAddr) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let waiting = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        waiting.set_nonblocking(true).unwrap();
        _ = waiting.connect(&address);
        sockets.push(waiting);
    }
    (sockets, address.as_socket().unwrap())
}

/// A body that never comes.
struct Never;

impl hyper::body::Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn what_waits_in_vain_has_the_set_of_its_preset() {
    let (upstream, (_full, full)) = (TestUpstream::mute().await, full());
    for (preset, set) in PRESETS {
        let first = format!(
            "{}\n[limits]\nbody_min_rate = \"1KiB\"\n\
             [upstream.busy]\nservers = [\"http://{}\"]\nmax_in_flight = 1\nmax_queued = 0\n\
             [upstream.full]\nservers = [\"http://{full}\"]\nconnect_timeout = \"200ms\"",
            section(preset),
            upstream.address,
        );
        let site = "headers = \"site\"\n[[site.route]]\npath = \"/busy\"\nupstream = \"busy\"\n\
                    [[site.route]]\npath = \"/full\"\nupstream = \"full\"";
        let proxy = TestProxy::start_single(&upstream, &first, site);
        let before = upstream.connections();
        let mut held = proxy.client().await.unchecked();
        let held = tokio::spawn(async move { held.get("/busy").await });
        until(|| upstream.connections() > before).await;
        for (path, status) in [("/busy", 503), ("/full", 504)] {
            for mut client in clients(&proxy).await {
                let reply = client.get(path).await;
                assert_eq!(reply.status, status, "{path}");
                hold(&reply.headers, set, true, &format!("{path} under {preset}"));
            }
        }
        held.abort();

        let io = TokioIo::new(proxy.tls(b"h2").await);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let uri = format!("https://localhost:{}/", proxy.https().port());
        let response = sender.send_request(Request::post(uri).body(Never).unwrap()).await.unwrap();
        assert_eq!(response.status(), 408);
        hold(response.headers(), set, true, &format!("408 over HTTP/2 under {preset}"));
        drop((response, sender));
        proxy.finish().await;
    }
}

#[tokio::test]
async fn no_policy_has_an_error_cached_or_says_what_it_is_not() {
    let upstream = TestUpstream::start().await;
    for merge in ["tighten", "override", "if_absent"] {
        let section = format!(
            "[headers.site]\nmerge = \"{merge}\"\n\
             set = {{ cache-control = \"public, max-age=600\", content-type = \"text/plain\", \
             retry-after = \"9\", location = \"/\" }}"
        );
        let proxy = TestProxy::start_with(
            &upstream,
            &section,
            "headers = \"site\"\nmaintenance = { retry_after = \"10m\" }",
        );
        for mut client in clients(&proxy).await {
            let reply = client.get("/").await;
            assert_eq!(reply.status, 503);
            let fields = ["cache-control", "content-type", "retry-after"];
            let found = fields.map(|name| reply.header(name));
            assert_eq!(found, ["no-store", "application/problem+json", "600"], "{merge}");
        }
        proxy.finish().await;
        let proxy = TestProxy::start_with(&upstream, &section, "headers = \"site\"");
        let reply = proxy.client_plain().await.unchecked().get("/").await;
        assert_eq!(reply.status, 308);
        assert!(reply.header("location").starts_with("https://"), "{merge}");
        proxy.finish().await;
    }
}

#[tokio::test]
async fn the_answer_to_a_ca_has_the_set_of_its_preset() {
    for (preset, set) in PRESETS {
        let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
        let relay = Relay::listen(pebble.http());
        let text = format!(
            "[headers.site]\npreset = \"{preset}\"\n\
             [listen]\nhttp = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\n\
             admin = \"127.0.0.1:0\"\n\
             [tls]\nstore = \"DIRECTORY/certs\"\n[log]\naccess = \"DIRECTORY/access.log\"\n\
             [acme]\n{}challenges = [\"http-01\"]\n\
             [[site]]\nhosts = [\"app.example.com\"]\nupstream = \"http://{}\"\nheaders = \"site\"",
            pebble.keys(),
            upstream.address
        );
        let proxy = TestProxy::start_text(&text);
        let heads = relay.run(proxy.http());
        certificate::until(&proxy, |certificate| certificate["issued"] == true).await;
        let heads = heads.lock().unwrap().clone();
        assert!(!heads.is_empty());
        for head in heads {
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            hold(&parse(&head), set, false, &format!("the challenge under {preset}"));
        }
        proxy.finish().await;
    }
}

#[tokio::test]
async fn a_switch_to_websocket_has_the_set_of_its_preset() {
    let upstream = TestUpstream::switching("websocket").await;
    for (preset, set) in PRESETS {
        let proxy = TestProxy::start_with(&upstream, &section(preset), "headers = \"site\"");
        let mut raw = proxy.raw().await;
        let ask = "GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
            Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        raw.write(ask.as_bytes()).await;
        let head = raw.read_head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        hold(&parse(&head), set, true, &format!("101 under {preset}"));
        drop(raw);

        let io = TokioIo::new(proxy.tls(b"h2").await);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let uri = format!("https://localhost:{}/live", proxy.https().port());
        let request = Request::connect(uri).extension(Protocol::from_static("websocket"));
        let request = request.header("sec-websocket-version", "13").body(Empty::<Bytes>::new());
        let request = request.unwrap();
        // Extended CONNECT is allowed once the server's settings have arrived.
        let response = loop {
            sender.ready().await.unwrap();
            match sender.send_request(request.clone()).await {
                Ok(response) => break response,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        };
        assert_eq!(response.status(), 200);
        hold(response.headers(), set, true, &format!("extended CONNECT under {preset}"));
        drop((response, sender));
        proxy.finish().await;
    }
}

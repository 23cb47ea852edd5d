//! Every class of response under every preset, over HTTP/1.1 and HTTP/2: exactly the set that the
//! preset stands for, neither more nor less.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{Empty, Full};
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::harness::{HELMET, TestClient, TestProxy, TestUpstream};

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

/// A way to an answer: method, path, a field, bytes of body, the status.
type Way = (Method, &'static str, (&'static str, &'static str), usize, u16);

const WAYS: [Way; 14] = [
    (Method::GET, "/status/200", ("x", "y"), 0, 200),
    (Method::HEAD, "/", ("x", "y"), 0, 200),
    (Method::GET, "/status/206", ("x", "y"), 0, 206),
    (Method::GET, "/status/304", ("x", "y"), 0, 304),
    (Method::GET, "/status/500", ("x", "y"), 0, 500),
    (Method::GET, "/a%2fb", ("x", "y"), 0, 400),
    (Method::GET, "/a%2fb", ("accept", "text/html"), 0, 400),
    (Method::GET, "/", ("x-forwarded-for", "203.0.113.7"), 0, 403),
    (Method::TRACE, "/", ("x", "y"), 0, 405),
    (Method::POST, "/", ("x", "y"), 2_000, 413),
    (Method::POST, "/", ("expect", "miracles"), 1, 417),
    (Method::GET, "/limited", ("x", "y"), 0, 429),
    (Method::GET, "/down", ("x", "y"), 0, 502),
    (Method::GET, "/mute", ("x", "y"), 0, 504),
];

async fn start(
    preset: &str,
    upstream: &TestUpstream,
    mute: &TestUpstream,
    site: &str,
) -> TestProxy {
    let first = format!(
        "[client]\ntrusted_proxies = [\"127.0.0.1\"]\ndeny = [\"203.0.113.0/24\"]\n\
         [limits]\nbody_bytes = \"1KiB\"\n[headers.site]\npreset = \"{preset}\"\n\
         remove = [\"x-powered-by\"]\n\
         [upstream.mute]\nservers = [\"http://{}\"]\nanswer_timeout = \"100ms\"",
        mute.address
    );
    let more = format!(
        "headers = \"site\"\n{site}\n\
         [[site.route]]\npath = \"/down\"\nupstream = \"http://127.0.0.1:1\"\n\
         [[site.route]]\npath = \"/mute\"\nupstream = \"mute\"\n\
         [[rate_limit]]\nname = \"none\"\nlimit = 1\nwindow = \"1h\"\nkey = \"global\"\n\
         match = {{ path = \"/limited\" }}"
    );
    let proxy = TestProxy::start_with(upstream, &first, &more);
    proxy.client().await.unchecked().get("/limited").await;
    proxy
}

async fn clients(proxy: &TestProxy) -> [TestClient; 2] {
    [proxy.client().await.unchecked(), proxy.client_h2().await.unchecked()]
}

#[tokio::test]
async fn every_class_of_response_has_exactly_the_set_of_its_preset() {
    let (upstream, mute) = (TestUpstream::start().await, TestUpstream::mute().await);
    for (preset, set) in PRESETS {
        let proxy = start(preset, &upstream, &mute, "").await;
        for (method, path, (name, value), body, status) in WAYS {
            for mut client in clients(&proxy).await {
                let request = client.request(method.clone(), path).header(name, value);
                let request = request.body(Full::new(vec![0; body].into())).unwrap();
                let reply = client.send(request).await;
                let what = format!("{method} {path} under {preset}");
                assert_eq!(reply.status, status, "{what}");
                hold(&reply.headers, set, true, &what);
            }
        }
        let mut plain = proxy.client_plain().await.unchecked();
        let redirect = plain.get("/").await;
        assert_eq!(redirect.status, 308);
        hold(&redirect.headers, set, false, &format!("the redirect under {preset}"));
        let mut client = proxy.client().await.unchecked();
        let foreign = Request::get("/").header("host", "other.example");
        let reply = client.send(foreign.body(Full::default()).unwrap()).await;
        assert_eq!(reply.status, 421);
        hold(&reply.headers, set, true, &format!("no site under {preset}"));
        proxy.finish().await;

        let closed = start(preset, &upstream, &mute, "maintenance = { active = true }").await;
        for mut client in clients(&closed).await {
            let reply = client.get("/").await;
            assert_eq!(reply.status, 503);
            hold(&reply.headers, set, true, &format!("maintenance under {preset}"));
        }
        closed.finish().await;
    }
}

#[tokio::test]
async fn a_switch_to_websocket_has_the_set_of_its_preset() {
    let (upstream, mute) = (TestUpstream::switching("websocket").await, TestUpstream::mute().await);
    for (preset, set) in PRESETS {
        let proxy = start(preset, &upstream, &mute, "").await;
        let mut raw = proxy.raw().await;
        let ask = "GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
            Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        raw.write(ask.as_bytes()).await;
        let head = raw.read_head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let mut fields = HeaderMap::new();
        for line in head.lines().skip(1) {
            let Some((name, value)) = line.split_once(':') else { continue };
            let name: http::HeaderName = name.parse().unwrap();
            fields.append(name, value.trim().parse().unwrap());
        }
        hold(&fields, set, true, &format!("101 under {preset}"));
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

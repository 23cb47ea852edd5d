//! Who the client is (CWE-290): what is believed, of whom, and how far; and who may not come in.

use http::Method;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{TestClient, TestProxy, TestUpstream};

const ONE_EACH: &str = "[[rate_limit]]\nname = \"one\"\nlimit = 1\nwindow = \"1h\"";

async fn status(client: &mut TestClient, field: &'static str, value: &str) -> u16 {
    let request = client.request(Method::GET, "/").header(field, value);
    client.send(request.body(Full::default()).unwrap()).await.status.as_u16()
}

#[tokio::test]
async fn a_client_that_forges_its_address_stays_one_client() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, ONE_EACH);
    let mut client = proxy.client().await;
    assert_eq!(status(&mut client, "accept", "*/*").await, 200);
    for turn in 0..200 {
        let field = ["x-forwarded-for", "forwarded", "x-real-ip"][turn % 3];
        let value = ["203.0.113.", "for=203.0.113.", "203.0.113."][turn % 3];
        assert_eq!(status(&mut client, field, &format!("{value}{turn}")).await, 429, "{field}");
    }
    assert_eq!(upstream.only().headers["x-forwarded-for"], "127.0.0.1");
    proxy.finish().await;
}

#[tokio::test]
async fn a_trusted_proxy_speaks_for_its_clients() {
    let upstream = TestUpstream::start().await;
    let trusted = "[client]\ntrusted_proxies = [\"127.0.0.0/8\"]\nipv6_prefix = 48";
    let proxy = TestProxy::start_with(&upstream, trusted, ONE_EACH);
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        let other = if client.is_h2() { 2 } else { 1 };
        let xff = "x-forwarded-for";
        let alone = format!("203.0.113.{other}");
        assert_eq!(status(&mut client, xff, &alone).await, 200);
        assert_eq!(status(&mut client, xff, &format!("1.1.1.1, {alone}, 127.0.0.9")).await, 429);
        let in_forwarded = format!("for=\"{alone}:4711\"");
        assert_eq!(status(&mut client, "forwarded", &in_forwarded).await, 429);
        let obfuscated = format!("for=\"{alone}:_port\", ,");
        assert_eq!(status(&mut client, "forwarded", &obfuscated).await, 429);
        // One client per /48, as configured.
        assert_eq!(status(&mut client, xff, &format!("2001:db8:{other}::1")).await, 200);
        assert_eq!(status(&mut client, xff, &format!("2001:db8:{other}:2::1")).await, 429);
    }
    let seen = upstream.seen();
    assert_eq!(seen[0].headers["x-forwarded-for"], "203.0.113.1");
    assert!(seen[0].headers["forwarded"].to_str().unwrap().starts_with("for=203.0.113.1;"));
    let records = proxy.finish().await;
    assert_eq!(records.iter().filter(|record| record["client"] == "203.0.113.1").count(), 4);
}

#[tokio::test]
async fn a_trusted_proxy_may_have_ended_the_tls() {
    let upstream = TestUpstream::start().await;
    let trusted = "[client]\ntrusted_proxies = [\"127.0.0.1\"]";
    let proxy = TestProxy::start_with(&upstream, trusted, "");
    let mut client = proxy.client_plain().await;
    assert_eq!(status(&mut client, "x-forwarded-proto", "https").await, 200);
    assert_eq!(upstream.only().headers["x-forwarded-proto"], "https");
    assert_eq!(status(&mut client, "x-forwarded-proto", "http").await, 308);
    proxy.finish().await;
    let proxy = TestProxy::start(&upstream, "");
    let mut client = proxy.client_plain().await;
    assert_eq!(status(&mut client, "x-forwarded-proto", "https").await, 308, "nobody is trusted");
    proxy.finish().await;
}

#[tokio::test]
async fn clients_are_allowed_and_denied() {
    let upstream = TestUpstream::start().await;
    let lists = "[client]\ntrusted_proxies = [\"127.0.0.1\"]\ndeny = [\"203.0.113.0/24\"]";
    let site = format!(
        "[[site]]\nhosts = [\"inner.example\"]\nissuer = \"internal\"\nupstream = \"http://{}\"\n\
         redirect_http = false\nallow = [\"10.0.0.0/8\"]\ndeny = [\"10.9.0.0/16\"]",
        upstream.address
    );
    let proxy = TestProxy::start_with(&upstream, lists, &site);
    for (host, client, expected) in [
        ("localhost", "203.0.113.7", 403),
        ("localhost", "203.0.114.7", 308),
        ("inner.example", "10.1.1.1", 200),
        ("inner.example", "10.9.1.1", 403),
        ("inner.example", "203.0.114.7", 403),
        ("inner.example", "::ffff:10.1.1.1", 200),
        ("inner.example", "2001:db8::1", 403),
    ] {
        let request =
            http::Request::get("/").header("host", host).header("x-forwarded-for", client);
        let mut plain = proxy.client_plain().await;
        let reply = plain.send(request.body(Full::default()).unwrap()).await;
        assert_eq!(reply.status, expected, "{host} {client}");
    }
    let records = proxy.finish().await;
    assert_eq!(records.iter().filter(|record| record["reason"] == "client_denied").count(), 4);
}

fn with_proxy_protocol(upstream: &TestUpstream, mode: &str, trusted: &str) -> TestProxy {
    let listen = format!(
        "[client]\ntrusted_proxies = [\"{trusted}\"]\n[listen]\nproxy_protocol = \"{mode}\"\n"
    );
    TestProxy::start_edited(upstream, "[listen]\n", &listen)
}

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x0a\0\0\x01\x12\x67\x01\xbb";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn the_proxy_protocol_tells_the_client() {
    let upstream = TestUpstream::start().await;
    let proxy = with_proxy_protocol(&upstream, "optional", "127.0.0.1");
    let v1 = b"PROXY TCP4 203.0.113.6 10.0.0.1 4711 443\r\n";
    let datagram = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xcb\0\x71\x07\x0a\0\0\x01\x12\x67\x01\xbb";
    for before in [&v1[..], V2, b"PROXY UNKNOWN\r\n", b"", datagram] {
        let mut raw = proxy.raw_after(before).await.unwrap();
        raw.write(GET).await;
        assert!(raw.read_head().await.starts_with("HTTP/1.1 200 "), "{before:?}");
    }
    let told: Vec<_> =
        upstream.seen().iter().map(|seen| seen.headers["x-forwarded-for"].clone()).collect();
    assert_eq!(told, ["203.0.113.6", "203.0.113.7", "127.0.0.1", "127.0.0.1", "127.0.0.1"]);
    assert!(proxy.raw_after(b"PROXY TCP4 nonsense\r\n").await.is_err());
    // Plain HTTP too, and in pieces.
    let mut stream = TcpStream::connect(proxy.http()).await.unwrap();
    for piece in V2.chunks(9) {
        stream.write_all(piece).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    stream.write_all(GET).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 308");
    drop(stream);
    let records = proxy.finish().await;
    let plain = records.iter().find(|record| record["status"] == 308).unwrap();
    assert_eq!(plain["client"], "203.0.113.7");
}

#[tokio::test]
async fn the_proxy_protocol_is_believed_of_trusted_peers_only() {
    let upstream = TestUpstream::start().await;
    let proxy = with_proxy_protocol(&upstream, "optional", "192.0.2.1");
    assert!(proxy.raw_after(V2).await.is_err(), "it is no TLS");
    let mut raw = proxy.raw().await;
    raw.write(GET).await;
    assert!(raw.read_head().await.starts_with("HTTP/1.1 200 "));
    proxy.finish().await;
    let proxy = with_proxy_protocol(&upstream, "required", "192.0.2.1");
    assert!(proxy.raw_after(b"").await.is_err(), "only the balancer may connect");
    proxy.finish().await;
    let proxy = with_proxy_protocol(&upstream, "required", "127.0.0.1");
    assert!(proxy.raw_after(b"").await.is_err(), "and it must say for whom");
    // The client sees the end of the connection before it is counted.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while proxy.metric("connections_unannounced_total").await != 1 {
        assert!(std::time::Instant::now() < deadline, "it is not counted");
    }
    assert!(proxy.raw_after(V2).await.is_ok());
    proxy.finish().await;
}

#[tokio::test]
async fn connections_are_counted_for_the_client_and_not_for_its_proxy() {
    let upstream = TestUpstream::start().await;
    let listen = "[limits]\nconnections_per_client = 1\n\
                  [client]\ntrusted_proxies = [\"127.0.0.1\"]\n\
                  [listen]\nproxy_protocol = \"optional\"\n";
    let proxy = TestProxy::start_edited(&upstream, "[listen]\n", listen);
    let _first = proxy.raw_after(V2).await.unwrap();
    assert!(proxy.raw_after(V2).await.is_err());
    let _other = proxy.raw_after(b"PROXY TCP4 203.0.113.6 10.0.0.1 4711 443\r\n").await.unwrap();
    let _more = [proxy.raw().await, proxy.raw().await];
    proxy.finish().await;
}

//! The bodies of Gatehouse's own errors: built in, or a site's own; and sites that are closed for
//! maintenance.

use std::path::Path;
use std::time::Duration;

use http::{Method, Request};
use http_body_util::Full;
use tempfile::TempDir;

use crate::harness::certificate::until;
use crate::harness::{Pebble, TestClient, TestProxy, TestUpstream};

pub(crate) const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// A way to be refused: method, path, a field, bytes of body; the status and the reason of it.
pub(crate) type Refused =
    (Method, &'static str, (&'static str, &'static str), usize, u16, &'static str);

pub(crate) const REFUSED: [Refused; 12] = [
    (Method::GET, "/a%2fb", ("x", "y"), 0, 400, "path_ambiguous"),
    (Method::GET, "/", ("x-forwarded-for", "203.0.113.7"), 0, 403, "client_denied"),
    (Method::TRACE, "/", ("x", "y"), 0, 405, "method_refused"),
    (Method::POST, "/", ("x", "y"), 2_000, 413, "body_too_large"),
    (Method::POST, "/", ("expect", "miracles"), 1, 417, "expectation_unknown"),
    (Method::GET, "/limited", ("x", "y"), 0, 429, "rate_limited"),
    (Method::GET, "/", ("x-large", LARGE), 0, 431, "head_too_large"),
    (Method::GET, "/down", ("x", "y"), 0, 502, "upstream_unreachable"),
    (Method::GET, "/garbage", ("x", "y"), 0, 502, "upstream_invalid"),
    (Method::GET, "/coded", ("x", "y"), 0, 502, "upstream_invalid"),
    (Method::GET, "/ill", ("x", "y"), 0, 503, "upstream_down"),
    (Method::GET, "/mute", ("x", "y"), 0, 504, "upstream_timeout"),
];

/// As large as a head may be.
const LARGE: &str = {
    const BYTES: [u8; 8 << 10] = [b'x'; 8 << 10];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

/// A Gatehouse that refuses all of [`REFUSED`], and upstreams that help it; with `first` before
/// everything else, and `more` keys of its site.
pub(crate) async fn refusing(upstream: &TestUpstream, first: &str, more: &str) -> TestProxy {
    let mute = TestUpstream::mute().await;
    let garbage = TestUpstream::raw(b"garbage\r\n\r\n").await;
    let coded = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    let coded = TestUpstream::raw(coded).await;
    let first = format!(
        "{first}\n[client]\ntrusted_proxies = [\"127.0.0.1\"]\ndeny = [\"203.0.113.0/24\"]\n\
         [limits]\nbody_bytes = \"1KiB\"\nbody_min_rate = \"1KiB\"\nheader_bytes = \"8KiB\"\n\
         [upstream.ill]\nservers = [\"http://{}\"]\n\
         health = {{ path = \"/healthy\", interval = \"100ms\", unhealthy_after = 1 }}\n\
         [upstream.mute]\nservers = [\"http://{}\"]\nanswer_timeout = \"300ms\"",
        upstream.address, mute.address
    );
    let more = format!(
        "{more}\n\
         [[site.route]]\npath = \"/down\"\nupstream = \"http://127.0.0.1:1\"\n\
         [[site.route]]\npath = \"/ill\"\nupstream = \"ill\"\n\
         [[site.route]]\npath = \"/mute\"\nupstream = \"mute\"\n\
         [[site.route]]\npath = \"/garbage\"\nupstream = \"http://{}\"\n\
         [[site.route]]\npath = \"/coded\"\nupstream = \"http://{}\"\n\
         [[rate_limit]]\nname = \"none\"\nlimit = 1\nwindow = \"1h\"\nkey = \"global\"\n\
         match = {{ path = \"/limited\" }}",
        garbage.address, coded.address
    );
    let proxy = TestProxy::start_with(upstream, &first, &more);
    upstream.set_healthy(false);
    let mut client = proxy.client().await.unchecked();
    client.get("/limited").await;
    let ill = async { while client.get("/ill").await.status != 503 {} };
    tokio::time::timeout(Duration::from_secs(20), ill).await.unwrap();
    proxy
}

async fn clients(proxy: &TestProxy) -> [TestClient; 2] {
    [proxy.client().await, proxy.client_h2().await]
}

pub(crate) fn request(
    client: &TestClient,
    (method, path, (name, value), body, ..): &Refused,
    accept: &str,
) -> Request<Full<bytes::Bytes>> {
    let request = client.request(method.clone(), path).header("accept", accept);
    request.header(*name, *value).body(Full::new(vec![0; *body].into())).unwrap()
}

/// A folder of pages: `413.html` says `page 413`.
fn pages(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::write(folder.path().join(format!("{name}.html")), format!("page {name}")).unwrap();
    }
    folder
}

fn page(folder: &TempDir, name: &str) -> String {
    Path::new(folder.path()).join(format!("{name}.html")).display().to_string()
}

#[tokio::test]
async fn errors_are_pages_for_browsers_and_problems_for_programs() {
    let upstream = TestUpstream::start().await;
    let proxy = refusing(&upstream, "", "").await;
    for refused in &REFUSED {
        for mut client in clients(&proxy).await {
            let reply = client.send(request(&client, refused, HTML)).await;
            assert_eq!(reply.status, refused.4, "{refused:?}");
            let text = String::from_utf8(reply.body.to_vec()).unwrap();
            assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
            let title = format!(
                "<title>{} {}</title>",
                refused.4,
                reply.status.canonical_reason().unwrap()
            );
            for part in ["<!doctype html>\n<html lang=\"en\">", &title, "<main><h1>"] {
                assert!(text.contains(part), "{part} in {text}");
            }
            assert!(!text.contains("style") && !text.contains("script"), "{text}");
        }
        for mut client in clients(&proxy).await {
            let reply = client.send(request(&client, refused, "*/*")).await;
            assert_eq!(
                (reply.status.as_u16(), reply.header("cache-control")),
                (refused.4, "no-store")
            );
            assert_eq!(reply.problem()["status"], refused.4);
        }
    }
    let records = proxy.finish().await;
    for (.., reason) in &REFUSED {
        for protocol in ["HTTP/1.1", "HTTP/2"] {
            let mut of = records.iter().filter(|record| record["reason"] == *reason);
            assert!(of.any(|record| record["protocol"] == protocol), "{reason} over {protocol}");
        }
    }
}

#[tokio::test]
async fn a_site_has_pages_of_its_own() {
    let folder = pages(&["413", "503", "4xx", "5xx"]);
    let files = ["413", "503", "4xx", "5xx"]
        .map(|name| format!("{name} = \"{}\"", page(&folder, name)))
        .join(", ");
    let upstream = TestUpstream::start().await;
    let proxy = refusing(&upstream, "", &format!("error_pages = {{ {files} }}")).await;
    for refused in &REFUSED {
        let expected = match refused.4 {
            413 => "page 413",
            503 => "page 503",
            400..500 => "page 4xx",
            _ => "page 5xx",
        };
        for mut client in clients(&proxy).await {
            let reply = client.send(request(&client, refused, HTML)).await;
            assert_eq!((reply.status.as_u16(), &reply.body[..]), (refused.4, expected.as_bytes()));
            assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
        }
        for mut client in clients(&proxy).await {
            let reply = client.send(request(&client, refused, "application/json")).await;
            assert_eq!(reply.problem()["status"], refused.4);
        }
    }
    // The answer to a HEAD has the page's length; the application's errors are its own.
    for mut client in clients(&proxy).await {
        let head = (Method::HEAD, "/down", ("x", "y"), 0, 502, "");
        let reply = client.send(request(&client, &head, HTML)).await;
        assert_eq!((reply.body.len(), reply.header("content-length")), (0, "8"));
        let own = (Method::GET, "/status/503", ("x", "y"), 0, 503, "");
        let reply = client.send(request(&client, &own, HTML)).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (503, 0));
    }
    // A page that has changed is shown after a reload.
    std::fs::write(page(&folder, "5xx"), "another page").unwrap();
    proxy.reload().await.unwrap();
    for mut client in clients(&proxy).await {
        let down = (Method::GET, "/down", ("x", "y"), 0, 502, "");
        assert_eq!(client.send(request(&client, &down, HTML)).await.body, "another page");
    }
    std::fs::remove_file(page(&folder, "5xx")).unwrap();
    let faults = proxy.reload().await.unwrap_err().to_string();
    assert!(faults.contains("5xx.html") && faults.contains("cannot read the file"), "{faults}");
    proxy.finish().await;
}

#[tokio::test]
async fn what_no_site_serves_gets_the_first_sites_page() {
    let folder = pages(&["421", "400"]);
    let files = format!(
        "error_pages = {{ 421 = \"{}\", 400 = \"{}\" }}",
        page(&folder, "421"),
        page(&folder, "400")
    );
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, &files);
    let mut client = proxy.client_h2().await;
    let other = Request::get("https://other.example/").header("accept", HTML);
    let reply = client.send(other.body(Full::default()).unwrap()).await;
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (421, &b"page 421"[..]));
    let differing = client.request(Method::GET, "/").header("host", "x").header("accept", HTML);
    let reply = client.send(differing.body(Full::default()).unwrap()).await;
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (400, &b"page 400"[..]));
    let mut client = proxy.client().await;
    let other = Request::get("/").header("host", "other.example").header("accept", HTML);
    let reply = client.send(other.body(Full::default()).unwrap()).await;
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (421, &b"page 421"[..]));
    let none = Request::get("/").header("host", "a b").header("accept", HTML);
    let reply = client.send(none.body(Full::default()).unwrap()).await;
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (400, &b"page 400"[..]));
    proxy.finish().await;
}

#[tokio::test]
async fn a_site_is_closed_and_opened_by_a_reload() {
    let folder = pages(&["closed", "5xx"]);
    let more = format!(
        "redirect_http = false\nerror_pages = {{ 5xx = \"{}\" }}\n\
         maintenance = {{ retry_after = \"10m\", page = \"{}\", allow = [\"203.0.113.7\"] }}",
        page(&folder, "5xx"),
        page(&folder, "closed")
    );
    let upstream = TestUpstream::start().await;
    let first = "[client]\ntrusted_proxies = [\"127.0.0.1\"]";
    let proxy = TestProxy::start_with(&upstream, first, &more);
    let mut clients = [proxy.client().await, proxy.client_h2().await, proxy.client_plain().await];
    for client in &mut clients {
        let page = client.request(Method::GET, "/").header("accept", HTML);
        let reply = client.send(page.body(Full::default()).unwrap()).await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "600"));
        assert_eq!(reply.body, "page closed");
        let reply = client.post("/", "a body that nobody wants").await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "600"));
        assert_eq!(reply.problem()["status"], 503);
        assert!(upstream.seen().is_empty());
        let operator = client.request(Method::GET, "/").header("x-forwarded-for", "203.0.113.7");
        assert_eq!(client.send(operator.body(Full::default()).unwrap()).await.status, 200);
        assert_eq!(upstream.take().len(), 1);
    }
    proxy.edit("maintenance = {", "maintenance = { active = false,");
    proxy.reload().await.unwrap();
    for client in &mut clients {
        assert_eq!(client.get("/").await.status, 200, "on the connection that was open");
    }
    // Without a page of its own, it has that of a 503.
    proxy.edit("active = false,", "active = true,");
    proxy.edit(&format!("page = \"{}\", ", page(&folder, "closed")), "");
    proxy.reload().await.unwrap();
    for client in &mut clients {
        let page = client.request(Method::GET, "/").header("accept", HTML);
        let reply = client.send(page.body(Full::default()).unwrap()).await;
        assert_eq!((reply.status.as_u16(), &reply.body[..]), (503, &b"page 5xx"[..]));
    }
    let records = proxy.finish().await;
    let closed = records.iter().filter(|record| record["reason"] == "maintenance");
    assert_eq!(closed.count(), 9);
}

#[tokio::test]
async fn a_closed_site_still_obtains_its_certificate() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let text = format!(
        "[listen]\nhttp = [\"{}\"]\nhttps = [\"{}\"]\nadmin = \"127.0.0.1:0\"\n\
         [tls]\nstore = \"DIRECTORY/certs\"\n[log]\naccess = \"DIRECTORY/access.log\"\n\
         [acme]\n{}challenges = [\"http-01\"]\n\
         [[site]]\nhosts = [\"app.example.com\"]\nupstream = \"http://{}\"\n\
         maintenance = {{ retry_after = \"1m\" }}",
        pebble.http(),
        pebble.https(),
        pebble.keys(),
        upstream.address
    );
    let proxy = TestProxy::start_text(&text);
    until(&proxy, |certificate| certificate["issued"] == true).await;
    let mut client = proxy.client_plain().await;
    let request = Request::get("/").header("host", "app.example.com");
    let reply = client.send(request.body(Full::default()).unwrap()).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "60"));
    proxy.finish().await;
}

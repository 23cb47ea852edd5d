//! Servers that are no plain TCP address: TLS, whose certificate is verified, and Unix sockets.

use std::convert::Infallible;
use std::path::Path;

use http::Response;
use http_body_util::{BodyExt as _, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;

use crate::harness::{TestProxy, TestUpstream};

/// A Gatehouse that sends everything to one server.
fn in_front_of(server: &str, more: &str) -> TestProxy {
    let upstream = format!("[upstream.app]\nservers = [\"{server}\"]\n{more}");
    let route = "[[site.route]]\npath = \"/{*rest}\"\nupstream = \"app\"";
    let nowhere = "127.0.0.1:1".parse().unwrap();
    TestProxy::start_in_front_of(nowhere, &upstream, route)
}

/// Answers with what it was sent.
fn serve(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: http::Request<hyper::body::Incoming>| async {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(Response::new(Full::new(body)))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
}

#[tokio::test]
async fn a_unix_socket_is_a_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let health = "health = { path = \"/\", interval = \"100ms\" }";
    let proxy = in_front_of(&format!("unix:{}", path.display()), health);
    let mut client = proxy.client().await;
    let status = client.get("/").await.status.as_u16();
    assert!(matches!(status, 502 | 503), "{status}: there is no such socket yet");
    serve(&path);
    let up = async {
        while client.get("/").await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), up).await.unwrap();
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        assert_eq!(client.post("/", "echo").await.body, "echo");
    }
    proxy.finish().await;
}

#[tokio::test]
async fn a_server_over_tls_is_verified() {
    let upstream = TestUpstream::start().await;
    let inner = TestProxy::start(&upstream, "");
    let port = inner.https().port();
    let ca = format!("ca = \"{}\"", inner.root().display());
    let outer = in_front_of(&format!("https://localhost:{port}"), &ca);
    for mut client in [outer.client().await, outer.client_h2().await] {
        assert_eq!(client.post("/a", "body").await.body, "POST /a");
    }
    outer.finish().await;
    // A CA that did not sign it.
    let other = TestProxy::start(&upstream, "");
    let ca = format!("ca = \"{}\"", other.root().display());
    let outer = in_front_of(&format!("https://localhost:{port}"), &ca);
    assert_eq!(outer.client().await.get("/a").await.status, 502);
    let records = outer.finish().await;
    assert_eq!(records[0]["reason"], "upstream_unreachable");
    // A name that it is not for.
    let ca = format!("ca = \"{}\"", inner.root().display());
    let outer = in_front_of(&format!("https://127.0.0.2:{port}"), &ca);
    assert_eq!(outer.client().await.get("/a").await.status, 502);
    outer.finish().await;
    other.finish().await;
    inner.finish().await;
    assert_eq!(upstream.seen().len(), 2);
}

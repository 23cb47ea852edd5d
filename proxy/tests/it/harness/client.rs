//! A client that holds every response against the invariants.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{HELMET, TestProxy};

/// One connection to a Gatehouse.
pub(crate) struct TestClient {
    sender: Sender,
    secure: bool,
    /// What helmet sets is not expected.
    unchecked: bool,
    authority: String,
    answered: Arc<Mutex<Vec<String>>>,
}

enum Sender {
    V1(http1::SendRequest<Full<Bytes>>),
    V2(http2::SendRequest<Full<Bytes>>),
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// A header's text, or the empty string.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as a problem document.
    pub(crate) fn problem(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), "application/problem+json");
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl TestClient {
    pub(super) async fn https(proxy: &TestProxy, http2: bool) -> Self {
        let alpn: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
        let stream = tls(proxy.https(), &proxy.root(), &[alpn], "localhost", b"").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
        let sender = if http2 {
            let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (sender, connection) = handshake.await.unwrap();
            tokio::spawn(connection);
            Sender::V2(sender)
        } else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            Sender::V1(sender)
        };
        Self::new(proxy, sender, true, proxy.https())
    }

    pub(super) async fn plain(proxy: &TestProxy) -> Self {
        let stream = TcpStream::connect(proxy.http()).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self::new(proxy, Sender::V1(sender), false, proxy.http())
    }

    fn new(proxy: &TestProxy, sender: Sender, secure: bool, address: SocketAddr) -> Self {
        let authority = format!("localhost:{}", address.port());
        let answered = Arc::clone(&proxy.answered);
        Self { sender, secure, unchecked: false, authority, answered }
    }

    /// For a policy that is not the default: the test says what it expects.
    pub(crate) fn unchecked(self) -> Self {
        Self { unchecked: true, ..self }
    }

    pub(crate) fn is_h2(&self) -> bool {
        matches!(self.sender, Sender::V2(_))
    }

    /// A request for a path, to be completed.
    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let builder = Request::builder().method(method);
        match &self.sender {
            Sender::V1(_) => builder.uri(path).header("host", &self.authority),
            Sender::V2(_) => builder.uri(format!("https://{}{path}", self.authority)),
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        let request = self.request(Method::GET, path).body(Full::default()).unwrap();
        self.send(request).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Reply {
        let request = self.request(Method::POST, path).body(Full::new(body.into())).unwrap();
        self.send(request).await
    }

    /// Sends a request and reads the whole response.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Reply {
        let (head, body) = self.begin(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: head.status, headers: head.headers, body }
    }

    /// Sends a request and reads the head of the response, which is held against the invariants.
    pub(crate) async fn begin(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<http::Response<Incoming>> {
        let response = match &mut self.sender {
            Sender::V1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::V2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let expected = if self.unchecked { &[][..] } else { &HELMET };
        let id = invariants(response.headers(), expected, self.secure);
        self.answered.lock().unwrap().push(id);
        Ok(response)
    }
}

/// Holds a response's head against the invariants and returns its request id.
fn invariants(headers: &HeaderMap, expected: &[(&str, &str)], secure: bool) -> String {
    for (name, value) in expected.iter().copied() {
        let is_hsts = name == "strict-transport-security";
        let found: Vec<_> = headers.get_all(name).iter().collect();
        if is_hsts && !secure {
            assert!(found.is_empty(), "HSTS over plain HTTP");
        } else {
            assert_eq!(found, [value], "{name} in {headers:#?}");
        }
    }
    for name in ["x-powered-by", "keep-alive", "proxy-connection", "te", "upgrade"] {
        assert!(!headers.contains_key(name), "{name} leaked: {headers:#?}");
    }
    let id = headers.get("x-request-id").unwrap().to_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);
    id.to_owned()
}

/// A TLS connection to a Gatehouse whose root is at `root`, with some bytes `before` it.
pub(crate) async fn tls(
    address: SocketAddr,
    root: &Path,
    alpn: &[&[u8]],
    name: &str,
    before: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(before).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

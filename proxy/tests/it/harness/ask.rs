//! A server that is asked which hosts may be served, and answers as the test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Pebble;

/// An answer in whole; an empty one never comes.
type Decide = Box<dyn Fn(&str) -> &'static str + Send>;

/// The server; it ends with the test.
pub(crate) struct Ask {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// Every target.
    asked: Mutex<Vec<String>>,
    decide: Mutex<Decide>,
}

pub(crate) const YES: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
pub(crate) const NO: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";

impl Ask {
    /// Over plain HTTP. What decides gets the host.
    pub(crate) async fn start(decide: impl Fn(&str) -> &'static str + Send + 'static) -> Self {
        Self::serve(None, decide).await
    }

    /// Over TLS as `localhost`, with a certificate that a CA has signed for itself.
    pub(crate) async fn start_tls(pebble: &Pebble) -> Self {
        let certificate = CertificateDer::from_pem_file(pebble.own("ca.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(pebble.own("ca.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Self::serve(Some(TlsAcceptor::from(Arc::new(config))), |_| YES).await
    }

    async fn serve(
        acceptor: Option<TlsAcceptor>,
        decide: impl Fn(&str) -> &'static str + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared { asked: Mutex::default(), decide: Mutex::new(Box::new(decide)) };
        let shared = Arc::new(shared);
        let ask = Self { address, shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => answer(stream, &shared).await,
                        Some(acceptor) => answer(acceptor.accept(stream).await?, &shared).await,
                    }
                });
            }
        });
        ask
    }

    /// From now on, this decides.
    pub(crate) fn decide(&self, decide: impl Fn(&str) -> &'static str + Send + 'static) {
        *self.shared.decide.lock().unwrap() = Box::new(decide);
    }

    /// How often it was asked for a host.
    pub(crate) fn asked(&self, host: &str) -> usize {
        let asked = self.shared.asked.lock().unwrap();
        let target = format!("/may?key=1&domain={host}");
        asked.iter().filter(|asked| **asked == target).count()
    }

    /// How often it was asked anything.
    pub(crate) fn asked_in_all(&self) -> usize {
        self.shared.asked.lock().unwrap().len()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key of a site that has it asked.
    pub(crate) fn key(&self, more: &str) -> String {
        format!("on_demand = {{ ask = \"http://{}/may?key=1\"{more} }}\n", self.address)
    }

    /// The same, over TLS.
    pub(crate) fn key_tls(&self, more: &str) -> String {
        let port = self.address.port();
        format!("on_demand = {{ ask = \"https://localhost:{port}/may?key=1\"{more} }}\n")
    }
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    let host = target.rsplit_once("domain=").map_or("", |(_, host)| host);
    let answer = (shared.decide.lock().unwrap())(host);
    shared.asked.lock().unwrap().push(target.clone());
    if answer.is_empty() {
        std::future::pending::<()>().await;
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

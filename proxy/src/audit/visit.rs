//! Speaking to a site from outside: one bounded request at a time, over TLS that notes what is
//! wrong with a certificate instead of giving up.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Unreachable;
use super::handshake::{Handshake, old_client_hello};
use super::witness::Witness;

/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a page that are read.
const PAGE: usize = 16 << 20;

/// The origin of a page that asks whether it may read what the site says.
pub(super) const FOREIGN: &str = "https://gatehouse-audit.invalid";

/// What a site answered.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// `None` if it is longer than [`PAGE`], or was cut off.
    pub(super) body: Option<Bytes>,
    /// Why the certificate is not to be trusted.
    pub(super) distrust: Option<String>,
}

/// Whoever asks.
pub(super) struct Visitor {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
}

impl Visitor {
    /// Trusts what the machine trusts, and the certificates in `ca`.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, Unreachable> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(path) = ca {
            let fail = |error: String| Unreachable::Ca(path.to_owned(), error);
            let read = CertificateDer::pem_file_iter(path);
            for certificate in read.map_err(|error| fail(error.to_string()))? {
                let added = certificate
                    .map_err(|error| error.to_string())
                    .and_then(|der| roots.add(der).map_err(|error| error.to_string()));
                added.map_err(fail)?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Ok(Self { provider, roots: Arc::new(roots) })
    }

    /// Asks for a page as a browser does; redirects are told, not followed.
    pub(super) async fn get(&self, url: &Uri) -> Result<Response, Unreachable> {
        self.ask(url, Method::GET, &[(header::ACCEPT, "text/html,*/*;q=0.8")]).await
    }

    /// Asks, as a browser does for a page of another origin, whether that may read this one.
    pub(super) async fn preflight(&self, url: &Uri) -> Result<Response, Unreachable> {
        let fields = [(header::ORIGIN, FOREIGN), (header::ACCESS_CONTROL_REQUEST_METHOD, "GET")];
        self.ask(url, Method::OPTIONS, &fields).await
    }

    async fn ask(
        &self,
        url: &Uri,
        method: Method,
        fields: &[(header::HeaderName, &'static str)],
    ) -> Result<Response, Unreachable> {
        let fail = |error| Unreachable::Connect(authority(url), error);
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let request = Request::builder().method(method).uri(target).body(Empty::new());
        let mut request =
            request.map_err(|error| Unreachable::Http(authority(url), error.to_string()))?;
        let host = url.authority().map_or("", |authority| authority.as_str());
        if let Ok(host) = HeaderValue::from_str(host) {
            request.headers_mut().insert(header::HOST, host);
        }
        let agent = HeaderValue::from_static(concat!("gatehouse/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, agent);
        for (name, value) in fields {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        if url.scheme_str() == Some("http") {
            let stream = connect(url).await.map_err(fail)?;
            return exchange(stream, url, request, None).await;
        }
        let offer = [b"http/1.1".to_vec()];
        let (stream, witness) =
            self.handshake(url, rustls::ALL_VERSIONS, &offer).await.map_err(fail)?;
        exchange(stream, url, request, witness.verdict()).await
    }

    /// Looks at the TLS of a site.
    pub(super) async fn survey(&self, url: &Uri) -> Result<Handshake, Unreachable> {
        let fail = |error| Unreachable::Connect(authority(url), error);
        let offer = [b"http/1.1".to_vec()];
        let (stream, witness) =
            self.handshake(url, rustls::ALL_VERSIONS, &offer).await.map_err(fail)?;
        let host = url.host().unwrap_or_default();
        let mut handshake = Handshake::of(stream.get_ref().1, host, witness.verdict());
        for version in rustls::ALL_VERSIONS {
            if self.handshake(url, &[version], &offer).await.is_ok() {
                handshake.versions.extend(version.version.as_str());
            }
        }
        let http2 = self.handshake(url, rustls::ALL_VERSIONS, &[b"h2".to_vec()]).await;
        handshake.http2 =
            http2.is_ok_and(|(stream, _)| stream.get_ref().1.alpn_protocol() == Some(b"h2"));
        handshake.old = self.takes_old_tls(url).await;
        Ok(handshake)
    }

    async fn handshake(
        &self,
        url: &Uri,
        versions: &[&'static SupportedProtocolVersion],
        offer: &[Vec<u8>],
    ) -> io::Result<(TlsStream<TcpStream>, Arc<Witness>)> {
        let provider = Arc::clone(&self.provider);
        let roots = Arc::clone(&self.roots);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let witness = Arc::new(Witness::new(verifier.map_err(io::Error::other)?));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?
            .dangerous() // it must see what is wrong, and trusts nothing that it reads
            .with_custom_certificate_verifier(Arc::clone(&witness) as _)
            .with_no_client_auth();
        config.alpn_protocols = offer.to_vec();
        let name = ServerName::try_from(bare_host(url).to_owned()).map_err(io::Error::other)?;
        let stream = connect(url).await?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = timeout(PATIENCE, connector.connect(name, stream)).await??;
        Ok((stream, witness))
    }

    /// Whether the site agrees to TLS 1.0 or 1.1, which rustls cannot even offer.
    async fn takes_old_tls(&self, url: &Uri) -> bool {
        let attempt = async {
            let mut stream = connect(url).await?;
            stream.write_all(&old_client_hello(url.host().unwrap_or_default())).await?;
            let mut answer = [0; 6];
            stream.read_exact(&mut answer).await?;
            Ok::<_, io::Error>(answer)
        };
        // A handshake record that begins with a ServerHello.
        let answer = timeout(PATIENCE, attempt).await;
        matches!(answer, Ok(Ok([22, 3, _, _, _, 2])))
    }
}

fn authority(url: &Uri) -> String {
    format!("{}:{}", url.host().unwrap_or_default(), port(url))
}

fn port(url: &Uri) -> u16 {
    let default = if url.scheme_str() == Some("http") { 80 } else { 443 };
    url.port_u16().unwrap_or(default)
}

/// An IPv6 address stands in brackets in a URL, and nowhere else.
fn bare_host(url: &Uri) -> &str {
    url.host().unwrap_or_default().trim_matches(['[', ']'])
}

async fn connect(url: &Uri) -> io::Result<TcpStream> {
    timeout(PATIENCE, TcpStream::connect((bare_host(url), port(url)))).await?
}

/// One request and its answer.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Uri,
    request: Request<Empty<Bytes>>,
    distrust: Option<String>,
) -> Result<Response, Unreachable> {
    let fail = |error: String| Unreachable::Http(authority(url), error);
    let exchange = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, PAGE).collect().await.map(|body| body.to_bytes()).ok();
        connection.abort();
        Ok::<_, hyper::Error>(Response {
            status: head.status,
            headers: head.headers,
            body,
            distrust,
        })
    };
    match timeout(PATIENCE, exchange).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(fail(error.to_string())),
        Err(_) => Err(fail(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

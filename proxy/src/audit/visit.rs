//! Speaking to the site: one bounded request at a time, over TLS that notes what is wrong with a
//! certificate instead of giving up.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Unreachable;
use super::handshake::{Handshake, old_client_hello};

/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of a page is read.
const PAGE: usize = 2 << 20;

/// What the site answered.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// As much of it as was read.
    pub(super) body: Bytes,
}

/// An answer over TLS.
pub(super) struct Visited {
    pub(super) response: Response,
    pub(super) handshake: Handshake,
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

    /// Asks for the page over TLS, of whatever version the site prefers.
    pub(super) async fn secure(&self, url: &Uri) -> Result<Visited, Unreachable> {
        let host = url.host().unwrap_or_default();
        let fail = |error| Unreachable::Connect(authority(url), error);
        let offer = [b"http/1.1".to_vec()];
        let (stream, verdict) =
            self.handshake(url, rustls::ALL_VERSIONS, &offer).await.map_err(fail)?;
        let verdict = verdict.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut handshake = Handshake::of(stream.get_ref().1, host, verdict);
        let response = ask(stream, url).await?;
        for version in rustls::ALL_VERSIONS {
            if self.handshake(url, &[version], &offer).await.is_ok() {
                handshake.versions.extend(version.version.as_str());
            }
        }
        let http2 = self.handshake(url, rustls::ALL_VERSIONS, &[b"h2".to_vec()]).await;
        handshake.http2 =
            http2.is_ok_and(|(stream, _)| stream.get_ref().1.alpn_protocol() == Some(b"h2"));
        Ok(Visited { response, handshake })
    }

    /// Asks for a page in the clear.
    pub(super) async fn plain(&self, url: &Uri) -> Result<Response, Unreachable> {
        let stream = connect(url).await.map_err(|e| Unreachable::Connect(authority(url), e))?;
        ask(stream, url).await
    }

    async fn handshake(
        &self,
        url: &Uri,
        versions: &[&'static rustls::SupportedProtocolVersion],
        offer: &[Vec<u8>],
    ) -> io::Result<(tokio_rustls::client::TlsStream<TcpStream>, Arc<Verdict>)> {
        let provider = Arc::clone(&self.provider);
        let inner = WebPkiServerVerifier::builder_with_provider(
            Arc::clone(&self.roots),
            Arc::clone(&provider),
        );
        let inner = inner.build().map_err(io::Error::other)?;
        let verdict = Arc::new(Verdict::default());
        let verifier = Witness { inner, verdict: Arc::clone(&verdict) };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?
            .dangerous() // it must see what is wrong, and trusts nothing that it reads
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = offer.to_vec();
        let name = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let stream = connect(url).await?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = timeout(PATIENCE, connector.connect(name, stream)).await??;
        Ok((stream, verdict))
    }

    /// Whether the site agrees to TLS 1.0 or 1.1, which rustls cannot even offer.
    pub(super) async fn takes_old_tls(&self, url: &Uri) -> bool {
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

pub(super) fn port(url: &Uri) -> u16 {
    let default = if url.scheme_str() == Some("http") { 80 } else { 443 };
    url.port_u16().unwrap_or(default)
}

async fn connect(url: &Uri) -> io::Result<TcpStream> {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    timeout(PATIENCE, TcpStream::connect((host, port(url)))).await?
}

/// One GET, as a browser would ask for a page.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Uri,
) -> Result<Response, Unreachable> {
    let fail = |error: String| Unreachable::Http(authority(url), error);
    let exchange = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let request = Request::get(target)
            .header(header::HOST, url.authority().map_or("", |authority| authority.as_str()))
            .header(header::ACCEPT, "text/html,*/*;q=0.8")
            .header(header::USER_AGENT, concat!("gatehouse-audit/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        // A page that is longer is judged by its headers.
        let body = Limited::new(body, PAGE).collect().await.map(|body| body.to_bytes());
        connection.abort();
        let body = body.unwrap_or_default();
        Ok(Response { status: head.status, headers: head.headers, body })
    };
    match timeout(PATIENCE, exchange).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(fail(Box::<dyn std::error::Error>::to_string(&error))),
        Err(_) => Err(fail("no answer within 10 s".to_owned())),
    }
}

/// What the verifier thought of the certificate.
#[derive(Debug, Default)]
struct Verdict(Mutex<Option<String>>);

/// Lets a connection through and remembers why it should not have been.
#[derive(Debug)]
struct Witness {
    inner: Arc<WebPkiServerVerifier>,
    verdict: Arc<Verdict>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        let mut verdict = self.verdict.0.lock().unwrap_or_else(PoisonError::into_inner);
        *verdict = verified.err().map(|error| error.to_string());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

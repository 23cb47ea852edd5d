//! How a CA is spoken to: HTTPS with a bound on time and size, known by the public roots or by one
//! of the operator's.
//!
//! Each exchange has a connection of its own, since an order has a dozen of them and minutes or
//! months lie between two orders.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{DATE, HOST, RETRY_AFTER};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use jiff::{SignedDuration, Timestamp};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::life::ASK_AGAIN;
use super::schedule::LONGEST_WAIT;

/// How long one exchange may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The largest answer in bytes; the largest honest one is a chain of a few certificates.
const LARGEST_ANSWER: usize = 1 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A client of one CA.
#[derive(Debug, Clone)]
pub(super) struct Client {
    tls: Arc<ClientConfig>,
    heard: Arc<Mutex<Heard>>,
}

/// What the CA said beside its answers.
#[derive(Debug, Default)]
struct Heard {
    /// In `Retry-After`, when it last refused something.
    asked: Option<Duration>,
    /// How far its clock is ahead of ours, by `Date`.
    ahead: Option<SignedDuration>,
}

/// How far apart two clocks are that are wrong; certificates are dated an hour back, or less.
const CLOCKS_APART: SignedDuration = SignedDuration::from_mins(10);

impl Client {
    /// Trusts the certificates of a PEM file, or the public roots.
    pub(super) fn new(root: Option<&Path>) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        match root {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                let named = |error: &dyn std::error::Error| {
                    io::Error::other(format!("root_ca {}: {error}", path.display()))
                };
                let read = CertificateDer::pem_file_iter(path).map_err(|error| named(&error))?;
                for certificate in read {
                    let certificate = certificate.map_err(|error| named(&error))?;
                    roots.add(certificate).map_err(|error| named(&error))?;
                }
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Arc::new(tls), heard: Arc::default() })
    }

    /// How long the CA asked to wait when it last refused something.
    pub(super) fn asked_to_wait(&self) -> Option<Duration> {
        self.heard().asked
    }

    /// What is wrong with the clock here, if the CA's is right.
    pub(super) fn clock(&self) -> Option<String> {
        let ahead = self.heard().ahead.filter(|ahead| ahead.abs() > CLOCKS_APART)?;
        let side = if ahead.is_positive() { "behind" } else { "ahead of" };
        let minutes = ahead.abs().as_mins();
        Some(format!("the clock here is {minutes} minutes {side} that of the CA"))
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            let (method, uri) = (request.method().clone(), request.uri().clone());
            let answer = tokio::time::timeout(PATIENCE, exchange(&this.tls, request)).await;
            let answer = answer.unwrap_or_else(|_| Err("no answer in time".into()));
            let mut response = answer.map_err(|error| {
                Error::Other(format!("{}: {error}", uri.host().unwrap_or_default()).into())
            })?;
            let status = response.status();
            let asked = response.headers().get(RETRY_AFTER).and_then(wait);
            if status.is_client_error() || status.is_server_error() {
                this.heard().asked = asked;
            }
            // Only renewal information is asked for with GET, and the directory.
            let otherwise = Some(ASK_AGAIN).filter(|_| method == Method::GET);
            bound_wait(response.headers_mut(), asked.or(otherwise));
            if let Some(date) = response.headers().get(DATE).and_then(date) {
                this.heard().ahead = Some(date.duration_since(Timestamp::now()));
            }
            Ok(response.into())
        })
    }
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn wait(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let wait = date(value)?.as_second() - Timestamp::now().as_second();
    u64::try_from(wait).ok().map(Duration::from_secs)
}

/// The library adds `Retry-After` to the time, however long that is, and takes no renewal
/// information without it (RFC 9773, 4.3 only recommends it).
fn bound_wait(fields: &mut HeaderMap, wait: Option<Duration>) {
    fields.remove(RETRY_AFTER);
    if let Some(wait) = wait {
        fields.insert(RETRY_AFTER, wait.min(LONGEST_WAIT).as_secs().into());
    }
}

fn date(value: &HeaderValue) -> Option<Timestamp> {
    Some(jiff::fmt::rfc2822::parse(value.to_str().ok()?).ok()?.timestamp())
}

async fn exchange(
    tls: &Arc<ClientConfig>,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, Failure> {
    let uri = std::mem::take(request.uri_mut());
    if uri.scheme_str() != Some("https") {
        return Err("the CA names an address that is not https".into());
    }
    let authority = uri.authority().ok_or("the CA names an address without a host")?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let stream = TcpStream::connect((host.as_str(), authority.port_u16().unwrap_or(443))).await?;
    let stream =
        TlsConnector::from(Arc::clone(tls)).connect(ServerName::try_from(host)?, stream).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    *request.uri_mut() = Uri::from(
        uri.path_and_query().map_or_else(|| PathAndQuery::from_static("/"), PathAndQuery::clone),
    );
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, LARGEST_ANSWER).collect().await?.to_bytes();
    Ok(Response::from_parts(head, Full::new(body)))
}

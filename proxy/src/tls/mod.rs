//! TLS 1.2 and 1.3 by rustls over aws-lc-rs: X25519MLKEM768 first, AEAD suites only, HTTP/2 or
//! HTTP/1.1 by ALPN.
//!
//! Sessions resume by encrypted tickets whose key rotates every six hours; nothing is kept per
//! session. A TLS 1.3 connection gets one ticket and, each time it is used, the next.

pub(crate) mod certificates;
pub(crate) mod files;
pub(crate) mod internal;
pub(crate) mod leaf;
pub(crate) mod store;

use std::io;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{Acceptor, NoServerSessionStorage};
use rustls::{ProtocolVersion, ServerConfig, SupportedProtocolVersion};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use self::certificates::Certificates;
use crate::acme::challenge::Challenges;
use crate::config::TlsVersion;
use crate::socket::Socket;
use crate::worker::Worker;

/// Protocols offered by ALPN (RFC 7301), the preferred first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What every handshake is held to.
pub(crate) fn config(
    certificates: Arc<Certificates>,
    min_version: TlsVersion,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let both: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
    let versions = match min_version {
        TlsVersion::V1_2 => both,
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    config.ticketer = Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// A finished handshake.
pub(crate) struct Secured {
    pub(crate) stream: Box<TlsStream<Socket>>,
    pub(crate) http2: bool,
    pub(crate) session: Session,
}

/// What a handshake agreed on that its requests are held to.
#[derive(Debug)]
pub(crate) struct Session {
    /// `1.2` or `1.3`.
    pub(crate) version: &'static str,
    /// The host that the client asked a certificate of (RFC 6066, 3), lower case. An address has
    /// none.
    pub(crate) server_name: Option<Box<str>>,
}

/// Reads the ClientHello first, so that what it asks for can choose the configuration, then
/// completes the handshake. `None` if the handshake was all that there was to it: a challenge.
pub(crate) async fn accept(
    stream: Socket,
    config: &Arc<ServerConfig>,
    challenges: &Challenges,
) -> io::Result<Option<Secured>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    if let Some(challenge) = challenges.tls(&hello.client_hello()) {
        hello.into_stream(challenge).await?.shutdown().await?;
        return Ok(None);
    }
    let mut stream = hello.into_stream(Arc::clone(config)).await?;
    // A large response then takes a few large writes.
    stream.get_mut().1.set_buffer_limit(Some(Worker::BUFFER));
    let connection = stream.get_ref().1;
    let http2 = connection.alpn_protocol() == Some(b"h2");
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        _ => "1.3",
    };
    let server_name = connection.server_name().map(|name| name.to_ascii_lowercase().into());
    let session = Session { version, server_name };
    Ok(Some(Secured { stream: Box::new(stream), http2, session }))
}

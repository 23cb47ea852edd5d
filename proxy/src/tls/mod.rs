//! TLS 1.2 and 1.3 by rustls over aws-lc-rs: X25519MLKEM768 first, AEAD suites only, HTTP/2 or
//! HTTP/1.1 by ALPN.
//!
//! Sessions resume by encrypted tickets whose key rotates every six hours, and which instances that
//! share certificates take from one another; nothing is kept per session. A TLS 1.3 connection gets
//! one ticket and, each time it is used, the next. Sites that ask for client certificates have
//! policies of their own, chosen by the name in the ClientHello.
//!
//! The order of cipher suites is ours: AES-256-GCM, AES-128-GCM, ChaCha20. A client that has
//! ChaCha20 first has it there because its processor knows no AES; it is given what it asks for.

pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod files;
pub(crate) mod internal;
pub(crate) mod leaf;
pub(crate) mod lock;
pub(crate) mod store;
pub(crate) mod tickets;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{
    Acceptor, NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::{CipherSuite, ProtocolVersion, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use self::certificates::Certificates;
use self::client::ClientCertificate;
use self::tickets::{SharedTickets, TicketSecret};
use crate::config::{ClientCertificates, Config, TlsVersion};
use crate::snapshot::Snapshot;
use crate::socket::Socket;
use crate::worker::Worker;

/// Protocols offered by ALPN (RFC 7301), the preferred first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What handshakes are given.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) certificates: Arc<Certificates>,
    /// What ticket keys are derived from, if instances share it.
    pub(crate) tickets: Option<Arc<TicketSecret>>,
}

/// What handshakes are held to: one policy for each way in which sites ask for client certificates.
/// Each has a ticket key of its own, so that no session resumes under another.
#[derive(Debug)]
pub(crate) struct Policies {
    min_version: TlsVersion,
    /// No client is asked for a certificate.
    open: Arc<ServerConfig>,
    asking: Vec<(ClientCertificates, Arc<ServerConfig>)>,
    /// Which of them a site has, in the order of the configuration.
    of_site: Vec<Option<usize>>,
}

impl Policies {
    /// Policies that there were `before` keep their ticket keys: sessions resume.
    pub(crate) fn new(
        config: &Config,
        credentials: &Credentials,
        before: Option<&Self>,
    ) -> Result<Self, rustls::Error> {
        let min_version = config.tls.min_version;
        let before = before.filter(|before| before.min_version == min_version);
        let open = match before {
            Some(before) => Arc::clone(&before.open),
            None => policy(credentials, min_version, None)?,
        };
        let mut policies = Self { min_version, open, asking: Vec::new(), of_site: Vec::new() };
        for site in &config.sites {
            let of_site = match &site.client_certificates {
                None => None,
                Some(wanted) => Some(policies.index(wanted, credentials, before)?),
            };
            policies.of_site.push(of_site);
        }
        Ok(policies)
    }

    fn index(
        &mut self,
        wanted: &ClientCertificates,
        credentials: &Credentials,
        before: Option<&Self>,
    ) -> Result<usize, rustls::Error> {
        let same = |(known, _): &&(ClientCertificates, _)| known == wanted;
        if let Some(index) = self.asking.iter().position(|known| same(&known)) {
            return Ok(index);
        }
        let known = before.and_then(|before| before.asking.iter().find(same));
        let config = match known {
            Some((_, config)) => Arc::clone(config),
            None => policy(credentials, self.min_version, Some(wanted))?,
        };
        self.asking.push((wanted.clone(), config));
        Ok(self.asking.len() - 1)
    }

    /// The policy of a site that asks for client certificates.
    pub(crate) fn asking(&self, site: usize) -> Option<&Arc<ServerConfig>> {
        let index = (*self.of_site.get(site)?)?;
        self.asking.get(index).map(|(_, config)| config)
    }
}

fn policy(
    credentials: &Credentials,
    min_version: TlsVersion,
    clients: Option<&ClientCertificates>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let both: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
    let versions = match min_version {
        TlsVersion::V1_2 => both,
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            for certificate in &clients.ca {
                roots.add(certificate.clone())?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match clients.required {
                true => verifier,
                false => verifier.allow_unauthenticated(),
            };
            let unusable = |error: VerifierBuilderError| rustls::Error::General(error.to_string());
            builder.with_client_cert_verifier(verifier.build().map_err(unusable)?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::clone(&credentials.certificates) as _);
    config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    config.ticketer = match &credentials.tickets {
        Some(secret) => Arc::new(SharedTickets::new(Arc::clone(secret), min_version, clients)),
        None => Ticketer::new()?,
    };
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ignore_client_order = true;
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
    /// What the client has proven to be.
    pub(crate) client: Option<ClientCertificate>,
    policy: Arc<ServerConfig>,
}

impl Session {
    /// Whether it was agreed on under a policy.
    pub(crate) fn is_under(&self, policy: &Arc<ServerConfig>) -> bool {
        Arc::ptr_eq(&self.policy, policy)
    }
}

const CHACHA20: [CipherSuite; 3] = [
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// A policy as it stands, or with the client's order of suites, if it begins with ChaCha20. What
/// comes before that and nobody knows says nothing: browsers make it up (RFC 8701).
fn ordered(policy: &Arc<ServerConfig>, offer: &[CipherSuite]) -> Arc<ServerConfig> {
    let ours = &policy.crypto_provider().cipher_suites;
    let first = offer.iter().find(|suite| ours.iter().any(|own| own.suite() == **suite));
    match first.is_some_and(|suite| CHACHA20.contains(suite)) {
        false => Arc::clone(policy),
        true => {
            let mut theirs = ServerConfig::clone(policy);
            theirs.ignore_client_order = false;
            Arc::new(theirs)
        }
    }
}

/// Reads the ClientHello first, so that what it asks for can choose the configuration, then
/// completes the handshake. `None` if the handshake was all that there was to it: a challenge.
pub(crate) async fn accept(
    stream: Socket,
    peer: IpAddr,
    snapshot: &Snapshot,
) -> io::Result<Option<Secured>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let plan = &snapshot.plan;
    if let Some(challenge) = plan.challenges.tls(&hello.client_hello()) {
        hello.into_stream(challenge).await?.shutdown().await?;
        return Ok(None);
    }
    let name = hello.client_hello().server_name().map(str::to_ascii_lowercase);
    let places = &snapshot.sites.places;
    let site = name.as_deref().and_then(|name| places.of(name));
    if let (Some(name), None) = (&name, site) {
        places.knock(name, peer);
    }
    let policy = site.and_then(|site| plan.tls.asking(site)).unwrap_or(&plan.tls.open);
    let order = ordered(policy, hello.client_hello().cipher_suites());
    let mut stream = hello.into_stream(order).await?;
    // A large response then takes a few large writes.
    stream.get_mut().1.set_buffer_limit(Some(Worker::ENCRYPTED));
    let connection = stream.get_ref().1;
    let http2 = connection.alpn_protocol() == Some(b"h2");
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        _ => "1.3",
    };
    let server_name = connection.server_name().map(|name| name.to_ascii_lowercase().into());
    let client = connection.peer_certificates().and_then(<[_]>::first);
    let client = client.and_then(ClientCertificate::new);
    let session = Session { version, server_name, client, policy: Arc::clone(policy) };
    Ok(Some(Secured { stream: Box::new(stream), http2, session }))
}

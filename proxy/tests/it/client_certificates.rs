//! Sites that ask their clients for certificates: who gets in, what the upstream is told, and that
//! nothing agreed on for one site holds for another.

use std::sync::{Arc, Mutex};

use rcgen::{CertificateParams, CertifiedIssuer, DnType, KeyPair};
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{TestProxy, TestUpstream};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate of a person.
fn identity(authority: &Authority) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "alice");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, authority).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    (certificate.der().clone(), key.into())
}

/// Three sites: one wants certificates of `authority`, one takes them, one knows of none.
fn start(upstream: &TestUpstream, authority: &Authority) -> (TestProxy, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("clients.pem");
    std::fs::write(&path, authority.pem()).unwrap();
    let site = |host: &str, kind: &str| {
        format!(
            "[[site]]\nhosts = [\"{host}.example\"]\nissuer = \"internal\"\n\
             upstream = \"http://{}\"\nclient_certificates = \"{kind}\"\nclient_ca = \"{}\"\n",
            upstream.address,
            path.display()
        )
    };
    let sites = site("strict", "required") + &site("polite", "optional");
    (TestProxy::start(upstream, &sites), directory)
}

struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    fn new(
        proxy: &TestProxy,
        version: &'static SupportedProtocolVersion,
        identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(proxy.root()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.resumption = rustls::client::Resumption::store(Arc::new(OneForAll::default()));
        Self { config: Arc::new(config) }
    }

    async fn connect(
        &self,
        proxy: &TestProxy,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(proxy.https()).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }

    /// The status of a request for a host on a connection to another, and whether its session was
    /// resumed.
    async fn visit(
        &self,
        proxy: &TestProxy,
        name: &str,
        host: &str,
    ) -> std::io::Result<(u16, bool)> {
        let mut stream = self.connect(proxy, name).await?;
        let status = ask(&mut stream, host).await?;
        // A last read takes the ticket, which may come after the answer.
        _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await;
        _ = stream.read_to_end(&mut Vec::new()).await;
        Ok((status, stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)))
    }
}

/// Asks with forged fields, and reads the head of the answer.
async fn ask(stream: &mut TlsStream<TcpStream>, host: &str) -> std::io::Result<u16> {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nClient-Cert: :ZXZl:\r\nX-Client-Subject: CN=eve\r\n\
         X_Client_Subject: CN=eve\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut piece).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => answer.extend_from_slice(&piece[..n]),
        }
    }
    Ok(std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap())
}

/// Offers the last ticket wherever it came from, as no honest client does.
#[derive(Debug, Default)]
struct OneForAll(Mutex<(Option<Tls12ClientSessionValue>, Vec<Tls13ClientSessionValue>)>);

impl ClientSessionStore for OneForAll {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.lock().unwrap().0 = Some(value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.lock().unwrap().0.clone()
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.lock().unwrap().0 = None;
    }
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.lock().unwrap().1.push(value);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap().1.pop()
    }
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// What the upstream was told last of the client's certificate.
fn told(upstream: &TestUpstream) -> (Option<String>, Option<String>) {
    let seen = upstream.seen().pop().unwrap();
    assert!(!seen.headers.contains_key("x_client_subject"));
    let of = |name| seen.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    (of("client-cert"), of("x-client-subject"))
}

#[tokio::test]
async fn who_has_a_certificate_gets_in_and_the_upstream_is_told_who_it_is() {
    let (upstream, authority) = (TestUpstream::start().await, authority());
    let (proxy, _directory) = start(&upstream, &authority);
    for version in VERSIONS {
        let alice = Client::new(&proxy, version, Some(identity(&authority)));
        let nobody = Client::new(&proxy, version, None);
        let stranger = Client::new(&proxy, version, Some(identity(&self::authority())));
        for name in ["strict.example", "STRICT.example"] {
            assert!(nobody.visit(&proxy, name, "strict.example").await.is_err());
            assert!(stranger.visit(&proxy, name, "strict.example").await.is_err());
        }
        for host in ["strict.example", "polite.example"] {
            assert_eq!(alice.visit(&proxy, host, host).await.unwrap().0, 200, "{host}");
            let (certificate, subject) = told(&upstream);
            assert!(certificate.unwrap().len() > 200);
            assert_eq!(subject.as_deref(), Some("CN=alice"));
        }
        for (client, host) in
            [(&nobody, "polite.example"), (&nobody, "localhost"), (&alice, "localhost")]
        {
            assert_eq!(client.visit(&proxy, host, host).await.unwrap().0, 200, "{host}");
            assert_eq!(told(&upstream), (None, None), "{host}");
        }
        assert!(stranger.visit(&proxy, "polite.example", "polite.example").await.is_err());
    }
    proxy.finish().await;
}

#[tokio::test]
async fn what_was_agreed_on_for_one_site_opens_no_other() {
    let (upstream, authority) = (TestUpstream::start().await, authority());
    let (proxy, _directory) = start(&upstream, &authority);
    for version in VERSIONS {
        let nobody = Client::new(&proxy, version, None);
        let alice = Client::new(&proxy, version, Some(identity(&authority)));
        // By Host: another site's connection, and one that names none at all.
        for name in ["localhost", "127.0.0.1", "polite.example"] {
            assert_eq!(
                nobody.visit(&proxy, name, "strict.example").await.unwrap().0,
                421,
                "{name}"
            );
        }
        assert_eq!(nobody.visit(&proxy, "127.0.0.1", "polite.example").await.unwrap().0, 421);
        assert_eq!(alice.visit(&proxy, "strict.example", "localhost").await.unwrap().0, 421);
        // By a ticket of a site that asks for nothing, or is content with nothing.
        for name in ["localhost", "polite.example"] {
            nobody.visit(&proxy, name, name).await.unwrap();
            assert!(nobody.visit(&proxy, "strict.example", "strict.example").await.is_err());
        }
        // At its own site a ticket is good, and still says whose it is.
        let fresh = Client::new(&proxy, version, Some(identity(&authority)));
        for resumed in [false, true, true] {
            let visit = fresh.visit(&proxy, "strict.example", "strict.example").await.unwrap();
            assert_eq!(visit, (200, resumed));
            assert_eq!(told(&upstream).1.as_deref(), Some("CN=alice"));
        }
        proxy.reload().await.unwrap();
        let visit = fresh.visit(&proxy, "strict.example", "strict.example").await.unwrap();
        assert_eq!(visit, (200, true), "a reload leaves ticket keys alone");
    }
    proxy.finish().await;
}

#[tokio::test]
async fn a_policy_that_is_tightened_holds_for_open_connections_and_old_tickets() {
    let (upstream, authority) = (TestUpstream::start().await, authority());
    let (proxy, _directory) = start(&upstream, &authority);
    let nobody = Client::new(&proxy, &rustls::version::TLS13, None);
    let mut open = nobody.connect(&proxy, "polite.example").await.unwrap();
    assert_eq!(ask(&mut open, "polite.example").await.unwrap(), 200);
    nobody.visit(&proxy, "polite.example", "polite.example").await.unwrap();
    proxy.edit("\"optional\"", "\"required\"");
    proxy.reload().await.unwrap();
    assert_eq!(ask(&mut open, "polite.example").await.unwrap(), 421);
    assert!(nobody.visit(&proxy, "polite.example", "polite.example").await.is_err());
    let mut plain = TcpStream::connect(proxy.http()).await.unwrap();
    plain.write_all(b"GET / HTTP/1.0\r\nHost: strict.example\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 308") || answer.starts_with("HTTP/1.0 308"), "{answer}");
    proxy.finish().await;
}

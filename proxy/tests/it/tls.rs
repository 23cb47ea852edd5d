//! Handshakes: versions, names, resumption, and what is not TLS at all.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::certificate::openssl;
use crate::harness::{TestProxy, TestUpstream};

pub(crate) fn config(
    proxy: &TestProxy,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(proxy.root()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Handshakes, asks for `/`, and returns the version and whether the session was resumed.
pub(crate) async fn visit(
    proxy: &TestProxy,
    config: &Arc<ClientConfig>,
    name: &str,
) -> std::io::Result<(ProtocolVersion, bool)> {
    let stream = TcpStream::connect(proxy.https()).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    let session = stream.get_ref().1;
    let resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    Ok((session.protocol_version().unwrap(), resumed))
}

#[tokio::test]
async fn both_versions_are_spoken_and_sessions_resume() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    for (version, spoken) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = config(&proxy, version);
        assert_eq!(visit(&proxy, &config, "localhost").await.unwrap(), (spoken, false));
        for _ in 0..3 {
            assert_eq!(visit(&proxy, &config, "localhost").await.unwrap(), (spoken, true));
        }
    }
    let records = proxy.finish().await;
    assert_eq!(records.iter().filter(|record| record["tls"] == "1.2").count(), 4);
}

#[tokio::test]
async fn names_of_the_site_are_served_and_others_refused() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let config = config(&proxy, &rustls::version::TLS13);
    for name in ["localhost", "LOCALHOST", "127.0.0.1"] {
        visit(&proxy, &config, name).await.unwrap();
    }
    let error = visit(&proxy, &config, "other.example").await.unwrap_err();
    assert!(error.to_string().contains("alert"), "{error}");
    proxy.finish().await;
}

#[tokio::test]
async fn the_version_can_be_raised() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start_tls(&upstream, "min_version = \"1.3\"");
    visit(&proxy, &config(&proxy, &rustls::version::TLS13), "localhost").await.unwrap();
    visit(&proxy, &config(&proxy, &rustls::version::TLS12), "localhost").await.unwrap_err();
    proxy.finish().await;
}

#[tokio::test]
async fn the_order_of_suites_is_ours_unless_the_client_knows_no_aes() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let (chacha, aes) = ("TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256");
    let (old_chacha, old_aes) = ("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256");
    let ours = ("TLS_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384");
    for (key, offer, agreed) in [
        ("-ciphersuites", [aes, chacha, ours.0], ours.0),
        ("-ciphersuites", [chacha, aes, ours.0], chacha),
        // What comes first is unknown to us.
        ("-ciphersuites", ["TLS_AES_128_CCM_SHA256", chacha, ours.0], chacha),
        ("-cipher", [old_aes, old_chacha, ours.1], ours.1),
        ("-cipher", [old_chacha, old_aes, ours.1], old_chacha),
        ("-cipher", ["AES256-SHA", old_chacha, ours.1], old_chacha),
    ] {
        let version = if key == "-cipher" { "-tls1_2" } else { "-tls1_3" };
        let more = [version, key, &offer.join(":")];
        let (verified, said) = openssl(proxy.https(), &proxy.root(), "localhost", &more);
        assert!(verified && said.contains(&format!("Cipher is {agreed}\n")), "{offer:?}: {said}");
    }
    proxy.finish().await;
}

#[tokio::test]
async fn broken_handshakes_are_counted_and_harm_nobody() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 64],
        b"\x16\x03\x01\x00\x05hello",
        b"\x80\x80\x01\x03\x01",
    ] {
        let mut stream = TcpStream::connect(proxy.https()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(proxy.client().await.get("/").await.status, 200);
    let metrics = crate::admin::get(proxy.admin(), "/metrics", "").await;
    assert!(metrics.contains("\ngatehouse_tls_handshakes_failed_total 4\n"), "{metrics}");
    proxy.finish().await;
}

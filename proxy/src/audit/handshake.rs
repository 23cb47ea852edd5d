//! TLS: versions, key exchange, the certificate. Nothing here has a score; each failure costs the
//! exit code.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, NamedGroup};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Finding;

/// A certificate that ends sooner than this should have been renewed.
const SOON: Duration = Duration::from_secs(3 * 86_400);

/// What a handshake showed.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    /// `TLSv1_2`, `TLSv1_3`: those that were agreed to when nothing else was offered.
    pub(super) versions: Vec<&'static str>,
    pub(super) http2: bool,
    /// Whether TLS 1.0 or 1.1 was agreed to.
    pub(super) old: bool,
    host: String,
    group: Option<NamedGroup>,
    /// Why the certificate is not to be trusted.
    distrust: Option<String>,
    not_after: Option<SystemTime>,
}

impl Handshake {
    pub(super) fn of(connection: &ClientConnection, host: &str, distrust: Option<String>) -> Self {
        let leaf = connection.peer_certificates().and_then(|chain| chain.first());
        Self {
            host: host.to_owned(),
            group: connection.negotiated_key_exchange_group().map(|group| group.name()),
            distrust,
            not_after: leaf.and_then(not_after),
            ..Self::default()
        }
    }
}

fn not_after(leaf: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let end = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(end))
}

pub(super) fn judge(handshake: &Handshake) -> Vec<Finding> {
    vec![versions(handshake), exchange(handshake), certificate(handshake), http2(handshake)]
}

fn versions(handshake: &Handshake) -> Finding {
    let names = handshake.versions.iter().map(|name| name.replace("TLSv1_", "1."));
    let names = names.collect::<Vec<_>>().join(", ");
    if handshake.old {
        let found = "TLS 1.0 or 1.1 is offered (RFC 8996 forbids both)";
        return Finding::bad("tls", "tls-old-version", 0, found, "min_version = \"1.2\" in [tls]");
    }
    if !handshake.versions.contains(&"TLSv1_3") {
        let found = format!("TLS {names}, not 1.3");
        return Finding::bad("tls", "tls-without-1.3", 0, found, "");
    }
    Finding::good("tls", "tls-versions", 0, format!("TLS {names}"))
}

fn exchange(handshake: &Handshake) -> Finding {
    match handshake.group {
        Some(NamedGroup::X25519MLKEM768) => {
            Finding::good("key-exchange", "key-exchange-hybrid", 0, "X25519MLKEM768")
        }
        Some(group) => {
            let found = format!("{group:?}, which a quantum computer would break");
            Finding::good("key-exchange", "key-exchange-classical", 0, found)
        }
        None => {
            let found = "no ephemeral key exchange";
            Finding::bad("key-exchange", "key-exchange-none", 0, found, "")
        }
    }
}

fn certificate(handshake: &Handshake) -> Finding {
    if let Some(distrust) = &handshake.distrust {
        let found = format!("not trusted for {}: {distrust}", handshake.host);
        let remedy = "issuer = \"acme\" of the site, or its own under [[tls.certificate]]";
        return Finding::bad("certificate", "certificate-not-trusted", 0, found, remedy);
    }
    let left = handshake.not_after.and_then(|end| end.duration_since(SystemTime::now()).ok());
    match left {
        Some(left) if left < SOON => {
            let found = format!("ends in {} hours", left.as_secs() / 3_600);
            let remedy = "gatehouse certs list says why it is not renewed";
            Finding::bad("certificate", "certificate-ends-soon", 0, found, remedy)
        }
        Some(left) => {
            let found = format!("trusted, {} days left", left.as_secs() / 86_400);
            Finding::good("certificate", "certificate-trusted", 0, found)
        }
        None => Finding::bad("certificate", "certificate-over", 0, "it has ended", ""),
    }
}

fn http2(handshake: &Handshake) -> Finding {
    let found = if handshake.http2 { "offered" } else { "not offered" };
    Finding::good("http2", "http2", 0, found)
}

/// The greeting of a client of TLS 1.1 (RFC 4346, 7.4.1.2) that would take 1.0, too.
pub(super) fn old_client_hello(host: &str) -> Vec<u8> {
    fn counted<const BYTES: usize>(out: &mut Vec<u8>, content: &[u8]) {
        let length = u32::try_from(content.len()).unwrap_or_default().to_be_bytes();
        out.extend_from_slice(length.get(4 - BYTES..).unwrap_or_default());
        out.extend_from_slice(content);
    }
    const SUITES: [u16; 6] = [0xc00a, 0xc009, 0xc014, 0xc013, 0x0035, 0x002f];
    let suites: Vec<u8> = SUITES.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let mut name = vec![0]; // host_name (RFC 6066, 3)
    counted::<2>(&mut name, host.as_bytes());
    let mut names = Vec::new();
    counted::<2>(&mut names, &name);
    let mut extensions = vec![0, 0];
    counted::<2>(&mut extensions, &names);
    extensions.extend_from_slice(&[0, 10, 0, 6, 0, 4, 0, 23, 0, 24]); // secp256r1, secp384r1
    extensions.extend_from_slice(&[0, 11, 0, 2, 1, 0]); // uncompressed points
    let mut hello = vec![3, 2];
    hello.extend_from_slice(&[0x47; 32]); // it is random enough: nothing follows
    hello.push(0);
    counted::<2>(&mut hello, &suites);
    hello.extend_from_slice(&[1, 0]);
    counted::<2>(&mut hello, &extensions);
    let mut handshake = vec![1];
    counted::<3>(&mut handshake, &hello);
    let mut record = vec![22, 3, 1];
    counted::<2>(&mut record, &handshake);
    record
}

//! A certificate with its key, and whether the two can be put to use.
//!
//! In the store one file holds both, the key first and then the chain, so that no crash can leave a
//! pair that does not belong together.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureAlgorithm};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use x509_parser::extensions::GeneralName;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// A certificate chain with its key.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

/// Why a certificate cannot be put to use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("it is not a private key and a certificate chain in PEM: {0}")]
    Pem(String),
    #[error("its key is encrypted; without a passphrase it is: openssl pkey -in KEY -out PLAIN")]
    Encrypted,
    #[error("its key does not belong to it: {0}")]
    Key(rustls::Error),
    #[error("its chain does not hold: {0}")]
    Chain(rustls::Error),
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet; is the clock right?")]
    NotYet,
    #[error("it is not for {0}")]
    Names(String),
}

impl Leaf {
    /// Reads what the store keeps: a key and then its chain.
    pub(crate) fn read(pem: &str, now: SystemTime) -> Result<Self, Unfit> {
        if !pem.trim_end().ends_with("-----END CERTIFICATE-----") {
            return Err(Unfit::Pem("it does not end where a certificate ends".to_owned()));
        }
        Self::pair(pem, pem, now)
    }

    /// Reads a chain and its key, and holds them against each other and the clock.
    pub(crate) fn pair(chain: &str, key: &str, now: SystemTime) -> Result<Self, Unfit> {
        let bad = |error: rustls_pki_types::pem::Error| Unfit::Pem(error.to_string());
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(bad)?;
        let first = chain.first().ok_or_else(|| Unfit::Pem("there is no certificate".into()))?;
        if key.contains("ENCRYPTED") {
            return Err(Unfit::Encrypted);
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| Unfit::Pem(format!("there is no key that can be used: {error}")))?;
        let (not_before, not_after) = dates(first).ok_or_else(|| Unfit::Pem("no dates".into()))?;
        if not_after <= now {
            return Err(Unfit::Expired);
        }
        if not_before > now {
            return Err(Unfit::NotYet);
        }
        chain_holds(&chain, now).map_err(Unfit::Chain)?;
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(Unfit::Key)?;
        Ok(Self { key: Arc::new(key), not_before, not_after })
    }

    /// Whether it is for a host: a DNS name, an IP address (RFC 9525), or a wildcard.
    pub(crate) fn covers(&self, host: &str) -> bool {
        if host.starts_with("*.") {
            return self.names().iter().any(|name| name == host);
        }
        let Ok(name) = ServerName::try_from(host) else { return false };
        let certificate = self.key.end_entity_cert().map(ParsedCertificate::try_from);
        matches!(certificate, Ok(Ok(certificate))
            if verify_server_name(&certificate, &name).is_ok())
    }

    /// When two thirds of its life are over.
    pub(crate) fn two_thirds(&self) -> SystemTime {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.not_before + life * 2 / 3
    }

    /// Whether its key is RSA.
    pub(crate) fn is_rsa(&self) -> bool {
        self.key.key.algorithm() == SignatureAlgorithm::RSA
    }

    /// The DNS names that it is for, as they stand in it.
    pub(crate) fn names(&self) -> Vec<String> {
        let Ok(der) = self.key.end_entity_cert() else { return Vec::new() };
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else {
            return Vec::new();
        };
        let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
        let mut all = Vec::new();
        for name in &names.value.general_names {
            if let GeneralName::DNSName(name) = name {
                all.push(name.to_ascii_lowercase());
            }
        }
        all
    }

    /// Whether it is for all of them.
    pub(crate) fn covers_all(&self, hosts: &[String]) -> Result<(), Unfit> {
        match hosts.iter().find(|host| !self.covers(host)) {
            Some(host) => Err(Unfit::Names(host.clone())),
            None => Ok(()),
        }
    }
}

/// The text of a file of the operator's, which may be anything.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other("it is far too large"));
    }
    let other = "it is not PEM, which openssl x509, pkey and pkcs12 make of other formats";
    String::from_utf8(bytes).map_err(|_| io::Error::other(other))
}

/// Whether each certificate is signed by the next. The last one's own issuer is the client's
/// business.
fn chain_holds(chain: &[CertificateDer<'_>], now: SystemTime) -> Result<(), rustls::Error> {
    let [leaf, between @ .., last] = chain else { return Ok(()) };
    let leaf = ParsedCertificate::try_from(leaf)?;
    let mut roots = RootCertStore::empty();
    roots.add(last.clone())?;
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    let algorithms = default_provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&leaf, &roots, between, now, algorithms)
}

/// From when to when a certificate is valid (RFC 5280, 4.1.2.5).
fn dates(certificate: &CertificateDer<'_>) -> Option<(SystemTime, SystemTime)> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let validity = certificate.validity();
    let time = |seconds: i64| {
        UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    };
    Some((time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?))
}

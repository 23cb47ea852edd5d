//! What the CA is shown to prove that a name is ours, while an order is pending and not longer.
//!
//! `http-01` (RFC 8555, 8.3) is answered over plain HTTP, for the host and the token of a pending
//! order only; nothing under its path is ever forwarded. `tls-alpn-01` (RFC 8737) is a handshake
//! with a certificate of its own. Handshakes and requests that prove nothing pay one atomic load.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use crate::response::Answer;

/// Where a CA asks for the answer to `http-01`.
const PATH: &str = "/.well-known/acme-challenge/";

/// How long answers are shown that nobody withdraws: longer than any order is pending.
const SHOWN: Duration = Duration::from_secs(600);

/// The protocol of `tls-alpn-01`.
const ALPN: &[u8] = b"acme-tls/1";

/// What is shown while orders are pending.
#[derive(Debug, Default)]
pub(crate) struct Challenges(ArcSwap<Pending>);

/// What a CA is shown of one host: by whichever instance it asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proof {
    pub(super) host: String,
    /// Where the CA looks for it over plain HTTP; `None` if it asks in a handshake.
    pub(super) token: Option<String>,
    /// The key authorization (RFC 8555, 8.1).
    pub(super) answer: String,
}

/// What all instances are told to show, for a while: whoever told them may have died.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answers {
    until: Timestamp,
    proofs: Vec<Proof>,
}

impl Answers {
    pub(super) fn new(proofs: &[Proof], now: SystemTime) -> Self {
        let until = Timestamp::try_from(now + SHOWN).unwrap_or(Timestamp::MAX);
        Self { until, proofs: proofs.to_vec() }
    }

    /// Those that are still to be shown.
    pub(super) fn at(&self, now: SystemTime) -> &[Proof] {
        match Timestamp::try_from(now).is_ok_and(|now| now < self.until) {
            true => &self.proofs,
            false => &[],
        }
    }
}

/// An answer, and the name of the site whose order waits for it.
#[derive(Debug, Clone)]
struct Shown<T> {
    to_prove: String,
    answer: T,
}

#[derive(Debug, Clone, Default)]
struct Pending {
    /// By host and token.
    http: HashMap<(String, String), Shown<Bytes>>,
    /// By the name that the CA asks for.
    tls: HashMap<String, Shown<Arc<ServerConfig>>>,
}

impl Challenges {
    /// The answer to `http-01`: the proof if an order waits for it, else 404 and nothing learned;
    /// `None` if the path is another.
    pub(crate) fn answer(&self, host: &str, path: &str) -> Option<Answer> {
        let proof = self.http(host, path.strip_prefix(PATH)?);
        let unknown = || Answer::Own(StatusCode::NOT_FOUND, HeaderMap::new());
        Some(proof.map_or_else(unknown, Answer::Challenge))
    }

    fn http(&self, host: &str, token: &str) -> Option<Bytes> {
        let pending = self.0.load();
        if pending.http.is_empty() {
            return None;
        }
        let shown = pending.http.get(&(host.to_owned(), token.to_owned()));
        shown.map(|shown| shown.answer.clone())
    }

    /// The handshake that answers `tls-alpn-01`, if this is one and an order waits for it.
    pub(crate) fn tls(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let pending = self.0.load();
        if pending.tls.is_empty() || !hello.alpn()?.eq([ALPN]) {
            return None;
        }
        let shown = pending.tls.get(hello.server_name()?.to_ascii_lowercase().as_str());
        shown.map(|shown| Arc::clone(&shown.answer))
    }

    /// Shows these proofs for the site of a name, and no others any more.
    pub(super) fn show(&self, name: &str, proofs: &[Proof]) -> Result<(), ShowError> {
        let (mut http, mut tls) = (Vec::new(), Vec::new());
        for Proof { host, token, answer } in proofs {
            let to_prove = name.to_owned();
            match token {
                Some(token) => {
                    let answer = Bytes::copy_from_slice(answer.as_bytes());
                    http.push(((host.clone(), token.clone()), Shown { to_prove, answer }));
                }
                None => {
                    let answer = Arc::new(handshake(host, answer)?);
                    tls.push((server_name(host), Shown { to_prove, answer }));
                }
            }
        }
        self.0.rcu(|pending| {
            let mut next = Pending::clone(pending);
            next.http.retain(|_, shown| shown.to_prove != name);
            next.tls.retain(|_, shown| shown.to_prove != name);
            next.http.extend(http.iter().cloned());
            next.tls.extend(tls.iter().cloned());
            next
        });
        Ok(())
    }

    /// Shows nothing for the site of a name any more.
    pub(super) fn withdraw(&self, name: &str) {
        _ = self.show(name, &[]);
    }
}

/// An answer cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShowError {
    #[error("cannot make the certificate of a challenge: {0}")]
    Make(#[from] rcgen::Error),
    #[error("cannot use the certificate of a challenge: {0}")]
    Use(#[from] rustls::Error),
}

/// The one handshake of `tls-alpn-01`: its certificate holds the digest of the answer (RFC 8737,
/// 3).
fn handshake(host: &str, answer: &str) -> Result<ServerConfig, ShowError> {
    let digest = digest(&SHA256, answer.as_bytes());
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([host.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
    let certificate = params.self_signed(&key)?.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // The extension is critical and known to nobody but CAs: rustls must not look into it.
    let certified = CertifiedKey::new(vec![certificate], any_ecdsa_type(&key)?);
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// The name by which a CA asks for a host: of an address, the name of its reverse mapping (RFC
/// 8738, 6).
fn server_name(host: &str) -> String {
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Ok(IpAddr::V6(address)) => {
            let nibbles =
                address.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
        Err(_) => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_asked_for_by_its_reverse_name() {
        assert_eq!(server_name("app.example.com"), "app.example.com");
        assert_eq!(server_name("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(server_name("2001:db8::1"), six);
    }
}

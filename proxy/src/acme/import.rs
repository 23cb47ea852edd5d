//! A certificate that somebody else obtained, put into the store before the first start or under a
//! running instance: `gatehouse certs import`.

use std::time::SystemTime;

use data_encoding::BASE64;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::life::Life;
use super::slot::Slot;
use crate::config::{Config, Issuer, KeyType};
use crate::tls::leaf::{Leaf, Unfit};
use crate::tls::store::StoreError;
use crate::vault::Vault;

/// Nothing was imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error("the certificate cannot be used: {0}")]
    Unfit(#[from] Unfit),
    #[error(
        "no site with issuer = \"acme\" has only hosts of this certificate, which is for: {0}; \
         one of another site is named in a [[tls.certificate]]"
    )]
    NoSite(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write down its dates: {0}")]
    Life(#[from] serde_json::Error),
}

/// Puts a chain and its key where each site looks whose hosts it is all for. From then on it is
/// renewed as if it had been obtained here. Says whose.
pub(crate) async fn import(
    config: &Config,
    chain: &str,
    key: &str,
    now: SystemTime,
) -> Result<Vec<String>, ImportError> {
    let leaf = Leaf::pair(chain, key, now)?;
    let pem = normal(chain, key)?;
    let sites = config
        .sites
        .iter()
        .filter(|site| site.issuer == Issuer::Acme && leaf.covers_all(&site.hosts).is_ok());
    let names: Vec<String> = sites.map(|site| site.name().to_owned()).collect();
    if names.is_empty() {
        return Err(ImportError::NoSite(leaf.names().join(", ")));
    }
    let vault = Vault::open(config)?;
    let by = config.acme.cas.first().map(|ca| ca.directory.as_str());
    let life = Life::renewed(&leaf, by.unwrap_or_default(), now, fastrand::f64());
    let life = serde_json::to_vec_pretty(&life)?;
    // Beside one with another kind of key, if both are wanted; else in the place of the first.
    let key_types = &config.acme.key_types;
    let same = key_types.iter().find(|key_type| key_type.is_rsa() == leaf.is_rsa());
    let key_type = same.or_else(|| key_types.first()).copied().unwrap_or(KeyType::EcdsaP256);
    for name in &names {
        let slot = Slot::new(name, key_type);
        let lead = vault.lead_in_turn(name).await?;
        vault.write(&lead, &slot.certificate_file(), pem.as_bytes()).await?;
        vault.write(&lead, &slot.life_file(), &life).await?;
        vault.release(lead).await;
    }
    Ok(names)
}

/// The key and then the chain, whatever stood around them and in which order.
fn normal(chain: &str, key: &str) -> Result<String, Unfit> {
    let bad = |error: rustls_pki_types::pem::Error| Unfit::Pem(error.to_string());
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(bad)?;
    let label = match &key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        PrivateKeyDer::Pkcs8(_) | _ => "PRIVATE KEY",
    };
    let mut text = section(label, key.secret_der());
    for certificate in CertificateDer::pem_slice_iter(chain.as_bytes()) {
        text += &section("CERTIFICATE", &certificate.map_err(bad)?);
    }
    Ok(text)
}

/// One section of a PEM file (RFC 7468).
fn section(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    // 48 bytes are a line of 64 characters.
    for line in der.chunks(48) {
        text += &BASE64.encode(line);
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

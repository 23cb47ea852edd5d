//! The development CA: made once and kept with the certificates, it signs a leaf per site, which
//! lives in memory only.
//!
//! Whoever trusts its root trusts whoever holds its key, so the key never leaves the store and the
//! CA may sign end-entity certificates only (`pathLenConstraint` 0).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::leaf::Leaf;
use super::store::StoreError;
use crate::vault::{Lead, Vault};

pub(crate) const ROOT: &str = "internal-ca.pem";
const KEY: &str = "internal-ca.key";
const ROOT_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
const LEAF_LIFE: Duration = Duration::from_secs(7 * 86_400);
/// Clocks differ; a certificate is valid from a little before it is made.
const BACKDATE: Duration = Duration::from_secs(3_600);

/// The CA cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum InternalError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A leaf could not be signed.
    #[error("cannot sign a certificate: {0}")]
    Sign(#[from] rcgen::Error),
    /// rustls does not take the key that was just made.
    #[error("cannot use a certificate: {0}")]
    Use(#[from] rustls::Error),
}

/// The development CA.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate in PEM, which clients have to trust.
    pub(crate) root: String,
}

impl Authority {
    /// The CA that is kept, or a new one that is kept from now on; `None` while another instance
    /// makes it.
    pub(crate) async fn open(
        vault: &Vault,
        now: SystemTime,
    ) -> Result<Option<Self>, InternalError> {
        if let Ok(Some(known)) = Self::read(vault) {
            return Ok(Some(known));
        }
        let Some(lead) = vault.lead(KEY).await? else { return Ok(None) };
        let opened = match Self::read(vault) {
            Ok(Some(known)) => Ok(Some(known)),
            Ok(None) => Self::create(vault, &lead, now).await,
            Err(why) => {
                let place = vault.place(ROOT);
                tracing::error!(why, "a new development CA takes the place of {place}: trust that");
                [ROOT, KEY].iter().for_each(|file| drop(vault.set_aside(file)));
                Self::create(vault, &lead, now).await
            }
        };
        vault.release(lead).await;
        opened
    }

    /// The CA that is kept, or why it cannot be used.
    fn read(vault: &Vault) -> Result<Option<Self>, String> {
        let read = |file| vault.read(file).map_err(|error| error.to_string());
        // The key is written first: alone, it is what a crash in between leaves.
        let Some(root) = read(ROOT)? else { return Ok(None) };
        let key = read(KEY)?.ok_or("the key is missing")?;
        let key = KeyPair::from_pem(&key).map_err(|error| error.to_string())?;
        belong_together(&root, &key)?;
        let issuer = Issuer::from_ca_cert_pem(&root, key).map_err(|error| error.to_string())?;
        Ok(Some(Self { issuer, root }))
    }

    async fn create(
        vault: &Vault,
        lead: &Lead,
        now: SystemTime,
    ) -> Result<Option<Self>, InternalError> {
        let made = Self::alone(now)?;
        vault.write(lead, KEY, made.issuer.key().serialize_pem().as_bytes()).await?;
        vault.write(lead, ROOT, made.root.as_bytes()).await?;
        Ok(Some(made))
    }

    /// A CA that is kept nowhere.
    pub(crate) fn alone(now: SystemTime) -> Result<Self, InternalError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Gatehouse development CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + ROOT_LIFE).into();
        let root = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), root })
    }

    /// Signs a leaf for DNS names and IP addresses.
    pub(crate) fn issue(&self, hosts: &[String], now: SystemTime) -> Result<Leaf, InternalError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(hosts)?;
        if let Some(host) = hosts.first() {
            params.distinguished_name.push(DnType::CommonName, host.as_str());
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let (not_before, not_after) = (now - BACKDATE, now + LEAF_LIFE);
        params.not_before = not_before.into();
        params.not_after = not_after.into();
        let certificate = params.signed_by(&key, &self.issuer)?;
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = CertifiedKey::new(vec![certificate.der().clone()], any_ecdsa_type(&private)?);
        Ok(Leaf { key: Arc::new(key), not_before, not_after })
    }
}

/// Whether a certificate is that of a key.
fn belong_together(pem: &str, key: &KeyPair) -> Result<(), String> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
    let certificate = certificate.map_err(|error| error.to_string())?;
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    CertifiedKey::from_der(vec![certificate], private, &default_provider())
        .map(|_| ())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::store::Store;

    async fn open(vault: &Vault) -> Result<Authority, InternalError> {
        Ok(Authority::open(vault, SystemTime::now()).await?.unwrap())
    }

    #[tokio::test]
    async fn the_ca_is_made_once_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::Directory(Store::open(directory.path()).unwrap());
        let first = open(&vault).await.unwrap();
        let second = open(&vault).await.unwrap();
        assert_eq!(first.root, second.root);
        assert_eq!(std::fs::read_to_string(directory.path().join(ROOT)).unwrap(), first.root);
        let now = SystemTime::now();
        let leaf = second.issue(&["localhost".into(), "127.0.0.1".into()], now).unwrap();
        assert!(leaf.covers("localhost") && leaf.covers("127.0.0.1"));
        assert!(!leaf.covers("127.0.0.2") && leaf.not_after > now);
    }

    #[tokio::test]
    async fn a_damaged_ca_is_set_aside_and_another_made() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::Directory(Store::open(directory.path()).unwrap());
        let key = directory.path().join(KEY);
        let damages: [&dyn Fn(); 3] = [
            &|| std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\nnonsense").unwrap(),
            &|| std::fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap(),
            &|| std::fs::remove_file(&key).unwrap(),
        ];
        for damage in damages {
            let before = open(&vault).await.unwrap();
            damage();
            let after = open(&vault).await.unwrap();
            assert_ne!(before.root, after.root);
            let aside = directory.path().join(format!("{ROOT}.aside"));
            assert_eq!(std::fs::read_to_string(aside).unwrap(), before.root);
            assert_eq!(open(&vault).await.unwrap().root, after.root);
        }
    }
}

//! The development CA: made once under the store directory, it signs a leaf per site, which lives
//! in memory only.
//!
//! Whoever trusts its root trusts whoever holds its key, so the key never leaves the store and the
//! CA may sign end-entity certificates only (`pathLenConstraint` 0).

use std::path::PathBuf;
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
use super::store::{Store, StoreError};

const ROOT: &str = "internal-ca.pem";
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
    /// A file of the CA is damaged, or only one of the two is there.
    #[error(
        "{} and internal-ca.key beside it are not a certificate and its key ({reason}); \
         remove both to make new ones",
        path.display()
    )]
    Damaged {
        /// The certificate's path.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
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
    /// The file to trust.
    pub(crate) root: PathBuf,
}

impl Authority {
    /// Reads the CA from the store, or makes one and keeps it there.
    pub(crate) fn open(store: &Store, now: SystemTime) -> Result<Self, InternalError> {
        let root = store.path(ROOT);
        let damaged = |reason: String| InternalError::Damaged { path: root.clone(), reason };
        let issuer = match (store.read(ROOT)?, store.read(KEY)?) {
            (Some(pem), Some(key)) => {
                let key = KeyPair::from_pem(&key).map_err(|error| damaged(error.to_string()))?;
                belong_together(&pem, &key).map_err(damaged)?;
                Issuer::from_ca_cert_pem(&pem, key).map_err(|error| damaged(error.to_string()))?
            }
            // The key is written first: alone, it is what a crash in between leaves.
            (None, _) => Self::create(store, now)?,
            (Some(_), None) => return Err(damaged("the key is missing".to_owned())),
        };
        Ok(Self { issuer, root })
    }

    /// Makes both files.
    fn create(store: &Store, now: SystemTime) -> Result<Issuer<'static, KeyPair>, InternalError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Gatehouse development CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + ROOT_LIFE).into();
        let certificate = params.self_signed(&key)?;
        store.write(KEY, key.serialize_pem().as_bytes())?;
        store.write(ROOT, certificate.pem().as_bytes())?;
        Ok(Issuer::new(params, key))
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

    #[test]
    fn the_ca_is_made_once_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let now = SystemTime::now();
        let root = |authority: &Authority| std::fs::read(&authority.root).unwrap();
        let first = Authority::open(&store, now).unwrap();
        let before = root(&first);
        let second = Authority::open(&store, now).unwrap();
        assert_eq!(before, root(&second));
        let leaf = second.issue(&["localhost".into(), "127.0.0.1".into()], now).unwrap();
        assert!(leaf.covers("localhost") && leaf.covers("127.0.0.1"));
        assert!(!leaf.covers("127.0.0.2") && leaf.not_after > now);
    }

    #[test]
    fn a_damaged_ca_is_named_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let now = SystemTime::now();
        Authority::open(&store, now).unwrap();
        store.write(KEY, b"-----BEGIN PRIVATE KEY-----\nnonsense").unwrap();
        let error = Authority::open(&store, now).err().unwrap().to_string();
        assert!(error.contains("internal-ca.pem") && error.contains("remove both"), "{error}");
        let another = KeyPair::generate().unwrap().serialize_pem();
        store.write(KEY, another.as_bytes()).unwrap();
        let error = Authority::open(&store, now).err().unwrap().to_string();
        assert!(error.contains("are not a certificate and its key"), "{error}");
        std::fs::remove_file(store.path(KEY)).unwrap();
        let error = Authority::open(&store, now).err().unwrap().to_string();
        assert!(error.contains("the key is missing"), "{error}");
    }
}

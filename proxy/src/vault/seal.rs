//! How values are encrypted that leave this machine: AES-256-GCM, by a key that HKDF-SHA256 (RFC
//! 5869) derives from the secret of all instances.
//!
//! The name of a value is authenticated with it, so that no value can take the place of another.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use data_encoding::HEXLOWER;

/// A key, and what else comes of the same secret.
pub(super) struct Seal {
    key: RandomizedNonceKey,
    /// Tells the values of one secret from those of another; says nothing of either.
    pub(super) id: String,
    /// What ticket keys are derived from.
    pub(super) tickets: [u8; 32],
}

impl Seal {
    /// `None` if the cryptographic library refuses, which it does not.
    pub(super) fn new(secret: &str) -> Option<Self> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &derive(secret, "values")?).ok()?;
        let id = derive(secret, "id")?;
        let id = HEXLOWER.encode(id.get(..8)?);
        Some(Self { key, id, tickets: derive(secret, "tickets")? })
    }

    /// The nonce, the ciphertext, the tag.
    pub(super) fn seal(&self, name: &str, value: &[u8]) -> Option<Vec<u8>> {
        let mut text = value.to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(name), &mut text).ok()?;
        Some([&nonce.as_ref()[..], &text].concat())
    }

    /// `None` if it was not sealed under this name by this key.
    pub(super) fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let value = self.key.open_in_place(nonce, Aad::from(name), &mut text).ok()?;
        Some(value.to_vec())
    }
}

/// 256 bits for one purpose.
fn derive(secret: &str, purpose: &str) -> Option<[u8; 32]> {
    let salt = Salt::new(HKDF_SHA256, b"gatehouse store");
    let mut bytes = [0; 32];
    let info = [purpose.as_bytes()];
    salt.extract(secret.as_bytes()).expand(&info, HKDF_SHA256).ok()?.fill(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_under_a_name_opens_under_it() {
        let seal = Seal::new("one secret of all instances, 32+").unwrap();
        let other = Seal::new("another secret of other instances").unwrap();
        let sealed = seal.seal("a.key", b"-----BEGIN PRIVATE KEY-----").unwrap();
        assert_eq!(seal.open("a.key", &sealed).unwrap(), b"-----BEGIN PRIVATE KEY-----");
        assert!(!sealed.windows(11).any(|bytes| bytes == b"PRIVATE KEY"));
        assert_ne!(seal.seal("a.key", b"-----BEGIN PRIVATE KEY-----").unwrap(), sealed);
        assert_eq!(seal.open("b.key", &sealed), None, "swapped");
        assert_eq!(other.open("a.key", &sealed), None, "another secret");
        for index in [0, NONCE_LEN, sealed.len() - 1] {
            let mut tampered = sealed.clone();
            tampered[index] ^= 1;
            assert_eq!(seal.open("a.key", &tampered), None, "byte {index}");
        }
        assert_eq!(seal.open("a.key", b"short"), None);
        assert_eq!(seal.open("a.key", b"-----BEGIN PRIVATE KEY-----"), None, "never sealed");
        assert_ne!((&seal.id, seal.tickets), (&other.id, other.tickets));
    }
}

//! How certificates are obtained from a CA.

use std::fmt;
use std::path::PathBuf;

use super::Dns;

/// The `[acme]` section.
#[derive(Debug, Clone)]
pub struct Acme {
    /// At least one: the first is preferred, each further one is asked when those before it fail
    /// repeatedly.
    pub cas: Vec<Ca>,
    /// How names are proven: at least one kind, each after the one before it has failed.
    pub challenges: Vec<Challenge>,
    /// The kinds of key: each name has a certificate of each. At most one ECDSA, which is then the
    /// first, and one RSA; at least one.
    pub key_types: Vec<KeyType>,
    /// Who writes the records of [`Challenge::Dns01`], if anybody does.
    pub dns: Option<Dns>,
    /// What a site is served with that has no certificate yet.
    pub until_issued: UntilIssued,
}

impl Acme {
    /// The CA of a directory URL, if it is one of these.
    #[must_use]
    pub fn ca(&self, directory: &str) -> Option<&Ca> {
        self.cas.iter().find(|ca| ca.directory == directory)
    }
}

/// A CA: what `[acme]` and each `[[acme.fallback]]` say of one.
#[derive(Debug, Clone)]
pub struct Ca {
    /// The directory URL (default Let's Encrypt).
    pub directory: String,
    /// Whom to trust as the CA's own server (default: the public roots).
    pub root_ca: Option<PathBuf>,
    /// The account's contact address; of a fallback that of `[acme]` if it has none.
    pub email: Option<String>,
    /// The kind of certificate, by the CA's own name for it (default: the CA's choice).
    pub profile: Option<String>,
    /// What ties the account to one that the operator has with the CA.
    pub eab: Option<Eab>,
}

/// An external account binding (RFC 8555, 7.3.4).
#[derive(Clone, PartialEq, Eq)]
pub struct Eab {
    /// The CA's name for the key.
    pub key_id: String,
    /// The key, decoded.
    pub hmac_key: Vec<u8>,
}

impl fmt::Debug for Eab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eab").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// How it is proven that a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Challenge {
    /// By a handshake on port 443 (RFC 8737).
    #[default]
    TlsAlpn01,
    /// By a file on port 80 (RFC 8555, 8.3).
    Http01,
    /// By a TXT record (RFC 8555, 8.4): the only proof of a wildcard.
    Dns01,
}

impl Challenge {
    /// Its name in ACME.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
        }
    }
}

/// The kind of a certificate's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyType {
    /// ECDSA over P-256 (the default).
    EcdsaP256,
    /// ECDSA over P-384.
    EcdsaP384,
    /// RSA of 2,048 bits, for clients that know nothing else.
    Rsa2048,
    /// RSA of 3,072 bits.
    Rsa3072,
    /// RSA of 4,096 bits.
    Rsa4096,
}

impl KeyType {
    /// All of them, ECDSA first.
    pub const ALL: [Self; 5] =
        [Self::EcdsaP256, Self::EcdsaP384, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
        }
    }

    /// Whether it is RSA, of whatever size.
    #[must_use]
    pub fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }
}

/// What a site is served with that has no certificate yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UntilIssued {
    /// A short-lived certificate of the development CA (the default).
    Internal,
    /// Nothing: the handshake is refused.
    Refuse,
}

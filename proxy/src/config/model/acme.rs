//! How certificates are obtained from a CA.

use std::path::PathBuf;

/// The `[acme]` section.
#[derive(Debug, Clone)]
pub struct Acme {
    /// The directory URL (default Let's Encrypt).
    pub directory: String,
    /// Whom to trust as the CA's own server (default: the public roots).
    pub root_ca: Option<PathBuf>,
    /// The account's contact address.
    pub email: Option<String>,
    /// How names are proven: at least one kind, each after the one before it has failed.
    pub challenges: Vec<Challenge>,
    /// The kind of certificate, by the CA's own name for it (default: the CA's choice).
    pub profile: Option<String>,
    /// What a site is served with that has no certificate yet.
    pub until_issued: UntilIssued,
}

/// How it is proven that a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Challenge {
    /// By a handshake on port 443 (RFC 8737).
    #[default]
    TlsAlpn01,
    /// By a file on port 80 (RFC 8555, 8.3).
    Http01,
}

impl Challenge {
    /// Its name in ACME.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Http01 => "http-01",
        }
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

//! The address of a server.

use std::fmt;
use std::path::PathBuf;

/// One address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Server {
    /// `http://HOST:PORT`, `https://HOST:PORT` or `h2c://HOST:PORT`.
    Tcp {
        /// A DNS name or an IP address (without brackets).
        host: String,
        /// The TCP port.
        port: u16,
        /// What is spoken there.
        scheme: Scheme,
    },
    /// `unix:/path` of a socket.
    Unix(PathBuf),
}

/// What is spoken at a TCP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 over TLS, the certificate verified for the host.
    Https,
    /// HTTP/2 with prior knowledge (RFC 9113, 3.3).
    H2c,
}

impl Server {
    /// Whether it is spoken to over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { scheme: Scheme::Https, .. })
    }

    /// Whether it is spoken to over HTTP/2.
    #[must_use]
    pub fn is_h2c(&self) -> bool {
        matches!(self, Self::Tcp { scheme: Scheme::H2c, .. })
    }

    /// The `Host` of a request that is Gatehouse's own.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

/// As in messages and metrics: `HOST:PORT`, or `unix:/path`.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { .. } => f.write_str(&self.authority()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

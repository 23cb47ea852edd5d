//! The address of a server.

use std::fmt;
use std::path::PathBuf;

/// One address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Server {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    Tcp {
        /// A DNS name or an IP address (without brackets).
        host: String,
        /// The TCP port.
        port: u16,
        /// Over TLS, the certificate verified for `host`.
        tls: bool,
    },
    /// `unix:/path` of a socket.
    Unix(PathBuf),
}

impl Server {
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

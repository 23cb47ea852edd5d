//! `[admin]`, and the address of the admin listener.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the admin listener is.
#[derive(Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket, at most 107 bytes; who may use it, the file's mode says (0600).
    Unix(PathBuf),
}

impl AdminAddress {
    /// Bytes that the kernel keeps of a socket's path (`sun_path`), without the final zero.
    const LONGEST_PATH: usize = 107;

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for AdminAddress {
    type Err = String;

    /// Reads `127.0.0.1:9180` or `unix:/path`; the error says what to write.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') && path.len() <= Self::LONGEST_PATH => {
                Ok(Self::Unix(PathBuf::from(path)))
            }
            Some(path) if path.starts_with('/') => {
                Err(format!("a socket's path has at most {} bytes", Self::LONGEST_PATH))
            }
            Some(_) => Err("write the whole path: \"unix:/run/gatehouse/admin.sock\"".to_owned()),
            None => crate::config::host::listener(text).map(Self::Tcp),
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// As it is written.
impl fmt::Debug for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The `[admin]` section.
#[derive(Clone, Default)]
pub struct Admin {
    /// The bearer token; required when the admin listener is not on a loopback address.
    pub token: Option<String>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("token", &self.token.as_ref().map(|_| "…")).finish()
    }
}

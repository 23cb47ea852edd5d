//! The socket of the admin listener: TCP, or a file that only its owner may use.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::{AdminAddress, Listen};
use crate::listener::{self, ListenError};

/// Connections that may wait to be accepted on a Unix socket.
const BACKLOG: i32 = 64;

/// A bound socket.
pub(crate) enum AdminSocket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, PathBuf),
}

/// A socket that accepts.
pub(super) enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix { listener: tokio::net::UnixListener, _file: SocketFile },
}

/// Removes the file when the listener ends.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.0);
    }
}

impl AdminSocket {
    /// Opens the socket. A file that an earlier process left behind is replaced; one that somebody
    /// answers on, or that is no socket, is not.
    pub(crate) fn bind(listen: &Listen) -> Result<Self, ListenError> {
        let address = &listen.admin;
        let fail = |source| ListenError { address: address.to_string(), source };
        match address {
            AdminAddress::Tcp(address) => {
                let socket = listener::bind(*address, 1, listen.share_ports)?.pop();
                socket.map(Self::Tcp).ok_or_else(|| fail(io::ErrorKind::AddrNotAvailable.into()))
            }
            AdminAddress::Unix(path) => {
                let socket = bind_file(path).map_err(fail)?;
                Ok(Self::Unix(socket, path.clone()))
            }
        }
    }

    /// Where it is, with the port that was found.
    pub(crate) fn address(&self) -> Option<AdminAddress> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok().map(AdminAddress::Tcp),
            Self::Unix(_, path) => Some(AdminAddress::Unix(path.clone())),
        }
    }

    /// Hands the socket to the runtime.
    pub(super) fn accepting(self) -> io::Result<Accepting> {
        Ok(match self {
            Self::Tcp(socket) => Accepting::Tcp(tokio::net::TcpListener::from_std(socket)?),
            Self::Unix(socket, path) => {
                let listener = tokio::net::UnixListener::from_std(socket)?;
                Accepting::Unix { listener, _file: SocketFile(path) }
            }
        })
    }
}

/// A connection to the admin listener.
pub(super) enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

impl Accepting {
    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(listener) => Stream::Tcp(listener.accept().await?.0),
            Self::Unix { listener, .. } => Stream::Unix(listener.accept().await?.0),
        })
    }
}

fn bind_file(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let left = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if left && UnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody can connect before it listens.
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_was_left_behind_is_replaced_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let first = bind_file(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(bind_file(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        drop(bind_file(&path).unwrap());
        let file = directory.path().join("file");
        fs::write(&file, "kept").unwrap();
        assert!(bind_file(&file).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    }
}

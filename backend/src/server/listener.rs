//! TCP or a Unix socket, and what can be wrong with either.

use std::fs::Permissions;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::config::Bind;

/// Why an address cannot be listened on, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {bind}: {error}\n  remedy: {remedy}",
    remedy = remedy(variable, bind, error)
)]
pub struct BindError {
    /// Which one asked for it.
    variable: &'static str,
    bind: Bind,
    error: io::Error,
}

fn remedy(variable: &str, bind: &Bind, error: &io::Error) -> String {
    match (error.kind(), bind) {
        (io::ErrorKind::AddrInUse, Bind::Tcp(address)) => format!(
            "stop what listens there (`ss -ltnp 'sport = :{}'` names it), or set {variable} to \
             another port",
            address.port()
        ),
        (io::ErrorKind::AddrInUse, Bind::Unix(_)) => {
            format!(
                "stop the program that answers on this socket, or set {variable} to another path"
            )
        }
        (io::ErrorKind::PermissionDenied, _) => {
            "use a port above 1023, or a folder that this user may write to".to_owned()
        }
        (io::ErrorKind::AddrNotAvailable, _) => {
            format!("set {variable} to an address of this machine, such as 127.0.0.1:3002")
        }
        _ => format!("set {variable} to an address or path that this user can listen on"),
    }
}

/// A listener, and the address it really has.
#[derive(Debug)]
pub(super) struct BoundListener {
    address: Bind,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// Removes the socket file when the server is gone.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Whoever removed it before us did what we wanted.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl BoundListener {
    /// Listens where the value of `variable` says.
    pub(super) async fn bind(variable: &'static str, bind: &Bind) -> Result<Self, BindError> {
        let bound = match bind {
            Bind::Tcp(address) => bind_tcp(*address).await,
            Bind::Unix(path) => bind_unix(path).await,
        };
        bound.map_err(|error| BindError { variable, bind: bind.clone(), error })
    }

    pub(super) fn address(&self) -> &Bind {
        &self.address
    }

    pub(super) async fn serve(
        self,
        router: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) {
        // axum documents that neither of these futures ever ends in an error.
        let _never = match self.socket {
            Socket::Tcp(listener) => {
                // Answers are small: waiting for more to send with them only adds delay.
                let listener = listener.tap_io(|stream| {
                    let _ = stream.set_nodelay(true);
                });
                axum::serve(listener, router).with_graceful_shutdown(stop).await
            }
            Socket::Unix(listener, _removed_at_the_end) => {
                axum::serve(listener, router).with_graceful_shutdown(stop).await
            }
        };
    }
}

async fn bind_tcp(address: SocketAddr) -> io::Result<BoundListener> {
    let listener = TcpListener::bind(address).await?;
    Ok(BoundListener { address: Bind::Tcp(listener.local_addr()?), socket: Socket::Tcp(listener) })
}

/// Takes the path over from a server that died without removing its file, but from no living one.
async fn bind_unix(path: &Path) -> io::Result<BoundListener> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // The proxy runs as another user of the same group; nobody else has business here.
    std::fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(BoundListener {
        address: Bind::Unix(path.to_owned()),
        socket: Socket::Unix(listener, SocketFile(path.to_owned())),
    })
}
